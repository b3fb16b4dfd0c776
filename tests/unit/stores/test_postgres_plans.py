"""Hot statements use their indexes, whatever the planner thinks of a table: when it is empty, and when it is large."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from corpgrid.stores.postgres.database import Address, _joined, width
from corpgrid.stores.postgres.schema import migrate
from corpgrid.stores.statements import statements
from tests.postgres.fixtures import new_dsn

INDEXES = {
    "lock_jobs": ["jobs_id_key", "leases_device", "devices_id_key", "job_attempts_live"],
    "lock_ready_jobs": ["jobs_running", "job_shards_fresh", "job_shards_tried"],
    "lock_swept_jobs": ["leases_until", "job_shards_due", "devices_barred", "job_shards_provisional", "jobs_running"],
    "swept": ["job_shards_due", "devices_barred", "job_shards_provisional"],
    "jobs_by_number": ["jobs_pkey"],
    "live_attempts": ["devices_id_key", "job_attempts_live", "leases_pkey"],
    "tasks": ["job_shards_fresh", "job_shards_tried", "job_shards_pkey"],
    "attempts": ["job_attempts_pkey"],
    "devices": ["devices_id_key", "devices_pkey"],
    "rest": ["leases_device", "leases_pkey", "device_gpus_pkey", "standings_pkey", "devices_barred"],
    "owners": ["devices_present"],
    "tainted_jobs": ["devices_barred", "job_shards_provisional"],
    "specs": ["job_specs_pkey"],
    "contents": ["result_batches_pkey"],
    "hold_jobs": ["jobs_id_key"],
    "hold_devices": ["devices_id_key"],
    "put_devices": ["devices_id_key"],
    "put_jobs": ["jobs_pkey"],
    "taken_attempts": ["job_attempts_pkey"],
    "put_attempts": ["job_attempts_pkey"],
    "drop_attempts": ["job_attempts_pkey"],
    "put_tasks": ["job_shards_pkey"],
    "drop_tasks": ["job_shards_pkey"],
    "drop_leases": ["leases_pkey"],
    "drop_gpus": ["device_gpus_pkey"],
    "finalise": ["job_shards_pkey"],
    "cancel_tasks": ["job_shards_pkey"],
    "stop_attempts": ["job_attempts_pkey"],
    "drop_leases_of_job": ["leases_job"],
    "job": ["jobs_id_key"],
    "jobs": ["jobs_newest"],
    "jobs_in": ["jobs_newest"],
    "attached": ["job_blobs_digest"],
    "tasks_of_job": ["job_shards_pkey"],
    "tasks_of_job_in": ["job_shards_pkey"],
    "attempts_of_task": ["job_attempts_pkey"],
    "ended": ["job_shards_ended", "job_attempts_pkey"],
    "provisional": ["job_shards_pkey", "job_attempts_pkey"],
    "batches": ["result_batches_pkey"],
    "device": ["devices_id_key", "device_gpus_pkey"],
    "checkpoints": ["checkpoints_task"],
    "audit_log": ["audit_log_pkey"],
    "audit_log_of_subject": ["audit_log_subject"],
    "referenced_specs": ["job_specs_pkey", "jobs_pkey"],
    "referenced_results": ["job_attempts_pkey", "jobs_pkey"],
    "referenced_checkpoints": ["checkpoints_pkey", "jobs_pkey"],
    "referenced_batches": ["result_batches_pkey", "jobs_pkey"],
    "jobs_to_mark": ["jobs_pkey", "audit_log_subject"],
    "lock_ended_jobs": ["jobs_pkey"],
    "mark_collected": ["jobs_pkey", "audit_log_subject"],
    "batches_to_drop": ["result_batches_pkey", "jobs_pkey"],
    "drop_batches": ["result_batches_pkey", "jobs_pkey"],
    "job_blobs_to_drop": ["jobs_pkey", "job_blobs_pkey"],
    "drop_job_blobs": ["jobs_pkey", "job_blobs_pkey"],
    "checkpoints_to_drop": ["checkpoints_pkey", "jobs_pkey"],
    "drop_checkpoints": ["checkpoints_pkey", "jobs_pkey"],
}
LAZY = {"lock_ready_jobs", "jobs", "attached", "tasks_of_job", "ended", "audit_log", "audit_log_of_subject"}
"""These must not sort: their index gives the order, and the limit ends the work (and, in the first, the locking)."""
WHOLE_TABLES = {"extend_leases", "add_metrics", "last_tick", "drop_old_schedulers", "oldest_program"}
"""These read everything there is, or a table of few rows."""
ROWS = """
INSERT INTO jobs (
  id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev, waiting, ready, leased,
  provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason, bundle
)
SELECT 'job_' || n, '', '', '', 50, 100, n, CASE WHEN n > 900 THEN 'running' ELSE 'done' END, 0, 1, 0, 0, 0,
  0, 100, 0, 0, n % 2, 0, 0, 0, 0, 0, '', '' FROM generate_series(1, 1000) AS n;
