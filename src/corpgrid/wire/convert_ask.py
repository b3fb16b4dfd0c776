"""What submitters, owners and operators ask, between values and protobuf.

A request is a named tuple of the arguments of the ``ports.GridApi`` call that it stands for.
"""

from __future__ import annotations

from typing import NamedTuple

from corpgrid.domain.answers import Cursor
from corpgrid.domain.device import DeviceState
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import JobState, TaskState
from corpgrid.wire import convert_checks as check
from corpgrid.wire.convert_device import DEVICE_STATES
from corpgrid.wire.convert_job import JOB_STATES, TASK_STATES
from corpgrid.wire.v1 import scheduler_pb2 as pb


class AskInfo(NamedTuple):
    """Who is there?"""


class AskDevices(NamedTuple):
    """Which devices are there?"""


class AskJob(NamedTuple):
    """Something of one job."""

    job: JobId


class AskTask(NamedTuple):
    """Something of one task."""

    job: JobId
    task: int


class AskDevice(NamedTuple):
    """Something of one device."""

    device: DeviceId


class SubmitJob(NamedTuple):
    """A signed specification, and small blobs that it names."""

    envelope: bytes
    blobs: tuple[bytes, ...]


class CancelJob(NamedTuple):
    """No more of a job."""

    job: JobId
    reason: str


class AskJobs(NamedTuple):
    """The newest jobs."""

    states: tuple[JobState, ...]
    limit: int


class AskTasks(NamedTuple):
    """Tasks of a job."""

    job: JobId
    states: tuple[TaskState, ...]
    after: int
    limit: int


class AskResults(NamedTuple):
    """Results of a job after a cursor."""

    job: JobId
    after: Cursor
    limit: int
    wait_seconds: float
    provisional: bool


class SetDevice(NamedTuple):
    """Another state for a device."""

    device: DeviceId
    state: DeviceState
    reason: str


def info_request_to_wire(_request: AskInfo) -> pb.GetInfoRequest:
    """Who is there?"""
    return pb.GetInfoRequest()


def info_request_from_wire(_message: pb.GetInfoRequest) -> AskInfo:
    """Who is there?"""
    return AskInfo()


def job_request_to_wire(request: AskJob) -> pb.JobRequest:
    """One job."""
    return pb.JobRequest(job=request.job)


def job_request_from_wire(message: pb.JobRequest) -> AskJob:
    """One job."""
    return AskJob(JobId(check.text(message.job, "job")))


def task_request_to_wire(request: AskTask) -> pb.TaskRequest:
    """One task."""
    return pb.TaskRequest(job=request.job, index=request.task)


def task_request_from_wire(message: pb.TaskRequest) -> AskTask:
    """One task."""
    return AskTask(JobId(check.text(message.job, "job")), message.index)


def submit_to_wire(request: SubmitJob) -> pb.SubmitJobRequest:
    """A signed specification."""
    return pb.SubmitJobRequest(envelope=request.envelope, blobs=request.blobs)


def submit_from_wire(message: pb.SubmitJobRequest) -> SubmitJob:
    """A signed specification."""
    return SubmitJob(message.envelope, tuple(message.blobs))


def cancel_to_wire(request: CancelJob) -> pb.CancelJobRequest:
    """No more of a job."""
    return pb.CancelJobRequest(job=request.job, reason=request.reason)


def cancel_from_wire(message: pb.CancelJobRequest) -> CancelJob:
    """No more of a job."""
    return CancelJob(JobId(check.text(message.job, "job")), check.text(message.reason, "reason"))


def jobs_request_to_wire(request: AskJobs) -> pb.ListJobsRequest:
    """The newest jobs."""
    return pb.ListJobsRequest(states=[JOB_STATES.number[state] for state in request.states], limit=request.limit)


def jobs_request_from_wire(message: pb.ListJobsRequest) -> AskJobs:
    """The newest jobs."""
    return AskJobs(tuple(JOB_STATES.words(message.states)), message.limit)


def tasks_request_to_wire(request: AskTasks) -> pb.ListTasksRequest:
    """Tasks of a job."""
    return pb.ListTasksRequest(
        job=request.job,
        states=[TASK_STATES.number[state] for state in request.states],
        after=request.after,
        limit=request.limit,
    )


def tasks_request_from_wire(message: pb.ListTasksRequest) -> AskTasks:
    """Tasks of a job."""
    states = tuple(TASK_STATES.words(message.states))
    return AskTasks(JobId(check.text(message.job, "job")), states, message.after, message.limit)


def results_request_to_wire(request: AskResults) -> pb.FetchResultsRequest:
    """Results after a cursor."""
    return pb.FetchResultsRequest(
        job=request.job,
        after=pb.Cursor(rev=request.after.rev, index=request.after.index),
        limit=request.limit,
        wait_seconds=request.wait_seconds,
        provisional=request.provisional,
    )


def results_request_from_wire(message: pb.FetchResultsRequest) -> AskResults:
    """Results after a cursor."""
    return AskResults(
        job=JobId(check.text(message.job, "job")),
        after=Cursor(message.after.rev, message.after.index) if message.HasField("after") else Cursor(),
        limit=message.limit,
        wait_seconds=check.finite(message.wait_seconds, "wait_seconds"),
        provisional=message.provisional,
    )


def device_request_to_wire(request: AskDevice) -> pb.DeviceRequest:
    """One device."""
    return pb.DeviceRequest(device=request.device)


def device_request_from_wire(message: pb.DeviceRequest) -> AskDevice:
    """One device."""
    return AskDevice(DeviceId(check.text(message.device, "device")))


def devices_request_to_wire(_request: AskDevices) -> pb.ListDevicesRequest:
    """All devices."""
    return pb.ListDevicesRequest()


def devices_request_from_wire(_message: pb.ListDevicesRequest) -> AskDevices:
    """All devices."""
    return AskDevices()


def set_device_to_wire(request: SetDevice) -> pb.SetDeviceRequest:
    """Another state for a device."""
    return pb.SetDeviceRequest(device=request.device, state=DEVICE_STATES.number[request.state], reason=request.reason)


def set_device_from_wire(message: pb.SetDeviceRequest) -> SetDevice:
    """Another state for a device."""
    return SetDevice(
        DeviceId(check.text(message.device, "device")),
        DEVICE_STATES.word(message.state),
        check.text(message.reason, "reason"),
    )
