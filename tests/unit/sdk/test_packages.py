"""Wheels from this machine's own files: no registry is asked here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from corpgrid.errors import BundleError
from corpgrid.sdk import packages
from corpgrid.sdk.packages import fetch_wheels, file_digest, is_platform_bound, provided_modules
from tests.unit.sdk.wheel_maker import make_wheel


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "dist", "greeting", {"greeting/__init__.py": "WORD = 'hello'\n"})


@pytest.fixture
def quick(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would do with the wheel, in no time; for tests of what stands around it."""

    def copy(arguments: Sequence[str], *, cwd: Path) -> None:
        assert cwd.is_dir()
        shutil.copy(wheel, arguments[arguments.index("--dest") + 1])

    monkeypatch.setattr(packages, "_pip", copy)


def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, nobody may be asked."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("pip was asked")

    monkeypatch.setattr(packages, "_pip", asked)


def test_a_wheel_by_its_path(wheel: Path, cache: Path) -> None:
    (fetched,) = fetch_wheels([f"./{wheel.name}"], cache=cache, base=wheel.parent)
    assert fetched.name == wheel.name
    assert fetched.read_bytes() == wheel.read_bytes()
    assert provided_modules([fetched]) == {"greeting"}


def test_a_requirements_file_with_comments_and_another_file(wheel: Path, tmp_path: Path, cache: Path) -> None:
    other = make_wheel(tmp_path / "dist", "parting", {"parting.py": "WORD = 'bye'\n"})
    (tmp_path / "more.txt").write_text(f"./dist/{other.name}\n")
    file = tmp_path / "requirements.txt"
    file.write_text(f"# ours\n-r more.txt\n./dist/{wheel.name}  # greets\n\n")
    assert [path.name for path in fetch_wheels(file, cache=cache)] == [wheel.name, other.name]
    assert provided_modules(fetch_wheels(str(file), cache=cache)) == {"greeting", "parting"}


@pytest.mark.usefixtures("quick")
def test_a_second_time_nobody_is_asked(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch_wheels([str(wheel)], cache=cache)
    no_pip(monkeypatch)
    assert fetch_wheels([str(wheel)], cache=cache) == first


@pytest.mark.usefixtures("quick")
def test_a_local_wheel_that_was_built_anew_is_not_taken_from_the_cache(wheel: Path, cache: Path) -> None:
    (first,) = fetch_wheels([str(wheel)], cache=cache)
    make_wheel(wheel.parent, "greeting", {"greeting/__init__.py": "WORD = 'good day to you'\n"})
    (second,) = fetch_wheels([str(wheel)], cache=cache)
    assert file_digest(second) == file_digest(wheel) != file_digest(first)


@pytest.mark.usefixtures("quick")
def test_a_wheel_that_another_file_names_and_that_was_built_anew(wheel: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "more.txt").write_text(f"./dist/{wheel.name}\n")
    file = tmp_path / "requirements.txt"
    file.write_text("-r more.txt\n")
    fetch_wheels(file, cache=cache)
    make_wheel(wheel.parent, "greeting", {"greeting/__init__.py": "WORD = 'good day to you'\n"})
    (second,) = fetch_wheels(file, cache=cache)
    assert file_digest(second) == file_digest(wheel)


@pytest.mark.usefixtures("quick")
def test_two_at_the_same_time(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's wheels are there when this one's are ready."""
    real = packages._pip

    def slow(arguments: Sequence[str], *, cwd: Path) -> None:
        monkeypatch.setattr(packages, "_pip", real)
        fetch_wheels([str(wheel)], cache=cache)
        real(arguments, cwd=cwd)

    monkeypatch.setattr(packages, "_pip", slow)
    assert [path.name for path in fetch_wheels([str(wheel)], cache=cache)] == [wheel.name]
    assert [path.name[0] for path in (cache / "wheels").iterdir() if path.name.startswith(".")] == []


def test_a_file_without_requirements_needs_nobody(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pip(monkeypatch)
    (tmp_path / "requirements.txt").write_text("# nothing yet\n\n")
    assert fetch_wheels(tmp_path / "requirements.txt", cache=cache) == []


@pytest.mark.parametrize(
    ("asked", "told", "remedy"),
    [
        ("numpy", "there is no requirements file 'numpy'", 'packages=["numpy"]'),
        ([""], "an entry that is no package", "wheel"),
        (["--upgrade"], "an entry that is no package", "wheel"),
        (["./nothing-1.0-py3-none-any.whl"], "pip could not fetch the wheels", "pip download"),
    ],
)
def test_what_cannot_be_resolved_is_told(asked: str | list[str], told: str, remedy: str, cache: Path) -> None:
    with pytest.raises(BundleError, match=told) as caught:
        fetch_wheels(asked, cache=cache)
    assert str(caught.value).startswith("packages: ")
    assert remedy in caught.value.remedy
    assert not (cache / "wheels").exists() or not list((cache / "wheels").iterdir()), "nothing half done is left"


def test_a_source_package_is_refused(tmp_path: Path, cache: Path) -> None:
    """It would have to be built, which runs its code."""
    source = tmp_path / "mine"
    source.mkdir()
    (source / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '1'\n")
    (source / "requirements.txt").write_text("-e .\n")
    for asked in ([str(source)], source / "requirements.txt"):
        with pytest.raises(BundleError, match="a folder of sources") as caught:
            fetch_wheels(asked, cache=cache)
        assert "pip wheel" in caught.value.remedy


def test_pip_that_takes_too_long_is_told(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(BundleError, match="pip did not finish within 600 s"):
        fetch_wheels([str(wheel)], cache=cache)


def test_a_cache_that_cannot_be_written_is_told(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(BundleError, match="the wheels cannot be kept in") as caught:
        fetch_wheels([str(wheel)], cache=tmp_path / "taken")
    assert "client.cache_folder" in caught.value.remedy


def test_what_is_bound_to_a_platform() -> None:
    assert not is_platform_bound([Path("greeting-1.0-py3-none-any.whl")])
    assert is_platform_bound([Path("greeting-1.0-py3-none-any.whl"), Path("fast-1.0-cp311-cp311-linux_x86_64.whl")])


def test_modules_that_a_wheel_provides(tmp_path: Path) -> None:
    made = make_wheel(
        tmp_path,
        "many",
        {
            "one.py": "",
            "two/__init__.py": "",
            "_three.cpython-311-x86_64-linux-gnu.so": "",
            "many-1.0.data/purelib/four.py": "",
        },
    )
    assert provided_modules([made]) == {"one", "two", "_three", "four"}


def test_a_file_that_is_no_wheel_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("this is no zip archive")
    with pytest.raises(BundleError, match=r"broken-1\.0-py3-none-any\.whl is no wheel"):
        provided_modules([tmp_path / "broken-1.0-py3-none-any.whl"])
