"""What comes with a small job goes into its rows, in the commit that takes the job, and is read like any blob."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.ids import Digest
from corpgrid.domain.job import JobSpec
from corpgrid.errors import ConflictError, DigestError, NotFoundError
from corpgrid.scheduler.job_blobs import ATTACHED_BYTES, JobBlobs, split
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import make_pages, verify_job
from tests.unit.scheduler.world import World

BUNDLE = b"the code, which is not the job's alone"


def job_of(sizes: list[int], page_tasks: int) -> tuple[JobSpec, list[bytes], bytes]:
    pages, page_list, arguments = make_pages([bytes([n % 251]) * size for n, size in enumerate(sizes)], page_tasks)
    return JobSpec(name="a", bundle=digest(BUNDLE), arguments=arguments, not_after=1.0, nonce="n"), pages, page_list


@given(
    sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=20),
    page_tasks=st.integers(1, 5),
    left_out=st.integers(-1, 20),
)
def test_all_that_came_is_attached_or_stored_and_only_its_own_is_attached(
    sizes: list[int], page_tasks: int, left_out: int
) -> None:
    spec, pages, page_list = job_of(sizes, page_tasks)
    given_ = [content for place, content in enumerate([page_list, *pages, BUNDLE]) if place != left_out]
    attached, shared = split(spec, {digest(content): content for content in given_})
    assert {*attached.values(), *shared} == set(given_)
    assert not set(attached.values()) & set(shared)
    assert set(attached.values()) <= {page_list, *pages}
    assert sum(map(len, attached.values())) <= ATTACHED_BYTES
    assert all(digest(content) == name for name, content in attached.items())
    if page_list in given_ and sum(map(len, [page_list, *pages])) <= ATTACHED_BYTES:
        assert BUNDLE not in attached.values()
        assert len(attached) == len({page_list, *pages} & set(given_))


def test_a_page_list_that_lies_about_its_length_is_refused() -> None:
    spec, _, page_list = job_of([1, 1], 1)
    longer = replace(spec, arguments=replace(spec.arguments, tasks=3))
    with pytest.raises(DigestError):
        split(longer, {digest(page_list): page_list})


async def small_job(world: World) -> tuple[bytes, list[bytes], list[Digest]]:
    """A job's envelope, and its own blobs, which are not stored."""
    envelope = await world.job(3)
    spec = verify_job(envelope, keyring=world.keyring, now=world.clock.now()).spec
    page_list = world.blobs.contents.pop(spec.arguments.pages)
    page = world.blobs.contents.pop(Digest(page_list))
    return envelope, [page_list, page], [digest(page_list), digest(page)]


async def test_a_small_jobs_arguments_are_in_its_rows_and_nowhere_else(world: World, tmp_path: Path) -> None:
    envelope, own, names = await small_job(world)
    before = dict(world.blobs.contents)
    await world.scheduler.grid.submit_job(envelope, blobs=own)
    assert world.blobs.contents == before
    everywhere = JobBlobs(world.blobs, world.store)  # nothing remembered: as after a restart
    for name, content in zip(names, own, strict=True):
        assert await world.store.attached(name) == content
        assert await everywhere.get(name) == content
        assert await everywhere.size(name) == len(content)
        assert b"".join([chunk async for chunk in everywhere.open(name, offset=1)]) == content[1:]
        await everywhere.fetch(name, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == content
        assert await everywhere.missing([name]) == [name]


async def test_an_agent_is_given_what_stands_in_the_rows(world: World) -> None:
    envelope, own, names = await small_job(world)
    actor = world.actor()
    await actor.register()
    await world.scheduler.grid.submit_job(envelope, blobs=own)
    assert set(own) <= set((await actor.poll()).blobs)
    assert [await world.scheduler.agents.get_blob(name) for name in names] == own


async def test_another_jobs_rows_are_no_place_to_rely_on(world: World) -> None:
    envelope, own, _ = await small_job(world)
    await world.scheduler.grid.submit_job(envelope, blobs=own)
    with pytest.raises(ConflictError, match="not stored"):
        await world.scheduler.grid.submit_job(await _without_stored_pages(world))


async def _without_stored_pages(world: World) -> bytes:
    envelope, _, _ = await small_job(world)
    return envelope


async def test_damaged_rows_are_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def damaged(_name: Digest) -> bytes:
        return b"not what was asked for"

    monkeypatch.setattr(world.store, "attached", damaged)
    with pytest.raises(DigestError):
        await JobBlobs(world.blobs, world.store).get(digest(b"something"))


async def test_what_is_nowhere_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError):
        await JobBlobs(world.blobs, world.store).get(digest(b"something"))
    assert await JobBlobs(world.blobs, world.store).size(digest(b"something")) is None
