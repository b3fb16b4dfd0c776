"""Every call of the protocol, as one table: how its request and its reply are written, which method of a port it is.

Rules:
* A server, a client and the loopback are three walks over this table; none of them knows a message by name.
* ``decode`` raises ``MalformedDataError`` for bytes from outside, ``encode`` a ``UsageError`` for a value that does not
  fit its field: nothing else.
* ``waits`` says how long a call means to wait by itself, so that its deadline can be set beyond that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from corpgrid.domain.answers import AttemptLog, Explanation, GridInfo, Report, ResultsPage
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Job, Task
from corpgrid.domain.messages import (
    CheckpointRequest,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)
from corpgrid.errors import UsageError
from corpgrid.ports.api import BlobApi, GridApi, SchedulerApi
from corpgrid.wire import convert_agent as agent
from corpgrid.wire import convert_ask as ask
from corpgrid.wire import convert_checks as check
from corpgrid.wire import convert_grid as grid
from corpgrid.wire import convert_results as results
from corpgrid.wire.v1 import scheduler_pb2 as pb

V = TypeVar("V")
Q = TypeVar("Q")
R = TypeVar("R")
A = TypeVar("A")
M = TypeVar("M", bound=Message)

PACKAGE = "corpgrid.v1"


@dataclass(frozen=True, slots=True)
class Codec(Generic[V, M]):
    """How a value is written as one kind of message."""

    kind: type[M]
    to_wire: Callable[[V], M]
    from_wire: Callable[[M], V]

    def encode(self, value: V) -> bytes:
        """The bytes of a value.

        Raises:
            UsageError: a part of it does not fit its field.
        """
        try:
            return self.to_wire(value).SerializeToString()
        except (TypeError, ValueError) as error:
            raise UsageError(f"this cannot travel as {self.kind.DESCRIPTOR.name}: {error}") from None

    def decode(self, content: bytes) -> V:
        """The value of some bytes.

        Raises:
            MalformedDataError: they are not one.
        """
        return self.from_wire(check.parse(self.kind, content))


def _no_wait(_request: Any) -> float:
    return 0.0


class PutPart(NamedTuple):
    """A part of a blob that is being stored; the first may say what all of it must be."""

    chunk: bytes
    expected: Digest = Digest(b"")


class GetPart(NamedTuple):
    """A wish for a blob's bytes from an offset."""

    digest: Digest
    offset: int


class LocateBlob(NamedTuple):
    """A wish to fetch a blob elsewhere, or, if it has a size, to store it there."""

    digest: Digest
    put_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Method(Generic[A, Q, R]):
    """One unary call."""

    service: str
    name: str
    request: Codec[Q, Any]
    reply: Codec[R, Any]
    call: Callable[[A, Q], Awaitable[R]]
    waits: Callable[[Q], float] = _no_wait

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{PACKAGE}.{self.service}/{self.name}"


def _missing_request_to_wire(digests: list[Digest]) -> pb.MissingBlobsRequest:
    return pb.MissingBlobsRequest(digests=digests)


def _missing_to_wire(digests: list[Digest]) -> pb.MissingBlobsResponse:
    return pb.MissingBlobsResponse(digests=digests)


def _digests_from_wire(message: pb.MissingBlobsRequest | pb.MissingBlobsResponse) -> list[Digest]:
    return [check.digest(content, "digest") for content in message.digests]


def _locate_to_wire(question: LocateBlob) -> pb.LocateBlobRequest:
    return pb.LocateBlobRequest(digest=question.digest, put_bytes=question.put_bytes)


def _locate_from_wire(message: pb.LocateBlobRequest) -> LocateBlob:
    put_bytes = message.put_bytes if message.HasField("put_bytes") else None
    return LocateBlob(check.digest(message.digest, "digest"), put_bytes)


def _fetch(api: GridApi, request: ask.AskResults) -> Awaitable[ResultsPage]:
    if request.provisional:
        return api.provisional(request.job, after=request.after, limit=request.limit)
    return api.results(request.job, after=request.after, limit=request.limit, wait_seconds=request.wait_seconds)


