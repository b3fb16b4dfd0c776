"""Where a scheduler listens: a Unix socket in a folder that only its user may enter, or a loopback port.  Nothing else.

Until connections carry certificates, the operating system is what says who may connect.  An address that other machines
could reach is therefore refused, on both sides.

>>> parse("unix:/run/corpgrid/grid.sock").target
'unix:/run/corpgrid/grid.sock'
>>> parse("127.0.0.1:8470").path is None
True
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from corpgrid.errors import ConfigError, ConflictError, RefusedError

_SOCKET_PATH_BYTES = 103
"""What every system's sockaddr_un holds."""
_FORMS = "An address is unix:/absolute/path or a loopback one such as 127.0.0.1:8470."


class Address(NamedTuple):
    """A local address.

    Attributes:
        target: as gRPC writes it.
        path: of the Unix socket, or None for a port.
    """

    target: str
    path: Path | None = None


def parse(text: str) -> Address:
    """Read an address.

    Raises:
        ConfigError: it is not written like one.
        RefusedError: other machines could reach it.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:").removeprefix("//"))
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigError(f"{text!r} is no address", remedy=_FORMS)
    if host == "localhost":
        host = "127.0.0.1"
    try:
        local = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    if not local:
        raise RefusedError(
            f"{text!r} can be reached by other machines, and connections are not encrypted", remedy=_FORMS
        )
    return Address(target=f"{host}:{port}")


def parse_all(text: str) -> tuple[Address, ...]:
    """Read the addresses of equal schedulers, with commas between them.

    Raises:
        ConfigError: one is not written like an address, or there is none.
        RefusedError: other machines could reach one.
    """
    found = tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",") if part.strip()))
    if not found:
        raise ConfigError("there is no address", remedy=_FORMS)
    return found


def prepare(address: Address) -> None:
    """Make a Unix socket's folder safe to listen in; what a dead scheduler left there is removed.

    Raises:
        RefusedError: other users may enter the folder.
        ConflictError: somebody listens there already.
    """
    if address.path is None:
        return
    folder = address.path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
        raise RefusedError(
            f"other users may enter {folder}, in which the scheduler's socket shall stand",
            remedy=f"chmod 700 {folder}, or name another folder.",
        )
    if _answers(address.path):
        raise ConflictError(
            f"a scheduler listens on {address.path} already", remedy="Stop it, or name another address."
        )
    address.path.unlink(missing_ok=True)


def _unix(name: str) -> Address:
    path = Path(name)
    if not path.is_absolute():
        raise ConfigError(f"the socket's path {name!r} is not absolute", remedy=_FORMS)
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise ConfigError(
            f"the socket's path has more than {_SOCKET_PATH_BYTES} bytes: {path}", remedy="Choose a shorter folder."
        )
    return Address(target=f"unix:{path}", path=path)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
