"""Hot statements use their indexes, whatever the planner thinks of a table's size."""

from __future__ import annotations

import re

import pytest

from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.sqlite.schema import migrate
from corpgrid.stores.statements import statements

ACCEPTED = "SEARCH attempt USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
INDEXES = {
    "ready_tasks": ["jobs_running", "job_shards_fresh", "job_shards_tried"],
    "due_tasks": ["job_shards_due"],
    "tainted_tasks": ["devices_barred", "job_shards_provisional"],
    "tainted_jobs": ["devices_barred", "job_shards_provisional", "PRIMARY KEY"],
    "any_barred": ["devices_barred"],
    "live_attempts_of_epochs": ["PRIMARY KEY", "job_attempts_live"],
    "live_attempts_of_devices": ["job_attempts_live"],
    "tasks_in": [
        "SEARCH job_shards USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH found USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH next USING INTEGER PRIMARY KEY (rowid>?)",
    ],
    "attempts_in": [
        "SEARCH job_attempts USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH found USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH next USING INTEGER PRIMARY KEY (rowid>?)",
    ],
    "jobs_by_id": ["sqlite_autoindex_jobs_1"],
    "devices_by_id": ["sqlite_autoindex_devices_1", "SEARCH gpu USING PRIMARY KEY"],
    "specs": ["sqlite_autoindex_jobs_1", "PRIMARY KEY"],
    "contents": ["PRIMARY KEY"],
    "settled_jobs": ["jobs_settled"],
    "owners": ["devices_present"],
    "standings": ["sqlite_autoindex_devices_1", "sqlite_autoindex_jobs_1", "sqlite_autoindex_standings_1"],
    "job_numbers": ["sqlite_autoindex_jobs_1"],
    "device_numbers": ["sqlite_autoindex_devices_1"],
    "put_job": ["PRIMARY KEY"],
    "taken_attempts": ["SEARCH job_attempts USING INTEGER PRIMARY KEY (rowid>?)"],
    "drop_tasks": ["SEARCH job_shards USING INTEGER PRIMARY KEY (rowid=?)"],
    "drop_attempts": ["SEARCH job_attempts USING INTEGER PRIMARY KEY (rowid=?)"],
    "drop_lease": ["PRIMARY KEY"],
    "drop_gpus": ["PRIMARY KEY"],
    "finalise": ["PRIMARY KEY"],
    "cancel_tasks": ["PRIMARY KEY"],
    "stop_attempts": ["PRIMARY KEY"],
    "job": ["sqlite_autoindex_jobs_1"],
    "jobs": ["jobs_newest"],
    "tasks": ["SEARCH job_shards USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
    "attempts": ["SEARCH found USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH job_attempts USING INTEGER PRIMARY KEY"],
    "ended": ["job_shards_ended (job=? AND (final_rev,last_idx)>(?,?))", ACCEPTED],
    "provisional": ["SEARCH job_shards USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", ACCEPTED],
    "batches": ["PRIMARY KEY"],
    "device": ["sqlite_autoindex_devices_1"],
    "checkpoints": ["checkpoints_task"],
    "attached": ["job_blobs_digest"],
    "audit_log": ["PRIMARY KEY"],
    "audit_log_of_subject": ["audit_log_subject"],
    "referenced_specs": ["SEARCH spec USING INTEGER PRIMARY KEY", "SEARCH job USING INTEGER PRIMARY KEY"],
    "referenced_results": ["SEARCH attempt USING INTEGER PRIMARY KEY", "SEARCH job USING INTEGER PRIMARY KEY"],
    "referenced_checkpoints": ["SEARCH checkpoint USING INTEGER PRIMARY KEY", "SEARCH job USING INTEGER PRIMARY KEY"],
    "referenced_batches": ["SEARCH batch USING INTEGER PRIMARY KEY", "SEARCH job USING INTEGER PRIMARY KEY"],
    "jobs_to_mark": ["SEARCH jobs USING INTEGER PRIMARY KEY", "audit_log_subject"],
    "mark_collected": ["SEARCH jobs USING INTEGER PRIMARY KEY", "audit_log_subject"],
    "batches_to_drop": ["SEARCH batch USING INTEGER PRIMARY KEY", "SEARCH job USING INTEGER PRIMARY KEY"],
    "drop_batches": ["SEARCH result_batches USING INTEGER PRIMARY KEY"],
    "job_blobs_to_drop": ["SEARCH jobs USING INTEGER PRIMARY KEY", "SEARCH job_blobs USING PRIMARY KEY"],
    "drop_job_blobs": ["SEARCH job_blobs USING PRIMARY KEY"],
    "checkpoints_to_drop": ["SEARCH checkpoint USING INTEGER PRIMARY KEY", "SEARCH job USING INTEGER PRIMARY KEY"],
    "drop_checkpoints": ["SEARCH checkpoints USING INTEGER PRIMARY KEY"],
}
SORTED = {
    "ready_tasks",
    "due_tasks",
    "jobs",
    "attempts",
    "audit_log",
    "audit_log_of_subject",
    "checkpoints",
    "referenced_specs",
    "referenced_results",
    "referenced_checkpoints",
    "referenced_batches",
    "jobs_to_mark",
    "batches_to_drop",
    "job_blobs_to_drop",
    "checkpoints_to_drop",
}
"""These must not sort: their index gives the order, and the limit ends the work."""
PAGES = {"tasks", "ended", "provisional"}
"""These sort a page, to count the tasks of its runs; what is in the page their index says, too."""
WHOLE_TABLES = {"all_leases", "devices", "extend_leases", "grid", "last_tick", "put_grid", "add_metrics"}
"""These read everything there is, or a table of one row."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory):
    database = Database(tmp_path_factory.mktemp("plans") / "grid.db")
    migrate(database, now=0.0)
    yield database
    database.close()


def plan(database: Database, name: str) -> str:
    text = statements("sqlite")[name]
    numbered = [int(number) for number in re.findall(r"\?(\d+)", text)]
    values = [None] * (max(numbered) if numbered else text.count("?"))
    return "\n".join(row[3] for row in database.connection.execute(f"EXPLAIN QUERY PLAN {text}", values))


@pytest.mark.parametrize("name", sorted(INDEXES))
def test_a_hot_statement_uses_its_index(database: Database, name: str) -> None:
    found = plan(database, name)
    for index in INDEXES[name]:
        assert index in found, found


@pytest.mark.parametrize("name", sorted(SORTED))
def test_an_ordered_statement_does_not_sort(database: Database, name: str) -> None:
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan(database, name)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_only_what_is_in_a_page_is_sorted(database: Database, name: str) -> None:
    lines = plan(database, name).splitlines()
    before = lines[: lines.index("USE TEMP B-TREE FOR ORDER BY")]
    assert lines.count("USE TEMP B-TREE FOR ORDER BY") == 1
    assert re.fullmatch(r"SCAN \(subquery-\d\)", before[-1])
    assert sum("SEARCH job_shards USING" in line for line in before) == 1


@pytest.mark.parametrize("name", sorted(set(statements("sqlite")) - WHOLE_TABLES))
def test_no_statement_reads_a_whole_table(database: Database, name: str) -> None:
    scans = [line for line in plan(database, name).splitlines() if line.startswith("SCAN")]
    tables = "devices|device_gpus|jobs|job_(?:specs|blobs|shards|attempts)|leases|result_batches|standings|audit_log"
    whole = [
        line for line in scans if re.match(rf"SCAN ({tables}|shard|found|next|attempt|lease|barred)\b(?!.*USING)", line)
    ]
    assert not whole, whole


def test_every_statement_is_known_to_sqlite(database: Database) -> None:
    for name in statements("sqlite"):
        plan(database, name)
