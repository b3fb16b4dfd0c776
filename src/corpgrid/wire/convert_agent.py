"""What agents ask and are told, between values and protobuf.

Rules:
* A request of an agent without a power status is malformed.
* A batch goes into a request as the bytes in its ``content``, and comes out with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corpgrid.domain.ids import DeviceId, Epoch, JobId
from corpgrid.domain.messages import (
    AgentSettings,
    AgentStatus,
    Batch,
    CheckpointRequest,
    Grant,
    GrantedTask,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)
from corpgrid.wire import convert_checks as check
from corpgrid.wire.convert import decode_batch, encode_batch
from corpgrid.wire.convert_device import facts_from_wire, facts_to_wire, power_from_wire, power_to_wire
from corpgrid.wire.v1 import scheduler_pb2 as pb


def register_request_to_wire(request: RegisterRequest) -> pb.RegisterAgentRequest:
    """An agent starts."""
    return pb.RegisterAgentRequest(
        public_key=request.public_key,
        owner=request.owner,
        site=request.site,
        name=request.name,
        facts=facts_to_wire(request.facts),
        power=power_to_wire(request.power),
        boot=request.boot,
        signed_at=request.signed_at,
        capacity=request.capacity,
        proof=request.proof,
        blockers=request.blockers,
        held=request.held,
    )


def register_request_from_wire(message: pb.RegisterAgentRequest) -> RegisterRequest:
    """An agent starts."""
    check.present(message, "power")
    return RegisterRequest(
        public_key=message.public_key,
        owner=check.text(message.owner, "owner"),
        site=check.text(message.site, "site"),
        name=check.text(message.name, "name"),
        facts=facts_from_wire(message.facts),
        power=power_from_wire(message.power),
        boot=check.text(message.boot, "boot"),
        signed_at=check.finite(message.signed_at, "signed_at"),
        capacity=message.capacity,
        proof=message.proof,
        blockers=_texts(message.blockers, "blocker"),
        held=_epochs(message.held),
    )


def register_reply_to_wire(reply: RegisterReply) -> pb.RegisterAgentResponse:
    """The new session."""
    return pb.RegisterAgentResponse(
        device=reply.device,
        session=reply.session,
        settings=_settings_to_wire(reply.settings),
        should_continue=reply.should_continue,
        message=reply.message,
    )


def register_reply_from_wire(message: pb.RegisterAgentResponse) -> RegisterReply:
    """The new session."""
    check.present(message, "settings")
    return RegisterReply(
        device=DeviceId(message.device),
        session=message.session,
        settings=_settings_from_wire(message.settings),
        should_continue=message.should_continue,
        message=message.message,
    )


def poll_request_to_wire(request: PollRequest) -> pb.PollJobsRequest:
    """Results, and a wish for work."""
    return pb.PollJobsRequest(
        status=_status_to_wire(request.status),
        wanted=request.wanted,
        wait_seconds=request.wait_seconds,
        known_jobs=request.known_jobs,
        batches=_batches_to_wire(request.batches),
    )


def poll_request_from_wire(message: pb.PollJobsRequest) -> PollRequest:
    """Results, and a wish for work."""
    return PollRequest(
        status=_status_from_wire(message),
        wanted=message.wanted,
        wait_seconds=check.finite(message.wait_seconds, "wait_seconds"),
        known_jobs=tuple(JobId(job) for job in _texts(message.known_jobs, "known job")),
        batches=_batches_from_wire(message.batches),
    )


def poll_reply_to_wire(reply: PollReply) -> pb.PollJobsResponse:
    """Work."""
    specs = {str(job): envelope for job, envelope in reply.specs.items()}
    message = pb.PollJobsResponse(reply=_reply_to_wire(reply), specs=specs, blobs=reply.blobs)
    for grant in reply.grants:
        row = message.grants.add(epoch=grant.epoch, job=grant.job, ttl_seconds=grant.ttl_seconds)
        row.indexes.extend([task.index for task in grant.tasks])
        row.attempts.extend([task.attempt for task in grant.tasks])
    return message


def poll_reply_from_wire(message: pb.PollJobsResponse) -> PollReply:
    """Work."""
    reply = _reply_from_wire(message)
    return PollReply(
        should_continue=reply.should_continue,
        message=reply.message,
        lost=reply.lost,
        received=reply.received,
        grants=tuple(map(_grant_from_wire, message.grants)),
        specs={JobId(job): envelope for job, envelope in message.specs.items()},
        blobs=tuple(message.blobs),
    )


def heartbeat_request_to_wire(request: HeartbeatRequest) -> pb.HeartbeatRequest:
    """A sign of life."""
    return pb.HeartbeatRequest(status=_status_to_wire(request.status))


def heartbeat_request_from_wire(message: pb.HeartbeatRequest) -> HeartbeatRequest:
    """A sign of life."""
    return HeartbeatRequest(status=_status_from_wire(message))


def heartbeat_reply_to_wire(reply: Reply) -> pb.HeartbeatResponse:
    """Whether the device may go on."""
    return pb.HeartbeatResponse(reply=_reply_to_wire(reply))


def submit_request_to_wire(request: SubmitRequest) -> pb.SubmitResultRequest:
    """Results without a wish for work."""
    return pb.SubmitResultRequest(status=_status_to_wire(request.status), batches=_batches_to_wire(request.batches))


def submit_request_from_wire(message: pb.SubmitResultRequest) -> SubmitRequest:
    """Results without a wish for work."""
    return SubmitRequest(status=_status_from_wire(message), batches=_batches_from_wire(message.batches))


def submit_reply_to_wire(reply: Reply) -> pb.SubmitResultResponse:
    """Whether the device may go on."""
    return pb.SubmitResultResponse(reply=_reply_to_wire(reply))


def checkpoint_request_to_wire(request: CheckpointRequest) -> pb.ReportCheckpointRequest:
    """A stored checkpoint."""
    return pb.ReportCheckpointRequest(
        status=_status_to_wire(request.status),
        job=request.job,
        index=request.index,
        attempt=request.attempt,
        epoch=request.epoch,
        step=request.step,
        blob=request.blob,
    )


def checkpoint_request_from_wire(message: pb.ReportCheckpointRequest) -> CheckpointRequest:
    """A stored checkpoint."""
    return CheckpointRequest(
        status=_status_from_wire(message),
        job=JobId(check.text(message.job, "job")),
        index=message.index,
        attempt=message.attempt,
        epoch=Epoch(message.epoch),
        step=message.step,
        blob=check.digest(message.blob, "blob"),
    )


def checkpoint_reply_to_wire(reply: Reply) -> pb.ReportCheckpointResponse:
    """Whether the device may go on."""
    return pb.ReportCheckpointResponse(reply=_reply_to_wire(reply))


def reply_from_wire(
    message: pb.HeartbeatResponse | pb.SubmitResultResponse | pb.ReportCheckpointResponse,
) -> Reply:
    """Whether the device may go on."""
    return _reply_from_wire(message)


def _status_to_wire(status: AgentStatus) -> pb.AgentStatus:
    return pb.AgentStatus(
        device=status.device,
        session=status.session,
        power=power_to_wire(status.power),
        held=status.held,
        blockers=status.blockers,
        capacity=status.capacity,
        thermal_headroom=status.thermal_headroom,
        disk_free_bytes=status.disk_free_bytes,
    )


def _status_from_wire(
    request: pb.PollJobsRequest | pb.HeartbeatRequest | pb.SubmitResultRequest | pb.ReportCheckpointRequest,
) -> AgentStatus:
    message = request.status
    check.present(message, "power")
    return AgentStatus(
        device=DeviceId(check.text(message.device, "device")),
        session=check.text(message.session, "session"),
        power=power_from_wire(message.power),
        held=_epochs(message.held),
        blockers=_texts(message.blockers, "blocker"),
        capacity=message.capacity,
        thermal_headroom=check.finite(message.thermal_headroom, "thermal_headroom"),
        disk_free_bytes=message.disk_free_bytes,
    )


def _reply_to_wire(reply: Reply) -> pb.AgentReply:
    return pb.AgentReply(
        should_continue=reply.should_continue, message=reply.message, lost=reply.lost, received=reply.received
    )


def _reply_from_wire(
    response: pb.PollJobsResponse | pb.HeartbeatResponse | pb.SubmitResultResponse | pb.ReportCheckpointResponse,
) -> Reply:
    check.present(response, "reply")
    message = response.reply
    return Reply(
        should_continue=message.should_continue,
        message=message.message,
        lost=_epochs(message.lost),
        received=tuple(message.received),
    )


def _grant_from_wire(message: pb.Grant) -> Grant:
    check.same_length("grant", len(message.indexes), attempts=len(message.attempts))
    tasks = map(GrantedTask._make, zip(message.indexes, message.attempts, strict=False))
    return Grant(
        epoch=Epoch(message.epoch),
        job=JobId(message.job),
        tasks=tuple(tasks),
        ttl_seconds=check.finite(message.ttl_seconds, "ttl_seconds"),
    )


def _settings_to_wire(settings: AgentSettings) -> pb.AgentSettings:
    return pb.AgentSettings(
        heartbeat_seconds=settings.heartbeat_seconds,
        poll_wait_seconds=settings.poll_wait_seconds,
        lease_ttl_seconds=settings.lease_ttl_seconds,
        reconnect_window_seconds=settings.reconnect_window_seconds,
        inline_bytes=settings.inline_bytes,
        batch_bytes=settings.batch_bytes,
    )


def _settings_from_wire(message: pb.AgentSettings) -> AgentSettings:
    return AgentSettings(
        heartbeat_seconds=check.finite(message.heartbeat_seconds, "heartbeat_seconds"),
        poll_wait_seconds=check.finite(message.poll_wait_seconds, "poll_wait_seconds"),
        lease_ttl_seconds=check.finite(message.lease_ttl_seconds, "lease_ttl_seconds"),
        reconnect_window_seconds=check.finite(message.reconnect_window_seconds, "reconnect_window_seconds"),
        inline_bytes=message.inline_bytes,
        batch_bytes=message.batch_bytes,
    )


def _batches_to_wire(batches: Iterable[Batch]) -> list[bytes]:
    return [encode_batch(batch).content for batch in batches]


def _batches_from_wire(contents: Sequence[bytes]) -> tuple[Batch, ...]:
    return tuple(map(decode_batch, contents))


def _epochs(numbers: Iterable[int]) -> tuple[Epoch, ...]:
    return tuple(map(Epoch, numbers))


def _texts(values: Iterable[str], name: str) -> tuple[str, ...]:
    return tuple(check.text(value, name) for value in values)
