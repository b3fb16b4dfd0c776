from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from corpgrid.domain.answers import GridInfo
from corpgrid.domain.device import PowerStatus
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.messages import AgentStatus, PollReply, PollRequest
from corpgrid.errors import (
    ConfigError,
    ConflictError,
    DigestError,
    GridError,
    LimitError,
    MalformedDataError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    StaleError,
    StoreError,
    UnavailableError,
)
from corpgrid.transport.address import Address, parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_client import connect_grid, connect_scheduler
from corpgrid.transport.grpc_server import GrpcServer, serving
from corpgrid.transport.grpc_status import error_of, status_of
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import RemoteGrid
from corpgrid.trust.digest import digest
from corpgrid.wire import methods
from corpgrid.wire.methods import PutPart
from tests.unit.scheduler.world import DictBlobs

QUICK = TransportLimits(call_seconds=0.4, idle_seconds=0.5, grace_seconds=0.1, message_bytes=1 << 20)
PATIENT = TransportLimits(call_seconds=10.0, grace_seconds=0.1)


class Api:
    """Answers what the test wants it to."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.still = False
        self.blobs = DictBlobs()

    async def info(self) -> GridInfo:
        self.calls += 1
        if self.error is not None:
            raise self.error
        if self.still:
            await asyncio.sleep(60.0)
        return GridInfo(version="1", now=2.0, started_at=3.0)

    async def poll(self, request: PollRequest) -> PollReply:
        self.calls += 1
        if self.error is not None:
            raise self.error
        await asyncio.sleep(request.wait_seconds)
        return PollReply(message="done")

    async def submit_job(self, envelope: bytes, *, blobs: Any = ()) -> Any:
        raise AssertionError

    async def locate_blob(self, name: Any, *, put_bytes: int | None = None) -> str | None:
        return None


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return parse(f"unix:{tmp_path}/private/grid.sock")


@pytest.fixture
def api() -> Api:
    return Api()


def dispatch(api: Any, limits: TransportLimits = PATIENT) -> Dispatch:
    return Dispatch(api, api, api.blobs, limits)


@asynccontextmanager
async def grid_at(address: Address, limits: TransportLimits = PATIENT) -> AsyncIterator[Any]:
    grid = connect_grid([address], limits=limits, rng=random.Random(1))
    try:
        yield grid
    finally:
        await grid.close()


async def test_where_nobody_listens_the_deadline_ends_it(address: Address) -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    async with grid_at(address, QUICK) as grid:
        with pytest.raises(UnavailableError, match="no answer from unix:") as silence:
            await grid.info()
    assert clock() - start < 5.0
    assert "corpgrid up" in silence.value.remedy


async def test_a_client_waits_for_a_server_that_comes_up(address: Address, api: Api) -> None:
    async with grid_at(address) as grid:
        asking = asyncio.create_task(grid.info())
        await asyncio.sleep(0.2)
        async with serving(dispatch(api), address, PATIENT):
            assert (await asking).version == "1"


async def test_a_client_outlives_a_restart_of_the_server(address: Address, api: Api) -> None:
    async with grid_at(address) as grid:
        async with serving(dispatch(api), address, PATIENT):
            await grid.info()
        async with serving(dispatch(api), address, PATIENT):
            await grid.info()
    assert api.calls == 2


async def test_a_call_whose_answer_was_lost_is_asked_again(address: Address, api: Api) -> None:
    status = AgentStatus(device=DeviceId("dev_a"), session="s", power=PowerStatus())
    request = PollRequest(status=status, wanted=1, wait_seconds=1.0)
    agent = connect_scheduler([address], limits=PATIENT, rng=random.Random(1))
    async with serving(dispatch(api), address, PATIENT):
        polling = asyncio.create_task(agent.poll(request))
        async with asyncio.timeout(5.0):
            while not api.calls:  # noqa: ASYNC110 -- nothing else tells that the call has arrived
                await asyncio.sleep(0.01)
    async with serving(dispatch(api), address, PATIENT):
        assert await polling == PollReply(message="done")
    assert api.calls == 2
    await agent.close()


async def test_an_answer_that_says_unavailable_is_tried_again(address: Address, api: Api) -> None:
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        api.error = UnavailableError("the store failed")
        asking = asyncio.create_task(grid.info())
        async with asyncio.timeout(5.0):
            while api.calls < 2:  # noqa: ASYNC110 -- nothing else tells that the call has arrived again
                await asyncio.sleep(0.01)
        api.error = None
        assert (await asking).version == "1"


async def test_a_person_who_is_asked_to_come_back_comes_back_by_himself(address: Address, api: Api) -> None:
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        api.error = OverloadedError("later", retry_after_seconds=0.1)
        asking = asyncio.create_task(grid.info())
        async with asyncio.timeout(5.0):
            while api.calls < 2:  # noqa: ASYNC110 -- nothing else tells that the call has arrived again
                await asyncio.sleep(0.01)
        api.error = None
        assert (await asking).version == "1"


async def test_a_person_is_not_asked_to_wait_beyond_the_deadline(address: Address, api: Api) -> None:
    api.error = OverloadedError("later", retry_after_seconds=1_000.0)
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        with pytest.raises(OverloadedError, match="later"):
            await grid.info()
    assert api.calls == 1


async def test_an_agent_hears_at_once_when_to_come_back(address: Address, api: Api) -> None:
    agent = connect_scheduler([address], limits=PATIENT, rng=random.Random(1))
    status = AgentStatus(device=DeviceId("dev_a"), session="s", power=PowerStatus())
    api.error = OverloadedError("later", retry_after_seconds=7.0)
    async with serving(dispatch(api), address, PATIENT):
        with pytest.raises(OverloadedError) as later:
            await agent.poll(PollRequest(status=status, wanted=1, wait_seconds=1.0))
    assert later.value.retry_after_seconds == 7.0
    await agent.close()


# -- several equal schedulers


@pytest.fixture
def two(tmp_path: Path) -> list[Address]:
    return [parse(f"unix:{tmp_path}/private/{name}.sock") for name in ("first", "second")]


@pytest.mark.parametrize("seed", range(4))
async def test_a_call_goes_to_whichever_scheduler_answers(two: list[Address], api: Api, seed: int) -> None:
    grid = connect_grid(two, limits=PATIENT, rng=random.Random(seed))
    for address in (*two, *two):
        async with serving(dispatch(api), address, PATIENT):
            assert (await grid.info()).version == "1"
    await grid.close()
    assert api.calls == 4


@pytest.mark.parametrize("seed", range(2))  # one begins at either
async def test_a_scheduler_that_stands_still_is_passed_by(two: list[Address], api: Api, seed: int) -> None:
    limits = replace(PATIENT, call_seconds=4.0)
    stands_still = Api()
    stands_still.still = True
    grid = connect_grid(two, limits=limits, rng=random.Random(seed))
    async with serving(dispatch(stands_still), two[0], limits), serving(dispatch(api), two[1], limits):
        assert (await grid.info()).version == "1"
        calls = stands_still.calls
        assert (await grid.info()).version == "1"
        assert stands_still.calls == calls, "it stays with the one that answers"
    await grid.close()


async def test_a_poll_does_not_wait_for_work_where_nobody_answers(two: list[Address], api: Api) -> None:
    limits = replace(PATIENT, call_seconds=1.0)
    status = AgentStatus(device=DeviceId("dev_a"), session="s", power=PowerStatus())
    stands_still = Api()
    stands_still.still = True
    wire = connect_scheduler(two, limits=limits, rng=random.Random(2))
    grid = RemoteGrid(wire._wire)
    async with serving(dispatch(stands_still), two[0], limits), serving(dispatch(api), two[1], limits):
        polling = asyncio.create_task(wire.poll(PollRequest(status=status, wanted=1, wait_seconds=60.0)))
        async with asyncio.timeout(5.0):
            while not stands_still.calls + api.calls:  # noqa: ASYNC110 -- nothing else tells that it has arrived
                await asyncio.sleep(0.01)
        assert stands_still.calls == 1, "the seed begins at the one that stands still"
        assert (await grid.info()).version == "1"
        async with asyncio.timeout(5.0):
            while api.calls < 2:  # noqa: ASYNC110 -- nothing else tells that the poll has come over
                await asyncio.sleep(0.01)
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
    await wire.close()


async def test_a_scheduler_that_is_full_sends_agents_to_the_next(two: list[Address], api: Api) -> None:
    full = Api()
    full.error = OverloadedError("full", retry_after_seconds=60.0)
    status = AgentStatus(device=DeviceId("dev_a"), session="s", power=PowerStatus())
    poll = PollRequest(status=status, wanted=1, wait_seconds=0.0)
    agent = connect_scheduler(two, limits=PATIENT, rng=random.Random(1))
    async with serving(dispatch(full), two[0], PATIENT), serving(dispatch(api), two[1], PATIENT):
        answers = []
        for _ in range(3):
            try:
                answers.append((await agent.poll(poll)).message)
            except OverloadedError:
                answers.append("full")
    await agent.close()
    assert answers in (["full", "done", "done"], ["done", "done", "done"])


@pytest.mark.parametrize("error", [StoreError("full", remedy="Make room."), StaleError("another was faster")])
async def test_a_store_that_fails_is_asked_again_and_is_not_the_callers(
    address: Address, api: Api, error: StoreError
) -> None:
    api.error = error
    async with serving(dispatch(api), address, PATIENT), grid_at(address, QUICK) as grid:
        with pytest.raises(UnavailableError, match=str(error)):
            await grid.info()
    assert api.calls > 1


@pytest.mark.parametrize("error", [RefusedError("no"), NotFoundError("none")])
async def test_any_other_answer_is_final(address: Address, api: Api, error: Exception) -> None:
    api.error = error
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        with pytest.raises(type(error), match=str(error)):
            await grid.info()
    assert api.calls == 1


async def test_a_fault_of_the_scheduler_is_logged_there_and_not_told(
    address: Address, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = KeyError("a secret of the scheduler")
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        with caplog.at_level(logging.ERROR), pytest.raises(GridError, match="a bug") as fault:
            await grid.info()
    assert "secret" not in fault.value.explain()
    assert "a secret of the scheduler" in caplog.text


async def test_a_request_that_is_too_large_never_leaves(address: Address) -> None:
    async with grid_at(address, QUICK) as grid:
        with pytest.raises(LimitError, match="message_bytes"):
            await grid.submit_job(bytes(2 << 20))


async def test_a_request_that_is_too_large_is_refused_by_the_server(address: Address, api: Api) -> None:
    small = TransportLimits(message_bytes=1_000)
    async with serving(dispatch(api, small), address, small), grid_at(address) as grid:
        with pytest.raises(LimitError, match=r"the request is .* message_bytes"):
            await grid.submit_job(bytes(2_000))


async def test_what_is_no_message_is_malformed(address: Address, api: Api) -> None:
    async with serving(dispatch(api), address, PATIENT):
        kind = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        async with grpc.aio.secure_channel(address.target, kind) as channel:
            for path in ("/corpgrid.v1.Scheduler/PollJobs", "/corpgrid.v1.Blobs/MissingBlobs"):
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await channel.unary_unary(path)(b"\xff\xff")
                assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert isinstance(error_of(failure.value, "there"), MalformedDataError)
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await channel.unary_unary("/corpgrid.v1.Scheduler/NoSuchCall")(b"")
            assert "same version" in error_of(failure.value, "there").remedy


async def test_a_blob_that_is_too_large_is_refused(address: Address, api: Api) -> None:
    small = TransportLimits(blob_bytes=(1 << 20) + 10)
    async with serving(dispatch(api, small), address, small), grid_at(address) as grid:
        await grid.put_blob(bytes((1 << 20) + 10))
        with pytest.raises(LimitError, match="blob_bytes"):
            await grid.put_blob(bytes((1 << 20) + 11))


async def test_a_blob_goes_on_where_its_stream_broke_off(address: Address, api: Api) -> None:
    content = random.Random(1).randbytes(50_000)
    name = await api.blobs.put(content)
    offsets: list[int] = []
    whole = api.blobs.open

    async def breaking(wanted: Any, *, offset: int = 0) -> AsyncIterator[bytes]:
        offsets.append(offset)
        async for chunk in whole(wanted, offset=offset):
            yield chunk
            if len(offsets) < 3 and offset + 9_000 < len(content):
                raise UnavailableError("the wire was cut")

    api.blobs.open = breaking
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        assert await grid.get_blob(name) == content
    assert offsets == [0, 1_000, 2_000]


async def test_a_blob_may_take_long_while_it_moves(address: Address, api: Api) -> None:
    content = random.Random(1).randbytes(30_000)
    name = await api.blobs.put(content)
    whole = api.blobs.open

    async def one_chunk(wanted: Any, *, offset: int = 0) -> AsyncIterator[bytes]:
        async for chunk in whole(wanted, offset=offset):
            yield chunk
            if offset + len(chunk) < len(content):
                raise UnavailableError("the wire was cut")

    api.blobs.open = one_chunk
    limits = TransportLimits(call_seconds=0.3, grace_seconds=0.1)
    clock = asyncio.get_running_loop().time
    start = clock()
    async with serving(dispatch(api), address, PATIENT), grid_at(address, limits) as grid:
        assert await grid.get_blob(name) == content
    assert clock() - start > limits.call_seconds


async def test_a_call_that_waits_by_itself_has_that_time_too(address: Address, api: Api) -> None:
    status = AgentStatus(device=DeviceId("dev_a"), session="s", power=PowerStatus())
    agent = connect_scheduler([address], limits=QUICK, rng=random.Random(1))
    async with serving(dispatch(api), address, PATIENT):
        request = PollRequest(status=status, wanted=1, wait_seconds=2 * QUICK.call_seconds)
        assert await agent.poll(request) == PollReply(message="done")
    await agent.close()


async def test_only_the_first_part_says_what_a_blob_is(api: Api) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield methods.PUT_PART.encode(PutPart(b"one", digest(b"onetwo")))
        yield methods.PUT_PART.encode(PutPart(b"two", digest(b"onetwo")))

    with pytest.raises(MalformedDataError, match="only the first part"):
        await dispatch(api).put(parts())


async def test_a_server_that_stored_something_else_is_found_out(address: Address, api: Api, tmp_path: Path) -> None:
    async def lie(chunks: AsyncIterator[bytes], *, expected: Any = None) -> Any:
        assert [chunk async for chunk in chunks]
        return digest(b"something else" if expected is None else expected)

    api.blobs.put_stream = lie
    file = tmp_path / "file"
    file.write_bytes(b"content")
    async with serving(dispatch(api), address, PATIENT), grid_at(address) as grid:
        with pytest.raises(DigestError):
            await grid.put_blob(b"content")
        with pytest.raises(DigestError):
            await grid.put_blob_file(file)


async def test_a_blob_that_stands_still_is_given_up(address: Address, api: Api, tmp_path: Path) -> None:
    stuck = asyncio.Event()

    async def standing_still(_wanted: Any, *, offset: int = 0) -> AsyncIterator[bytes]:
        yield b"first"[offset:]
        await stuck.wait()

    api.blobs.open = standing_still
    limits = TransportLimits(call_seconds=0.2, idle_seconds=0.1, grace_seconds=0.1)
    async with serving(dispatch(api), address, limits), grid_at(address, limits) as grid:
        with pytest.raises(UnavailableError, match="gave nothing"):
            await grid.fetch_blob(digest(b""), tmp_path / "blob")
    assert not (tmp_path / "blob").exists()


async def test_only_one_scheduler_listens_on_a_socket(address: Address, api: Api) -> None:
    async with serving(dispatch(api), address, PATIENT):
        with pytest.raises(ConflictError, match="already"):
            await GrpcServer(dispatch(api), address, PATIENT).start()


async def test_only_its_user_may_connect(address: Address, api: Api) -> None:
    async with serving(dispatch(api), address, PATIENT):
        assert address.path is not None
        assert address.path.stat().st_mode & 0o077 == 0
        assert address.path.parent.stat().st_mode & 0o077 == 0


async def test_a_port_that_is_taken_is_a_config_error(api: Api) -> None:
    async with serving(dispatch(api), parse("127.0.0.1:0"), PATIENT) as server:
        with pytest.raises(ConfigError, match="cannot listen"):
            await GrpcServer(dispatch(api), server.address, PATIENT).start()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LimitError("a", limit=1, got=2), grpc.StatusCode.INVALID_ARGUMENT),
        (MalformedDataError("a"), grpc.StatusCode.INVALID_ARGUMENT),
        (RefusedError("a"), grpc.StatusCode.PERMISSION_DENIED),
        (UnavailableError("a"), grpc.StatusCode.UNAVAILABLE),
        (OverloadedError("a"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (StoreError("a"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_has_the_status_of_its_nearest_class(error: Any, code: grpc.StatusCode) -> None:
    assert status_of(error) is code
