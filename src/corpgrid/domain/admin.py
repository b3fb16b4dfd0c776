"""What is not work: jobs and devices that come and go, and what time does by itself."""

from __future__ import annotations

from corpgrid.domain.attempt import LIVE, UNDELIVERED, AttemptState
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.dispatch import may_work
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import Checkpoint, NewJob
from corpgrid.domain.events import Checkpointed, DeviceRegistered, DeviceSet, JobCancelled, JobSubmitted, Swept
from corpgrid.domain.ids import Epoch, OwnerId, SiteId, TaskKey, task_text
from corpgrid.domain.intake import Intake, observed, quarantine
from corpgrid.domain.job import TERMINAL, Counts, Job, JobState, TaskState
from corpgrid.domain.leases import accepts, expired, extend, outage_seconds, renew
from corpgrid.domain.messages import AgentStatus, RegisterReply, Reply
from corpgrid.domain.reputation import OutcomeKind
from corpgrid.domain.rows import changed
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import audit_rate, error_bound, initial_copies
from corpgrid.errors import ConflictError, NotFoundError

_SILENCED = {
    DeviceState.PENDING: "this device waits for the operator's approval",
    DeviceState.PAUSED: "this device is paused",
    DeviceState.QUARANTINED: "this device is quarantined",
    DeviceState.REVOKED: "this device is revoked",
}


def submit(draft: Draft, event: JobSubmitted) -> None:
    """A job arrives.  The same signed specification again is the same job, and no error."""
    known = draft.job(event.job)
    if known is not None:
        draft.replies[event.ticket] = known
        return
    spec = event.spec
    devices = sum(presence.active for presence in draft.view.owners.values())
    rate = audit_rate(spec.verify, tasks=spec.arguments.tasks, devices=devices)
    job = Job(
        id=event.job,
        name=spec.name,
        submitter=event.submitter,
        tenant=spec.tenant,
        priority=spec.priority,
        tasks=spec.arguments.tasks,
        created_at=draft.now,
        counts=Counts(ready=spec.arguments.tasks),
        unsettled=spec.arguments.tasks,
        audit_rate=rate,
        error_bound=error_bound(rate, tasks=spec.arguments.tasks, devices=devices),
    )
    copies = initial_copies(spec.verify)
    draft.add_job(NewJob(job, spec, event.envelope, copies, event.attachments, event.payload))
    draft.note("job.submitted", job.id, event.submitter, f"{job.tasks} tasks")
    draft.replies[event.ticket] = job


def cancel(draft: Draft, event: JobCancelled) -> None:
    """A job ends at its user's wish; cancelling an ended one again changes nothing."""
    job = draft.job(event.job)
    if job is None:
        draft.replies[event.ticket] = NotFoundError(f"there is no job {event.job}")
        return
    if job.state is JobState.RUNNING:
        job = draft.cancel_job(draft.counted(job.id), reason=event.reason)
        draft.note("job.cancelled", job.id, "user", event.reason)
    draft.replies[event.ticket] = job


def register(draft: Draft, intake: Intake, event: DeviceRegistered, rules: GridRules) -> None:
    """A device arrives, for the first time or again: its old session ends, and so does what it no longer holds."""
    request = event.request
    old = draft.device(event.device)
    base = old or Device(
        id=event.device,
        public_key=request.public_key,
        owner=OwnerId(request.owner),
        site=SiteId(request.site),
        registered_at=draft.now,
    )
    for lease in draft.leases_of(event.device):
        if lease.epoch not in request.held:
            _release_lease(draft, intake, lease.epoch, AttemptState.STOPPED, "agent_restarted")
    device = changed(
        base,
        name=request.name,
        facts=request.facts,
        power=request.power,
        blockers=request.blockers,
        capacity=request.capacity,
        session=event.session,
        boot=request.boot,
        trusted=event.trusted,
        last_seen=draft.now,
        leased=sum(lease.remaining for lease in draft.leases_of(event.device)),
    )
    draft.put_device(device)
    if old is None:
        draft.note("device.registered", device.id, device.id, f"owner {device.owner}, site {device.site}")
    going_on, message = verdict_on(device)
    draft.replies[event.ticket] = RegisterReply(
        device=device.id, session="", settings=rules.settings, should_continue=going_on, message=message
    )


def note_status(draft: Draft, status: AgentStatus, rules: GridRules, *, complete: bool) -> Reply:
    """A device reports: renew what it holds, and say whether it may go on.

    Args:
        draft: the tick.
        status: what it says.
        rules: settings.
        complete: whether a lease that it does not name never reached it (true of a poll, whose sender has no other
            request for work under way); such a lease ends now.
    """
    device = draft.device(status.device)
    assert device is not None
    held, ended = set(status.held), device.state in {DeviceState.QUARANTINED, DeviceState.REVOKED}
    leases = {lease.epoch: lease for lease in draft.leases_of(device.id)}
    for lease in leases.values():
        if ended or (complete and lease.epoch not in held):
            draft.put_lease(lease._replace(until=0.0))
        elif lease.epoch in held:
            draft.put_lease(renew(lease, now=draft.now, ttl_seconds=rules.settings.lease_ttl_seconds))
    facts = device.facts
    if facts.thermal_headroom != status.thermal_headroom or facts.disk_free_bytes != status.disk_free_bytes:
        facts = changed(facts, thermal_headroom=status.thermal_headroom, disk_free_bytes=status.disk_free_bytes)
    device = changed(
        device,
        facts=facts,
        power=status.power,
        blockers=status.blockers,
        capacity=status.capacity,
        leased=sum(lease.remaining for lease in leases.values()),
        last_seen=draft.now,
    )
    draft.put_device(device)
    going_on, message = verdict_on(device)
    lost = tuple(epoch for epoch in status.held if ended or epoch not in leases)
    return Reply(should_continue=going_on, message=message, lost=lost)


