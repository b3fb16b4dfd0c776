"""What was one row for each task and attempt is read as it was when rows stand for runs."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.effects import Effects
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Purpose, Task, TaskState
from corpgrid.stores.rows import ATTEMPT_STATES
from corpgrid.stores.statements import migrations
from corpgrid.trust.jobspec import encode_spec
from tests.contracts import store_rows as rows
from tests.postgres.fixtures import clock, dsn, open_store

__all__ = ["clock", "dsn"]

(STEP,) = (step.number for step in migrations("postgres") if step.name == "runs")
BEFORE = Path(__file__).parent / "released_postgres" / f"{STEP - 1:04}.sql"
JOB, DEVICE = JobId("job_a"), DeviceId("dev_a")
TASKS = [
    Task(JOB, 0, TaskState.FINAL, Purpose.PRIMARY, 0, 0, 1, 0, 0, "", 0.0, 2),
    Task(JOB, 1, TaskState.FINAL, Purpose.ARBITER, 0, 0, 3, 1, 2, "", 0.0, 3),
    Task(JOB, 2, TaskState.LEASED, Purpose.PRIMARY, 0, 1, 1),
    Task(JOB, 3, TaskState.READY, Purpose.PRIMARY, 1, 0, 0),
]
ATTEMPTS = [
    (0, 0, AttemptState.ACCEPTED, 1, 5, rows.named("a"), "", 0.25),
    (1, 0, AttemptState.RETURNED, 1, 0, rows.named("b"), "", 0.5),
    (1, 1, AttemptState.CRASHED, 1, 2, Digest(b""), "raised", 0.0),
    (1, 2, AttemptState.ACCEPTED, 2, 1, rows.named("c"), "", 1e-9),
    (2, 0, AttemptState.RUNNING, 0, 0, Digest(b""), "", 0.0),
]
FILL = """
INSERT INTO job_shards (
  task, ready_at, final_rev, open, live, attempts, failures, accepted, state, purpose, reason, accepted_device
) VALUES
  ((1 << 24) + 0, 0, 2, 0, 0, 1, 0, 0, 4, 0, '', 1),
  ((1 << 24) + 1, 0, 3, 0, 0, 3, 1, 2, 4, 2, '', 1),
  ((1 << 24) + 2, 0, 0, 0, 1, 1, 0, -1, 2, 0, '', NULL),
  ((1 << 24) + 3, 0, 0, 1, 0, 0, 0, -1, 1, 0, '', NULL);
"""
ADD = """
INSERT INTO job_attempts (
  attempt, device, epoch, batch, seconds, position, state, purpose, owner, site, digest, reason
) VALUES ((((1 << 24) + $1::bigint) << 12) + $2::bigint, 1, 7, $4, $8, $5, $3, 0, 'ann', 'site', $6, $7)
"""


async def test_rows_of_single_tasks_are_runs_of_one(dsn: str, clock: rows.FakeClock) -> None:
    old = await asyncpg.connect(dsn)
    await old.execute(BEFORE.read_text())
    await fill(old)
    await old.close()
    store = await open_store(dsn, clock)
    assert await store.tasks(JOB) == TASKS
    expected = [made(*attempt) for attempt in ATTEMPTS]
    assert [row for index in range(4) for row in await store.attempts(JOB, index)] == expected
    ended = await rows.ended(store, "job_a")
    assert [(row.task, row.device, row.batch, row.position) for row in ended] == [
        (TASKS[0], DEVICE, 1, 5),
        (TASKS[1], DEVICE, 2, 1),
    ]
    view = await rows.tick(store, rows.need(tasks=[rows.key("job_a", index) for index in range(4)], release=["dev_a"]))
    assert sorted(view.tasks.values()) == TASKS
    assert [row for key in sorted(view.attempts) for row in view.attempts[key]] == expected
    digests = {digest async for digest in await store.referenced()}
    assert {rows.named(name) for name in "abc"} <= digests
    await rows.tick(store, effects=Effects(tasks=(TASKS[3]._replace(open=0),)))
    assert (await store.tasks(JOB))[3].open == 0
    await store.close()


async def fill(connection: asyncpg.Connection) -> None:
    """One job of one device, as the tables were before."""
    new = rows.new_job("job_a", 4)
    await connection.execute(
        """INSERT INTO jobs (
          id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev, waiting, ready, leased,
          provisional, final, failed, cancelled, unsettled, executions, audits, mismatches, audit_rate, error_bound,
          reason, bundle
        ) VALUES ('job_a', '', '', '', 50, 4, 1, 'running', 0, 3, 0, 1, 1, 0, 2, 0, 0, 2, 5, 0, 0, 0, 0, '', $1)""",
        new.spec.bundle,
    )
    await connection.execute("INSERT INTO job_specs VALUES (1, $1, $2)", encode_spec(new.spec), new.envelope)
    await connection.execute(
        """INSERT INTO devices (
          id, public_key, owner, site, state, reason, trusted, name, hostname, operating_system, architecture, python,
          engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels, thermal_headroom, agent_version, on_ac_power,
          blockers, capacity, leased, session, boot, registered_at, last_seen, completed, correctness_alpha,
          correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at
        ) VALUES ('dev_a', '', 'ann', 'site', 'active', '', false, '', '', '', '', '', '[]', '', 1, 1, 1, '[]', 1, '',
          true, '[]', 1, 0, '', '', 0, 0, 0, 1, 1, 1, 1, 1, 1)"""
    )
    await connection.execute(FILL)
    for index, number, state, *end in ATTEMPTS:
        await connection.execute(ADD, index, number, ATTEMPT_STATES.index(state), *end)


def made(index: int, number: int, state: AttemptState, *end: object) -> Attempt:
    place = (JOB, index, number, DEVICE, OwnerId("ann"), SiteId("site"))
    return Attempt(*place, Purpose.PRIMARY, Epoch(7), state, *end)