REGISTER_AGENT: Method[SchedulerApi, RegisterRequest, RegisterReply] = Method(
    "Scheduler",
    "RegisterAgent",
    Codec(pb.RegisterAgentRequest, agent.register_request_to_wire, agent.register_request_from_wire),
    Codec(pb.RegisterAgentResponse, agent.register_reply_to_wire, agent.register_reply_from_wire),
    lambda api, request: api.register(request),
)
POLL_JOBS: Method[SchedulerApi, PollRequest, PollReply] = Method(
    "Scheduler",
    "PollJobs",
    Codec(pb.PollJobsRequest, agent.poll_request_to_wire, agent.poll_request_from_wire),
    Codec(pb.PollJobsResponse, agent.poll_reply_to_wire, agent.poll_reply_from_wire),
    lambda api, request: api.poll(request),
    waits=lambda request: request.wait_seconds,
)
HEARTBEAT: Method[SchedulerApi, HeartbeatRequest, Reply] = Method(
    "Scheduler",
    "Heartbeat",
    Codec(pb.HeartbeatRequest, agent.heartbeat_request_to_wire, agent.heartbeat_request_from_wire),
    Codec(pb.HeartbeatResponse, agent.heartbeat_reply_to_wire, agent.reply_from_wire),
    lambda api, request: api.heartbeat(request),
)
SUBMIT_RESULT: Method[SchedulerApi, SubmitRequest, Reply] = Method(
    "Scheduler",
    "SubmitResult",
    Codec(pb.SubmitResultRequest, agent.submit_request_to_wire, agent.submit_request_from_wire),
    Codec(pb.SubmitResultResponse, agent.submit_reply_to_wire, agent.reply_from_wire),
    lambda api, request: api.submit(request),
)
REPORT_CHECKPOINT: Method[SchedulerApi, CheckpointRequest, Reply] = Method(
    "Scheduler",
    "ReportCheckpoint",
    Codec(pb.ReportCheckpointRequest, agent.checkpoint_request_to_wire, agent.checkpoint_request_from_wire),
    Codec(pb.ReportCheckpointResponse, agent.checkpoint_reply_to_wire, agent.reply_from_wire),
    lambda api, request: api.checkpoint(request),
)
GET_INFO: Method[GridApi, ask.AskInfo, GridInfo] = Method(
    "Grid",
    "GetInfo",
    Codec(pb.GetInfoRequest, ask.info_request_to_wire, ask.info_request_from_wire),
    Codec(pb.GetInfoResponse, grid.info_to_wire, grid.info_from_wire),
    lambda api, _request: api.info(),
)
SUBMIT_JOB: Method[GridApi, ask.SubmitJob, Job] = Method(
    "Grid",
    "SubmitJob",
    Codec(pb.SubmitJobRequest, ask.submit_to_wire, ask.submit_from_wire),
    Codec(pb.JobResponse, grid.job_response_to_wire, grid.job_response_from_wire),
    lambda api, request: api.submit_job(request.envelope, blobs=request.blobs),
)
CANCEL_JOB: Method[GridApi, ask.CancelJob, Job] = Method(
    "Grid",
    "CancelJob",
    Codec(pb.CancelJobRequest, ask.cancel_to_wire, ask.cancel_from_wire),
    Codec(pb.JobResponse, grid.job_response_to_wire, grid.job_response_from_wire),
    lambda api, request: api.cancel_job(request.job, reason=request.reason),
)
GET_JOB: Method[GridApi, ask.AskJob, Job] = Method(
    "Grid",
    "GetJob",
    Codec(pb.JobRequest, ask.job_request_to_wire, ask.job_request_from_wire),
    Codec(pb.JobResponse, grid.job_response_to_wire, grid.job_response_from_wire),
    lambda api, request: api.job(request.job),
)
LIST_JOBS: Method[GridApi, ask.AskJobs, list[Job]] = Method(
    "Grid",
    "ListJobs",
    Codec(pb.ListJobsRequest, ask.jobs_request_to_wire, ask.jobs_request_from_wire),
    Codec(pb.ListJobsResponse, grid.jobs_to_wire, grid.jobs_from_wire),
    lambda api, request: api.jobs(states=request.states, limit=request.limit),
)
LIST_TASKS: Method[GridApi, ask.AskTasks, list[Task]] = Method(
    "Grid",
    "ListTasks",
    Codec(pb.ListTasksRequest, ask.tasks_request_to_wire, ask.tasks_request_from_wire),
    Codec(pb.ListTasksResponse, grid.tasks_to_wire, grid.tasks_from_wire),
    lambda api, request: api.tasks(request.job, states=request.states, after=request.after, limit=request.limit),
)
LIST_ATTEMPTS: Method[GridApi, ask.AskTask, list[Attempt]] = Method(
    "Grid",
    "ListAttempts",
    Codec(pb.TaskRequest, ask.task_request_to_wire, ask.task_request_from_wire),
    Codec(pb.ListAttemptsResponse, grid.attempts_to_wire, grid.attempts_from_wire),
    lambda api, request: api.attempts(request.job, request.task),
)
FETCH_RESULTS: Method[GridApi, ask.AskResults, ResultsPage] = Method(
    "Grid",
    "FetchResults",
    Codec(pb.FetchResultsRequest, ask.results_request_to_wire, ask.results_request_from_wire),
    Codec(pb.FetchResultsResponse, results.page_to_wire, results.page_from_wire),
    _fetch,
    waits=lambda request: request.wait_seconds,
)
GET_LOG: Method[GridApi, ask.AskTask, list[AttemptLog]] = Method(
    "Grid",
    "GetLog",
    Codec(pb.TaskRequest, ask.task_request_to_wire, ask.task_request_from_wire),
    Codec(pb.GetLogResponse, grid.logs_to_wire, grid.logs_from_wire),
    lambda api, request: api.log(request.job, request.task),
)
EXPLAIN_JOB: Method[GridApi, ask.AskJob, Explanation] = Method(
    "Grid",
    "ExplainJob",
    Codec(pb.JobRequest, ask.job_request_to_wire, ask.job_request_from_wire),
    Codec(pb.ExplainResponse, grid.explanation_to_wire, grid.explanation_from_wire),
    lambda api, request: api.explain_job(request.job),
)
GET_REPORT: Method[GridApi, ask.AskJob, Report] = Method(
    "Grid",
    "GetReport",
    Codec(pb.JobRequest, ask.job_request_to_wire, ask.job_request_from_wire),
    Codec(pb.GetReportResponse, grid.report_to_wire, grid.report_from_wire),
    lambda api, request: api.report(request.job),
)
LIST_DEVICES: Method[GridApi, ask.AskDevices, list[Device]] = Method(
    "Grid",
    "ListDevices",
    Codec(pb.ListDevicesRequest, ask.devices_request_to_wire, ask.devices_request_from_wire),
    Codec(pb.ListDevicesResponse, grid.devices_to_wire, grid.devices_from_wire),
    lambda api, _request: api.devices(),
)
GET_DEVICE: Method[GridApi, ask.AskDevice, Device] = Method(
    "Grid",
    "GetDevice",
    Codec(pb.DeviceRequest, ask.device_request_to_wire, ask.device_request_from_wire),
    Codec(pb.DeviceResponse, grid.device_response_to_wire, grid.device_response_from_wire),
    lambda api, request: api.device(request.device),
)
SET_DEVICE: Method[GridApi, ask.SetDevice, Device] = Method(
    "Grid",
    "SetDevice",
    Codec(pb.SetDeviceRequest, ask.set_device_to_wire, ask.set_device_from_wire),
    Codec(pb.DeviceResponse, grid.device_response_to_wire, grid.device_response_from_wire),
    lambda api, request: api.set_device(request.device, request.state, reason=request.reason),
)
EXPLAIN_DEVICE: Method[GridApi, ask.AskDevice, Explanation] = Method(
    "Grid",
    "ExplainDevice",
    Codec(pb.DeviceRequest, ask.device_request_to_wire, ask.device_request_from_wire),
    Codec(pb.ExplainResponse, grid.explanation_to_wire, grid.explanation_from_wire),
    lambda api, request: api.explain_device(request.device),
)
MISSING_BLOBS: Method[BlobApi, list[Digest], list[Digest]] = Method(
    "Blobs",
    "MissingBlobs",
    Codec(pb.MissingBlobsRequest, _missing_request_to_wire, _digests_from_wire),
    Codec(pb.MissingBlobsResponse, _missing_to_wire, _digests_from_wire),
    lambda api, request: api.missing_blobs(request),
)
LOCATE_BLOB: Method[BlobApi, LocateBlob, str | None] = Method(
    "Blobs",
    "LocateBlob",
    Codec(pb.LocateBlobRequest, _locate_to_wire, _locate_from_wire),
    Codec(
        pb.LocateBlobResponse,
        lambda url: pb.LocateBlobResponse(url=url),
        lambda message: check.text(message.url, "url") if message.HasField("url") else None,
    ),
    lambda api, request: api.locate_blob(request.digest, put_bytes=request.put_bytes),
)

