from __future__ import annotations

import contextlib
import time
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.domain.answers import Cursor, ResultsPage, TaskResult
from corpgrid.domain.ids import DeviceId, Epoch, JobId, KeyId
from corpgrid.domain.job import Job, TaskState
from corpgrid.domain.messages import Batch, Item, Outcome
from corpgrid.errors import MalformedDataError, UsageError
from corpgrid.wire import methods
from corpgrid.wire.convert import batch_blobs, decode_batch, encode_batch, item_payload, item_payloads
from corpgrid.wire.methods import BLOB_METHODS, GRID_METHODS, SCHEDULER_METHODS, Codec, Method
from corpgrid.wire.v1 import scheduler_pb2 as pb
from tests.unit.wire.convert_values import values

ALL = [*SCHEDULER_METHODS, *GRID_METHODS, *BLOB_METHODS]
_HINTS = {id(getattr(methods, name)): hint for name, hint in get_type_hints(methods).items()}


def _types(method: Method[Any, Any, Any]) -> tuple[Any, Any]:
    _api, request, reply = get_args(_HINTS[id(method)])
    return request, reply


def _codecs() -> list[Any]:
    made = []
    for method in ALL:
        request, reply = _types(method)
        made.append(pytest.param(method.request, request, id=f"{method.name} request"))
        made.append(pytest.param(method.reply, reply, id=f"{method.name} reply"))
    return made


@pytest.mark.parametrize(("codec", "kind"), _codecs())
def test_what_is_decoded_is_what_was_encoded(codec: Codec[Any, Any], kind: Any) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values(kind))
    def check(value: Any) -> None:
        assert codec.decode(codec.encode(value)) == value

    check()


@pytest.mark.parametrize(("codec", "kind"), _codecs())
def test_damaged_bytes_are_malformed_or_another_value_and_nothing_else(codec: Codec[Any, Any], kind: Any) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values(kind), st.data())
    def check(value: Any, data: st.DataObject) -> None:
        content = bytearray(codec.encode(value))
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(MalformedDataError):
            codec.decode(bytes(content))

    check()


@given(st.binary(max_size=64))
def test_any_bytes_are_a_batch_or_malformed(content: bytes) -> None:
    with contextlib.suppress(MalformedDataError):
        assert decode_batch(content).content == content


@given(values(Batch).filter(lambda batch: batch.job))
def test_a_batch_keeps_the_bytes_it_came_from(batch: Batch) -> None:
    again = decode_batch(batch.content)
    assert again == batch
    assert encode_batch(again) is again
    assert list(item_payloads(batch.content)) == [item.payload for item in batch.items]
    for position, item in enumerate(batch.items):
        assert item_payload(batch.content, position) == item.payload


def test_there_is_no_payload_beyond_the_last_item() -> None:
    with pytest.raises(MalformedDataError, match="position 1"):
        item_payload(_batch(1).content, 1)


@pytest.mark.parametrize("column", ["attempts", "epochs", "outcomes", "seconds", "payloads"])
def test_columns_of_different_length_are_malformed(column: str) -> None:
    message = pb.ResultBatch.FromString(_batch(3).content)
    getattr(message, column).pop()
    with pytest.raises(MalformedDataError, match=column):
        decode_batch(message.SerializeToString())


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_number_that_is_no_duration_is_malformed(seconds: float) -> None:
    message = pb.ResultBatch.FromString(_batch(3).content)
    message.seconds[1] = seconds
    with pytest.raises(MalformedDataError, match="seconds"):
        decode_batch(message.SerializeToString())


@pytest.mark.parametrize("outcome", [0, 99, -1])
def test_an_unknown_word_is_malformed(outcome: int) -> None:
    message = pb.ResultBatch.FromString(_batch(3).content)
    message.outcomes[1] = outcome
    with pytest.raises(MalformedDataError, match="Outcome"):
        decode_batch(message.SerializeToString())


def test_a_sparse_entry_must_stand_in_the_table() -> None:
    message = pb.ResultBatch.FromString(_batch(3).content)
    message.rare.add(position=3, reason="raised")
    with pytest.raises(MalformedDataError, match="position 3"):
        decode_batch(message.SerializeToString())


def test_a_detail_that_utf8_cannot_say_keeps_its_signature_valid() -> None:
    item = Item(0, 0, Epoch(1), Outcome.FAILED, reason="raised", detail="file \udcff.txt")
    batch = encode_batch(Batch(JobId("job_a"), DeviceId("dev_a"), (item,)))
    assert decode_batch(batch.content).items[0].detail == item.detail


def test_a_result_says_it_to_people_with_escapes() -> None:
    result = TaskResult(3, TaskState.FAILED, reason="raised", detail="file \udcff.txt")
    page = ResultsPage(_job(), (result,), Cursor(1, 3), complete=True)
    codec = methods.FETCH_RESULTS.reply
    assert codec.decode(codec.encode(page)).results[0].detail == "file \\udcff.txt"


@given(values(Batch))
def test_a_batch_names_its_blobs(batch: Batch) -> None:
    files = [file.digest for item in batch.items for file in item.outputs]
    assert sorted(batch_blobs(batch.content)) == sorted([item.blob for item in batch.items if item.blob] + files)


def test_a_result_must_name_a_device_of_its_page() -> None:
    page = ResultsPage(_job(), (TaskResult(3, TaskState.FINAL, DeviceId("dev_a")),), Cursor(1, 3), complete=True)
    codec = methods.FETCH_RESULTS.reply
    message = pb.FetchResultsResponse.FromString(codec.encode(page))
    message.device_positions[0] = 1
    with pytest.raises(MalformedDataError, match="position 1"):
        codec.decode(message.SerializeToString())


def test_a_request_without_power_status_is_malformed() -> None:
    content = pb.HeartbeatRequest(status=pb.AgentStatus(device="dev_a", session="s")).SerializeToString()
    with pytest.raises(MalformedDataError, match="power"):
        methods.HEARTBEAT.request.decode(content)


def test_a_value_that_does_not_fit_its_field_is_a_usage_error() -> None:
    request = methods.LIST_JOBS.request
    with pytest.raises(UsageError, match="ListJobsRequest"):
        request.encode(methods.ask.AskJobs((), -1))


def test_five_hundred_results_decode_in_a_millisecond() -> None:
    content = _batch(512).content
    best = min(_seconds(content) for _ in range(20))
    assert best < 1e-3


def _seconds(content: bytes) -> float:
    start = time.perf_counter()
    decode_batch(content)
    return time.perf_counter() - start


def _batch(count: int) -> Batch:
    items = tuple(Item(n, 0, Epoch(7), Outcome.RESULT, payload=b"d\xc0" * 8, seconds=0.001) for n in range(count))
    return encode_batch(Batch(JobId("job_a"), DeviceId("dev_a"), items, b"s" * 64))


def _job() -> Job:
    return Job(id=JobId("job_a"), name="", submitter=KeyId(""), tenant="", priority=0, tasks=1, created_at=0.0)
