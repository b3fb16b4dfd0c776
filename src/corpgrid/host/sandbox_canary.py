"""Runs inside a sandbox and tries what must not work: the self-test's probe.

It is sent to the sandbox's interpreter as source, so it imports the standard library alone.  Its one argument is
JSON: the port of a listener on the host's loopback, and whether the agent is root.  Its answer is JSON: gate to detail,
where an empty detail means that the gate holds.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

HOST_PATHS = ("/etc/passwd", "/etc/shadow", "/home", "/root", "/run", "/var", "/sys", "/boot", "/opt/.", "/srv")
CLOSED_FOLDERS = ("/", "/usr", "/usr/bin", "/dev", "/canary", "/proc/sys/kernel")
OPEN_FOLDERS = ("/work", "/tmp", "/dev/shm")  # noqa: S108 - paths inside the sandbox
KEYCTL = {"x86_64": 250, "aarch64": 219}
IO_URING_SETUP = 425
CLONE_NEWUSER = 0x1000_0000
ENVIRONMENT = frozenset({"PWD", "LC_CTYPE"})
DESCRIPTORS_MAX = 1024
SECRET = "/canary/secret"  # noqa: S105 - a path


def host_files() -> str:
    """Nothing of the host beside ``/usr``."""
    return ", ".join(path for path in HOST_PATHS if Path(path).exists())


def network(port: int) -> str:
    """No interface beside the sandbox's own loopback, no way to the host's."""
    names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    if names != ["lo"]:
        return f"interfaces {', '.join(names)}"
    try:
        internet = socket.socket(socket.AF_INET)
    except OSError:
        return ""
    with internet:
        reached = internet.connect_ex(("127.0.0.1", port)) == 0
    return "the host's loopback answered" if reached else "sockets can be made"


def system_calls() -> str:
    """The filter is on, for calls that only it refuses."""
    if _status("Seccomp") != "2":
        return "no filter is on"
    keyctl = _errno(KEYCTL.get(os.uname().machine, -1), 0, 0)
    ring = _errno(IO_URING_SETUP, 1, 0)
    refused = keyctl == errno.EPERM and ring in {errno.EPERM, errno.ENOSYS}
    return "" if refused else f"keyctl gave {keyctl}, io_uring_setup gave {ring}"


def user_namespaces() -> str:
    """None can be made."""
    libc = ctypes.CDLL(None, use_errno=True)
    return "" if libc.unshare(CLONE_NEWUSER) == -1 else "one was made"


def capabilities() -> str:
    """None in any set."""
    held = {name: _status(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return ", ".join(f"{name} {bits}" for name, bits in held.items() if int(bits, 16))


def no_new_privileges() -> str:
    """Programs with the setuid bit or file capabilities gain nothing."""
    return "" if _status("NoNewPrivs") == "1" else "not set"


def job_user(*, agent_is_root: bool) -> str:
    """A file that only root may read stays closed."""
    if not agent_is_root:
        return ""
    try:
        Path(SECRET).read_bytes()
    except PermissionError:
        return ""
    return "a file of root's was read"


def writes() -> str:
    """Only the work folder and the folders in memory."""
    wrong = [folder for folder in CLOSED_FOLDERS if _writes(folder)]
    missing = [folder for folder in OPEN_FOLDERS if not _writes(folder)]
    return ", ".join([*(f"{folder} took a file" for folder in wrong), *(f"{folder} took none" for folder in missing)])


def descriptors() -> str:
    """Three, and no more."""
    return ", ".join(str(number) for number in range(3, DESCRIPTORS_MAX) if _is_open(number))


def environment() -> str:
    """Nothing of the agent's."""
    extra = set(os.environ) - ENVIRONMENT
    first = Path("/proc/1/environ").read_bytes()
    return ", ".join(sorted(extra)) or first.decode("utf-8", "replace")


def processes() -> str:
    """Only the sandbox's own."""
    seen = {name for name in os.listdir("/proc") if name.isdigit()} - {"1", str(os.getpid())}  # noqa: PTH208 - names
    return f"{len(seen)} others" if seen else ""


def _status(name: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return "0"


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _errno(call: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.syscall(call, *arguments) == -1 else 0


def _writes(folder: str) -> bool:
    path = Path(folder) / "corpgrid-canary"
    try:
        path.write_bytes(b"canary")
        path.unlink()
    except OSError:
        return False
    return True


def main(port: int, *, agent_is_root: bool) -> dict[str, str]:
    """Every gate's detail."""
    gates: dict[str, Callable[[], str]] = {
        "host_files": host_files,
        "network": lambda: network(port),
        "system_calls": system_calls,
        "user_namespaces": user_namespaces,
        "capabilities": capabilities,
        "no_new_privileges": no_new_privileges,
        "job_user": lambda: job_user(agent_is_root=agent_is_root),
        "writes": writes,
        "descriptors": descriptors,
        "environment": environment,
        "processes": processes,
    }
    return {name: _detail(gate) for name, gate in gates.items()}


def _detail(gate: Callable[[], str]) -> str:
    try:
        return gate()
    except Exception as error:  # noqa: BLE001 - whatever it was, the gate did not hold
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(**json.loads(sys.argv[1]))))
