"""Every process of a sandbox, seen and signalled from outside.

The sandbox's own ``/proc`` is read through its first process's root: it lists exactly the processes of its pid
namespace, whatever they do to hide, and costs the same however busy the host is.  A process is signalled through its
folder there, which the kernel takes as a handle: the number of a process that ended is never hit.

The root is opened once, before any code of a job runs, and only when what lies there is not the *host's* ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

PASS_SECONDS = 0.001
CALM_PASSES = 2
STILL = frozenset({"T", "t", "Z", "X", "D", ""})
"""States in which a thread runs no code: stopped, ended, or deep in the kernel with the stop awaiting its return."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class ProcessTree:
    """The processes of one sandbox.

    Args:
        pid: the first process, as the host numbers it.
        handle: its pidfd; closed with this object.
        root: descriptor of its root folder; closed with this object.
    """

    def __init__(self, pid: int, handle: int, root: int) -> None:
        self.pid = pid
        self.handle = handle
        self._root = root

    def close(self) -> None:
        """Let go of both descriptors."""
        os.close(self._root)
        os.close(self.handle)

    def folder(self, path: str) -> int | None:
        """A descriptor that stands for a folder of the sandbox, such as ``tmp``; None if it is not there."""
        try:
            return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        except OSError:
            return None

    def members(self) -> list[str]:
        """The processes, as the sandbox numbers them; the first is ``1``."""
        return [name for name in self.names("proc") if name.isdigit()]

    def names(self, path: str) -> list[str]:
        """What lies in a folder of the sandbox; nothing if it went away."""
        try:
            folder = os.open(path, _FOLDER, dir_fd=self._root)
        except OSError:
            return []
        try:
            return os.listdir(folder)  # noqa: PTH208 - pathlib cannot list a descriptor
        except OSError:
            return []
        finally:
            os.close(folder)

    def read(self, path: str) -> bytes:
        """A file in the sandbox's ``/proc``; empty if it went away."""
        try:
            descriptor = os.open(f"proc/{path}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
                return file.readall()
        except OSError:
            return b""

    def status(self, path: str) -> os.stat_result | None:
        """The status of a file of the sandbox, links followed; None if it went away."""
        try:
            return os.stat(path, dir_fd=self._root)
        except OSError:
            return None

    def signal(self, name: str, number: int) -> None:
        """Signal one member."""
        try:
            process = os.open(f"proc/{name}", _FOLDER, dir_fd=self._root)
        except OSError:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
        finally:
            os.close(process)

    def is_filtered(self, name: str) -> bool:
        """Whether a member has its system call filter."""
        return b"\nSeccomp:\t2\n" in self.read(f"{name}/status")

    def kill(self) -> None:
        """End the first process: the kernel ends all others with it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def stop(self, *, deadline: float, clock: Callable[[], float] = time.monotonic) -> bool:
        """Stop every process; whether all stood still by ``deadline``.

        A process that forks may outrun one look, so looks go on until two in a row find nothing that moves.
        """
        calm = 0
        while True:
            moving = [name for name in self.members() if not self._still(name)]
            for name in moving:
                self.signal(name, signal.SIGSTOP)
            calm = 0 if moving else calm + 1
            if calm == CALM_PASSES:
                return True
            if clock() > deadline:
                return False
            if moving:
                time.sleep(PASS_SECONDS)

    def signal_all(self, number: int) -> None:
        """Signal every member that one look shows."""
        for name in self.members():
            self.signal(name, number)

    def _still(self, name: str) -> bool:
        tasks = f"{name}/task"
        return all(_state(self.read(f"{tasks}/{thread}/stat")) in STILL for thread in self.names(f"proc/{tasks}"))


def open_tree(pid: int, handle: int) -> ProcessTree | None:
    """The tree below a sandbox's first process, or None while it has no root of its own yet.

    Args:
        pid: the first process, as the host numbers it.
        handle: its pidfd.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # on the way into its user namespace it cannot be looked at for a moment
        root = -1
    try:
        signal.pidfd_send_signal(handle, 0)  # still there: so the path was its own, and no later process's
        if root >= 0 and os.stat("proc", dir_fd=root).st_dev != Path("/proc").stat().st_dev:
            tree = ProcessTree(pid, handle, root)
            root = -1
            return tree
    except FileNotFoundError:
        pass
    finally:
        if root >= 0:
            os.close(root)
    return None


def children(pid: int) -> list[int]:
    """The processes that one started, as the host numbers them."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _state(stat_line: bytes) -> str:
    """The state letter, empty for a thread that is gone; the name before it may hold anything, brackets too."""
    after_name = stat_line.rfind(b")") + 2
    return stat_line[after_name : after_name + 1].decode("ascii", "replace")
