"""The packages of jobs: each set of wheels is unpacked once on a device, and shared by all jobs that name it.

* An environment's name is the digest of its wheels' names and digests and of the interpreter: the same wheels are the
  same folder, whoever asks.
* It is made beside its place and renamed into it, so that what is there is whole, also after a power cut.  Requests
  that come while it is made wait for that one making.
* Nothing in a wheel is run.  Bytecode comes from ``precompile`` if it is given, which works inside the sandbox: even
  reading source is work for which the agent is too precious.
* What is used least recently goes first when all together are larger than ``cache_bytes``; what is held stays.

    held = await environments.acquire(wheels)
    ...                                           # show held.path as /env
    held.release()
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from corpgrid.agent.bytecode import Precompile, place_bytecode
from corpgrid.agent.removal import remove_tree
from corpgrid.agent.wheel_tags import Interpreter
from corpgrid.agent.wheels import EnvironmentLimits, Unpacked, Wheel, unpack_wheel
from corpgrid.errors import BundleError, StoreError
from corpgrid.trust.digest import Hasher

_PACKAGES = "packages"
_SIZE = "size"
_OPEN_FOLDER = 0o755
_OPEN_FILE = 0o644
_SEALED_FOLDER = 0o555
_SEALED_FILE = 0o444
_EXECUTABLE = 0o111
_BLOCK_BYTES = 512


class Environment:
    """An environment that stays while it is held.

    Attributes:
        path: the folder to show to the job as ``/env``.
    """

    def __init__(self, path: Path, release: Callable[[], None]) -> None:
        self.path = path
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """It is no longer needed here; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Environments:
    """All environments of this device.

    Args:
        root: their folder; the sandbox's user must be able to enter it.
        interpreter: what the wheels must fit.
        cache_bytes: what all of them may take on disk, together.
        limits: what one of them may unpack to.
        precompile: makes their bytecode.
    """

    def __init__(
        self,
        root: Path,
        *,
        interpreter: Interpreter,
        cache_bytes: int,
        limits: EnvironmentLimits | None = None,
        precompile: Precompile | None = None,
    ) -> None:
        self._root = root
        self._interpreter = interpreter
        self._cache_bytes = cache_bytes
        self._limits = limits or EnvironmentLimits()
        self._precompile = precompile
        self._making: dict[str, asyncio.Task[None]] = {}
        self._holders: Counter[str] = Counter()
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(_OPEN_FOLDER)

    async def sweep(self) -> None:
        """Delete what a crash left half made; before the first ``acquire``."""
        for leftover in self._root.glob(".*ing-*"):
            await asyncio.to_thread(remove_tree, leftover)

    async def acquire(self, wheels: Sequence[Wheel]) -> Environment:
        """The environment of these wheels, made if it is not there.

        Raises:
            BundleError: a wheel does not fit this device, or is none; or two of them hold the same file.
            DigestError: a wheel's bytes are not those that were named.
            LimitError: they unpack to too much.
            StoreError: the disk is full.
        """
        key = self._key(wheels)
        self._holders[key] += 1
        held = Environment(self._root / key / _PACKAGES, lambda: self._release(key))
        try:
            await self._there(key, wheels)
        except BaseException:
            held.release()
            raise
        os.utime(self._root / key / _SIZE)
        return held

    def has(self, wheels: Sequence[Wheel]) -> bool:
        """Whether it is there already, so that ``acquire`` needs no wheel's bytes."""
        return (self._root / self._key(wheels) / _SIZE).exists()

    async def _there(self, key: str, wheels: Sequence[Wheel]) -> None:
        if (self._root / key / _SIZE).exists():
            return
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._make(key, wheels))
            making.add_done_callback(lambda made: self._made(key, made))
        await asyncio.shield(making)  # one who gives up does not spoil it for the others

    def _made(self, key: str, making: asyncio.Task[None]) -> None:
        del self._making[key]
        if not making.cancelled():
            making.exception()  # it was told to whoever still waited

    async def _make(self, key: str, wheels: Sequence[Wheel]) -> None:
        making = self._root / f".making-{secrets.token_hex(8)}"
        packages = making / _PACKAGES
        try:
            _new_folder(making)
            _new_folder(packages)
            await asyncio.to_thread(self._unpack, wheels, packages)
            if self._precompile is not None:
                await asyncio.to_thread(_set_modes, packages, folder_mode=_OPEN_FOLDER, file_mode=_OPEN_FILE)
                made = _new_folder(making / "bytecode")
                await self._precompile(packages, made)
                await asyncio.to_thread(place_bytecode, made, packages)
            size = await asyncio.to_thread(_set_modes, packages, folder_mode=_SEALED_FOLDER, file_mode=_SEALED_FILE)
            packages.chmod(_SEALED_FOLDER)
            (making / _SIZE).write_text(str(size))
            await asyncio.to_thread(os.sync)
            making.rename(self._root / key)
        except OSError as cause:
            if (self._root / key / _SIZE).exists():  # another agent was faster
                return
            raise StoreError(f"an environment cannot be made in {self._root}: {cause}") from cause
        finally:
            await asyncio.to_thread(remove_tree, making)
        await self._evict()

    def _unpack(self, wheels: Sequence[Wheel], packages: Path) -> None:
        total = Unpacked()
        for wheel in wheels:
            total = unpack_wheel(wheel, packages, interpreter=self._interpreter, limits=self._limits, before=total)

    async def _evict(self) -> None:
        known = [(path.stat().st_mtime, int(path.read_text()), path.parent) for path in self._root.glob(f"*/{_SIZE}")]
        total = sum(size for _, size, _ in known)
        for _, size, folder in sorted(known):
            if total > self._cache_bytes and not self._holders[folder.name]:
                total -= size
                doomed = folder.rename(self._root / f".removing-{secrets.token_hex(8)}")
                await asyncio.to_thread(remove_tree, doomed)

    def _release(self, key: str) -> None:
        self._holders[key] -= 1

    def _key(self, wheels: Sequence[Wheel]) -> str:
        hasher = Hasher()
        hasher.update(str(self._interpreter).encode())
        for name, digest in sorted((wheel.name, wheel.digest) for wheel in wheels):
            hasher.update(b"\0%b\0%b" % (name.encode(), digest))
        return hasher.digest().hex()[:32]


def _new_folder(path: Path) -> Path:
    path.mkdir()
    path.chmod(_OPEN_FOLDER)  # whatever the umask says: the sandbox's user enters it
    return path


def _set_modes(folder: Path, *, folder_mode: int, file_mode: int) -> int:
    """Give everything in a folder these modes, whatever the umask said; how many bytes it takes on disk.

    Raises:
        BundleError: something in it is neither a file nor a folder.
    """
    size = 0
    for here, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            path = Path(here, name)
            status = path.lstat()
            size += status.st_blocks * _BLOCK_BYTES
            if stat.S_ISREG(status.st_mode):
                path.chmod(file_mode | (status.st_mode & _EXECUTABLE and _EXECUTABLE))
            elif stat.S_ISDIR(status.st_mode):
                path.chmod(folder_mode)
            else:
                raise BundleError(f"{name!r} in an environment is neither a file nor a folder")
    return size
