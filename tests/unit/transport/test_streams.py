"""Streams of calls: many calls, answers in any order, and every way in which a stream or a call on it may end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.answers import GridInfo, Report
from corpgrid.domain.ids import JobId
from corpgrid.errors import (
    CorpGridError,
    GridError,
    MalformedDataError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from corpgrid.transport.address import Address, parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_client import connect_grid
from corpgrid.transport.grpc_server import GrpcServer, serving
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.outbox import Outbox
from corpgrid.transport.remote import RemoteGrid
from corpgrid.transport.rpc import grpc
from corpgrid.transport.stream_client import CallStream
from corpgrid.transport.stream_server import AnswerStream
from corpgrid.wire import methods
from corpgrid.wire.calls import ANSWERS, CALLS, EXCHANGE_PATH, GREETING, Answer, Call
from corpgrid.wire.convert_ask import AskInfo, AskJob
from corpgrid.wire.convert_errors import error_from_wire
from tests.unit.scheduler.world import DictBlobs

LIMITS = TransportLimits(call_seconds=10.0, grace_seconds=5.0, stream_calls=4)
INFO = methods.GET_INFO.path
ASK_INFO = methods.GET_INFO.request.encode(AskInfo())
ASK_REPORT = methods.GET_REPORT.request.encode(AskJob(JobId("job-nosuchjob")))


class Api:
    """Counts what is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.go.set()
        self.error: CorpGridError | None = None
        self.blobs = DictBlobs()

    async def info(self) -> GridInfo:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return GridInfo(version="1", now=2.0, started_at=3.0)

    async def report(self, job: JobId) -> Report:
        raise NotFoundError(f"there is no job {job}")


def dispatch(api: Any) -> Dispatch:
    return Dispatch(api, api, api.blobs, LIMITS)


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not met():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)


# -- the caller's side


class DeafStream:
    """A stream of gRPC that takes what is written, and says nothing but its greeting."""

    def __init__(self, *, writes: bool = True) -> None:
        self.cancelled = False
        self._writes = writes

    async def initial_metadata(self) -> tuple[tuple[str, str], ...]:
        return (GREETING,)

    async def write(self, _content: bytes) -> None:
        if not self._writes:
            raise asyncio.InvalidStateError("RPC already finished.")

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    def cancel(self) -> None:
        self.cancelled = True


async def test_a_stream_on_which_nothing_came_while_a_call_waited_is_over():
    deaf = DeafStream()
    stream = CallStream(deaf, "the grid")
    with pytest.raises(UnavailableError, match=r"no answer from the grid within 0\.05 s"):
        await stream.call(INFO, ASK_INFO, seconds=0.05)
    assert stream.over
    assert deaf.cancelled


async def test_a_stream_that_takes_nothing_more_is_over_before_its_calls_are_overdue():
    stream = CallStream(DeafStream(writes=False), "the grid")
    async with asyncio.timeout(10.0):
        with pytest.raises(UnavailableError, match="takes no more calls"):
            await stream.call(INFO, ASK_INFO, seconds=60.0)
    assert stream.over


async def test_one_program_more_than_may_be_connected_is_told_to_come_back(tmp_path: Path):
    address, limits = parse(f"unix:{tmp_path}/grid.sock"), replace(LIMITS, connections=2, call_seconds=1.0)
    async with serving(dispatch(Api()), address, limits):
        grids = [connect_grid([address], limits=limits, rng=random.Random(seed)) for seed in range(3)]
        try:
            for grid in grids[:2]:
                await grid.info()
            with pytest.raises(OverloadedError, match=r"2 programs are connected, and limits\.connections"):
                await grids[2].info()
            await grids[0].close()
            await grids[1].info()
            await until_answered(grids[2])
        finally:
            for grid in grids:
                await grid.close()


async def until_answered(grid: RemoteGrid) -> None:
    async with asyncio.timeout(10.0):
        while True:
            try:
                await grid.info()
            except OverloadedError:
                continue
            return


async def test_a_slow_call_ends_alone_if_others_are_answered(tmp_path: Path):
    api = Api()
    async with serving(dispatch(api), parse(f"unix:{tmp_path}/grid.sock"), LIMITS) as server:
        kind = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        opened: Any = grpc.aio.secure_channel(server.address.target, kind)
        async with opened as channel:
            stream = CallStream(channel.stream_stream(EXCHANGE_PATH)(), "the grid")
            api.go.clear()
            slow = asyncio.create_task(stream.call(INFO, ASK_INFO, seconds=0.5))
            await until(lambda: api.begun)
            with pytest.raises(NotFoundError):
                await stream.call(methods.GET_REPORT.path, ASK_REPORT, seconds=10.0)
            with pytest.raises(UnavailableError, match="no answer"):
                await slow
            assert not stream.over
            stream.end(UnavailableError("done"))


