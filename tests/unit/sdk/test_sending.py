"""What is stored before a job is submitted, what rides along, and what is not sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from corpgrid.config import ClientConfig
from corpgrid.domain.ids import Digest, JobId, KeyId
from corpgrid.domain.job import Job, Requirements
from corpgrid.errors import ConflictError
from corpgrid.host.clock import SystemClock
from corpgrid.sdk.packaging import Package, pack_function
from corpgrid.sdk.request import Request, make_request
from corpgrid.sdk.sending import Sender
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import check_page_list, page_items, verify_job
from corpgrid.trust.keys import Keyring, PrivateKey
from tests.unit.sdk.wheel_maker import make_wheel

KEY = PrivateKey.generate()


class Scheduler:
    """As much of a scheduler as a sender meets: it keeps blobs, and takes a job only if it has all of its blobs."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.puts: list[Digest] = []
        self.submitted: list[tuple[bytes, Sequence[bytes]]] = []

    async def put_blob(self, content: bytes) -> Digest:
        self.puts.append(digest(content))
        self.blobs[digest(content)] = content
        return digest(content)

    async def put_blob_file(self, path: Path) -> Digest:
        return await self.put_blob(await asyncio.to_thread(path.read_bytes))

    async def missing_blobs(self, digests: Sequence[Digest]) -> list[Digest]:
        return [each for each in digests if each not in self.blobs]

    async def submit_job(self, envelope: bytes, *, blobs: Sequence[bytes] = ()) -> Job:
        self.blobs.update({digest(content): content for content in blobs})
        job = verify_job(envelope, keyring=Keyring([KEY.public]), now=SystemClock().now())
        spec, pages = job.spec, ()
        if spec.arguments.pages in self.blobs:
            pages = check_page_list(spec.arguments, self.blobs[spec.arguments.pages])
        if await self.missing_blobs([spec.bundle, spec.arguments.pages, *pages, *spec.inputs.values()]):
            raise ConflictError("some of the job's blobs are not stored")
        self.submitted.append((envelope, blobs))
        return Job(
            id=JobId(job.id),
            name=spec.name,
            submitter=KeyId(job.submitter),
            tenant=spec.tenant,
            priority=spec.priority,
            tasks=spec.arguments.tasks,
            created_at=0.0,
        )

    def items(self) -> list[bytes]:
        """All items of the last job."""
        spec = verify_job(self.submitted[-1][0], keyring=Keyring([KEY.public]), now=0.0).spec
        pages = check_page_list(spec.arguments, self.blobs[spec.arguments.pages])
        return [item for page in pages for item in page_items(self.blobs[page])]


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def sender(scheduler: Scheduler) -> Sender:
    api: Any = scheduler
    return Sender(api, SystemClock())


def package(content: bytes = b"pickled", wheels: Sequence[Path] = ()) -> Package:
    return pack_function(content, wheels=wheels, requirements=Requirements(), key=KEY)


def request(**options: Any) -> Request:
    return make_request(options, ClientConfig(), name="square")


async def test_a_small_job_is_one_call(scheduler: Scheduler, sender: Sender) -> None:
    row = await sender.send(package(), [b"d1", b"d2"], request(), KEY)
    assert row.tasks == 2
    assert scheduler.puts == []
    assert len(scheduler.submitted[0][1]) == 3, "bundle, page list, page"
    assert scheduler.items() == [b"d1", b"d2"]


async def test_the_bundle_is_sent_once(scheduler: Scheduler, sender: Sender) -> None:
    for _ in range(2):
        await sender.send(package(), [b"d1"], request(), KEY)
    assert package().content in scheduler.submitted[0][1]
    assert package().content not in scheduler.submitted[1][1]


async def test_two_equal_requests_are_two_jobs(scheduler: Scheduler, sender: Sender) -> None:
    rows = [await sender.send(package(), [b"d1"], request(), KEY) for _ in range(2)]
    assert rows[0].id != rows[1].id


async def test_what_does_not_fit_in_the_call_is_stored_first(scheduler: Scheduler, sender: Sender) -> None:
    items = [bytes([number]) * 400_000 for number in range(12)]
    await sender.send(package(), items, request(), KEY)
    assert len(scheduler.puts) >= 8
    assert sum(map(len, scheduler.submitted[0][1])) <= 1 << 20
    assert scheduler.items() == items


async def test_many_small_pages_do_not_crowd_the_call(scheduler: Scheduler, sender: Sender) -> None:
    items = [b"d%d" % number for number in range(70_000)]
    await sender.send(package(), items, request(), KEY)
    assert len(scheduler.submitted[0][1]) <= 32
    assert scheduler.items() == items


async def test_equal_pages_are_one_blob(scheduler: Scheduler, sender: Sender) -> None:
    await sender.send(package(), [b"d0"] * 10_240, request(), KEY)
    assert len(scheduler.submitted[0][1]) == 3
    assert len(scheduler.items()) == 10_240


async def test_files_are_stored_if_they_are_not(scheduler: Scheduler, sender: Sender, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "greeting", {"greeting.py": ""})
    (tmp_path / "data.csv").write_text("1,2\n")
    for _ in range(2):
        await sender.send(package(wheels=[wheel]), [b"d1"], request(inputs={"data.csv": tmp_path / "data.csv"}), KEY)
    assert sorted(scheduler.puts) == sorted([digest(wheel.read_bytes()), digest(b"1,2\n")])


async def test_a_file_that_changed_is_sent_anew(scheduler: Scheduler, sender: Sender, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    for text in ("1,2\n", "1,2,3\n"):
        data.write_text(text)
        await sender.send(package(), [b"d1"], request(inputs={"data.csv": data}), KEY)
        assert digest(text.encode()) in scheduler.blobs


async def test_what_the_grid_collected_is_sent_again(scheduler: Scheduler, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    asked = request(inputs={"data.csv": tmp_path / "data.csv"})
    await sender.send(package(), [b"d1"], asked, KEY)
    scheduler.blobs.clear()
    await sender.send(package(), [b"d1"], asked, KEY)
    assert len(scheduler.submitted) == 2


async def test_a_conflict_of_another_kind_is_heard(
    scheduler: Scheduler, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> Job:
        raise ConflictError("the tenant has too many jobs")

    monkeypatch.setattr(scheduler, "submit_job", refuse)
    with pytest.raises(ConflictError, match="too many jobs"):
        await sender.send(package(), [b"d1"], request(), KEY)
