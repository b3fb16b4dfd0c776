"""Write what makes a database with the present schema: run it once, when a new migration is released.

python -m tests.migration.dump_released_postgres
"""

from __future__ import annotations

from pathlib import Path

from corpgrid.stores.postgres.schema import VERSIONS
from corpgrid.stores.statements import migrations

RELEASED = Path(__file__).parent / "released_postgres"


def main() -> None:
    """Write ``released_postgres/NNNN.sql``: its text stays when the files of the migrations are changed."""
    steps = migrations("postgres")
    noted = [
        "INSERT INTO schema_version (number, name, oldest_program) "
        f"VALUES ({step.number}, '{step.name}', {step.oldest_program});"
        for step in steps
    ]
    RELEASED.mkdir(exist_ok=True)
    text = "\n".join([VERSIONS.strip(), *(step.script for step in steps), *noted])
    (RELEASED / f"{len(steps):04}.sql").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