# -- the outbox


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 30))
def test_everything_is_written_once_in_order_and_no_message_is_too_large(sizes: list[int], largest: int):
    written: list[list[int]] = []

    async def write(parts: Sequence[int]) -> None:
        await asyncio.sleep(0)
        written.append(list(parts))

    async def send() -> None:
        outbox = Outbox(write, largest_bytes=largest, failed=lambda error: pytest.fail(str(error)))
        for number, size in enumerate(sizes):
            outbox.put(number, size_bytes=size)
            if size % 3 == 0:
                await asyncio.sleep(0)
        await outbox.flush()

    asyncio.run(send())
    assert [number for parts in written for number in parts] == list(range(len(sizes)))
    for parts in written:
        assert len(parts) == 1 or sum(sizes[number] for number in parts) <= largest


async def test_what_gathers_while_one_message_is_written_goes_in_the_next():
    written: list[list[int]] = []
    go = asyncio.Event()

    async def write(parts: Sequence[int]) -> None:
        written.append(list(parts))
        await go.wait()

    outbox = Outbox(write, largest_bytes=100, failed=lambda error: pytest.fail(str(error)))
    outbox.put(0, size_bytes=1)
    await until(lambda: written)
    for number in range(1, 50):
        outbox.put(number, size_bytes=1)
    go.set()
    await outbox.flush()
    assert written == [[0], list(range(1, 50))]


async def test_a_broken_outbox_says_so_once_and_writes_no_more():
    failures: list[BaseException] = []

    async def write(_parts: Sequence[int]) -> None:
        raise ConnectionResetError

    outbox = Outbox(write, largest_bytes=100, failed=failures.append)
    outbox.put(0, size_bytes=1)
    await outbox.flush()
    outbox.put(1, size_bytes=1)
    await outbox.flush()
    assert len(failures) == 1


# -- the answering side


class Pipe:
    """What an ``AnswerStream`` reads and writes, in memory."""

    def __init__(self, api: Api, *, stream_calls: int = 4) -> None:
        self.reads: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: list[Answer] = []
        self.stream = AnswerStream(dispatch(api), self._write, stream_calls=stream_calls)
        self.serving = asyncio.create_task(self.stream.serve(self.reads.get))

    def send(self, *calls: Call) -> None:
        self.reads.put_nowait(CALLS.encode(calls))

    async def _write(self, content: bytes) -> None:
        self.answers += ANSWERS.decode(content)


async def test_each_call_has_its_answer():
    api = Api()
    pipe = Pipe(api)
    report = methods.GET_REPORT
    unknown = report.request.encode(report.request.from_wire(report.request.kind(job="job_aaaaaaaaaaaaaaaa")))
    pipe.send(Call(5, INFO, ASK_INFO), Call(6, report.path, unknown), Call(7, "/corpgrid.v9.Grid/New", b""))
    await until(lambda: len(pipe.answers) == 3)
    said = {answer.number: answer for answer in pipe.answers}
    assert methods.GET_INFO.reply.decode(said[5].reply or b"").version == "1"
    assert isinstance(error_from_wire(said[6].error), NotFoundError)
    new = error_from_wire(said[7].error)
    assert type(new) is GridError
    assert "does not know" in str(new)
    assert "same version" in new.remedy
    pipe.reads.put_nowait(None)
    await pipe.serving


async def test_an_answer_does_not_wait_for_those_before_it():
    api = Api()
    api.go.clear()
    pipe = Pipe(api)
    pipe.send(Call(1, INFO, ASK_INFO), Call(2, "/unknown", b""))
    await until(lambda: pipe.answers)
    assert [answer.number for answer in pipe.answers] == [2]
    api.go.set()
    await until(lambda: len(pipe.answers) == 2)
    pipe.reads.put_nowait(None)
    await pipe.serving


async def test_no_more_is_read_while_enough_is_under_way():
    api = Api()
    api.go.clear()
    pipe = Pipe(api, stream_calls=2)
    for number in range(5):
        pipe.send(Call(number, INFO, ASK_INFO))
    await until(lambda: api.begun == 2)
    await asyncio.sleep(0.05)
    assert api.begun == 2
    api.go.set()
    await until(lambda: len(pipe.answers) == 5)
    pipe.reads.put_nowait(None)
    await pipe.serving


async def test_a_call_that_is_taken_back_ends_at_once_and_is_not_answered():
    api = Api()
    api.go.clear()
    pipe = Pipe(api)
    pipe.send(Call(1, INFO, ASK_INFO), Call(2, INFO, ASK_INFO))
    await until(lambda: api.begun == 2)
    pipe.send(Call(1), Call(99))
    await until(lambda: api.cancelled == 1)
    api.go.set()
    await until(lambda: pipe.answers)
    assert [answer.number for answer in pipe.answers] == [2]
    pipe.send(Call(1, INFO, ASK_INFO))
    await until(lambda: len(pipe.answers) == 2)
    pipe.reads.put_nowait(None)
    await pipe.serving


async def test_a_finished_stream_answers_what_is_under_way():
    api = Api()
    api.go.clear()
    pipe = Pipe(api)
    pipe.send(Call(1, INFO, ASK_INFO))
    await until(lambda: api.begun == 1)
    pipe.stream.finish()
    await asyncio.sleep(0.01)
    assert not pipe.serving.done()
    api.go.set()
    await pipe.serving
    assert [answer.number for answer in pipe.answers] == [1]


