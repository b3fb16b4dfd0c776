"""Blobs in a real object store: Ceph's S3 gateway, which checks every signature.  CI installs it."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.blobs import cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.errors import StoreError
from corpgrid.trust.digest import digest
from tests.contracts.cloud import CloudContract, load, send
from tests.contracts.s3 import S3Server, credentials
from tests.system import ceph

pytestmark = [pytest.mark.system, pytest.mark.linux, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    if trouble := ceph.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no Ceph here: {trouble}")
    with ceph.ceph_server() as server:
        yield server


class TestCeph(CloudContract):
    """The same promises."""

    @pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
    async def test_wrong_credentials_are_told_at_the_start(self, s3: S3Server, tmp_path: Path, wrong: str) -> None:
        place = cloud_url.parse(s3.new_bucket())
        with credentials(s3._replace(**{wrong: "x" * 20})), pytest.raises(StoreError, match="are wrong") as failed:
            await CloudBlobs.at(place, tmp_path / "spool")
        assert "AWS_SECRET_ACCESS_KEY" in failed.value.remedy
        assert "x" * 20 not in str(failed.value)

    async def test_an_address_is_good_for_one_blob_and_one_deed(self, blobs: CloudBlobs) -> None:
        name, other = await blobs.put(b"content"), await blobs.put(b"other")
        url = await blobs.download_url(name, ttl_seconds=60)
        assert url
        for attempt in (
            lambda: send(url, b"other bytes"),
            lambda: load(url.replace(name.hex(), other.hex())),
            lambda: load(url.partition("?")[0]),
            lambda: load(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")),
        ):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                attempt()
        assert await blobs.get(name) == b"content"

    async def test_an_address_expires(self, blobs: CloudBlobs) -> None:
        url = await blobs.upload_url(digest(b"late"), ttl_seconds=0)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            send(url, b"late")
