"""Files of a folder: only those below it, none too large, and the entry among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpgrid.errors import BundleError, JobFileError
from corpgrid.sdk import sources
from corpgrid.sdk.sources import folder_files, require_entry
from corpgrid.trust.bundle import BundleFile
from corpgrid.trust.limits import MAX_BUNDLE_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder, with a neighbour."""
    (tmp_path / "secret.txt").write_text("the neighbour's")
    root = tmp_path / "job"
    (root / "package" / "__pycache__").mkdir(parents=True)
    for name in ("search.py", "package/__init__.py", "package/model.py", "package/__pycache__/model.pyc", ".hidden"):
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["search.py"], ["search.py"]),
        (["package"], ["package/__init__.py", "package/model.py"]),
        (["**/*.py"], ["package/__init__.py", "package/model.py", "search.py"]),
        (["search.py", "*.py"], ["search.py"]),
        (["."], [".hidden", "package/__init__.py", "package/model.py", "search.py"]),
    ],
)
def test_patterns(folder: Path, patterns: list[str], names: list[str]) -> None:
    assert list(folder_files(folder, patterns)) == names


@pytest.mark.parametrize(
    "pattern", ["../secret.txt", "/etc/passwd", "", "package/../../secret.txt", "link.txt", "*.txt"]
)
def test_nothing_outside_of_the_folder(folder: Path, pattern: str) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    with pytest.raises(BundleError, match="leads out of"):
        folder_files(folder, [pattern])


def test_a_link_within_the_folder_is_the_file(folder: Path) -> None:
    (folder / "again.py").symlink_to("search.py")
    assert folder_files(folder, ["again.py"])["again.py"].content == b"search.py"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("none.py", "matches nothing"), ("empty", "matches nothing"), ("a**b", "cannot be looked for")],
)
def test_what_is_not_there(folder: Path, pattern: str, said: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(BundleError, match=said):
        folder_files(folder, [pattern])


def test_what_is_too_large_is_not_even_read(folder: Path) -> None:
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleError, match="the bundle is too large: it has 268,435,457 bytes of files") as caught:
        folder_files(folder, ["weights.bin"])
    assert "inputs" in caught.value.remedy


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BUNDLE_FILES", 2)
    with pytest.raises(BundleError, match="it has 3 files where MAX_BUNDLE_FILES allows 2"):
        folder_files(folder, ["**/*.py"])


def files(**texts: str) -> dict[str, BundleFile]:
    return {name.replace("__", "/") + ".py": BundleFile(text.encode()) for name, text in texts.items()}


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("search:evaluate", files(search="def evaluate(x): ...")),
        ("search:evaluate", files(search="from other import evaluate")),
        ("search:evaluate", files(search="from other import *")),
        ("search:Model.fit", files(search="class Model:\n    def fit(self, x): ...")),
        ("package.model:fit", files(package__model="fit = train")),
        ("package:fit", {"package/__init__.py": BundleFile(b"def fit(x): ...")}),
        ("installed.module:fit", files(search="")),
    ],
)
def test_an_entry_that_is_there(entry: str, found: dict[str, BundleFile]) -> None:
    require_entry(entry, found, ["installed"])


@pytest.mark.parametrize(
    ("entry", "said", "remedy"),
    [
        (
            "serach:evaluate",
            r"there is no serach\.py among the files of the job, which are search\.py",
            "Add serach.py",
        ),
        ("package.search:f", r"there is no package/search\.py", "Add package/search.py"),
        ("search:evalute", r"search\.py has no evalute", "Did you mean search:evaluate?"),
        ("search:zzz", r"search\.py has no zzz", "Define zzz there"),
    ],
)
def test_an_entry_that_is_not_there(entry: str, said: str, remedy: str) -> None:
    with pytest.raises(JobFileError, match=said) as caught:
        require_entry(entry, files(search="LIMIT = 1\n\ndef evaluate(x):\n    return x\n"), [])
    assert remedy in caught.value.remedy
