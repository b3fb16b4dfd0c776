"""Why something does not run, from what is known of the devices: pure functions over rows.

Rules:
* The summary is one sentence that stands alone.  The obstacles below it are counted by device, the one that keeps away
  most first; each says what would help.
* A task that waits for an audit is explained by the devices that may not give it: those of the owners who have a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corpgrid.domain.answers import Explanation, Obstacle, Report
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry
from corpgrid.domain.feasibility import Refusal, explain, host_refusals, refusals, summarise
from corpgrid.domain.ids import OwnerId
from corpgrid.domain.job import Job, JobSpec, JobState, Requirements, VerifyMode

_REMEDIES: Mapping[Refusal, str] = {
    Refusal.REVOKED: "A revoked device stays out; enrol it anew under another key.",
    Refusal.QUARANTINED: "`corpgrid device show DEVICE` says what it was caught at.",
    Refusal.PENDING: "The operator approves it with `corpgrid device resume DEVICE`.",
    Refusal.ENGINE: "`corpgrid doctor` on the device says why the engine's self-test failed.",
    Refusal.PYTHON: "Send the function as source files, or run the submitter's Python on the devices.",
    Refusal.MEMORY: "Ask for less memory, or lend more of the device's.",
    Refusal.DISK: "Ask for less disk, or free some on the device.",
    Refusal.CPUS: "Ask for fewer cores, or lend more of the device's.",
    Refusal.LABELS: "The operator sets labels in the device's configuration.",
    Refusal.NOT_TRUSTED: "Choose another verification mode, or let the operator trust the device.",
    Refusal.SAME_OWNER: "A device of another owner must join the grid.",
    Refusal.SAME_DEVICE: "Another device must join the grid.",
    Refusal.NOT_SEEN: "Is its agent running?  `corpgrid doctor` on the device says.",
    Refusal.DRAINING: "`corpgrid device resume DEVICE` lets it take work again.",
    Refusal.PAUSED: "`corpgrid device resume DEVICE` lets it take work again.",
    Refusal.BATTERY: "It works again when it is plugged in.",
    Refusal.HOST: "It works again when its owner's policy allows it.",
    Refusal.FULL: "It takes more when it has finished what it has.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an explanation looks at.

    Attributes:
        devices: all of them.
        now: seconds since the epoch.
        seen_within_seconds: a device that was not heard of for longer is not there.
    """

    devices: Sequence[Device]
    now: float
    seen_within_seconds: float


def explain_job(job: Job, spec: JobSpec, scene: Scene, *, audit_owners: frozenset[OwnerId] | None) -> Explanation:
    """Why a job has not ended.

    Args:
        job: its row.
        spec: what its submitter decided.
        scene: who is there.
        audit_owners: the owners with a copy of one task that waits for an audit, or None if no task does.
    """
    if job.state is not JobState.RUNNING:
        return Explanation(_ended(job))
    told, obstacles = [_progress(job)], list[Obstacle]()
    if job.counts.ready:
        refused, obstacles = _refused(spec, scene, owners=frozenset())
        told.append(f"{job.counts.ready:,} want a device ({summarise(refused)})")
    elif audit_owners is not None:
        refused, obstacles = _refused(spec, scene, owners=audit_owners)
        told.append(f"committed results wait to be audited ({summarise(refused)})")
    return Explanation("; ".join(told), tuple(obstacles))


def explain_device(device: Device, jobs: Sequence[tuple[Job, JobSpec]], scene: Scene) -> Explanation:
    """Why a device has no work; ``jobs`` are those with tasks that want a device."""
    about = Requirements(engine="")
    host = [*host_refusals(device)]
    if scene.now - device.last_seen > scene.seen_within_seconds:
        host.append(Refusal.NOT_SEEN)
    if host:
        reasons = ", ".join(explain(refusal, about, device) for refusal in host)
        return Explanation(
            f"{_name(device)} {reasons}", tuple(_obstacle(r, 1, explain(r, about, device)) for r in host)
        )
    if not jobs:
        return Explanation(f"{_name(device)} holds {device.leased} of {device.capacity} tasks; no task wants a device")
    obstacles = [obstacle for job, spec in jobs for obstacle in _against(device, job, spec, scene)]
    could = len(jobs) - len({obstacle.detail.partition(":")[0] for obstacle in obstacles})
    return Explanation(
        f"{_name(device)} holds {device.leased} of {device.capacity} tasks, "
        f"and could work on {could} of {len(jobs)} jobs that want devices",
        tuple(obstacles),
    )


