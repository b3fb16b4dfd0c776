"""The way past the scheduler, to an object store of this process; and all that can stand in it."""

from __future__ import annotations

import asyncio
import http.server
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.blobs.cloud_marks import sharded
from corpgrid.blobs.memory import MemoryBlobs
from corpgrid.domain.ids import Digest
from corpgrid.errors import DigestError, LimitError, NotFoundError, RefusedError, UnavailableError
from corpgrid.scheduler.service import DirectBlobs
from corpgrid.transport import direct
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.loopback import LoopbackWire
from corpgrid.transport.remote import Parts, RemoteBlobs
from corpgrid.transport.store_http import StoreHttp
from corpgrid.trust.digest import digest
from corpgrid.wire import methods
from tests.contracts.blobs import some_bytes
from tests.contracts.s3 import AgingBucket, S3Server, aging_blobs
from tests.contracts.store_rows import FakeClock

LARGE = 3 * (1 << 20) + 5
LIMITS = TransportLimits(blob_bytes=64 << 20)


class CountingWire(LoopbackWire):
    """Knows what took the way through the scheduler."""

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__(dispatch)
        self.asked = self.streamed = 0

    async def call(self, method: Any, request: Any) -> Any:
        self.asked += method is methods.LOCATE_BLOB
        return await super().call(method, request)

    async def put(self, parts: Parts) -> Digest:
        self.streamed += 1
        return await super().put(parts)

    async def get(self, name: Digest) -> AsyncIterator[bytes]:
        self.streamed += 1
        async for chunk in super().get(name):
            yield chunk


def remote(blobs: Any) -> tuple[RemoteBlobs, CountingWire]:
    api: Any = DirectBlobs(blobs)
    wire = CountingWire(Dispatch(api, api, blobs, LIMITS))
    return RemoteBlobs(wire), wire


@pytest.fixture
async def made(s3: S3Server, tmp_path: Path) -> tuple[CloudBlobs, AgingBucket]:
    return await aging_blobs(s3, tmp_path / "spool")


@pytest.fixture
def blobs(made: tuple[CloudBlobs, AgingBucket]) -> CloudBlobs:
    return made[0]


