"""Unpacks one wheel, a zip archive from a stranger.  Nothing in it is run, and nothing of it lands outside its folder.

The archive's own list is checked before anything is written: names (relative, plain, each once), kinds (files and
folders, no links, nothing encrypted), how many, how large together, and how much larger than the archive.  What is
written is what was listed: reading stops at the size that the list names.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile, ZipInfo

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelContentElement, WheelFile

from corpgrid.agent.wheel_tags import Interpreter, wheel_fault
from corpgrid.domain.ids import Digest
from corpgrid.errors import BundleError, CorpGridError, LimitError, StoreError
from corpgrid.trust.digest import Hasher, require_digest

_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f\\]+")
_MAX_COMPONENT_BYTES = 255
_MAX_METADATA_BYTES = 16 << 20
_RATIO_FREE_BYTES = 16 << 20
"""Small archives may be as empty as they like."""
_READ_BYTES = 1 << 20
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Wheel(NamedTuple):
    """One wheel of an environment.

    Attributes:
        name: its file name, with the tags; the bundle's manifest names it.
        digest: of its bytes; likewise.
        path: where they are on this device.
    """

    name: str
    digest: Digest
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentLimits:
    """What all wheels of an environment may unpack to, together.

    Attributes:
        environment_bytes: bytes of their files.
        environment_files: how many files.
        environment_ratio: how much larger than its archive one may be.
    """

    environment_bytes: int = 16 << 30
    environment_files: int = 200_000
    environment_ratio: int = 100


class Unpacked(NamedTuple):
    """How much was written."""

    size_bytes: int = 0
    files: int = 0


def unpack_wheel(
    wheel: Wheel, target: Path, *, interpreter: Interpreter, limits: EnvironmentLimits, before: Unpacked
) -> Unpacked:
    """Unpack into ``target``, beside the wheels before; how much they are together.

    Raises:
        BundleError: it does not fit this device, or is no wheel as it should be.
        DigestError: its bytes are not those that were named.
        LimitError: it is too much.
        StoreError: the disk is full.
    """
    fault = wheel_fault(wheel.name, interpreter)
    if fault:
        raise BundleError(f"the wheel {wheel.name} does not fit: {fault}", remedy="Build the bundle for this platform.")
    _require_bytes(wheel)
    try:
        with ZipFile(wheel.path) as archive:
            total = _require_archive(wheel, archive, limits, before)
            archive.filename = wheel.name
            install(_Source(archive), _destination(target), additional_metadata={"INSTALLER": b"corpgrid\n"})
    except CorpGridError:
        raise
    except OSError as cause:
        if cause.errno in _NO_ROOM:
            raise StoreError(f"no room for the wheel {wheel.name}: {cause.strerror}") from cause
        raise BundleError(f"the wheel {wheel.name} cannot be unpacked: {cause}") from cause
    except Exception as cause:
        # A wheel is a stranger's file: whatever it makes its reader raise says that it is not as it should be.
        raise BundleError(f"the wheel {wheel.name} is damaged: {cause or type(cause).__name__}") from cause
    return total


class _Source(WheelFile):
    """A wheel whose bytecode is left out: it could differ from the source beside it."""

    def get_contents(self) -> Iterator[WheelContentElement]:
        for element in super().get_contents():
            if "__pycache__" not in element[0][0].split("/"):
                yield element


def _destination(target: Path) -> SchemeDictionaryDestination:
    root = str(target)
    schemes = {"purelib": root, "platlib": root, "data": root, "headers": f"{root}/include", "scripts": f"{root}/bin"}
    return SchemeDictionaryDestination(scheme_dict=schemes, interpreter="/usr/bin/python3", script_kind="posix")


def _require_bytes(wheel: Wheel) -> None:
    hasher = Hasher()
    with wheel.path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
    require_digest(wheel.digest, hasher.digest(), what=f"the wheel {wheel.name}")


def _require_archive(wheel: Wheel, archive: ZipFile, limits: EnvironmentLimits, before: Unpacked) -> Unpacked:
    """Check the archive's list; how much it and the wheels before are together."""
    entries = archive.infolist()
    for entry in entries:
        if fault := _fault(entry):
            raise BundleError(f"the wheel {wheel.name} holds {entry.filename[:200]!r}: {fault}")
    if len({entry.filename for entry in entries}) != len(entries):
        raise BundleError(f"the wheel {wheel.name} holds one name twice")
    size = sum(entry.file_size for entry in entries)
    packed = wheel.path.stat().st_size
    if size > max(_RATIO_FREE_BYTES, packed * limits.environment_ratio):
        got = size // max(packed, 1)
        raise LimitError(
            "environment_ratio", limit=limits.environment_ratio, got=got, what=f"the ratio of {wheel.name}"
        )
    total = Unpacked(before.size_bytes + size, before.files + len(entries))
    if total.size_bytes > limits.environment_bytes:
        raise _too_much("environment_bytes", limits.environment_bytes, total.size_bytes)
    if total.files > limits.environment_files:
        raise _too_much("environment_files", limits.environment_files, total.files)
    return total


def _too_much(name: str, limit: int, got: int) -> LimitError:
    return LimitError(name, limit=limit, got=got, what="the job's environment")


def _fault(entry: ZipInfo) -> str:
    """Why an entry may not be in a wheel; empty if it may."""
    return next((fault for fault, found in _faults(entry) if found), "")


def _faults(entry: ZipInfo) -> Iterator[tuple[str, bool]]:
    name = entry.filename.removesuffix("/")
    parts = name.split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    yield "the name has odd characters", not _PLAIN_NAME.fullmatch(name)
    yield "the name is not a plain relative path", not {"", ".", ".."}.isdisjoint(parts) or name[1:2] == ":"
    yield "the name is too long", any(len(part.encode(errors="replace")) > _MAX_COMPONENT_BYTES for part in parts)
    yield "it is neither a file nor a folder", kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG)
    yield "it is encrypted", bool(entry.flag_bits & 1)
    yield "a data folder holds folders", parts[0].endswith(".data") and len(parts) < 3 and not entry.is_dir()
    yield "metadata is not that large", ".dist-info" in parts[0] and entry.file_size > _MAX_METADATA_BYTES
