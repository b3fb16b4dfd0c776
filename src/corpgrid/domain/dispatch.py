"""Who works on what: ready tasks meet waiting devices.

* Tasks that nobody tried are alike within a job and are placed as one want with a count; tasks that were tried are
  grouped by who may not take them.  So a tick scores (jobs + groups) x devices, not tasks x devices.
* Copies of one task never share an owner.  The one exception settles disputes: a trusted device may repeat a task, for
  nobody outvotes the operator, and a device that disagrees with itself shows that the task is not deterministic.
* One grant to one device is one lease with one epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from corpgrid.domain.attempt import LIVE, UNDELIVERED, Attempt, AttemptState, Lease
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import OwnerPresence
from corpgrid.domain.events import Polled
from corpgrid.domain.ids import DeviceId, Epoch, JobId, OwnerId, SiteId, TaskKey
from corpgrid.domain.job import JobState, Purpose, Task, TaskState, VerifyMode
from corpgrid.domain.messages import Grant, GrantedTask
from corpgrid.domain.placement import WEIGHTS, DeviceColumns, Want, Weights, match
from corpgrid.domain.rows import changed
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import audit_coin

_DONE = frozenset({AttemptState.RETURNED, AttemptState.ACCEPTED, AttemptState.REJECTED})
_ANYBODY = Weights(
    reputation=0.0, fit=0.0, thermal_headroom=0.0, fairness=0.0, correlation_penalty=0.15, utilisation=0.0
)
_PLACEABLE = frozenset({TaskState.READY, TaskState.LEASED, TaskState.PROVISIONAL})
_FAULTY = frozenset({AttemptState.CRASHED, AttemptState.REFUSED})
_UNDELIVERED_MOST = 3
_LEASED = TaskState.LEASED


class _Group(NamedTuple):
    """Tasks that the same devices may take."""

    job: JobId
    purpose: Purpose
    excluded_owners: frozenset[OwnerId] = frozenset()
    excluded_devices: frozenset[DeviceId] = frozenset()
    placed_sites: frozenset[SiteId] = frozenset()
    placed_backends: frozenset[str] = frozenset()
    placed_drivers: frozenset[str] = frozenset()
    prefer_trusted: bool = False
    require_trusted: bool = False


class Waiting(NamedTuple):
    """A device that asked for work, and how much it may get."""

    event: Polled
    device: Device
    free: int


def waiting(draft: Draft, polls: Sequence[Polled], rules: GridRules) -> list[Waiting]:
    """The devices among ``polls`` that may be given work now, one poll each (the newest)."""
    newest = {event.status.device: event for event in polls if event.wanted > 0}
    found = []
    for device_id, event in newest.items():
        device = draft.device(device_id)
        if device is not None and may_work(device):
            found.append(Waiting(event=event, device=device, free=min(event.wanted, rules.grant_tasks)))
    return found


def may_work(device: Device) -> bool:
    """Whether its state and its host allow work: the one rule that no weight can outbid."""
    return device.state is DeviceState.ACTIVE and device.power.on_ac_power and not device.blockers


def dispatch(draft: Draft, idle: Sequence[Waiting], rules: GridRules, rng: Random) -> dict[int, list[Grant]]:
    """Place ready tasks on waiting devices; the grants by ticket."""
    groups = _groups(draft, rules, most=sum(entry.free for entry in idle)) if idle else None
    if not groups:
        return {}
    given: dict[tuple[int, JobId], list[Task]] = {}
    free = [entry.free for entry in idle]
    checks = {group: tasks for group, tasks in groups.items() if group.purpose is not Purpose.PRIMARY}
    work = {group: tasks for group, tasks in groups.items() if group.purpose is Purpose.PRIMARY}
    # Checks go first: the sooner a liar is found, the less is done again.  They are few, and which of the devices least
    # alike they go to is a matter of chance, so that nobody can work to become the auditor of a friend.
    for part, weights in ((checks, _ANYBODY), (work, WEIGHTS)):
        if part and any(free):
            _place(draft, idle, free, part, given, weights=weights, rules=rules, rng=rng)
    grants: dict[int, list[Grant]] = {}
    for (place, job), tasks in given.items():
        entry = idle[place]
        grants.setdefault(entry.event.ticket, []).append(_grant(draft, entry.device.id, job, tasks, rules))
    return grants


def _place(  # noqa: PLR0913 - one step of dispatch, by keyword where it is not plain
    draft: Draft,
    idle: Sequence[Waiting],
    free: list[int],
    groups: Mapping[_Group, list[Task]],
    given: dict[tuple[int, JobId], list[Task]],
    *,
    weights: Weights,
    rules: GridRules,
    rng: Random,
) -> None:
    """Match groups with devices, and take what is given from ``free``."""
    wants = [_want(draft, group, len(tasks)) for group, tasks in groups.items()]
    columns = DeviceColumns.of([entry.device for entry in idle], free=free)
    tasks_of = [iter(tasks) for tasks in groups.values()]
    for placement in match(
        wants, columns, now=draft.now, rng=rng, weights=weights, seen_within_seconds=rules.seen_within_seconds
    ):
        free[placement.device] -= placement.count
        chosen = given.setdefault((placement.device, wants[placement.want].job), [])
        chosen.extend(islice(tasks_of[placement.want], placement.count))


def _groups(draft: Draft, rules: GridRules, *, most: int) -> dict[_Group, list[Task]]:
    """Tasks that want a device, by who may take them."""
    groups: dict[_Group, list[Task]] = {}
    fresh: dict[JobId, list[Task]] = {}
    present: OwnerPresence | None = None  # counted when it is asked for: most ticks offer nothing that was tried
    for key in draft.ready(most):
        task = draft.task(key)
        if task is None or task.open == 0 or task.state not in _PLACEABLE:
            continue
        alike = None if task.attempts else fresh.get(task.job)
        if alike is not None:
            alike.append(task)
        elif (job := draft.job(task.job)) is None or job.state is not JobState.RUNNING:
            continue
        elif task.attempts:
            present = present or _present(draft)
            groups.setdefault(_group_of(draft, task, present, rules), []).append(task)
        else:
            trusted_only = draft.spec(job.id).verify.mode is VerifyMode.TRUSTED
            group = _Group(job=job.id, purpose=Purpose.PRIMARY, require_trusted=trusted_only)
            fresh[job.id] = groups.setdefault(group, [])
            fresh[job.id].append(task)
    return groups


def _present(draft: Draft) -> OwnerPresence:
    """How many devices there are, of all owners."""
    owners = draft.view.owners.values()
    return OwnerPresence(sum(there.active for there in owners), sum(there.trusted for there in owners))


def _group_of(draft: Draft, task: Task, present: OwnerPresence, rules: GridRules) -> _Group:
    """Who may take a task that was tried: nobody whose owner has a copy, and rather nobody on whom it failed."""
    attempts = draft.attempts((task.job, task.index))
    copies = [attempt for attempt in attempts if attempt.state in _DONE or attempt.state in LIVE]
    settled_by_trusted = [attempt for attempt in copies if _trusted(draft, attempt.device)]
    if task.purpose is Purpose.ARBITER:
        copies = [attempt for attempt in copies if attempt not in settled_by_trusted or attempt.state in LIVE]
    owners = frozenset(attempt.owner for attempt in copies)
    devices = frozenset(attempt.device for attempt in copies)
    rows = [row for row in map(draft.device, devices) if row is not None]
    gpus = [gpu for row in rows for gpu in row.facts.gpus]
    require_trusted = (task.purpose is Purpose.ARBITER and bool(settled_by_trusted)) or (
        draft.spec(task.job).verify.mode is VerifyMode.TRUSTED
    )
    return _Group(
        job=task.job,
        purpose=task.purpose,
        excluded_owners=owners,
        excluded_devices=devices | _failing(draft, attempts, owners, present, require_trusted=require_trusted),
        placed_sites=frozenset(attempt.site for attempt in copies),
        placed_backends=frozenset(gpu.backend for gpu in gpus),
        placed_drivers=frozenset(gpu.driver for gpu in gpus),
        prefer_trusted=task.purpose is Purpose.ARBITER or _audit_by_trusted(task, rules),
        require_trusted=require_trusted,
    )


def _failing(
    draft: Draft,
    attempts: Sequence[Attempt],
    owners: frozenset[OwnerId],
    present: OwnerPresence,
    *,
    require_trusted: bool,
) -> set[DeviceId]:
    """Devices on which a task fails; none if it fails on all who may still take it: one of them has to try again.

    Those may not whose owner is among ``owners``, or who are not trusted where that is wanted.
    """
    failing = {attempt.device for attempt in attempts if attempt.state in _FAULTY} | _never_bring(attempts)
    could = {attempt.device for attempt in attempts if attempt.owner not in owners}
    barred = [draft.view.owners[owner] for owner in owners if owner in draft.view.owners]
    if require_trusted:
        could = {device for device in could if _trusted(draft, device)}
        there = present.trusted - sum(other.trusted for other in barred)
    else:
        there = present.active - sum(other.active for other in barred)
    return failing if len(failing & could) < there else set()


def _never_bring(attempts: Sequence[Attempt]) -> set[DeviceId]:
    """Devices that took a task again and again and never knew of it: a lost reply once is chance."""
    undelivered = Counter(attempt.device for attempt in attempts if attempt.reason == UNDELIVERED)
    return {device for device, times in undelivered.items() if times >= _UNDELIVERED_MOST}


def _audit_by_trusted(task: Task, rules: GridRules) -> bool:
    if task.purpose is not Purpose.AUDIT:
        return False
    return audit_coin(rules.audit_key, task.job, task.index, -1, rate=rules.trusted_audit_share)


def _trusted(draft: Draft, device: DeviceId) -> bool:
    row = draft.device(device)
    return row is not None and row.trusted


def _want(draft: Draft, group: _Group, count: int) -> Want:
    spec = draft.spec(group.job)
    return Want(
        job=group.job,
        requirements=spec.requirements,
        verify_mode=spec.verify.mode,
        count=count,
        excluded_owners=group.excluded_owners,
        excluded_devices=group.excluded_devices,
        placed_sites=group.placed_sites,
        placed_backends=group.placed_backends,
        placed_drivers=group.placed_drivers,
        prefer_trusted=group.prefer_trusted,
        require_trusted=group.require_trusted,
    )


def _grant(draft: Draft, device_id: DeviceId, job: JobId, tasks: Sequence[Task], rules: GridRules) -> Grant:
    """Give a device these tasks of a job, under a lease of their own."""
    device = draft.device(device_id)
    assert device is not None
    epoch, count, ttl = draft.grant_epoch(), len(tasks), rules.settings.lease_ttl_seconds
    _give_fresh(draft, device, epoch, [task for task in tasks if not task.attempts])
    for task in tasks:
        if task.attempts:
            _give_again(draft, device, epoch, task)
    until = draft.now + ttl
    draft.put_lease(Lease(epoch=epoch, device=device.id, job=job, granted_at=draft.now, until=until, remaining=count))
    draft.put_device(changed(device, leased=device.leased + count))
    granted = tuple([GrantedTask(task.index, task.attempts) for task in tasks])
    return Grant(epoch=epoch, job=job, tasks=granted, ttl_seconds=ttl)


def _give_fresh(draft: Draft, device: Device, epoch: Epoch, tasks: Sequence[Task]) -> None:
    """Tasks that nobody tried get their first attempt: all make the same move, so it is checked and counted once."""
    if not tasks:
        return
    name, owner, site = device.id, device.owner, device.site
    given: dict[TaskKey, Task] = {}
    for job, index, _, purpose, wanted, *_ in tasks:
        # Positional: this is done for every task that is granted, and keywords cost twice as much.
        draft.add_first_attempt((job, index), Attempt(job, index, 0, name, owner, site, purpose, epoch))
        given[job, index] = Task(job, index, _LEASED, purpose, wanted - 1, 1, 1)
    old = tasks[0]
    draft.put_moved(old, given[old.job, old.index], given)


def _give_again(draft: Draft, device: Device, epoch: Epoch, task: Task) -> None:
    job, index, number, purpose = task.job, task.index, task.attempts, task.purpose
    draft.add_attempt(Attempt(job, index, number, device.id, device.owner, device.site, purpose, epoch))
    state = TaskState.LEASED if task.state is TaskState.READY else task.state
    copies = (purpose, task.open - 1, task.live + 1, number + 1, task.failures, task.accepted)
    draft.put_task(task, Task(job, index, state, *copies))
