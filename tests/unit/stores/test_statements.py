"""Named SQL is found, split and repeated."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

import corpgrid.stores
from corpgrid.stores.sqlite.database import MAX_BLOCK_ROWS, Database
from corpgrid.stores.statements import Statements, migrations, split, statements

SOURCE = Path(corpgrid.stores.__file__).parent


def test_a_file_is_split_at_its_names() -> None:
    source = "-- about\n\n-- name: one\n-- why\nSELECT 1\n\n-- name: two\nSELECT 2\nFROM x\n"
    assert list(split(source)) == [("one", "SELECT 1"), ("two", "SELECT 2\nFROM x")]


def test_a_row_is_repeated() -> None:
    some = Statements({"put": "INSERT INTO t (a, b)\nVALUES (?, ?)\nON CONFLICT DO NOTHING"})
    assert some.width("put") == 2
    assert some.for_rows("put", 3) == "INSERT INTO t (a, b)\nVALUES (?, ?), (?, ?), (?, ?)\nON CONFLICT DO NOTHING"


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    code = "\n".join(path.read_text() for path in [*(SOURCE / "sqlite").glob("*.py"), SOURCE / "collecting.py"])
    made = {f"{kind}_{what}" for kind in ("job", "device") for what in ("numbers", "ids")}
    used = set(re.findall(r'"(\w+)"', code)) | made
    assert set(statements("sqlite")) <= used
    asked = re.findall(r'\._?(?:rows|rows_for|arrays|arrays_for|run|add|put)\(\s*"(\w+)"', code)
    assert set(asked) <= set(statements("sqlite"))


def test_the_widest_row_fits_a_statement() -> None:
    texts = statements("sqlite")
    widths = [texts.width(name) for name in texts if "VALUES (" in texts[name]]
    assert max(widths) * MAX_BLOCK_ROWS <= 32_766


def test_migrations_are_numbered_without_a_gap() -> None:
    found = migrations("sqlite")
    assert [step.number for step in found] == list(range(1, len(found) + 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2_000))
def test_any_number_of_rows_is_written(count: int) -> None:
    rows = [(number, "kind", "subject", "actor", "detail") for number in range(count)]
    with TemporaryDirectory() as folder:
        database = Database(Path(folder) / "grid.db")
        database.connection.execute("CREATE TABLE audit_log (at, kind, subject, actor, detail)")
        database.put("add_audit", [value for row in rows for value in row])
        found = database.connection.execute("SELECT * FROM audit_log ORDER BY at").fetchall()
        database.close()
    assert found == rows
