"""A store of blobs as it goes wrong: what happened, why and what to do is said, with the exit status of its kind.

| fault | what becomes of it |
| --- | --- |
| the bucket is not there, or may not be used | the scheduler says so and ends |
| another grid's bucket | likewise: a collection of one would delete the blobs of the other |
| the bucket vanishes while a scheduler runs | whoever asks hears it, and may ask again; the scheduler goes on |
| a blob of a job vanished, or is damaged, before its task ran | the task fails with the reason |
| a result's blob vanished, or is damaged, after it | reading it is an error; everything else of the job is there |
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corpgrid.blobs import cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import JobState, Limits, TaskState
from corpgrid.errors import ConfigError, CorpGridError, DigestError, NotFoundError, UnavailableError
from corpgrid.sdk.client import Grid
from corpgrid.trust.digest import digest
from tests.contracts.blobs import digests
from tests.contracts.s3 import S3Server, credentials
from tests.system.company import PATIENCE_SECONDS, SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import square
from tests.system.test_cloud_grid import CloudCompany

pytestmark = [pytest.mark.system, pytest.mark.linux]

MIB = 1 << 20


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


# -- at the start


class Wrong(NamedTuple):
    """Settings with which no scheduler starts, and what is said of them."""

    blobs: str
    status: int
    told: str
    remedy: str
    environment: tuple[tuple[str, str], ...] = ()


WRONG = {
    "no such bucket": Wrong("s3://nowhere?{at}", 1, "bucket of s3://nowhere does not exist", "Create the bucket"),
    "nobody listens": Wrong(
        "s3://grid?endpoint=http://127.0.0.1:1&allow_http=true", 5, "does not answer", "reaches it"
    ),
    "unknown option": Wrong(
        "s3://grid?verify=no", 2, "options that a s3:// URL does not have: verify", "It has endpoint"
    ),
    "credentials in the URL": Wrong("s3://me:sesame@grid", 2, "holds credentials", "Leave out all before the @"),
    "not encrypted": Wrong("s3://grid?endpoint=http://10.0.0.1", 2, "is not encrypted", "allow_http=true"),
    "no URL": Wrong("my-bucket", 2, "begins with no scheme", "Write it like s3://"),
    "wrong key": Wrong(
        "{bucket}", 1, "credentials for s3://", "Correct AWS_ACCESS_KEY_ID", (("AWS_ACCESS_KEY_ID", "x"),)
    ),
    "no credentials": Wrong(
        "{bucket}",
        1,
        "there are no credentials for s3://",
        "Set AWS_ACCESS_KEY_ID",
        (("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")),
    ),
}


@pytest.mark.sandbox
@pytest.mark.parametrize("name", WRONG)
def test_blobs_that_cannot_be_used_are_told_at_the_start(folder: Path, s3: S3Server, name: str) -> None:
    wrong = WRONG[name]
    bucket = s3.new_bucket()
    url = wrong.blobs.format(bucket=bucket, at=bucket.partition("?")[2])
    with credentials(s3), asking_for_keys(s3, asks=name == "wrong key"):
        environment = {**os.environ, **dict(wrong.environment)}
        environment = {name: value for name, value in environment.items() if value}
        told = {room: corpgrid(folder, url, *room.split(), environment) for room in ("scheduler run", "doctor")}
    for done in told.values():
        assert wrong.told in done.stderr + done.stdout
        assert wrong.remedy in " ".join((done.stderr + done.stdout).split())
        assert "sesame" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
    assert told["scheduler run"].returncode == wrong.status
    assert told["doctor"].returncode == 1, "no scheduler can start here"


def corpgrid(folder: Path, blobs: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """A command line that has these blobs configured."""
    *words, environment = arguments
    settings = {"blobs": blobs, "folder": f"{folder}/scheduler", "listen": f"unix:{folder}/run/s.sock"}
    lines = ["[scheduler]", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
    (folder / "config.toml").write_text("\n".join(lines))
    return subprocess.run(
        [sys.executable, "-m", "corpgrid", *words, "--config", str(folder / "config.toml")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@contextlib.contextmanager
def asking_for_keys(s3: S3Server, *, asks: bool) -> Iterator[None]:
    """The server believes no key within the block; else it believes every one."""

    def believe(how_many: str) -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{s3.endpoint}/moto-api/reset-auth", how_many.encode(), headers)
        urllib.request.urlopen(request, timeout=10).close()

    if asks:
        believe("0")
    try:
        yield
    finally:
        if asks:
            believe("inf")


# -- whose bucket it is


async def test_another_grids_bucket_is_refused(s3: S3Server, tmp_path: Path) -> None:
    place = cloud_url.parse(s3.new_bucket())
    with credentials(s3):
        assert await CloudBlobs.check(place, grid="two") > 0, "a look takes nothing"
        ours = await CloudBlobs.at(place, tmp_path, grid="one")
        again = await CloudBlobs.at(place, tmp_path, grid="one")
        assert await again.get(await ours.put(b"content")) == b"content"
        for attempt in (CloudBlobs.at(place, tmp_path, grid="two"), CloudBlobs.check(place, grid="two")):
            with pytest.raises(ConfigError, match="holds the blobs of the grid one") as refused:
                await attempt
            assert "prefix of this grid's own" in refused.value.remedy
        elsewhere = place._replace(prefix="two")
        assert await (await CloudBlobs.at(elsewhere, tmp_path, grid="two")).missing([digest(b"content")])


async def test_what_another_grid_took_meanwhile_is_not_collected(s3: S3Server, tmp_path: Path) -> None:
    """Two that came to an empty bucket in the same moment: only one of them may ever delete."""
    place = cloud_url.parse(s3.new_bucket())
    with credentials(s3):
        ours = await CloudBlobs.at(place, tmp_path, grid="one")
        name = await ours.put(b"content")
        await ours._bucket.put("grid", b"two\n")
        with pytest.raises(ConfigError, match="the grid two"):
            await ours.collect(digests(), older_than_seconds=-10.0)
        assert await ours.get(name) == b"content"


# -- while it runs


@pytest.mark.sandbox
def test_a_bucket_that_vanishes_and_comes_back(folder: Path, s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(os.urandom(MIB))
    with CloudCompany(folder, s3) as company, company.connect(timeout_seconds=3.0) as grid:
        assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]
        keys = Objects(s3, company)
        running = grid.submit(nap_and_return_much, 2.0, verify="none")
        wait_until(lambda: running.status().counts.leased, "it is under way")
        wait_until(lambda: company.jobs_of("one"), "on its device")
        keys.remove_bucket()
        with pytest.raises(UnavailableError, match=r"the bucket of s3://.* does not exist") as failed:
            send(grid, tmp_path / "big.bin")
        assert failed.value.exit_code == 5
        assert "On the scheduler: Create the bucket" in failed.value.remedy
        told = company.log(SCHEDULER).count("does not exist")
        wait_until(lambda: company.log(SCHEDULER).count("does not exist") > told, "a result has nowhere to go")
        assert running.status().state is JobState.RUNNING
        keys.make_bucket()
        assert len(running.result()) == MIB
        assert running.status().executions == 1, "it was not run again"
        assert send(grid, tmp_path / "big.bin").result() == MIB
        assert "Traceback" not in company.log(SCHEDULER)


def nap_and_return_much(seconds: float) -> bytes:
    time.sleep(seconds)
    return os.urandom(1 << 20)


def input_bytes(_item: int) -> int:
    return Path("/in/big.bin").stat().st_size


def large(_item: int) -> bytes:
    Path("out.bin").write_bytes(os.urandom(300_000))
    return os.urandom(300_000)


def send(grid: Grid, path: Path) -> Any:
    return grid.submit(input_bytes, 1, inputs={"big.bin": path}, verify="none", limits=Limits(max_attempts=1))


class Objects:
    """The blobs of a company, as somebody with the keys to their store sees them."""

    def __init__(self, s3: S3Server, company: Company) -> None:
        self._s3 = s3
        self._place = cloud_url.parse(str(company._scheduler["blobs"]))

    def delete(self, name: Digest) -> None:
        with self._s3._client() as client:
            client.delete_object(Bucket=self._place.bucket, Key=self._key(name))

    def change(self, name: Digest, *, cut: bool) -> None:
        """Flip a bit, or cut off the end."""
        with self._s3._client() as client:
            content = client.get_object(Bucket=self._place.bucket, Key=self._key(name))["Body"].read()
            changed = content[: len(content) // 2] if cut else bytes([content[0] ^ 1]) + content[1:]
            client.put_object(Bucket=self._place.bucket, Key=self._key(name), Body=changed)

    def remove_bucket(self) -> None:
        with self._s3._client() as client:
            for entry in client.list_objects_v2(Bucket=self._place.bucket).get("Contents", []):
                client.delete_object(Bucket=self._place.bucket, Key=entry["Key"])
            client.delete_bucket(Bucket=self._place.bucket)

    def make_bucket(self) -> None:
        with self._s3._client() as client:
            client.create_bucket(Bucket=self._place.bucket)

    def _key(self, name: Digest) -> str:
        return f"{self._place.prefix}/blobs/{name.hex()[:2]}/{name.hex()}"


class Files:
    """The same for a scheduler's folder."""

    def __init__(self, company: Company) -> None:
        self._folder = company.folder / SCHEDULER / "blobs"

    def delete(self, name: Digest) -> None:
        self._path(name).unlink()

    def change(self, name: Digest, *, cut: bool) -> None:
        content = self._path(name).read_bytes()
        self._path(name).write_bytes(content[: len(content) // 2] if cut else bytes([content[0] ^ 1]) + content[1:])

    def _path(self, name: Digest) -> Path:
        return self._folder / name.hex()[:2] / name.hex()[2:4] / name.hex()


LOST = {
    "vanished": (lambda blobs, name: blobs.delete(name), NotFoundError, "there is no blob", "Submit the job"),
    "truncated": (lambda blobs, name: blobs.change(name, cut=True), DigestError, "is damaged", "Submit the job"),
    "corrupted": (lambda blobs, name: blobs.change(name, cut=False), DigestError, "is damaged", "Submit the job"),
}


@pytest.mark.sandbox
@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_blob_that_is_lost(folder: Path, s3: S3Server, tmp_path: Path, where: str) -> None:
    """Before its task ran, and after it: of each way one task, in one grid."""
    company = CloudCompany(folder, s3) if where == "bucket" else Company(folder)
    with company, company.connect() as grid:
        blobs = Objects(s3, company) if where == "bucket" else Files(company)
        for how in LOST:
            lost_before(company, grid, blobs, tmp_path, how)
            lost_after(grid, blobs, tmp_path, how)
        assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]


def lost_before(company: Company, grid: Grid, blobs: Objects | Files, tmp_path: Path, how: str) -> None:
    lose, kind, told, remedy = LOST[how]
    content = os.urandom(MIB)
    (tmp_path / "big.bin").write_bytes(content)
    company.unplug("one")
    wait_until(lambda: not grid.device(company.device("one")).power.on_ac_power, "it is known to be unplugged")
    job = send(grid, tmp_path / "big.bin")
    lose(blobs, digest(content))
    company.plug_in("one")
    assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.FAILED
    (result,) = job.raw_results()
    assert (result.state, result.reason) == (TaskState.FAILED, kind.code)
    assert told in result.detail
    assert remedy in result.detail
    assert digest(content).hex()[:16] in result.detail


def lost_after(grid: Grid, blobs: Objects | Files, tmp_path: Path, how: str) -> None:
    lose, kind, told, remedy = LOST[how]
    job = grid.submit(large, 1, verify="none")
    (task,) = job.as_completed()
    (raw,) = job.raw_results()
    for name, read in (
        (raw.blob, lambda: job.decode(raw)),
        (raw.outputs[0].digest, lambda: job.save_outputs(task, tmp_path / how)),
    ):
        lose(blobs, name)
        with pytest.raises(CorpGridError, match=told) as lost:
            read()
        assert type(lost.value) is kind
        assert remedy in lost.value.remedy
    assert job.status().state is JobState.DONE
    assert not list((tmp_path / how).glob("*"))
