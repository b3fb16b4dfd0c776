"""Seconds since the last input on a local X display, asked in the X protocol itself.

    X11Idle.from_environment({"DISPLAY": ":0"}).idle_seconds()

Rules:

* Only a display of this machine counts (``:0``, ``unix:0``); one reached over the network tells of another owner.
* Not under Wayland: there the X server sees only what is typed into X programs, and would call a busy owner idle.
* No X library is used, because Xlib ends the whole process when the display goes away.  Every question has its own
  connection; together they cost less than a millisecond.
* An answer is a number or None (cannot tell), never an exception.

The protocol: connection setup with MIT-MAGIC-COOKIE-1, ``QueryExtension``, then ``ScreenSaverQueryInfo``.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108  # where X servers listen, on every Unix
_LOCAL_DISPLAY = re.compile(r"(?:unix)?:(\d+)(?:\.\d+)?")
_TIMEOUT_SECONDS = 0.2
_COOKIE = b"MIT-MAGIC-COOKIE-1"
_FAMILY_LOCAL = 256
_FAMILY_WILD = 65535
_QUERY_EXTENSION = 98
_SCREEN_SAVER = b"MIT-SCREEN-SAVER"
_SCREEN_SAVER_QUERY_INFO = 1
_ERROR, _REPLY = 0, 1
_PACKET_BYTES = 32


class X11Idle:
    """Asks one local display.

    Args:
        number: of the display.
        authority: the file of cookies, or None to connect without one.
        sockets: folder in which X servers listen.
    """

    def __init__(self, number: int, *, authority: Path | None = None, sockets: Path = SOCKETS) -> None:
        self._number = number
        self._authority = authority
        self._socket = sockets / f"X{number}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, sockets: Path = SOCKETS) -> Self | None:
        """The display of this environment, or None where it has none that could tell."""
        match = _LOCAL_DISPLAY.fullmatch(environ.get("DISPLAY", ""))
        if match is None or environ.get("WAYLAND_DISPLAY"):
            return None
        home = environ.get("HOME", "")
        authority = environ.get("XAUTHORITY") or (home and f"{home}/.Xauthority")
        return cls(int(match[1]), authority=Path(authority) if authority else None, sockets=sockets)

    def alive(self) -> bool:
        """Whether an X server listens there, so that somebody may sit at it; one that hangs counts."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_SECONDS)
            try:
                connection.connect(str(self._socket))
            except TimeoutError:
                return True
            except OSError:
                return False
            return True

    def idle_seconds(self) -> float | None:
        """Seconds since the last input, or None if the display does not tell."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_TIMEOUT_SECONDS)
                connection.connect(str(self._socket))
                root = _set_up(connection, _cookie(self._authority, self._number))
                return _idle_seconds(connection, _extension(connection, _SCREEN_SAVER), root)
        except (OSError, EOFError, struct.error):
            return None


def _set_up(connection: socket.socket, cookie: bytes) -> int:
    """The first exchange; returns the root window of the first screen."""
    name = _COOKIE if cookie else b""
    hello = struct.pack("<2sHHHHxx", b"l\0", 11, 0, len(name), len(cookie))
    connection.sendall(hello + _padded(name) + _padded(cookie))
    accepted, words = struct.unpack("<B5xH", _exactly(connection, 8))
    body = _exactly(connection, words * 4)
    if accepted != 1:
        raise EOFError("the X server refused the connection")
    vendor_bytes, formats = struct.unpack_from("<16xH3xB", body)
    at_first_screen = _PACKET_BYTES + (vendor_bytes + 3) // 4 * 4 + formats * 8
    (root,) = struct.unpack_from("<I", body, at_first_screen)
    return int(root)


def _extension(connection: socket.socket, name: bytes) -> int:
    """The number under which the server knows an extension."""
    padded = _padded(name)
    connection.sendall(struct.pack("<BxHHxx", _QUERY_EXTENSION, 2 + len(padded) // 4, len(name)) + padded)
    present, number = struct.unpack_from("<8xBB", _reply(connection))
    if not present:
        raise EOFError("the X server does not know the extension")
    return int(number)


def _idle_seconds(connection: socket.socket, extension: int, root: int) -> float:
    connection.sendall(struct.pack("<BBHI", extension, _SCREEN_SAVER_QUERY_INFO, 2, root))
    (idle_milliseconds,) = struct.unpack_from("<16xI", _reply(connection))
    return float(idle_milliseconds) / 1000


def _reply(connection: socket.socket) -> bytes:
    """The next reply.  Events come unasked (a new keyboard layout is told to everybody) and are skipped."""
    while True:
        packet = _exactly(connection, _PACKET_BYTES)
        if packet[0] == _REPLY:
            (words,) = struct.unpack_from("<4xI", packet)
            return packet + _exactly(connection, words * 4)
        if packet[0] == _ERROR:
            raise EOFError("the X server refused the question")


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError("the X server closed the connection")
        parts += part
    return bytes(parts)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _cookie(authority: Path | None, number: int) -> bytes:
    """The cookie for this machine's display, or nothing."""
    try:
        content = b"" if authority is None else authority.read_bytes()
        entries = list(_authority_entries(content))
    except (OSError, struct.error):
        return b""
    wanted = {b"", str(number).encode()}
    matching = (data for family, display, name, data in entries if display in wanted and name == _COOKIE and family)
    return next(matching, b"")


def _authority_entries(content: bytes) -> Iterator[tuple[bool, bytes, bytes, bytes]]:
    """Whether each entry is for a local display, its display number, the name of its method, and its secret."""
    at = 0
    while at < len(content):
        (family,) = struct.unpack_from(">H", content, at)
        at += 2
        fields = []
        for _ in range(4):  # address, display number, method, secret
            (size,) = struct.unpack_from(">H", content, at)
            fields.append(content[at + 2 : at + 2 + size])
            at += 2 + size
        yield family in {_FAMILY_LOCAL, _FAMILY_WILD}, fields[1], fields[2], fields[3]
