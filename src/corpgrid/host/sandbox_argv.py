"""The command line that builds a job's world: a pure function from a `SandboxSpec` to bubblewrap's arguments.

What a job sees, and all that it sees:

* ``/usr`` read-only, with ``/bin``, ``/lib`` and ``/lib64`` as links into it;
* its own ``/proc``, a ``/dev`` without devices, ``/tmp`` and ``/dev/shm`` in memory with a size;
* the folders that the specification names, read-only, and ``/work``, the only place on disk where it may write;
* with a network grant: the four public files that name resolution and TLS need;
* with a GPU grant: the driver's device nodes and the files by which its libraries are found.

Never the host's root, ``/etc``, ``/home``, ``/run`` or ``/sys``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from corpgrid.errors import SandboxError
from corpgrid.ports.sandbox import SandboxSpec

ISOLATION = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--assert-userns-disabled"),
    *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
    *("--new-session", "--die-with-parent", "--clearenv", "--hostname", "job"),
)
SYSTEM = (
    *("--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--proc", "/proc", "--dev", "/dev"),
)
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl/certs")
GPU_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia-caps")
GPU_FILES = ("/proc/driver/nvidia", "/etc/ld.so.cache", "/etc/vulkan/icd.d", "/etc/OpenCL/vendors")

WAIT_FOR_GO = ("/bin/sh", "-c", 'read -r go && exec "$@"', "sh")
"""Inside, ahead of the command: an empty line on standard input lets it run, the end of input ends the sandbox."""

TAKEN = frozenset({"/", "/work", "/tmp", "/bin", "/lib", "/lib64", "/usr"})  # noqa: S108 - paths inside the sandbox
TAKEN_BELOW = ("/proc", "/dev", "/sys", "/run", "/work", "/tmp")  # noqa: S108 - likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Plumbing:
    """What the command line needs beside the specification.

    Attributes:
        bwrap: the bubblewrap program.
        seccomp: descriptor from which it reads the system call filter.
        status: descriptor to which it writes its status lines.
        driver_folders: host folders outside ``/usr`` that hold a GPU driver's libraries.
    """

    bwrap: Path
    seccomp: int
    status: int
    driver_folders: tuple[Path, ...] = ()


def bwrap_argv(spec: SandboxSpec, plumbing: Plumbing) -> list[str]:
    """Bubblewrap's whole command line for ``spec``.

    Raises:
        SandboxError: a path inside is not absolute and plain, or is taken by the sandbox itself.
    """
    return [
        str(plumbing.bwrap),
        *ISOLATION,
        *_network(granted=spec.network),
        *SYSTEM,
        *_memory_folders(spec.limits.tmp_bytes),
        *_gpus(spec.gpus, plumbing.driver_folders),
        *_read_only(spec),
        *("--bind", str(spec.work), "/work", "--chdir", "/work"),
        # Last: mount points are made while the root can still be written.
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *(word for name, value in spec.env.items() for word in ("--setenv", name, value)),
        *("--seccomp", str(plumbing.seccomp), "--json-status-fd", str(plumbing.status)),
        "--",
        *WAIT_FOR_GO,
        *spec.argv,
    ]


def _network(*, granted: bool) -> Iterator[str]:
    if granted:
        yield "--share-net"
        yield from _try_all("--ro-bind-try", NETWORK_FILES)


def _memory_folders(size_bytes: int) -> tuple[str, ...]:
    size = ("--size", str(size_bytes))
    return (*size, "--tmpfs", "/dev/shm", *size, "--tmpfs", "/tmp")  # noqa: S108 - paths inside the sandbox


def _gpus(indexes: tuple[int, ...], driver_folders: tuple[Path, ...]) -> Iterator[str]:
    if indexes:
        yield from _try_all("--dev-bind-try", [f"/dev/nvidia{index}" for index in indexes])
        yield from _try_all("--dev-bind-try", GPU_NODES)
        yield from _try_all("--ro-bind-try", [*GPU_FILES, *map(str, driver_folders)])


def _try_all(flag: str, paths: Iterable[str]) -> Iterator[str]:
    """Flags that bind each path at the same place, if it is there."""
    for path in paths:
        yield from (flag, path, path)


def _read_only(spec: SandboxSpec) -> Iterator[str]:
    # Sorted by the path inside, so that a folder is mounted before what lies in it.
    for source, inside in sorted(spec.read_only.items(), key=lambda pair: pair[1]):
        _check_inside(inside)
        yield from ("--ro-bind", str(source), inside)


def _check_inside(inside: str) -> None:
    path = PurePosixPath(inside)
    plain = path.is_absolute() and str(path) == inside and ".." not in path.parts and not inside.startswith("//")
    taken = inside in TAKEN or any(path.is_relative_to(folder) for folder in TAKEN_BELOW)
    if not plain or taken:
        raise SandboxError(
            f"nothing can be shown at {inside!r} inside the sandbox: "
            + ("the sandbox has its own there" if plain else "the path must be absolute and plain"),
            remedy="Name a path such as /job, /in, /env or /runtime.",
        )
