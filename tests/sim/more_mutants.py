"""Small mistakes in what people are told happened, in how much is given, and in what several schedulers share."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from corpgrid.domain import admin, dispatch, draft, intake
from corpgrid.stores import memory
from tests.sim.mutants import Patch, around, mutant

# -- the audit log


@mutant("liars", "I8", hours=0.2, tasks=400)
def a_quarantine_is_not_in_the_log(patch: Patch) -> None:
    def note(original, self, kind, *args):
        if kind != "device.quarantined":
            original(self, kind, *args)

    around(patch, draft.Draft, "note", note)


@mutant("calm", "I8", hours=0.1, tasks=60)
def the_end_of_a_job_is_in_the_log_twice(patch: Patch) -> None:
    def note(original, self, kind, *args):
        original(self, kind, *args)
        if kind == "job.closed":
            original(self, kind, *args)

    around(patch, draft.Draft, "note", note)


@mutant("liars", "I8", hours=0.2, tasks=400)
def a_dispute_is_not_in_the_log(patch: Patch) -> None:
    def note(original, self, kind, *args):
        if kind != "task.disputed":
            original(self, kind, *args)

    around(patch, draft.Draft, "note", note)


@mutant("calm", "I8", hours=0.1, tasks=60)
def the_log_loses_a_line(patch: Patch) -> None:
    def apply(original, self, effects, view):
        original(self, effects, view)
        if len(self._tables.audit) == 5:
            del self._tables.audit[2]

    around(patch, memory.MemoryStore, "_apply", apply)


@mutant("laptops", "I8", hours=0.2)
def the_past_of_the_log_is_changed(patch: Patch) -> None:
    """Long after it was read for the first time."""

    def apply(original, self, effects, view):
        original(self, effects, view)
        log = self._tables.audit
        if log and view.now > log[0].at + 600.0:
            log[0] = log[0]._replace(actor="nobody")

    around(patch, memory.MemoryStore, "_apply", apply)


# -- how much is given


@mutant("calm", "I9", hours=0.1, tasks=100)
def a_device_gets_all_that_is_ready(patch: Patch) -> None:
    def waiting(original, draft_, polls, rules):
        return [entry._replace(free=rules.grant_tasks) for entry in original(draft_, polls, rules)]

    around(patch, dispatch, "waiting", waiting)
    patch.setattr("corpgrid.domain.grid.waiting", dispatch.waiting)


@mutant("calm", "I9", hours=0.1, tasks=100)
def a_poll_is_served_twice(patch: Patch) -> None:
    around(patch, dispatch, "waiting", lambda original, *args: 2 * original(*args))
    patch.setattr("corpgrid.domain.grid.waiting", dispatch.waiting)


@mutant("laptops", "I9", hours=0.3)
def a_task_may_fail_once_more(patch: Patch) -> None:
    def judge(original, policy, limits, *args, **kwargs):
        return original(policy, replace(limits, max_attempts=limits.max_attempts + 1), *args, **kwargs)

    around(patch, intake, "judge", judge)


# -- what several schedulers share


@mutant("storm", "I", hours=0.2)
def schedulers_decide_without_locks(patch: Patch) -> None:
    """What a tick has read may be another's by the time that it writes."""

    async def transact(_original, self, need, decide):
        self._require_open()
        view = self._view(need, now=self._settings.clock.now())
        effects = decide(view)
        await asyncio.sleep(0.01)
        self._apply(effects, view)
        return effects

    around(patch, memory.MemoryStore, "transact", transact)


@mutant("storm", "I5", hours=0.5)
def an_outage_is_forgiven_twice(patch: Patch) -> None:
    around(patch, admin, "outage_seconds", lambda original, **kwargs: 2.0 * original(**kwargs))
