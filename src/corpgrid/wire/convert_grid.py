"""What submitters, owners and operators are told, between values and protobuf; pages of results stand apart."""

from __future__ import annotations

from corpgrid.domain.answers import AttemptLog, Explanation, GridInfo, Obstacle, Report
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.job import Job, Task, VerifyMode
from corpgrid.wire import convert_checks as check
from corpgrid.wire.convert import wire_text
from corpgrid.wire.convert_device import device_from_wire, device_to_wire
from corpgrid.wire.convert_job import (
    ATTEMPT_STATES,
    attempt_from_wire,
    attempt_to_wire,
    job_from_wire,
    job_to_wire,
    task_from_wire,
    task_to_wire,
)
from corpgrid.wire.v1 import scheduler_pb2 as pb

VERIFY_MODES = check.Words(VerifyMode, pb.VerifyMode, "VERIFY_MODE")


def info_to_wire(info: GridInfo) -> pb.GetInfoResponse:
    """The scheduler that answers."""
    return pb.GetInfoResponse(
        version=info.version,
        now=info.now,
        started_at=info.started_at,
        limits=dict(info.limits),
        counters=dict(info.counters),
    )


def info_from_wire(message: pb.GetInfoResponse) -> GridInfo:
    """The scheduler that answers."""
    return GridInfo(
        version=message.version,
        now=message.now,
        started_at=message.started_at,
        limits=dict(message.limits),
        counters=dict(message.counters),
    )


def job_response_to_wire(job: Job) -> pb.JobResponse:
    """A job."""
    return pb.JobResponse(job=job_to_wire(job))


def job_response_from_wire(message: pb.JobResponse) -> Job:
    """A job."""
    return job_from_wire(message.job)


def jobs_to_wire(jobs: list[Job]) -> pb.ListJobsResponse:
    """Jobs."""
    return pb.ListJobsResponse(jobs=map(job_to_wire, jobs))


def jobs_from_wire(message: pb.ListJobsResponse) -> list[Job]:
    """Jobs."""
    return list(map(job_from_wire, message.jobs))


def tasks_to_wire(tasks: list[Task]) -> pb.ListTasksResponse:
    """Tasks."""
    return pb.ListTasksResponse(tasks=map(task_to_wire, tasks))


def tasks_from_wire(message: pb.ListTasksResponse) -> list[Task]:
    """Tasks."""
    return list(map(task_from_wire, message.tasks))


def attempts_to_wire(attempts: list[Attempt]) -> pb.ListAttemptsResponse:
    """Attempts."""
    return pb.ListAttemptsResponse(attempts=map(attempt_to_wire, attempts))


def attempts_from_wire(message: pb.ListAttemptsResponse) -> list[Attempt]:
    """Attempts."""
    return list(map(attempt_from_wire, message.attempts))


def logs_to_wire(logs: list[AttemptLog]) -> pb.GetLogResponse:
    """What attempts printed."""
    return pb.GetLogResponse(
        logs=[
            pb.AttemptLog(
                attempt=log.attempt,
                device=log.device,
                state=ATTEMPT_STATES.number[log.state],
                log=log.log,
                log_dropped=log.log_dropped,
                reason=wire_text(log.reason),
                detail=wire_text(log.detail),
            )
            for log in logs
        ]
    )


def logs_from_wire(message: pb.GetLogResponse) -> list[AttemptLog]:
    """What attempts printed."""
    return [
        AttemptLog(
            attempt=log.attempt,
            device=DeviceId(log.device),
            state=ATTEMPT_STATES.word(log.state),
            log=log.log,
            log_dropped=log.log_dropped,
            reason=log.reason,
            detail=log.detail,
        )
        for log in message.logs
    ]


def explanation_to_wire(explanation: Explanation) -> pb.ExplainResponse:
    """Why something does not run."""
    obstacles = [pb.Obstacle(**obstacle._asdict()) for obstacle in explanation.obstacles]
    return pb.ExplainResponse(summary=explanation.summary, obstacles=obstacles)


def explanation_from_wire(message: pb.ExplainResponse) -> Explanation:
    """Why something does not run."""
    return Explanation(
        summary=message.summary,
        obstacles=tuple(Obstacle(row.reason, row.devices, row.detail, row.remedy) for row in message.obstacles),
    )


def report_to_wire(report: Report) -> pb.GetReportResponse:
    """How far results can be believed."""
    return pb.GetReportResponse(
        job=job_to_wire(report.job),
        mode=VERIFY_MODES.number[report.mode],
        executions_per_task=report.executions_per_task,
        standing=report.standing,
        story=[pb.AuditLine(number=number, **entry._asdict()) for number, entry in report.story],
    )


def report_from_wire(message: pb.GetReportResponse) -> Report:
    """How far results can be believed."""
    return Report(
        job=job_from_wire(message.job),
        mode=VERIFY_MODES.word(message.mode),
        executions_per_task=message.executions_per_task,
        standing=message.standing,
        story=tuple(
            (line.number, AuditEntry(line.at, line.kind, line.subject, line.actor, line.detail))
            for line in message.story
        ),
    )


def device_response_to_wire(device: Device) -> pb.DeviceResponse:
    """A device."""
    return pb.DeviceResponse(device=device_to_wire(device))


def device_response_from_wire(message: pb.DeviceResponse) -> Device:
    """A device."""
    return device_from_wire(message.device)


def devices_to_wire(devices: list[Device]) -> pb.ListDevicesResponse:
    """Devices."""
    return pb.ListDevicesResponse(devices=map(device_to_wire, devices))


def devices_from_wire(message: pb.ListDevicesResponse) -> list[Device]:
    """Devices."""
    return list(map(device_from_wire, message.devices))
