"""Small mistakes planted in production code, one at a time: the simulator must find each of them.

A mutant is a name, what it breaks, and a function that breaks it through ``monkeypatch``.  Most wrap a function of the
program rather than repeat it, so that they stay what they are when the program changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from corpgrid.agent import queue, session, supervisor
from corpgrid.domain import admin, dispatch, draft, grid, intake, leases
from corpgrid.domain.audits import Audits
from corpgrid.domain.device import PowerStatus
from corpgrid.domain.ids import Epoch, JobId
from corpgrid.domain.job import TERMINAL
from corpgrid.errors import StaleError, StoreError
from corpgrid.scheduler import footprint, tick
from corpgrid.scheduler import results as reading
from corpgrid.stores import memory, memory_tables, memory_view

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A planted bug, the scenario that finds it, and what it is found by."""

    name: str
    plant: Callable[[Patch], None]
    scenario: str
    found_as: str
    seed: int = 1
    hours: float = 0.5
    devices: int = 8
    tasks: int = 150


MUTANTS: list[Mutant] = []


def mutant(scenario: str, found_as: str, **sizes: Any) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def note(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(plant.__name__, plant, scenario, found_as, **sizes))
        return plant

    return note


def around(patch: Patch, owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Put ``change(original, *args, **kwargs)`` in the place of a function."""
    original = getattr(owner, name)

    def changed(*args: Any, **kwargs: Any) -> Any:
        return change(original, *args, **kwargs)

    patch.setattr(owner, name, changed)


# -- the agent


@mutant("laptops", "I7", hours=1.0, tasks=400)
def work_is_not_handed_back_on_battery(patch: Patch) -> None:
    def stop_all(original, self, reason):
        if reason not in {"battery", "owner_present", "mains_settling"}:
            original(self, reason)

    around(patch, queue.WorkQueue, "stop_all", stop_all)
    around(patch, session.Session, "_obey", lambda *_: [])


@mutant("laptops", "O1", hours=1.0, tasks=400)
def runners_are_not_frozen_when_the_owner_comes(patch: Patch) -> None:
    def carry_out(original, self, instructions):
        original(self, [one for one in instructions if not isinstance(one, session.Freeze)])

    around(patch, supervisor.Supervisor, "_carry_out", carry_out)


@mutant("laptops", "O1", hours=1.0, tasks=400)
def the_agent_yields_only_when_the_lease_is_gone(patch: Patch) -> None:
    around(patch, session.Session, "_yield", lambda *_args, **_kwargs: [])


@mutant("laptops", "I7", hours=1.0, tasks=400)
def the_agent_goes_on_when_told_to_stop(patch: Patch) -> None:
    around(patch, session.Session, "_obey", lambda *_: [])


@mutant("storm", "L1", seed=2, hours=0.3, devices=6, tasks=80)
def results_of_a_lost_request_are_forgotten(patch: Patch) -> None:
    around(patch, queue.WorkQueue, "unsent", lambda *_: None)


@mutant("storm", "L1", seed=2, hours=0.3, devices=6, tasks=80)
def a_failed_poll_is_waited_for_for_ever(patch: Patch) -> None:
    def failed(original, self, what, **kwargs):
        polling = self._polling
        out = original(self, what, **kwargs)
        if isinstance(what, session.Poll):
            self._polling = polling
        return out

    around(patch, session.Session, "failed", failed)


# -- leases and attempts


@mutant("forger", "I5", hours=0.2)
def epochs_are_not_checked(patch: Patch) -> None:
    def accepts(_original, attempt, *, device, epoch):
        del epoch
        return attempt.state in leases.LIVE and attempt.device == device

    around(patch, intake, "accepts", accepts)


@mutant("calm", "I5", hours=0.1)
def a_lease_that_finished_is_not_released(patch: Patch) -> None:
    def close_leases(_original, self):
        self._ended.clear()

    around(patch, intake.Intake, "_close_leases", close_leases)


@mutant("calm", "I5", hours=0.1, tasks=60)
def heartbeats_do_not_renew(patch: Patch) -> None:
    around(patch, admin, "renew", lambda _original, lease, **_: lease)


@mutant("laptops", "I5")
def live_leases_are_swept(patch: Patch) -> None:
    def sweep(original, self, limit):
        self._now += 15.0
        original(self, limit)
        self._now -= 15.0

    around(patch, memory_view.Selection, "_sweep", sweep)
    around(patch, admin, "expired", lambda *_: True)


@mutant("storm", "I5", hours=1.0)
def an_outage_brings_finished_leases_back(patch: Patch) -> None:
    """What it extends is what it read, and not what the tick has made of that."""

    def close_jobs(original, draft_):
        original(draft_)
        if draft_.extend_leases_seconds > 0:
            for lease in draft_.view.leases.values():
                draft_.put_lease(leases.extend(lease, draft_.extend_leases_seconds))

    around(patch, grid, "_close_jobs", close_jobs)


@mutant("storm", "I5", hours=1.0)
def an_outage_is_not_forgiven(patch: Patch) -> None:
    around(patch, admin, "outage_seconds", lambda *_args, **_kwargs: 0.0)


@mutant("calm", "I5", hours=0.1, tasks=60)
def the_store_gives_an_epoch_twice(patch: Patch) -> None:
    def apply(original, self, effects, view):
        before = self._next_epoch
        original(self, effects, view)
        self._next_epoch = max(before, self._next_epoch - 1)

    around(patch, memory.MemoryStore, "_apply", apply)


@mutant("laptops", "I5", hours=1.0)
def a_cancelled_job_keeps_its_leases(patch: Patch) -> None:
    def cancel(original, self, job, rev):
        kept = [lease for lease in self.leases.values() if lease.job == job]
        original(self, job, rev)
        for lease in kept:
            self.put_lease(lease)

    around(patch, memory_tables.Tables, "cancel", cancel)


# -- verification


@mutant("calm", "V1", hours=0.1, tasks=60)
def the_audit_coin_falls_before_the_commit(patch: Patch) -> None:
    around(patch, admin, "initial_copies", lambda original, policy: original(policy) + 1)


@mutant("liars", "V5", hours=0.2, tasks=400)
def nobody_audits(patch: Patch) -> None:
    around(patch, Audits, "due", lambda *_args, **_kwargs: False)


@mutant("liars", "V3", hours=0.2, tasks=400)
def liars_are_left_in_peace(patch: Patch) -> None:
    around(patch, intake, "quarantine", lambda *_: None)


@mutant("liars", "V2", hours=0.2, tasks=2000, devices=20)
def the_work_of_a_liar_is_not_done_again(patch: Patch) -> None:
    around(patch, memory_tables.Tables, "tainted", lambda *_: iter(()))


@mutant("calm", "I6", hours=0.1, tasks=100)
def copies_go_to_one_owner(patch: Patch) -> None:
    def group_of(original, *args):
        return original(*args)._replace(excluded_owners=frozenset())

    around(patch, dispatch, "_group_of", group_of)


@mutant("everything", "I3", hours=0.3)
def the_loser_of_a_dispute_is_accepted(patch: Patch) -> None:
    def judge(original, *args, **kwargs):
        verdict = original(*args, **kwargs)
        return verdict._replace(accepted=verdict.losers[0]) if verdict.losers else verdict

    around(patch, intake, "judge", judge)


@mutant("storm", "V4", hours=0.2)
def one_result_is_a_quorum(patch: Patch) -> None:
    def judge(original, policy, *args, **kwargs):
        return original(replace(policy, min_copies=1), *args, **kwargs)

    around(patch, intake, "judge", judge)


@mutant("storm", "L1", hours=0.1)
def a_task_that_waits_waits_for_ever(patch: Patch) -> None:
    around(patch, intake, "retry_delay_seconds", lambda *_: 1e9)


# -- jobs, results, blobs


@mutant("storm", "I1", hours=0.2)
def a_second_submit_makes_a_second_job(patch: Patch) -> None:
    def submit(original, draft_, event):
        if draft_.job(event.job) is not None:
            event = replace(event, job=JobId(event.job + "2"))
        original(draft_, event)

    around(patch, admin, "submit", submit)


@mutant("calm", "I", hours=0.1)
def replies_come_before_the_commit(patch: Patch) -> None:
    async def settle(original, self, events):
        decided: list[Any] = []

        def peek(view):
            decided.append(self._decide(view, events))
            raise StaleError("only looked")

        try:
            await self._store.transact(self._need(events), peek)
        except StoreError:
            self._answer(events, decided[0]) if decided else None
        await original(self, events)

    around(patch, tick.Tick, "_settle", settle)


@mutant("calm", "I2", hours=0.1)
def a_job_closes_one_task_too_early(patch: Patch) -> None:
    around(patch, draft.Draft, "unsettled", lambda original, self, job: max(0, original(self, job) - 1))


@mutant("storm", "I3", hours=0.2)
def a_reader_is_given_the_last_result_again(patch: Patch) -> None:
    async def ended(original, self, job, *, after, limit):
        return await original(self, job, after=(after[0], after[1] - 1), limit=limit)

    around(patch, memory.MemoryStore, "ended", ended)


@mutant("calm", "V6", hours=0.1)
def a_reader_is_given_the_result_of_another(patch: Patch) -> None:
    def result(original, row, batches):
        found = original(row, batches)
        return found._replace(payload=found.payload[::-1])

    around(patch, reading, "_result", result)


@mutant("calm", "I4", hours=0.1, tasks=60)
def the_store_loses_a_batch(patch: Patch) -> None:
    def apply(original, self, effects, view):
        original(self, effects, view)
        for batch in effects.batches:
            if batch.number % 20 == 0:
                del self._tables.batches[batch.number]

    around(patch, memory.MemoryStore, "_apply", apply)


@mutant("storm", "I11", hours=0.5)
def blobs_are_collected_while_jobs_need_them(patch: Patch) -> None:
    async def live(_original, _self, _store, **_kwargs):
        for nothing in ():
            yield nothing

    around(patch, footprint.Footprints, "live", live)


# -- devices


@mutant("laptops", "I7")
def battery_is_not_noted(patch: Patch) -> None:
    def note_status(original, draft_, status, rules, **kwargs):
        return original(draft_, replace(status, power=PowerStatus()), rules, **kwargs)

    around(patch, admin, "note_status", note_status)


@mutant("everything", "I10", hours=0.3)
def a_lost_lease_costs_nothing(patch: Patch) -> None:
    around(patch, admin, "observed", lambda _original, device, *_args, **_kwargs: device)


@mutant("everything", "I", hours=0.5)
def a_final_task_is_judged_again(patch: Patch) -> None:
    """A late result of another copy overwrites what is final."""
    patch.setitem(draft.TASK_MOVES, draft.TaskState.FINAL, frozenset(draft.TaskState))

    def finish(_original, self, key, old, verdict, *, failures):
        state = draft.TaskState.FAILED if verdict.failed else draft.TaskState.FINAL
        accepted = -1 if verdict.failed else verdict.accepted
        new = old._replace(state=state, accepted=accepted, failures=failures, open=0, reason=verdict.failed)
        self.draft.put_task(old, new)

    around(patch, intake.Intake, "_finish", finish)


assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
del Epoch, TERMINAL
