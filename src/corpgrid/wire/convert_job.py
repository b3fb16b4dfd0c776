"""Rows of jobs, tasks and attempts, between values and protobuf."""

from __future__ import annotations

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.ids import DeviceId, Epoch, JobId, KeyId, OwnerId, SiteId
from corpgrid.domain.job import Counts, Job, JobState, Purpose, Task, TaskState
from corpgrid.wire import convert_checks as check
from corpgrid.wire.v1 import scheduler_pb2 as pb

JOB_STATES = check.Words(JobState, pb.JobState, "JOB_STATE")
TASK_STATES = check.Words(TaskState, pb.TaskState, "TASK_STATE")
ATTEMPT_STATES = check.Words(AttemptState, pb.AttemptState, "ATTEMPT_STATE")
PURPOSES = check.Words(Purpose, pb.Purpose, "PURPOSE")


def job_to_wire(job: Job) -> pb.Job:
    """A job's row."""
    return pb.Job(
        id=job.id,
        name=job.name,
        submitter=job.submitter,
        tenant=job.tenant,
        priority=job.priority,
        tasks=job.tasks,
        created_at=job.created_at,
        state=JOB_STATES.number[job.state],
        finished_at=job.finished_at,
        rev=job.rev,
        counts=pb.Counts(**job.counts._asdict()),
        unsettled=job.unsettled,
        executions=job.executions,
        audits=job.audits,
        mismatches=job.mismatches,
        audit_rate=job.audit_rate,
        error_bound=job.error_bound,
        reason=job.reason,
    )


def job_from_wire(message: pb.Job) -> Job:
    """A job's row."""
    counts = message.counts
    return Job(
        id=JobId(message.id),
        name=message.name,
        submitter=KeyId(message.submitter),
        tenant=message.tenant,
        priority=message.priority,
        tasks=message.tasks,
        created_at=message.created_at,
        state=JOB_STATES.word(message.state),
        finished_at=message.finished_at,
        rev=message.rev,
        counts=Counts(**{name: getattr(counts, name) for name in Counts._fields}),
        unsettled=message.unsettled,
        executions=message.executions,
        audits=message.audits,
        mismatches=message.mismatches,
        audit_rate=message.audit_rate,
        error_bound=message.error_bound,
        reason=message.reason,
    )


def task_to_wire(task: Task) -> pb.Task:
    """A task's row."""
    return pb.Task(
        job=task.job,
        index=task.index,
        state=TASK_STATES.number[task.state],
        purpose=PURPOSES.number[task.purpose],
        open=task.open,
        live=task.live,
        attempts=task.attempts,
        failures=task.failures,
        accepted=task.accepted,
        reason=task.reason,
        ready_at=task.ready_at,
        final_rev=task.final_rev,
    )


def task_from_wire(message: pb.Task) -> Task:
    """A task's row."""
    return Task(
        job=JobId(message.job),
        index=message.index,
        state=TASK_STATES.word(message.state),
        purpose=PURPOSES.word(message.purpose),
        open=message.open,
        live=message.live,
        attempts=message.attempts,
        failures=message.failures,
        accepted=message.accepted,
        reason=message.reason,
        ready_at=message.ready_at,
        final_rev=message.final_rev,
    )


def attempt_to_wire(attempt: Attempt) -> pb.Attempt:
    """An attempt's row."""
    return pb.Attempt(
        job=attempt.job,
        index=attempt.index,
        number=attempt.number,
        device=attempt.device,
        owner=attempt.owner,
        site=attempt.site,
        purpose=PURPOSES.number[attempt.purpose],
        epoch=attempt.epoch,
        state=ATTEMPT_STATES.number[attempt.state],
        batch=attempt.batch,
        position=attempt.position,
        digest=attempt.digest,
        reason=attempt.reason,
        seconds=attempt.seconds,
    )


def attempt_from_wire(message: pb.Attempt) -> Attempt:
    """An attempt's row."""
    return Attempt(
        job=JobId(message.job),
        index=message.index,
        number=message.number,
        device=DeviceId(message.device),
        owner=OwnerId(message.owner),
        site=SiteId(message.site),
        purpose=PURPOSES.word(message.purpose),
        epoch=Epoch(message.epoch),
        state=ATTEMPT_STATES.word(message.state),
        batch=message.batch,
        position=message.position,
        digest=check.maybe_digest(message.digest, "digest"),
        reason=message.reason,
        seconds=message.seconds,
    )
