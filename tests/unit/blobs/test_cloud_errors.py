"""What a store answers, as an error with its remedy: asked of a server that answers it, through the real client."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from corpgrid.blobs import cloud_bucket, cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.errors import ConfigError, CorpGridError, StoreError, UnavailableError
from tests.contracts.s3 import S3Server, credentials

ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>as the store says it</Message><RequestId>1</RequestId></Error>"""


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests do not wait for tries that cannot help."""
    monkeypatch.setattr(cloud_bucket, "_RETRIES", 0)


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """A server that refuses everything for one reason."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = ERROR.format(code=code).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_GET  # noqa: N815 - the base class wants these names

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


async def failed_start(endpoint: str, spool: Path, scheme: str = "s3") -> CorpGridError:
    place = cloud_url.parse(f"{scheme}://grid/here?endpoint={endpoint}&allow_http=true")
    with credentials(S3Server(endpoint, "a-key", "a-secret")), pytest.raises(CorpGridError) as failed:
        await CloudBlobs.at(place, spool)
    assert "s3://grid/here" in str(failed.value)
    assert "a-secret" not in failed.value.explain()
    return failed.value


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (404, "NoSuchBucket", StoreError, ("does not exist", "Create the bucket")),
        (403, "InvalidAccessKeyId", StoreError, ("are wrong", "AWS_ACCESS_KEY_ID")),
        (403, "SignatureDoesNotMatch", StoreError, ("are wrong", "AWS_SECRET_ACCESS_KEY")),
        (403, "AccessDenied", StoreError, ("may not do that", "Allow them")),
        (403, "RequestTimeTooSkewed", StoreError, ("its time", "NTP")),
        (400, "ExpiredToken", StoreError, ("its time", "renew")),
        (400, "AuthorizationHeaderMalformed", StoreError, ("another region", "region=")),
        (507, "QuotaExceeded", StoreError, ("no room", "quota")),
        (503, "SlowDown", UnavailableError, ("does not answer", "tried again")),
        (418, "Teapot", StoreError, ("failed", "log")),
    ],
)
async def test_a_store_that_refuses(tmp_path: Path, status: int, code: str, kind: type, words: tuple[str, str]) -> None:
    told, remedy = words
    with answering(status, code) as endpoint:
        error = await failed_start(endpoint, tmp_path)
    assert type(error) is kind
    assert told in str(error)
    assert remedy in error.remedy


async def test_nobody_there(tmp_path: Path) -> None:
    error = await failed_start("http://127.0.0.1:1", tmp_path)
    assert type(error) is UnavailableError
    assert "this machine reaches it" in error.remedy


async def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    error = await failed_start("http://store.invalid", tmp_path)
    assert type(error) is UnavailableError


async def test_no_credentials(tmp_path: Path) -> None:
    """The machine's own role is asked for then, here at a place where nobody has one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    place = cloud_url.parse("s3://grid/here?endpoint=http://127.0.0.1:1&allow_http=true")
    with (
        mock.patch.dict(os.environ, {**kept, "AWS_METADATA_ENDPOINT": "http://127.0.0.1:1"}, clear=True),
        pytest.raises(StoreError, match="no credentials") as failed,
    ):
        await CloudBlobs.at(place, tmp_path)
    assert "AWS_ACCESS_KEY_ID" in failed.value.remedy


async def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigError, match="not installed") as failed:
        await CloudBlobs.at(cloud_url.parse("s3://grid"), tmp_path)
    assert "corpgrid[s3]" in failed.value.remedy