def report(job: Job, spec: JobSpec, story: Sequence[tuple[int, AuditEntry]]) -> Report:
    """How far a job's results can be believed."""
    results = job.counts.final + job.counts.provisional
    return Report(
        job=job,
        mode=spec.verify.mode,
        executions_per_task=job.executions / results if results else 0.0,
        standing=_standing(job, spec.verify.mode),
        story=tuple(story),
    )


def _standing(job: Job, mode: VerifyMode) -> str:
    final, provisional = job.counts.final, job.counts.provisional
    told = f"{final:,} of {job.tasks:,} results are final"
    if provisional:
        told += f", {provisional:,} may still be audited"
    if mode is VerifyMode.NONE:
        return f"{told}; nobody checked them, as the job asked"
    if mode is VerifyMode.TRUSTED:
        return f"{told}; they come from the operator's own devices"
    if mode is not VerifyMode.AUDIT:
        return f"{told}; each is what most of its copies say"
    if not job.audits and final:
        return f"{told}; none was audited: they come from trusted devices, and nobody of another owner was there"
    told += f"; {job.mismatches:,} of {job.audits:,} audits disagreed"
    return f"{told}; at most {job.error_bound:.1e} of them are wrong, whatever rate a liar chooses"


def _ended(job: Job) -> str:
    counts = job.counts
    told = f"it has ended ({job.state}): {counts.final:,} of {job.tasks:,} tasks are final"
    told += "".join(
        f", {count:,} {word}" for word, count in (("failed", counts.failed), ("cancelled", counts.cancelled)) if count
    )
    return f"{told}; {job.reason}" if job.reason else told


def _progress(job: Job) -> str:
    counts = job.counts
    parts = [
        (counts.final, "final"),
        (counts.provisional, "committed"),
        (counts.leased, "running"),
        (counts.waiting, "waiting to be tried again"),
        (counts.failed, "failed"),
    ]
    told = ", ".join(f"{count:,} {word}" for count, word in parts if count) or "none begun"
    return f"of {job.tasks:,} tasks: {told}"


def _refused(
    spec: JobSpec, scene: Scene, *, owners: frozenset[OwnerId]
) -> tuple[list[tuple[Refusal, ...]], list[Obstacle]]:
    """Why each device may not have the work, and the same by reason."""
    refused = [
        refusals(
            spec.requirements,
            spec.verify.mode,
            device,
            now=scene.now,
            seen_within_seconds=scene.seen_within_seconds,
            excluded_owners=owners,
        )
        for device in scene.devices
    ]
    counted = Counter(
        (reasons[0], explain(reasons[0], spec.requirements, device))
        for reasons, device in zip(refused, scene.devices, strict=True)
        if reasons
    )
    return refused, [_obstacle(refusal, devices, detail) for (refusal, detail), devices in counted.most_common()]


def _against(device: Device, job: Job, spec: JobSpec, scene: Scene) -> list[Obstacle]:
    found = refusals(
        spec.requirements,
        spec.verify.mode,
        device,
        now=scene.now,
        seen_within_seconds=scene.seen_within_seconds,
    )
    return [_obstacle(refusal, 1, f"{job.id}: it {explain(refusal, spec.requirements, device)}") for refusal in found]


def _obstacle(refusal: Refusal, devices: int, detail: str) -> Obstacle:
    return Obstacle(refusal.value, devices, detail, _REMEDIES.get(refusal, ""))


def _name(device: Device) -> str:
    return device.name or device.id
