"""A canonical archive: uncompressed USTAR that any ``tar`` can list, with one spelling for its content.

Regular files alone, mode 0644 or 0755, all times and owners zero, two zero blocks at the end.  ``read_archive``
compares every header, every padding byte and the end with what ``write_archive`` would have written, so a change of any
bit outside the files' own bytes is refused here; the bundle's manifest guards those.  The order is the caller's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

from corpgrid.errors import BundleError

_BLOCK_BYTES = 512
_NAME_BYTES = 100
_PREFIX_BYTES = 155
_END = bytes(2 * _BLOCK_BYTES)
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_SIZE = re.compile(rb"[0-7]{11}\0")
_ZERO = b"0000000\0"
_MODES = {False: b"0000644\0", True: b"0000755\0"}


class Member(NamedTuple):
    """One file."""

    name: str
    content: bytes
    executable: bool = False


def write_archive(members: Iterable[Member]) -> bytes:
    """The archive of these files, in this order.

    Raises:
        BundleError: a name is too long for the format.
    """
    pieces: list[bytes] = []
    for member in members:
        header = _header(member.name, len(member.content), executable=member.executable)
        pieces += header, member.content, bytes(_padding_bytes(len(member.content)))
    return b"".join([*pieces, _END])


def read_archive(content: bytes, *, max_members: int) -> list[Member]:
    """The files of an archive that ``write_archive`` wrote.

    Raises:
        BundleError: a single byte is not as it would have been written, or there are too many files.
    """
    members: list[Member] = []
    at = 0
    while content[at : at + _BLOCK_BYTES] != _END[:_BLOCK_BYTES]:
        if len(members) == max_members:
            raise BundleError(f"the bundle has more than {max_members:,} members")
        member, at = _read_member(content, at)
        members.append(member)
    if content[at:] != _END:
        raise BundleError(f"the bundle does not end after its last member, at byte {at}")
    return members


def _read_member(content: bytes, at: int) -> tuple[Member, int]:
    """The member whose header stands at byte ``at``, and where the next one stands."""
    start = at + _BLOCK_BYTES
    header = content[at:start]
    if len(header) < _BLOCK_BYTES:
        raise BundleError(f"the bundle is cut off at byte {len(content)}")
    name, executable, size_bytes = _read_header(header, at)
    end = start + size_bytes
    following = end + _padding_bytes(size_bytes)
    if following > len(content) or any(content[end:following]):
        raise BundleError(f"the bundle is damaged after {name!r}, at byte {end}")
    return Member(name, content[start:end], executable), following


def _read_header(header: bytes, at: int) -> tuple[str, bool, int]:
    fields = _HEADER.unpack(header)
    raw_name, mode, size, prefix = fields[0], fields[1], fields[4], fields[15]
    try:
        name = b"/".join(part.rstrip(b"\0") for part in (prefix, raw_name) if any(part)).decode()
    except UnicodeDecodeError:
        raise BundleError(f"the bundle has a name that is not UTF-8, at byte {at}") from None
    executable = mode == _MODES[True]
    if not _SIZE.fullmatch(size) or _header(name, int(size[:-1], 8), executable=executable) != header:
        raise BundleError(f"the bundle is no canonical archive: see its header at byte {at}")
    return name, executable, int(size[:-1], 8)


def _header(name: str, size_bytes: int, *, executable: bool) -> bytes:
    prefix, short = _split(name.encode())
    header = bytearray(
        _HEADER.pack(
            *(short, _MODES[executable], _ZERO, _ZERO, b"%011o\0" % size_bytes, b"%011o\0" % 0, b" " * 8, b"0", b""),
            *(b"ustar\0", b"00", b"", b"", b"", b"", prefix),
        )
    )
    header[_CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Prefix and name: nothing and all of it if that fits, else cut at the first ``/`` that leaves few enough bytes."""
    if len(name) <= _NAME_BYTES:
        return b"", name
    cut = name.find(b"/", len(name) - _NAME_BYTES - 1)
    if not 0 < cut <= _PREFIX_BYTES:
        raise BundleError(
            f"the name {name.decode()!r} is too long for a bundle: "
            f"its last part may have {_NAME_BYTES} bytes and the folders before it {_PREFIX_BYTES}",
            remedy="Shorten the file's name or move it up.",
        )
    return name[:cut], name[cut + 1 :]


def _padding_bytes(size_bytes: int) -> int:
    return -size_bytes % _BLOCK_BYTES
