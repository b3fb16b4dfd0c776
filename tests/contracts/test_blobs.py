"""Every blob store of the house keeps the contract."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpgrid.blobs.folder import BlobFolder
from corpgrid.blobs.local import LocalBlobs
from corpgrid.blobs.memory import MemoryBlobs
from corpgrid.domain.ids import Digest
from corpgrid.ports.blobs import Blobs
from corpgrid.scheduler.job_blobs import JobBlobs
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from tests.contracts.blobs import Age, BlobsContract
from tests.contracts.store_rows import FakeClock


class TestMemory(BlobsContract):
    """The simulator's blobs."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        return MemoryBlobs(FakeClock())

    @pytest.fixture
    def age(self, blobs: MemoryBlobs) -> Age:
        def make_older(digest: Digest, seconds: float) -> None:
            blobs._put_at[digest] -= seconds

        return make_older


class TestJobBlobs(BlobsContract):
    """Blobs as a scheduler shows them, where no job has any in its rows."""

    @pytest.fixture
    def stored(self) -> MemoryBlobs:
        return MemoryBlobs(FakeClock())

    @pytest.fixture
    def blobs(self, stored: MemoryBlobs) -> Blobs:
        clock = FakeClock()
        settings = StoreSettings(clock=clock, item_payload=lambda *_: b"", batch_blobs=lambda _: ())
        return JobBlobs(stored, MemoryStore(settings))

    @pytest.fixture
    def age(self, stored: MemoryBlobs) -> Age:
        def make_older(digest: Digest, seconds: float) -> None:
            stored._put_at[digest] -= seconds

        return make_older


class TestLocal(BlobsContract):
    """The embedded default."""

    @pytest.fixture
    async def blobs(self, tmp_path: Path) -> Blobs:
        return await LocalBlobs.at(tmp_path / "blobs")

    @pytest.fixture
    def age(self, tmp_path: Path) -> Age:
        folder = BlobFolder(tmp_path / "blobs")

        def make_older(digest: Digest, seconds: float) -> None:
            place = folder.place(digest)
            before = place.stat().st_mtime
            os.utime(place, (before - seconds, before - seconds))

        return make_older

    @pytest.fixture(autouse=True)
    def nothing_is_left_behind(self, tmp_path: Path):
        yield
        assert not list((tmp_path / "blobs" / "tmp").iterdir())
