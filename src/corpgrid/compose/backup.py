"""A backup of all that a scheduler keeps in its folder, taken while it runs; the copy has the folder's own layout.

* The database is copied first, at one moment (SQLite's own backup), and its integrity is checked.  Blobs are copied
  after it: whatever the rows of that moment name was stored before them.
* Each blob is read through; one that is not what its name says is left out, and named.
* Everything is made beside the target and takes its name when it is on the disk: a backup that is there is whole.
* A database of its own (``scheduler.store``) and a bucket (``scheduler.blobs``) have their own tools; without the one
  this is no backup, and so it is made only if that is said.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from corpgrid.agent.removal import remove_tree
from corpgrid.blobs.folder import file_digest
from corpgrid.blobs.temporary import sync_folder
from corpgrid.config import Config, SchedulerConfig
from corpgrid.errors import ConfigError, ConflictError, NotFoundError, StoreError

_DATABASE = "grid.db"
_FILES = ("grid.id", "audit.key", "ledger.pem", "ledger.pub")
_BLOBS = "[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/" + 64 * "[0-9a-f]"
_PRIVATE_FOLDER = 0o700
_SAID_LINES = 5


class Backup(NamedTuple):
    """What was saved.

    Attributes:
        store: the copied database's name; empty if it is elsewhere.
        blobs: how many; those in a bucket are not among them.
        damaged: blobs of the grid that are not what their names say, and so not in the backup.
        size_bytes: of everything.
    """

    folder: Path
    store: str
    blobs: int
    damaged: tuple[Path, ...]
    size_bytes: int


def back_up(config: Config, target: Path, *, without_store: bool = False) -> Backup:
    """Copy a scheduler's folder, and the public keys that it trusts, into a new folder.

    Args:
        config: whose.
        target: the new folder.
        without_store: the database is elsewhere and was saved before.

    Raises:
        ConflictError: there is something at the target.
        ConfigError: the database is elsewhere, or is not, and the other was said.
        NotFoundError: there is no such folder, or no database in it.
        StoreError: the database is damaged, something cannot be read, or there is no room.
    """
    settings, target = config.scheduler, target.resolve()
    _require_clear(settings, without_store=without_store)
    _require_there(config)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConflictError(f"there is something at {target}", remedy="Name a new folder; each backup has its own.")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(mode=_PRIVATE_FOLDER, parents=True)
        store = "" if settings.store else _DATABASE
        if store:
            _copy_database(settings.folder / store, draft / store)
        _copy_keys(settings, draft)
        blobs, damaged = (0, ()) if settings.blobs else _copy_blobs(settings.folder / "blobs", draft / "blobs")
        size_bytes = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
        os.sync()
        draft.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            f"the backup {target} cannot be written: {error.strerror or error}",
            remedy=f"Make room and a folder that this user may write to where {target} shall be, and try again.",
        ) from error
    finally:
        remove_tree(draft)
    return Backup(target, store, blobs, damaged, size_bytes)


def _require_clear(settings: SchedulerConfig, *, without_store: bool) -> None:
    if settings.store and not without_store:
        raise ConfigError(
            "the state of this grid is in the database that scheduler.store names, which has its own tools",
            remedy="Save it with pg_dump or by its write-ahead log first, then call this with --without-store.",
        )
    if without_store and not settings.store:
        raise ConfigError(
            f"the state of this grid is in {settings.folder / _DATABASE}", remedy="Leave --without-store out."
        )


def _require_there(config: Config) -> None:
    """Find what is to be saved."""
    settings = config.scheduler
    what = settings.folder if settings.store else settings.folder / _DATABASE
    if not what.exists():
        up = config.grid.folder / "scheduler"
        other = f"  That of `corpgrid up` is {up}." if (up / _DATABASE).exists() else ""
        raise NotFoundError(
            f"there is no {what}", remedy=f"Name the scheduler's folder: --set scheduler.folder=FOLDER.{other}"
        )


def _copy_database(source: Path, target: Path) -> None:
    """The database at one moment, as one file."""
    target.touch(mode=0o600)
    try:
        reading = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
        with closing(reading) as store, closing(sqlite3.connect(target)) as copy:
            store.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            found = [text for (text,) in copy.execute(f"PRAGMA integrity_check({_SAID_LINES})")]
    except sqlite3.Error as error:
        raise StoreError(f"the store {source} cannot be copied: {error}", remedy="Is the disk full?") from error
    if found != ["ok"]:
        raise StoreError(
            f"the store {source} is damaged: {'; '.join(found)}", remedy="Restore it from an earlier backup."
        )


def _copy_keys(settings: SchedulerConfig, target: Path) -> None:
    for name in _FILES:
        if (settings.folder / name).exists():
            shutil.copy2(settings.folder / name, target / name)
    for name, folder in (("trusted_keys", settings.trusted_keys), ("trusted_devices", settings.trusted_devices)):
        if folder.is_dir():
            shutil.copytree(folder, target / name)


def _copy_blobs(source: Path, target: Path) -> tuple[int, tuple[Path, ...]]:
    """Copy every blob; how many, and which are damaged.  One that is collected meanwhile is of no use to anybody."""
    target.mkdir(mode=_PRIVATE_FOLDER)
    count, damaged = 0, []
    for path in source.glob(_BLOBS):
        place = target / path.relative_to(source)
        place.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copy2(path, place)
            if file_digest(place).hex() == path.name:
                count += 1
            else:
                place.unlink()
                damaged.append(path)
    return count, tuple(damaged)