async def test_a_stream_that_ends_takes_its_calls_with_it():
    api = Api()
    api.go.clear()
    pipe = Pipe(api)
    pipe.send(Call(1, INFO, ASK_INFO))
    await until(lambda: api.begun == 1)
    pipe.serving.cancel()
    await until(lambda: api.cancelled == 1)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff",
        CALLS.encode([Call(1, INFO, ASK_INFO), Call(1, INFO, ASK_INFO)]),
        CALLS.encode([Call(1, "x" * 5000)]),
    ],
)
async def test_what_is_no_message_of_calls_ends_the_stream(content: bytes):
    api = Api()
    pipe = Pipe(api)
    pipe.reads.put_nowait(content)
    with pytest.raises(MalformedDataError):
        await pipe.serving


# -- both sides, over a socket


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return parse(f"unix:{tmp_path}/private/grid.sock")


@asynccontextmanager
async def linked(api: Api, address: Address, limits: TransportLimits = LIMITS) -> AsyncIterator[RemoteGrid]:
    async with serving(dispatch(api), address, limits):
        grid = connect_grid([address], limits=limits, rng=random.Random(1))
        try:
            yield grid
        finally:
            await grid.close()


async def test_more_calls_than_a_stream_takes_go_beside_it(address: Address):
    api = Api()
    api.go.clear()
    async with linked(api, address) as grid:
        asking = [asyncio.create_task(grid.info()) for _ in range(20)]
        await until(lambda: api.begun == 20)
        api.go.set()
        assert len(await asyncio.gather(*asking)) == 20


async def test_nobody_works_for_a_caller_who_has_gone(address: Address):
    api = Api()
    api.go.clear()
    async with linked(api, address) as grid:
        asking = asyncio.create_task(grid.info())
        await until(lambda: api.begun == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: api.cancelled == 1)
        api.go.set()
        assert (await grid.info()).version == "1"


async def test_a_call_without_an_answer_ends_in_time_and_is_taken_back(address: Address):
    api = Api()
    api.go.clear()
    async with linked(api, address, replace(LIMITS, call_seconds=0.2)) as grid:
        with pytest.raises(UnavailableError, match="no answer from unix:"):
            await grid.info()
        await until(lambda: api.cancelled == api.begun)


async def test_a_server_that_stops_answers_what_is_under_way_and_does_not_wait_for_streams(address: Address):
    api = Api()
    api.go.clear()
    clock = asyncio.get_running_loop().time
    server = GrpcServer(dispatch(api), address, LIMITS)
    await server.start()
    grid = connect_grid([address], limits=LIMITS, rng=random.Random(1))
    asking = asyncio.create_task(grid.info())
    await until(lambda: api.begun == 1)
    start = clock()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.05)
    api.go.set()
    assert (await asking).version == "1"
    await stopping
    assert clock() - start < LIMITS.grace_seconds / 2
    assert api.begun == 1
    await grid.close()


async def test_a_stream_that_was_cut_is_opened_again(address: Address):
    api = Api()
    grid = connect_grid([address], limits=LIMITS, rng=random.Random(1))
    for _ in range(3):
        async with serving(dispatch(api), address, LIMITS):
            assert (await grid.info()).version == "1"
    await grid.close()


async def test_an_error_on_a_stream_is_what_it_was(address: Address):
    api = Api()
    async with linked(api, address, replace(LIMITS, call_seconds=0.3)) as grid:
        api.error = NotFoundError("gone", remedy="Look elsewhere.")
        with pytest.raises(NotFoundError, match="gone") as caught:
            await grid.info()
        assert caught.value.remedy == "Look elsewhere."
        api.error = OverloadedError("later", retry_after_seconds=7.0)
        with pytest.raises(OverloadedError, match="later") as busy:
            await grid.info()
        assert busy.value.retry_after_seconds == 7.0


async def test_a_scheduler_that_stands_still_is_left_with_all_that_waits_there(tmp_path: Path):
    frozen, other = Api(), Api()
    frozen.go.clear()
    places = [parse(f"unix:{tmp_path}/{name}/grid.sock") for name in ("a", "b")]
    limits = replace(LIMITS, call_seconds=2.0)
    async with serving(dispatch(frozen), places[0], limits), serving(dispatch(other), places[1], limits):
        seed = next(seed for seed in range(99) if random.Random(seed).randrange(2) == 0)
        grid = connect_grid(places, limits=limits, rng=random.Random(seed))
        answers = await asyncio.gather(*[grid.info() for _ in range(3)])
        assert len(answers) == 3
        assert frozen.begun == 3
        await until(lambda: frozen.cancelled == 3)
        assert other.begun == 3
        await grid.close()


async def test_what_comes_on_a_stream_and_is_none_of_it_is_refused(address: Address):
    api = Api()
    async with serving(dispatch(api), address, LIMITS):
        from corpgrid.transport.grpc_client import _Endpoint

        endpoint = _Endpoint(address, LIMITS)
        stream = endpoint.channel.stream_stream("/corpgrid.v1.Calls/Exchange")()
        await stream.write(b"\xff\xff")
        assert (await stream.code()).name == "INVALID_ARGUMENT"
        await endpoint.close()