def verdict_on(device: Device) -> tuple[bool, str]:
    """Whether a device may go on with its work, and if not, why.

    A host's own blockers are no word of the scheduler's: the agent that reports them is already freezing its work, and
    knows how long it may wait before it hands it back.
    """
    if not device.power.on_ac_power:
        return False, "Battery detected - stop work immediately"
    if device.state in _SILENCED:
        reason = f": {device.reason}" if device.reason else ""
        return False, _SILENCED[device.state] + reason
    assert may_work(device) or device.blockers or device.state is DeviceState.DRAINING
    return True, ""


def set_device(draft: Draft, event: DeviceSet) -> None:
    """A person changes a device's state."""
    device = draft.device(event.device)
    if device is None:
        draft.replies[event.ticket] = NotFoundError(f"there is no device {event.device}")
        return
    if device.state is event.state:
        draft.replies[event.ticket] = device
        return
    if not draft.may_move(device, event.state):
        draft.replies[event.ticket] = ConflictError(
            f"device {device.id} is {device.state} and cannot become {event.state}",
            remedy="A quarantined device stays out; enrol the machine again after it was repaired.",
        )
        return
    if event.state is DeviceState.QUARANTINED:
        quarantine(draft, device, event.reason)
    else:
        draft.put_device(changed(device, state=event.state, reason=event.reason))
        draft.note(f"device.{event.state}", device.id, "user", event.reason)
    draft.replies[event.ticket] = draft.device(device.id)


def checkpointed(draft: Draft, event: Checkpointed) -> None:
    """A running attempt left a checkpoint; one of a stale lease is not kept."""
    request = event.request
    attempts = draft.attempts((request.job, request.index))
    holder = attempts[request.attempt] if 0 <= request.attempt < len(attempts) else None
    if holder is not None and accepts(holder, device=request.status.device, epoch=request.epoch):
        if holder.state is AttemptState.LEASED:
            draft.put_attempt(holder._replace(state=AttemptState.RUNNING))
        draft.checkpoints.append(
            Checkpoint(request.job, request.index, request.attempt, request.step, request.blob, draft.now)
        )


def forgive_outage(draft: Draft, *, allowed_seconds: float) -> None:
    """Extend every lease by the time in which no scheduler was there to renew it; before anything else of a tick.

    Args:
        draft: the tick.
        allowed_seconds: a gap between ticks that is no outage.
    """
    view = draft.view
    seconds = outage_seconds(now=view.now, last_tick=view.last_tick, allowed_seconds=allowed_seconds)
    if seconds > 0.0:
        draft.extend_leases_seconds = seconds
        for lease in view.leases.values():
            if lease.until > 0.0:  # else it was given up: it never reached its device
                draft.put_lease(extend(lease, seconds))


def sweep(draft: Draft, intake: Intake, event: Swept) -> None:
    """Time passed: end leases that ran out, wake due tasks, run a quarantined device's unchecked work again."""
    draft.replies[event.ticket] = draft.extend_leases_seconds
    for epoch in draft.view.expired:
        _expire(draft, intake, epoch)
    for key in draft.view.due:
        task = draft.task(key)
        if task is not None and task.state is TaskState.WAITING:
            draft.put_task(task, task._replace(state=TaskState.READY, reason="", ready_at=0.0))
    for key in draft.view.tainted:
        _run_again(draft, intake, key)


def _expire(draft: Draft, intake: Intake, epoch: Epoch) -> None:
    lease = draft.lease(epoch)
    if lease is None or not expired(lease, draft.now):
        return
    if lease.until == 0.0:
        _release_lease(draft, intake, epoch, AttemptState.STOPPED, UNDELIVERED)
        return
    _release_lease(draft, intake, epoch, AttemptState.EXPIRED, "lease_expired")
    device = draft.device(lease.device)
    if device is not None:
        draft.put_device(observed(device, OutcomeKind.HEARTBEAT_LOSS, now=draft.now))


def _release_lease(draft: Draft, intake: Intake, epoch: Epoch, state: AttemptState, reason: str) -> None:
    """End all live attempts under a lease; those that the view does not hold wait for the next sweep."""
    lease = draft.lease(epoch)
    assert lease is not None
    held = [
        attempt
        for key in draft.view.attempts
        if key[0] == lease.job
        for attempt in draft.attempts(key)
        if attempt.epoch == epoch and attempt.state in LIVE
    ]
    intake.release(held, state, reason)


def _run_again(draft: Draft, intake: Intake, key: TaskKey) -> None:
    task = draft.task(key)
    if task is None or task.state in TERMINAL or task.accepted < 0:
        return
    attempt = draft.attempts(key)[task.accepted]
    device = draft.device(attempt.device)
    if device is None or device.state not in {DeviceState.QUARANTINED, DeviceState.REVOKED}:
        return
    draft.note("task.rerun", task_text(key), "scheduler", f"its result came from {attempt.device}")
    intake.run_again(task)
