"""One connection to a SQLite file, used by one thread: named statements in, rows out, errors of this program.

* Many rows are written by one statement (``put``): a statement gives up the interpreter's lock once, and a thread that
  gives it up often waits often.  Rows go in blocks of powers of two, so that few prepared statements serve all counts.
* The write-ahead log with ``synchronous=FULL``: a commit that returned is on the disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpgrid.errors import StoreError
from corpgrid.stores.spans import Span
from corpgrid.stores.statements import statements

Row = tuple[Any, ...]
MAX_BLOCK_ROWS = 512
"""With the widest row (a device) below SQLite's 32,766 values a statement."""
_CACHED_STATEMENTS = 256
_CACHE_KIB = 128 << 10
_READING_CACHE_KIB = 16 << 10
_CHECKPOINT_PAGES = 4_096
_LOG_BYTES_KEPT = 64 << 20
_BUSY_MILLISECONDS = 10_000


class Database:
    """One connection.

    Args:
        path: the file; made, for its owner alone, if it is not there.
        read_only: refuse to write.
        max_bytes: refuse to let the file grow beyond this; 0 is no limit.
    """

    def __init__(self, path: Path, *, read_only: bool = False, max_bytes: int = 0) -> None:
        self.path = path
        self._statements = statements("sqlite")
        with self.translated():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self.connection = sqlite3.connect(path, isolation_level=None, cached_statements=_CACHED_STATEMENTS)
            try:
                self._set_up(read_only=read_only, max_bytes=max_bytes)
            except BaseException:
                self.connection.close()
                raise

    def rows(self, name: str, *values: Any) -> list[Row]:
        """All rows of a statement."""
        return self.connection.execute(self._statements[name], values).fetchall()

    def rows_for(self, name: str, wanted: Sequence[int] | Sequence[str] | Sequence[Span], *values: Any) -> list[Row]:
        """All rows of a statement that takes an array first; none for an empty array."""
        return self.rows(name, json.dumps(wanted), *values) if wanted else []

    def arrays(self, name: str, *values: Any) -> list[list[Any]]:
        """The rows of a statement that gives all of them as one JSON array."""
        ((text,),) = self.rows(name, *values)
        return array_of(text)

    def arrays_for(self, name: str, wanted: Sequence[int] | Sequence[Span]) -> list[list[Any]]:
        """The same for a statement that takes an array; none for an empty array."""
        return self.arrays(name, json.dumps(wanted)) if wanted else []

    def run(self, name: str, *values: Any) -> None:
        """Run a statement that gives no rows."""
        self.connection.execute(self._statements[name], values)

    def run_for(self, name: str, wanted: Sequence[int]) -> None:
        """Run a statement that takes an array; not for an empty one."""
        if wanted:
            self.run(name, json.dumps(wanted))

    def add(self, name: str, values: Sequence[Any]) -> int:
        """Write one new row; the number that it got."""
        number = self.connection.execute(self._statements[name], values).lastrowid
        assert number is not None, name
        return number

    def put(self, name: str, values: Sequence[Any]) -> None:
        """Write many rows, given as their values one after the other."""
        if not values:
            return
        width = self._statements.width(name)
        count, start = len(values) // width, 0
        while count:
            block = min(MAX_BLOCK_ROWS, 1 << (count.bit_length() - 1))
            end = start + block * width
            self.connection.execute(self._statements.for_rows(name, block), values[start:end])
            count, start = count - block, end

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens at one moment, or not at all."""
        with self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                self.rollback()
                raise

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Statements inside that only read see the file as it was at one moment."""
        with self.translated():
            self.connection.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                self.rollback()

    def rollback(self) -> None:
        """Undo; some errors have undone everything already."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of SQLite and of the system become ``StoreError``."""
        try:
            yield
        except sqlite3.Error as error:
            raise store_error(self.path, error) from error
        except OSError as error:
            raise StoreError(
                f"the store {self.path} cannot be opened: {error.strerror or error}",
                remedy=f"Make {self.path.parent} a folder that this user may write to.",
            ) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise StoreError(f"a value cannot be stored: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        with self.translated():
            self.connection.close()

    def _set_up(self, *, read_only: bool, max_bytes: int) -> None:
        for pragma in (
            f"busy_timeout = {_BUSY_MILLISECONDS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            f"cache_size = -{_READING_CACHE_KIB if read_only else _CACHE_KIB}",
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            f"journal_size_limit = {_LOG_BYTES_KEPT}",
            "secure_delete = OFF",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
            f"query_only = {'ON' if read_only else 'OFF'}",
        ):
            self.connection.execute(f"PRAGMA {pragma}").fetchall()
        if max_bytes:
            page_bytes = self.connection.execute("PRAGMA page_size").fetchone()[0]
            self.connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}").fetchall()


def array_of(text: str) -> list[Any]:
    """A JSON array; most of those that a tick reads are empty."""
    array: list[Any] = [] if text == "[]" else json.loads(text)
    return array


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """What went wrong, and what to do next."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    message, remedy = f"the store {path} failed: {error} ({name})", ""
    if name == "SQLITE_FULL":
        message = f"no room for the store {path}: the disk or its limit (max_bytes) is full"
        remedy = f"Free space where {path.parent} is, or raise the limit; nothing that was acknowledged is lost."
    elif name.startswith("SQLITE_IOERR"):
        remedy = f"Check the disk under {path.parent}; nothing that was acknowledged is lost."
    elif name in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}:
        remedy = "Restore the file from a backup; the write-ahead log beside it belongs to it."
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        remedy = f"Let this user write to {path} and to its folder."
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        remedy = "Another program holds the file; close it (a database browser, perhaps) and try again."
    return StoreError(message, remedy=remedy)
