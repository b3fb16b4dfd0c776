"""One tick of the grid: everything that happened, decided at once, as a pure function.

``need`` says which rows the events touch; the store reads them; ``decide`` says how they shall be and what everybody is
told.  The order within a tick is fixed: an outage of the grid is forgiven, then come devices, results that come back,
time, people's commands, new jobs, then placement, then jobs that can close.  Placement comes after everything that
makes room or work, so that one round trip brings results and takes new work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from corpgrid.domain import admin
from corpgrid.domain.dispatch import dispatch, waiting
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.events import (
    Checkpointed,
    DeviceRegistered,
    DeviceSet,
    Event,
    Heartbeat,
    JobCancelled,
    JobSubmitted,
    Polled,
    Submitted,
    Swept,
)
from corpgrid.domain.ids import DeviceId, JobId, TaskKey
from corpgrid.domain.intake import Intake
from corpgrid.domain.job import Job, JobState, Purpose, VerifyMode
from corpgrid.domain.messages import AgentStatus, Batch, Grant, PollReply, Reply
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import error_bound
from corpgrid.errors import RefusedError

__all__ = ["GridRules", "decide", "need"]


def need(events: Iterable[Event], rules: GridRules) -> Need:
    """The rows that these events touch."""
    devices: set[DeviceId] = set()
    tasks: set[TaskKey] = set()
    jobs: set[JobId] = set()
    release: set[DeviceId] = set()
    wanted, sweep = 0, False
    for event in events:
        match event:
            case Polled(status=status, batches=batches):
                devices.add(status.device)
                wanted += min(event.wanted, rules.grant_tasks)
                _need_batches(batches if event.first else (), tasks, jobs)
            case Submitted(status=status, batches=batches):
                devices.add(status.device)
                _need_batches(batches, tasks, jobs)
            case Heartbeat(status=status):
                devices.add(status.device)
            case DeviceRegistered(device=device):
                devices.add(device)
                release.add(device)
            case DeviceSet(device=device):
                devices.add(device)
            case Checkpointed(request=request):
                devices.add(request.status.device)
                tasks.add((request.job, request.index))
                jobs.add(request.job)
            case JobSubmitted(job=job) | JobCancelled(job=job):
                jobs.add(job)
            case Swept():
                sweep = True
    return Need(
        devices=frozenset(devices),
        tasks=frozenset(tasks),
        jobs=frozenset(jobs),
        ready_limit=wanted + rules.ready_tasks if wanted or sweep else 0,
        sweep=sweep,
        release=frozenset(release),
    )


def _need_batches(batches: Sequence[Batch], tasks: set[TaskKey], jobs: set[JobId]) -> None:
    for batch in batches:
        jobs.add(batch.job)
        tasks.update([(batch.job, item.index) for item in batch.items])


def decide(view: View, events: Sequence[Event], *, rng: Random, rules: GridRules) -> Effects:
    """The effects of these events on this view.

    A ``Polled`` event whose ticket has no reply stays parked: it is to be asked again when something changed.
    """
    draft = Draft(view)
    started = any(isinstance(event, Swept) and event.started for event in events)
    admin.forgive_outage(draft, allowed_seconds=0.0 if started else rules.outage_seconds)
    intake = Intake(draft, rules)
    polls: list[tuple[Polled, Reply]] = []
    for event in events:
        if isinstance(event, DeviceRegistered):
            admin.register(draft, intake, event, rules)
    for event in events:
        reply = _report(draft, intake, event, rules)
        if reply is not None and isinstance(event, Polled):
            polls.append((event, reply))
        elif reply is not None:
            draft.replies[event.ticket] = reply
    for event in events:
        _command(draft, intake, event)
    for event in events:
        if isinstance(event, JobSubmitted):
            admin.submit(draft, event)
    _settle_lonely(draft, intake, rules)
    grants = dispatch(draft, waiting(draft, [poll for poll, _ in polls], rules), rules, rng)
    for poll, reply in polls:
        _answer(draft, poll, reply, grants.get(poll.ticket, []))
    _close_jobs(draft)
    return draft.effects()


def _report(draft: Draft, intake: Intake, event: Event, rules: GridRules) -> Reply | None:
    """Take what a device reports of itself and brings back; what to tell it, or None if that is said already."""
    match event:
        case Polled() | Submitted() | Heartbeat():
            status = event.status
        case Checkpointed(request=request):
            status = request.status
        case _:
            return None
    if draft.device(status.device) is None:
        draft.replies[event.ticket] = RefusedError(f"device {status.device} is not known", remedy="Register again.")
        return None
    if isinstance(event, Polled) and not event.first:
        return _still(draft, status)
    batches = event.batches if isinstance(event, Polled | Submitted) else ()
    received = tuple(intake.take(status.device, batch) for batch in batches)
    # A device has one poll under way: a lease that it does not name in one never reached it.
    reply = admin.note_status(draft, status, rules, complete=isinstance(event, Polled))
    if isinstance(event, Checkpointed):
        admin.checkpointed(draft, event)
    return replace(reply, received=received) if received else reply


def _still(draft: Draft, status: AgentStatus) -> Reply:
    """What to tell a device whose poll was read in an earlier tick."""
    device = draft.device(status.device)
    assert device is not None
    going_on, message = admin.verdict_on(device)
    return Reply(should_continue=going_on, message=message)


def _command(draft: Draft, intake: Intake, event: Event) -> None:
    """Do what people ask for, and what time does."""
    match event:
        case Swept():
            admin.sweep(draft, intake, event)
        case DeviceSet():
            admin.set_device(draft, event)
        case JobCancelled():
            admin.cancel(draft, event)
        case _:
            pass


def _settle_lonely(draft: Draft, intake: Intake, rules: GridRules) -> None:
    """End what waits for somebody who is not there.

    A trusted device's result waits for no auditor; a dispute waits for another owner's word, but not for ever.
    """
    tried = draft.view.attempts
    for key in draft.view.ready:
        task = draft.task(key) if key in tried else None
        if task is None or not task.open or task.live or task.purpose is Purpose.PRIMARY:
            continue
        job = draft.job(task.job)
        if job is None or job.state is not JobState.RUNNING:
            continue
        if task.purpose is Purpose.AUDIT and task.accepted >= 0:
            intake.waive_audit(task)
        elif task.purpose is Purpose.ARBITER and draft.now - task.ready_at > rules.dispute_seconds:
            intake.give_up_dispute(task)


def _answer(draft: Draft, poll: Polled, reply: Reply, grants: Sequence[Grant]) -> None:
    """Answer a poll, unless it can go on waiting: for work, or (it wants none) for the word that it may go on."""
    brings = poll.first and (poll.batches or reply.lost)
    if grants or brings or poll.due or reply.should_continue != (poll.wanted > 0):
        draft.replies[poll.ticket] = PollReply(
            should_continue=reply.should_continue,
            message=reply.message,
            lost=reply.lost,
            received=reply.received,
            grants=tuple(grants),
        )


def _error_bound(draft: Draft, row: Job) -> float:
    """The bound that the job's audits reached, not the one that its rate promised."""
    if draft.spec(row.id).verify.mode is not VerifyMode.AUDIT:
        return row.error_bound
    devices = sum(presence.active for presence in draft.view.owners.values())
    return error_bound(min(row.audits / row.tasks, 1.0), tasks=row.tasks, devices=devices)


def _close_jobs(draft: Draft) -> None:
    """Close every job that wants nothing more, unless a result in it has just lost its credit."""
    if draft.quarantined:
        return
    for job, before in draft.view.jobs.items():
        row = draft.job(job) or before
        if row.state is JobState.RUNNING and draft.unsettled(job) == 0 and job not in draft.view.tainted_jobs:
            row = draft.counted(job)
            closed = draft.close_job(row, error_bound=_error_bound(draft, row))
            draft.note("job.closed", job, "scheduler", closed.state)
