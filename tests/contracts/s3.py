"""Object stores for tests: a server that speaks S3, buckets in it, and blobs in a bucket whose objects can be aged."""

from __future__ import annotations

import itertools
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from corpgrid.blobs import cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.blobs.cloud_bucket import Bucket, Entry
from corpgrid.domain.ids import Digest

_numbers = itertools.count(1)


class S3Server(NamedTuple):
    """Where it listens, and a key that it takes."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """What a program is given that shall speak to it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def new_bucket(self) -> str:
        """Make a bucket; its URL, with a prefix in it."""
        name = f"grid-{next(_numbers)}"
        with self._client() as client:
            client.create_bucket(Bucket=name)
        return f"s3://{name}/some/where?endpoint={self.endpoint}&allow_http=true"

    def unfinished(self, bucket: Bucket) -> list[str]:
        """What was begun to be stored there in parts, and neither ended nor aborted."""
        with self._client() as client:
            told = client.list_multipart_uploads(Bucket=bucket.place.bucket)
        return [upload["Key"] for upload in told.get("Uploads", [])]

    def remove(self, bucket: Bucket) -> None:
        """Delete a bucket with all that is in it."""
        name = bucket.place.bucket
        with self._client() as client:
            for entry in client.list_objects_v2(Bucket=name).get("Contents", []):
                client.delete_object(Bucket=name, Key=entry["Key"])
            client.delete_bucket(Bucket=name)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )
        try:
            yield client
        finally:
            client.close()


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """An S3 server of this process; it believes every key."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/moto-api/", timeout=10) as answer:
            assert answer.status == 200
        yield S3Server(f"http://{host}:{port}", "a-test-key", "a-test-secret")
    finally:
        server.stop()


class AgingBucket(Bucket):
    """A bucket that shows chosen objects as older than they are, until they are written again: no store lets one."""

    def __init__(self, place: cloud_url.CloudPlace) -> None:
        super().__init__(place)
        self._older: dict[str, float] = {}
        self._written: set[str] = set()

    def age(self, digest: Digest, seconds: float) -> None:
        """What there is now of a blob and its marks is that much older."""
        for key in self._written:
            if digest.hex() in key:
                self._older[key] = self._older.get(key, 0.0) + seconds

    async def put(self, key: str, content: bytes) -> None:
        await super().put(key, content)
        self._note(key)

    async def put_parts(self, key: str, chunks: AsyncIterator[bytes], *, size_bytes: int = 0) -> None:
        await super().put_parts(key, chunks, size_bytes=size_bytes)
        self._note(key)

    async def head(self, key: str) -> Entry | None:
        entry = await super().head(key)
        return entry if entry is None else self._aged(entry)

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[list[Entry]]:
        async for page in super().list(prefix, after=after):
            yield [self._aged(entry) for entry in page]

    def _note(self, key: str) -> None:
        self._written.add(key)
        self._older.pop(key, None)

    def _aged(self, entry: Entry) -> Entry:
        return entry._replace(modified=entry.modified - self._older.get(entry.key, 0.0))


@contextmanager
def credentials(server: S3Server) -> Iterator[None]:
    """The environment of a scheduler that may use the server, and none but it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, {**kept, **server.environment()}, clear=True):
        yield


async def aging_blobs(server: S3Server, spool: Path, url: str = "") -> tuple[CloudBlobs, AgingBucket]:
    """Blobs in a new bucket."""
    with credentials(server):
        bucket = AgingBucket(cloud_url.parse(url or server.new_bucket()))
    spool.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test's folder
    return CloudBlobs(bucket, spool), bucket