SCHEDULER_METHODS: tuple[Method[SchedulerApi, Any, Any], ...] = (
    REGISTER_AGENT,
    POLL_JOBS,
    HEARTBEAT,
    SUBMIT_RESULT,
    REPORT_CHECKPOINT,
)
GRID_METHODS: tuple[Method[GridApi, Any, Any], ...] = (
    GET_INFO,
    SUBMIT_JOB,
    CANCEL_JOB,
    GET_JOB,
    LIST_JOBS,
    LIST_TASKS,
    LIST_ATTEMPTS,
    FETCH_RESULTS,
    GET_LOG,
    EXPLAIN_JOB,
    GET_REPORT,
    LIST_DEVICES,
    GET_DEVICE,
    SET_DEVICE,
    EXPLAIN_DEVICE,
)
BLOB_METHODS: tuple[Method[BlobApi, Any, Any], ...] = (MISSING_BLOBS, LOCATE_BLOB)

PUT_BLOB_PATH = f"/{PACKAGE}.Blobs/PutBlob"
GET_BLOB_PATH = f"/{PACKAGE}.Blobs/GetBlob"
PUT_PART: Codec[PutPart, pb.PutBlobRequest] = Codec(
    pb.PutBlobRequest,
    lambda part: pb.PutBlobRequest(expected=part.expected, chunk=part.chunk),
    lambda message: PutPart(message.chunk, check.maybe_digest(message.expected, "expected")),
)
PUT_REPLY: Codec[Digest, pb.PutBlobResponse] = Codec(
    pb.PutBlobResponse,
    lambda digest: pb.PutBlobResponse(digest=digest),
    lambda message: check.digest(message.digest, "digest"),
)
GET_REQUEST: Codec[GetPart, pb.GetBlobRequest] = Codec(
    pb.GetBlobRequest,
    lambda part: pb.GetBlobRequest(digest=part.digest, offset=part.offset),
    lambda message: GetPart(check.digest(message.digest, "digest"), message.offset),
)
GET_CHUNK: Codec[bytes, pb.GetBlobResponse] = Codec(
    pb.GetBlobResponse, lambda chunk: pb.GetBlobResponse(chunk=chunk), lambda message: message.chunk
)
