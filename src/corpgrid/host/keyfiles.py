"""Keys on disk.

* A private key's file is made at once, whole and for its owner alone (mode 0600): it is written under another name and
  then linked to its own, which fails if that is taken, so no key is ever overwritten and no half of one is ever seen.
* A private key's file that its group or others can touch, or that is somebody else's, is refused; so are trusted keys
  that others could have added to.  Windows has no such modes: there the access list of the user's profile guards them.
* A keyring is a folder of ``*.pem`` files with one public key each; whatever else lies there is no key and is left out.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from corpgrid.errors import ConflictError, NotFoundError, TrustError
from corpgrid.trust.keys import Keyring, PrivateKey, PublicKey

Key = TypeVar("Key", PrivateKey, PublicKey)

MAX_KEY_FILE_BYTES = 64 << 10
_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o644
_ROOT = 0
_SETTLED_SECONDS = 2.0
# O_NONBLOCK: opening a named pipe must not wait for its writer; O_BINARY: Windows must not touch line ends.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def write_private_key(path: Path, key: PrivateKey) -> None:
    """Write a private key to a new file of mode 0600.

    Raises:
        ConflictError: the file exists already.
        TrustError: it cannot be written.
    """
    _create(path, key.to_pem(), mode=_PRIVATE_MODE)


def read_private_key(path: Path) -> PrivateKey:
    """Read a private key that only this user can read.

    Raises:
        NotFoundError: there is no such file.
        TrustError: others could have read or written it, it is somebody else's, or it holds no key.
    """
    return _parse(path, PrivateKey.from_pem, _read(path, forbidden_mode=0o077, may_be_roots=False))


def ensure_private_key(path: Path) -> PrivateKey:
    """The private key of this file, made now if there is none; two who do this at once get the same key."""
    if not path.exists():
        with suppress(ConflictError):  # somebody else was first: theirs it is
            write_private_key(path, PrivateKey.generate())
    return read_private_key(path)


def write_public_key(path: Path, key: PublicKey) -> None:
    """Write a public key to a new file.

    Raises:
        ConflictError: the file exists already.
        TrustError: it cannot be written.
    """
    _create(path, key.to_pem(), mode=_PUBLIC_MODE)


def read_public_key(path: Path) -> PublicKey:
    """Read a public key that only this user or root could have written.

    Raises:
        NotFoundError: there is no such file.
        TrustError: others could have written it, or it holds no key.
    """
    return _parse(path, PublicKey.from_pem, _read(path, forbidden_mode=0o022, may_be_roots=True))


def load_keyring(folder: Path) -> Keyring:
    """The public keys of all ``*.pem`` files of a folder.

    Raises:
        NotFoundError: there is no such folder.
        TrustError: others could have added a key, or a file holds none.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", remedy="Make it, and put the trusted public keys there.")
    _check_access(folder, folder.stat(), forbidden_mode=0o022, may_be_roots=True)
    return Keyring(read_public_key(path) for path in sorted(folder.glob("*.pem")))


class KeyFolder:
    """The keyring of a folder as it is at each call; read again only when a file in it, or the folder, has changed.

    Args:
        folder: as for ``load_keyring``.
        now: seconds since the epoch.  What changed within the last ``_SETTLED_SECONDS`` is read once more, for a file
            system's time stamps are coarse: a second change may bear the stamp of the first.
    """

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder = folder
        self._now = now
        self._marks: list[tuple[str, int, int, int]] = []
        self._keyring = Keyring()

    def __call__(self) -> Keyring:
        """The keyring.

        Raises:
            NotFoundError, TrustError: as ``load_keyring``.
        """
        marks = self._marks_now()
        if not marks or marks != self._marks:
            self._keyring = load_keyring(self._folder)
            newest = max((changed for *_, changed in marks), default=0)
            self._marks = marks if self._now() - newest / 1e9 > _SETTLED_SECONDS else []
        return self._keyring

    def _marks_now(self) -> list[tuple[str, int, int, int]]:
        """What tells the folder and each key's file from what they were before."""
        with suppress(OSError):
            with os.scandir(self._folder) as entries:
                files = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".pem")]
            named = [("", self._folder.stat()), *files]
            return sorted(
                (name, found.st_ino, found.st_size, max(found.st_mtime_ns, found.st_ctime_ns)) for name, found in named
            )
        return []


def _parse(path: Path, parse: Callable[[bytes], Key], pem: bytes) -> Key:
    try:
        return parse(pem)
    except TrustError as cause:
        raise TrustError(f"{path} cannot be used: {cause}", remedy=cause.remedy) from cause


def _read(path: Path, *, forbidden_mode: int, may_be_roots: bool) -> bytes:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        raise NotFoundError(f"there is no key file {path}", remedy="Make one with `corpgrid key new`.") from None
    except OSError as cause:
        raise TrustError(f"the key file {path} cannot be read: {cause.strerror}") from cause
    try:
        # The open file is asked, not its name: a name may point elsewhere a moment later.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TrustError(f"{path} is no regular file", remedy="Name a file that `corpgrid key new` wrote.")
        _check_access(path, status, forbidden_mode=forbidden_mode, may_be_roots=may_be_roots)
        content = os.read(descriptor, MAX_KEY_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_KEY_FILE_BYTES:
        raise TrustError(f"{path} is too large for a key: MAX_KEY_FILE_BYTES allows {MAX_KEY_FILE_BYTES:,}")
    return content


def _check_access(path: Path, status: os.stat_result, *, forbidden_mode: int, may_be_roots: bool) -> None:
    if sys.platform == "win32":
        return
    owners = {os.geteuid(), _ROOT} if may_be_roots else {os.geteuid()}
    if status.st_uid not in owners:
        raise TrustError(
            f"{path} belongs to user {status.st_uid}, not to user {os.geteuid()}, who runs this",
            remedy=f"chown {os.geteuid()} {path}, if you know where it comes from.",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden_mode:
        raise TrustError(
            f"{path} has mode {mode:04o}: others than its owner can get at it",
            remedy=f"chmod {mode & ~forbidden_mode:04o} {path}, if you are sure that nobody did.",
        )


def _create(path: Path, content: bytes, *, mode: int) -> None:
    """Make a new file, whole and durable or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        _write_draft(draft, content, mode=mode)
        os.link(draft, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise ConflictError(
            f"{path} exists already", remedy="Choose another name: a key is never overwritten."
        ) from None
    except OSError as cause:
        raise TrustError(f"the key file {path} cannot be written: {cause.strerror}") from cause
    finally:
        draft.unlink(missing_ok=True)


def _write_draft(draft: Path, content: bytes, *, mode: int) -> None:
    with os.fdopen(os.open(draft, _CREATE_FLAGS, mode), "wb") as file:
        if sys.platform != "win32":
            os.fchmod(file.fileno(), mode)  # whatever the umask says
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable; Windows does so by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