INSERT INTO job_shards (
  last_task, tasks, ready_at, final_rev, open, live, attempts, failures, accepted, state, purpose, reason
)
SELECT (job << 24) + n, 1, 0, CASE WHEN job > 900 THEN 0 ELSE 1 END, CASE WHEN job > 900 THEN 1 ELSE 0 END, 0,
  CASE WHEN job > 900 AND n > 3 THEN 0 ELSE 1 END, 0, 0, CASE WHEN job > 900 THEN n % 4 ELSE 4 END, 0, ''
FROM generate_series(1::bigint, 1000) AS job, generate_series(0, 99) AS n;
INSERT INTO job_attempts (
  last_attempt, tasks, device, epoch, batch, seconds, positions, state, purpose, owner, site, digests, reason
)
SELECT
  (last_task >> 24 << 36) + (last_task & 16777215), 1, last_task % 500, last_task, 1, '', '',
  CASE WHEN last_task % 100 = 0 THEN 1 ELSE 4 END,
  0, 'o', 's', '', ''
FROM job_shards;
INSERT INTO devices (
  id, public_key, owner, site, state, reason, trusted, name, hostname, operating_system, architecture, python, engines,
  sandbox, cpus, memory_bytes, disk_free_bytes, labels, thermal_headroom, agent_version, on_ac_power, blockers,
  capacity, leased, session, boot, registered_at, last_seen, completed, correctness_alpha, correctness_beta,
  correctness_at,
  availability_alpha, availability_beta, availability_at
)
SELECT 'dev_' || n, '', 'o' || n % 9, '', CASE WHEN n % 90 = 0 THEN 'revoked' ELSE 'active' END, '', false, '', '', '',
  '', '', '[]', '', 1, 1, 1, '[]', 1, '', true, '[]', 1, 0, '', '', 0, 0, 0, 1, 1, 1, 1, 1, 1
FROM generate_series(1, 500) AS n;
INSERT INTO job_blobs SELECT n, int8send(n + m), '' FROM generate_series(1, 1000) AS n, generate_series(1, 3) AS m;
INSERT INTO checkpoints (task, attempt, step, blob, created_at)
SELECT last_task, 0, 1, '', 1 FROM job_shards WHERE last_task % 50 = 0;
INSERT INTO leases SELECT n, n % 500, 901, 1, n, 1 FROM generate_series(1, 2000) AS n;
INSERT INTO standings (device, bundle, fingerprint, returned, passed)
SELECT n % 500, int8send(n), '', 1, 1 FROM generate_series(1, 5000) AS n;
INSERT INTO audit_log (at, kind, subject, actor, detail)
SELECT n, 'k', 's' || n % 1000, 'a', '' FROM generate_series(1, 5000) AS n;
ANALYZE;
"""


@pytest.fixture(scope="module", params=["empty", "large"])
def plans(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The plan of every statement, as a store's connection would follow it."""

    async def explain() -> dict[str, str]:
        connection = await Address.of(new_dsn()).connect()
        await migrate(connection, "place")
        if request.param == "large":
            await connection.execute(ROWS)
        found = {}
        for name in statements("postgres"):
            text = statements("postgres")[name]
            nothing = ", ".join(["NULL"] * width(text))
            await connection.execute(f"PREPARE {name} AS {text}")
            rows = await connection.fetch(f"EXPLAIN EXECUTE {name}{f'({nothing})' if nothing else ''}")
            found[name] = "\n".join(row[0] for row in rows)
        await connection.close()
        return found

    return asyncio.run(explain())


@pytest.mark.parametrize("name", sorted(INDEXES))
def test_a_hot_statement_uses_its_index(plans: dict[str, str], name: str) -> None:
    for index in INDEXES[name]:
        assert re.search(rf"\b{index}\b", plans[name]), plans[name]


@pytest.mark.parametrize("name", sorted(LAZY))
def test_an_ordered_statement_does_not_sort(plans: dict[str, str], name: str) -> None:
    drawn, _, _ = plans[name].partition("InitPlan")
    assert "Sort" not in drawn, plans[name]


@pytest.mark.parametrize("name", sorted(set(statements("postgres")) - WHOLE_TABLES))
def test_no_statement_reads_a_whole_table(plans: dict[str, str], name: str) -> None:
    whole = re.findall(r"Seq Scan on (?!number_blocks)\w+", plans[name])
    assert not whole, plans[name]


@pytest.mark.parametrize("name", sorted(statements("postgres")))
def test_no_statement_compares_all_rows_of_two_tables(plans: dict[str, str], name: str) -> None:
    assert "Materialize" not in plans[name], plans[name]
    assert not re.search(r"Join Filter: .*last_(task|attempt)", plans[name]), plans[name]


def test_parts_that_are_joined_keep_their_parameters() -> None:
    parts = ("drop_leases", "add_audit", "put_ticks")
    text = _joined(parts)
    assert width(text) == sum(width(statements("postgres")[name]) for name in parts)
    assert [text.index(f"{name} AS (") for name in parts] == sorted(text.index(f"{name} AS (") for name in parts)
