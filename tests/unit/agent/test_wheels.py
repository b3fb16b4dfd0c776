"""One wheel: what is unpacked of it, and why it is refused."""

from __future__ import annotations

import contextlib
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.agent.wheel_tags import Interpreter
from corpgrid.agent.wheels import EnvironmentLimits, Unpacked, Wheel, unpack_wheel
from corpgrid.domain.ids import Digest
from corpgrid.errors import BundleError, CorpGridError, DigestError, LimitError
from corpgrid.trust.digest import digest
from tests.unit.agent.wheel_files import honest_wheel, metadata, with_record, write_wheel

LINUX = Interpreter(minor=11, system="linux", architecture="x86_64", libc=(2, 36))
LIMITS = EnvironmentLimits(environment_bytes=1 << 20, environment_files=50)
NOTHING = Unpacked()


def unpack(wheel: Wheel, target: Path, *, limits: EnvironmentLimits = LIMITS, before: Unpacked = NOTHING) -> Unpacked:
    return unpack_wheel(wheel, target, interpreter=LINUX, limits=limits, before=before)


def refused(wheel: Wheel, target: Path, told: str) -> None:
    with pytest.raises(BundleError, match=told) as refusal:
        unpack(wheel, target)
    assert wheel.name in str(refusal.value)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "env" / "packages"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    made = tmp_path / "blobs"
    made.mkdir()
    return made


def test_files_scripts_and_metadata_are_unpacked(blobs: Path, target: Path):
    files = {
        "greeting/__init__.py": b"x = 1\n",
        "greeting/__pycache__/__init__.cpython-311.pyc": b"a lie",
        "greeting-1.0.data/data/share/greeting.txt": b"data",
        "greeting-1.0.data/scripts/greet": b"#!python\nprint()\n",
        "greeting-1.0.dist-info/entry_points.txt": b"[console_scripts]\nhello = greeting:main\n",
        **metadata(),
    }
    total = unpack(write_wheel(blobs, with_record(files)), target, before=Unpacked(100, 10))
    assert (target / "greeting" / "__init__.py").read_bytes() == b"x = 1\n"
    assert not (target / "greeting" / "__pycache__").exists()
    assert (target / "share" / "greeting.txt").read_bytes() == b"data"
    assert (target / "bin" / "greet").read_bytes().startswith(b"#!/usr/bin/python3")
    assert "from greeting import main" in (target / "bin" / "hello").read_text()
    assert (target / "greeting-1.0.dist-info" / "METADATA").exists()
    assert total.files == 10 + len(files) + 1
    assert total.size_bytes > 100 + sum(map(len, files.values()))


def test_two_wheels_may_share_a_namespace_but_no_file(blobs: Path, target: Path):
    for project in ("one", "two"):
        files = with_record({f"space/{project}.py": b"", **metadata(project)}, project)
        unpack(write_wheel(blobs, files, name=f"{project}-1.0-py3-none-any.whl"), target)
    files = with_record({"space/one.py": b"other", **metadata("three")}, "three")
    refused(write_wheel(blobs, files, name="three-1.0-py3-none-any.whl"), target, "already exists")


def test_a_wheel_for_another_platform_is_refused_by_its_name(blobs: Path, target: Path):
    wheel = honest_wheel(blobs)._replace(name="greeting-1.0-cp312-cp312-macosx_14_0_arm64.whl")
    refused(wheel, target, "it is for cp312-cp312-macosx_14_0_arm64, and this device runs CPython 3.11 on linux x86_64")


def test_a_wheel_with_other_bytes_is_refused(blobs: Path, target: Path):
    with pytest.raises(DigestError, match=r"the wheel greeting-1\.0"):
        unpack(honest_wheel(blobs)._replace(digest=Digest(bytes(32))), target)
    assert not any(target.iterdir())


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "greeting/../../evil.py",
        "/evil.py",
        "//evil.py",
        "./evil.py",
        "greeting//evil.py",
        "C:/evil.py",
        "C:evil.py",
        "greeting\\evil.py",
        "bell\x07.py",
        "x" * 256,
        "greeting/" + "é" * 128,
        "greeting-1.0.data/evil.py",
        "greeting-1.0.data",
    ],
)
def test_names_that_lead_elsewhere_are_refused(blobs: Path, target: Path, name: str):
    wheel = write_wheel(blobs, with_record({**metadata(), name: b""}))
    refused(wheel, target, "name|data folder")
    assert sorted(path.name for path in target.parent.parent.iterdir()) == ["blobs", "env"]
    assert not any(target.rglob("*evil*"))


