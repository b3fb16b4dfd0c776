"""Pages of results, between values and protobuf.

A page is columnar like a batch: a device is named once, and what few results have stands in a sparse list.
"""

from __future__ import annotations

from itertools import repeat

from corpgrid.domain.answers import Cursor, ResultsPage, TaskResult
from corpgrid.domain.ids import DeviceId
from corpgrid.wire import convert_checks as check
from corpgrid.wire.convert import outputs_from_wire, outputs_to_wire, wire_text
from corpgrid.wire.convert_job import TASK_STATES, job_from_wire, job_to_wire
from corpgrid.wire.v1 import scheduler_pb2 as pb

_PLAIN = ("", "", b"", ())


def page_to_wire(page: ResultsPage) -> pb.FetchResultsResponse:
    """Some results of a job."""
    results = page.results
    message = pb.FetchResultsResponse(
        job=job_to_wire(page.job),
        cursor=pb.Cursor(rev=page.cursor.rev, index=page.cursor.index),
        complete=page.complete,
    )
    places: dict[DeviceId, int] = {}
    number = TASK_STATES.number
    message.indexes.extend([result.index for result in results])
    message.states.extend([number[result.state] for result in results])
    message.attempts.extend([result.attempt for result in results])
    message.device_positions.extend([places.setdefault(result.device, len(places)) for result in results])
    message.seconds.extend([result.seconds for result in results])
    message.payloads.extend([result.payload for result in results])
    message.devices.extend(places)
    for position, result in enumerate(results):
        if (result.reason, result.detail, result.blob, result.outputs) != _PLAIN:
            message.rare.append(_rare_result(position, result))
    return message


def page_from_wire(message: pb.FetchResultsResponse) -> ResultsPage:
    """Some results of a job."""
    return ResultsPage(
        job=job_from_wire(message.job),
        results=_results(message),
        cursor=Cursor(message.cursor.rev, message.cursor.index),
        complete=message.complete,
    )


def _rare_result(position: int, result: TaskResult) -> pb.RareResult:
    return pb.RareResult(
        position=position,
        blob=result.blob,
        reason=result.reason,
        detail=wire_text(result.detail),
        outputs=outputs_to_wire(result.outputs),
    )


def _results(message: pb.FetchResultsResponse) -> tuple[TaskResult, ...]:
    devices, positions = list(message.devices), message.device_positions
    check.same_length(
        "results",
        len(message.indexes),
        states=len(message.states),
        attempts=len(message.attempts),
        device_positions=len(positions),
        seconds=len(message.seconds),
        payloads=len(message.payloads),
    )
    check.place(max(positions, default=-1), len(devices))
    columns = zip(
        message.indexes,
        TASK_STATES.words(message.states),
        [devices[position] for position in positions],
        message.attempts,
        message.payloads,
        repeat(b""),  # blob
        message.seconds,
        repeat(""),  # reason
        repeat(""),  # detail
        repeat(()),  # outputs
        strict=False,
    )
    results = list(map(TaskResult._make, columns))
    for rare in message.rare:
        position = check.place(rare.position, len(results))
        results[position] = results[position]._replace(
            blob=check.maybe_digest(rare.blob, "blob"),
            reason=rare.reason,
            detail=rare.detail,
            outputs=outputs_from_wire(rare.outputs),
        )
    return tuple(results)
