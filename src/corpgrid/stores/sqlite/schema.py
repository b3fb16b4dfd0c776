"""The schema's version, and the way to the present one.

* Each migration is one transaction together with its line in ``schema_version``.
* Each step says which is the oldest program that goes on working after it, and the file remembers.  A program that is
  older than that is refused before it reads anything; any other works on a schema newer than its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from corpgrid.errors import MigrationError
from corpgrid.stores.runs import packed_positions, packed_seconds
from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.statements import Migration, migrations

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at REAL NOT NULL
) STRICT
"""
_PACKS = {
    "packed_position": lambda position: packed_positions((position,)),
    "packed_seconds": lambda seconds: packed_seconds((seconds,)),
}
"""Functions that steps may call."""
_OLDEST = "ALTER TABLE schema_version ADD COLUMN oldest_program INTEGER"


def version(database: Database) -> int:
    """The number of the last migration that this file has; 0 for a new file."""
    with database.translated():
        known = database.connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchone()
        if known is None:
            return 0
        (number,) = database.connection.execute("SELECT ifnull(max(number), 0) FROM schema_version").fetchone()
        return int(number)


def migrate(database: Database, *, now: float, steps: Sequence[Migration] | None = None) -> list[str]:
    """Bring a file to the present schema; the names of the steps that were taken.

    Raises:
        MigrationError: the file is newer than this program can work on, or a step failed; the file is as it was
            before that step.
    """
    steps = migrations("sqlite") if steps is None else steps
    current = version(database)
    _refuse_newer(database, current, newest=len(steps))
    _refuse_foreign(database, current)
    taken = []
    for step in steps[current:]:
        try:
            _apply(database, step, now=now)
        except sqlite3.Error as error:
            raise MigrationError(
                f"migration {step.number} ({step.name}) of {database.path} failed: {error}",
                remedy="The file is as it was before that step; keep a copy of it and report this.",
            ) from error
        taken.append(step.name)
    _remember_oldest(database)
    return taken


def require_present(database: Database, *, steps: Sequence[Migration] | None = None) -> None:
    """Check that no migration is missing, and that this program may work on what is there.

    Raises:
        MigrationError: the file's schema is older than this program's, or too new for it.
    """
    current, newest = version(database), len(migrations("sqlite") if steps is None else steps)
    _refuse_newer(database, current, newest=newest)
    if current < newest:
        raise MigrationError(f"{database.path} has schema {current} where this program needs {newest}")


def _refuse_newer(database: Database, current: int, *, newest: int) -> None:
    if current <= newest:
        return
    oldest_program = current
    if _knows_oldest(database):
        said = database.connection.execute("SELECT max(ifnull(oldest_program, number)) FROM schema_version")
        (oldest_program,) = said.fetchone()
    if oldest_program > newest:
        raise MigrationError(
            f"{database.path} was migrated for programs that know schema {oldest_program}, and this one knows {newest}",
            remedy="Run the newer CorpGrid that migrated it, or restore the backup from before the upgrade.",
        )


def _knows_oldest(database: Database) -> bool:
    columns = database.connection.execute("SELECT name FROM pragma_table_info('schema_version')").fetchall()
    return ("oldest_program",) in columns


def _remember_oldest(database: Database) -> None:
    """For a file that was made before there was such a thing."""
    with database.translated():
        if not _knows_oldest(database):
            database.connection.execute(_OLDEST)


def _refuse_foreign(database: Database, current: int) -> None:
    (tables,) = database.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and not current:
        raise MigrationError(
            f"{database.path} is a database, but not one of CorpGrid", remedy="Name another file for the store."
        )


def _apply(database: Database, step: Migration, *, now: float) -> None:
    connection = database.connection
    for name, pack in _PACKS.items():
        connection.create_function(name, 1, pack, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_VERSIONS)
        _remember_oldest(database)
        for statement in _statements(step.script):
            connection.execute(statement)
        line = (step.number, step.name, now, step.oldest_program)
        connection.execute("INSERT INTO schema_version VALUES (?, ?, ?, ?)", line)
        connection.execute("COMMIT")
    except BaseException:
        database.rollback()
        raise


def _statements(script: str) -> list[str]:
    """The statements of a script one by one: ``executescript`` would end the transaction."""
    found, start = [], 0
    for place, character in enumerate(script):
        if character == ";" and sqlite3.complete_statement(script[start : place + 1]):
            found.append(script[start : place + 1])
            start = place + 1
    assert not _bare(script[start:]), f"a migration ends in the middle of a statement: {script[start:]!r}"
    return found


def _bare(text: str) -> str:
    return "".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()