def located_at(blobs: CloudBlobs, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def anywhere(_name: Digest, *, ttl_seconds: float) -> str:
        return url

    monkeypatch.setattr(blobs, "download_url", anywhere)
    monkeypatch.setattr(blobs, "upload_url", anywhere)


async def test_large_bytes_go_past_the_scheduler(blobs: CloudBlobs, tmp_path: Path) -> None:
    api, wire = remote(blobs)
    content, other = some_bytes(LARGE), some_bytes(LARGE, seed=2)
    (tmp_path / "source").write_bytes(other)
    assert await api.put_blob(content) == digest(content)
    assert await api.put_blob_file(tmp_path / "source") == digest(other)
    assert await api.get_blob(digest(content)) == content
    await api.fetch_blob(digest(other), tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == other
    assert (wire.asked, wire.streamed) == (4, 0)
    assert await blobs.get(digest(content)) == content


async def test_what_is_stored_is_not_sent_again(blobs: CloudBlobs, s3: S3Server) -> None:
    api, wire = remote(blobs)
    content = some_bytes(LARGE)
    await blobs.put(content)
    assert await api.put_blob(content) == digest(content)
    assert (wire.asked, wire.streamed) == (1, 0)


async def test_small_bytes_are_stored_through_the_scheduler(blobs: CloudBlobs) -> None:
    api, wire = remote(blobs)
    await api.put_blob(b"small")
    assert (wire.asked, wire.streamed) == (0, 1)


async def test_a_grid_without_a_store_is_asked_once(tmp_path: Path) -> None:
    api, wire = remote(MemoryBlobs(FakeClock()))
    content = some_bytes(LARGE)
    (tmp_path / "source").write_bytes(content)
    for _ in range(3):
        assert await api.put_blob_file(tmp_path / "source") == digest(content)
        assert await api.get_blob(digest(content)) == content
    assert (wire.asked, wire.streamed) == (1, 6)


async def test_what_is_not_in_the_store_is_asked_of_the_scheduler(blobs: CloudBlobs) -> None:
    """It may stand in a job's rows; asking does not count as a failure of the store."""
    api, wire = remote(blobs)
    for _ in range(5):
        with pytest.raises(NotFoundError):
            await api.get_blob(digest(b"nothing"))
    assert (wire.asked, wire.streamed) == (5, 5)


async def test_a_damaged_object_is_found_out_and_set_aside(
    made: tuple[CloudBlobs, AgingBucket], tmp_path: Path
) -> None:
    api, _ = remote(made[0])
    content = some_bytes(LARGE)
    await made[0].put(content)
    await made[1].put(sharded("blobs", digest(content)), b"x" + content[1:])
    with pytest.raises(DigestError, match="damaged"):
        await api.fetch_blob(digest(content), tmp_path / "target")
    assert not (tmp_path / "target").exists()
    assert await made[0].size(digest(content)) is None


async def test_bytes_that_only_the_way_damaged_are_asked_for_again(
    blobs: CloudBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, wire = remote(blobs)
    name = await blobs.put(b"content")
    with serving(lambda handler: handler.answer(200, b"longer than it is")) as url:
        located_at(blobs, url, monkeypatch)
        await api.fetch_blob(name, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"content"
    assert await blobs.size(name) is not None, "it was good"
    assert wire.streamed == 1


async def test_a_store_that_cannot_be_reached_costs_time_and_nothing_else(
    blobs: CloudBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api, wire = remote(blobs)
    content = some_bytes(LARGE)
    (tmp_path / "source").write_bytes(content)
    located_at(blobs, "http://127.0.0.1:1/blob?signature=secret", monkeypatch)
    with caplog.at_level(logging.INFO, logger="corpgrid"):
        assert await api.put_blob_file(tmp_path / "source") == digest(content)
        for _ in range(4):
            assert await api.get_blob(digest(content)) == content
    assert (wire.asked, wire.streamed) == (3, 5), "after three failures the store is left alone"
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [301, 403, 500, 503])
async def test_whatever_the_store_answers_the_scheduler_is_there(
    blobs: CloudBlobs, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    api, wire = remote(blobs)
    content = some_bytes(LARGE)
    with serving(lambda handler: handler.answer(status, b"")) as url:
        located_at(blobs, url, monkeypatch)
        assert await api.put_blob(content) == digest(content)
        assert await api.get_blob(digest(content)) == content
    assert wire.streamed == 2


async def test_a_connection_that_breaks_goes_on_where_it_was(
    blobs: CloudBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, wire = remote(blobs)
    content, ranges = some_bytes(LARGE), []

    def half(handler: Handler) -> None:
        ranges.append(handler.headers["Range"])
        start = int((ranges[-1] or "bytes=0-")[6:-1])
        rest = content[start:]
        handler.answer(206 if start else 200, rest, only=len(rest) if len(ranges) == 3 else len(rest) // 2)

    with serving(half) as url:
        located_at(blobs, url, monkeypatch)
        assert await api.get_blob(digest(content)) == content
    assert wire.streamed == 0
    assert ranges[0] is None
    assert len(ranges) == 3


async def test_a_file_that_changes_while_it_is_sent_is_not_stored_under_its_old_name(
    blobs: CloudBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = remote(blobs)
    source = tmp_path / "source"
    source.write_bytes(some_bytes(LARGE))
    old, new = digest(some_bytes(LARGE)), digest(some_bytes(LARGE, seed=2))
    upload_url = blobs.upload_url

    async def changed(name: Digest, *, ttl_seconds: float) -> str | None:
        await asyncio.to_thread(source.write_bytes, some_bytes(LARGE, seed=2))
        return await upload_url(name, ttl_seconds=ttl_seconds)

    monkeypatch.setattr(blobs, "upload_url", changed)
    assert await api.put_blob_file(source) == new
    assert await blobs.missing([old, new]) == [old]


async def test_a_download_that_is_cancelled_leaves_nothing(
    blobs: CloudBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = remote(blobs)
    begun, over = threading.Event(), threading.Event()

    def stall(handler: Handler) -> None:
        handler.answer(200, bytes(LARGE), only=LARGE - 1)
        begun.set()
        over.wait(10)

    with serving(stall) as url:
        located_at(blobs, url, monkeypatch)
        fetching = asyncio.create_task(api.fetch_blob(digest(b""), tmp_path / "target"))
        await asyncio.to_thread(begun.wait, 10)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(fetching, 2)
        over.set()
    assert [path.name for path in tmp_path.iterdir()] == ["spool"]  # noqa: ASYNC240 - a test's folder


async def test_a_blob_above_the_limit_gets_no_address(blobs: CloudBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    api, _ = remote(blobs)
    with pytest.raises(LimitError, match="blob_bytes"):
        await api.locate_blob(digest(b""), put_bytes=LIMITS.blob_bytes + 1)
    monkeypatch.setattr(direct, "MOST_BYTES", LARGE - 1)
    api, wire = remote(blobs)
    await api.put_blob(some_bytes(LARGE))
    assert (wire.asked, wire.streamed) == (0, 1)


class TestStoreHttp:
    """The client by itself."""

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "/etc/passwd"])
    def test_only_http_is_spoken(self, url: str) -> None:
        with pytest.raises(RefusedError, match="not HTTP"):
            StoreHttp(1.0).get(url, 0)

    def test_a_store_that_says_nothing_is_given_up(self) -> None:
        over = threading.Event()
        with serving(lambda _handler: over.wait(10)) as url:
            with pytest.raises(UnavailableError, match="TimeoutError"):
                StoreHttp(0.2).get(url, 0)
            over.set()

    def test_an_answer_without_a_length_or_of_the_whole_is_none(self) -> None:
        refused = pytest.raises(RefusedError, match="did not answer")
        with serving(lambda handler: handler.answer(200, b"whole")) as url, refused:
            StoreHttp(5.0).get(url, 2)
        with serving(lambda handler: handler.answer(200, b"", length=None)) as url, refused:
            StoreHttp(5.0).get(url, 0)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the test wants it to."""

    script: Callable[[Handler], object]

    def answer(self, status: int, content: bytes, *, only: int | None = None, length: str | None = "") -> None:
        sent = int(self.headers.get("Content-Length") or 0)
        while sent > 0:
            sent -= len(self.rfile.read(min(sent, 1 << 20))) or sent
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(content)))
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(content[: len(content) if only is None else only])
        self.wfile.flush()

    def do_GET(self) -> None:
        type(self).script(self)

    def do_PUT(self) -> None:
        type(self).script(self)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(script: Callable[[Handler], object]) -> Iterator[str]:
    handler = type("Scripted", (Handler,), {"script": staticmethod(script)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/blob"
        finally:
            server.shutdown()
            thread.join()