@pytest.mark.parametrize(
    "mode",
    [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644, stat.S_IFSOCK | 0o644, stat.S_IFDIR | 0o755],
)
def test_anything_but_files_is_refused(blobs: Path, target: Path, mode: int):
    wheel = write_wheel(blobs, {entry("evil", mode): b"/etc/passwd", **with_record(metadata())})
    refused(wheel, target, "neither a file nor a folder")


def test_a_name_that_stands_twice_is_refused(blobs: Path, target: Path):
    with pytest.warns(UserWarning, match="Duplicate"):
        wheel = write_wheel(blobs, {entry("a.py"): b"1", entry("a.py"): b"2", **with_record(metadata())})
    refused(wheel, target, "one name twice")


def test_an_encrypted_entry_is_refused(blobs: Path, target: Path):
    wheel = honest_wheel(blobs)
    content = bytearray(wheel.path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    wheel.path.write_bytes(content)
    refused(wheel._replace(digest=digest(bytes(content))), target, "encrypted")


def test_bombs_are_refused_by_their_list(blobs: Path, target: Path):
    zeros = bytes(1 << 26)
    wheel = write_wheel(blobs, {"zeros": zeros, **with_record(metadata())})
    with pytest.raises(LimitError, match="environment_ratio"):
        unpack(wheel, target, limits=EnvironmentLimits())
    with pytest.raises(LimitError, match="environment_bytes"):
        unpack(wheel, target, limits=EnvironmentLimits(environment_ratio=10**6, environment_bytes=len(zeros)))
    many = write_wheel(blobs, with_record({**metadata(), **{f"f{n}": b"" for n in range(40)}}))
    with pytest.raises(LimitError, match="environment_files"):
        unpack(many, target, before=Unpacked(0, 10))
    assert not any(target.iterdir())


def test_a_bomb_that_lies_about_its_size_is_refused(blobs: Path, target: Path):
    wheel = write_wheel(blobs, with_record({"zeros": bytes(1 << 22), **metadata()}))
    content = bytearray(wheel.path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", content, content.index(signature) + offset, 100)
    wheel.path.write_bytes(content)
    refused(wheel._replace(digest=digest(bytes(content))), target, "damaged")
    assert sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) < 1000


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.py": b""},
        {"greeting-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n"},
        {**metadata(), "greeting-1.0.dist-info/WHEEL": b"Wheel-Version: 9.0\n"},
        {**metadata(), "greeting-1.0.dist-info/WHEEL": b"\xff\xfe"},
        {**metadata(), "greeting-1.0.dist-info/WHEEL": b""},
        {**metadata(), "greeting-1.0.dist-info/RECORD": b"one,two\nthree,four,five,six"},
        with_record(
            {**metadata(), "greeting-1.0.dist-info/entry_points.txt": b"[console_scripts]\n../../evil = a:b\n"}
        ),
        with_record({**metadata(), "greeting-1.0.dist-info/entry_points.txt": b"[console_scripts\n"}),
        with_record({**metadata(), "greeting-1.0.data/nonsense/x": b""}),
        metadata("other"),
    ],
)
def test_what_is_no_wheel_is_refused(blobs: Path, target: Path, files: dict[str, bytes]):
    refused(write_wheel(blobs, files), target, "damaged|cannot be unpacked")
    assert not any(target.parent.parent.rglob("evil*"))


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_wheel_raises_nothing_but_errors_of_the_tree(tmp_path: Path, data: st.DataObject):
    number = len(list(tmp_path.iterdir()))
    blobs = tmp_path / f"blobs-{number}"
    blobs.mkdir()
    wheel = honest_wheel(blobs)
    content = bytearray(wheel.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else bytes(content)
    wheel.path.write_bytes(cut)
    target = tmp_path / f"env-{number}" / "packages"
    target.mkdir(parents=True)
    with contextlib.suppress(CorpGridError):
        unpack(wheel._replace(digest=digest(cut)), target)
    assert [path.name for path in target.parent.iterdir()] == ["packages"]
