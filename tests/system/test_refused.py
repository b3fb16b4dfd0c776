"""What is not let in: by the scheduler, by a device, by a disk.  The reason is named, and nothing hangs."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from corpgrid.domain.ids import Digest
from corpgrid.domain.job import JobSpec, JobState, TaskState
from corpgrid.errors import SignatureError, UntrustedKeyError
from corpgrid.sdk.client import connect
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import make_pages, sign_job
from corpgrid.trust.keys import PrivateKey
from tests.system.company import PATIENCE_SECONDS, Company, open_folder, wait_until
from tests.system.jobs import leave_files, slow_square

pytestmark = [pytest.mark.system, pytest.mark.sandbox]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def test_jobs_that_nobody_trusted_signed_are_refused(folder: Path):
    with Company(folder, computers={}) as company:
        with company.connect() as grid:
            pages, page_list, arguments = make_pages([b"d\x01"], 1)
            bundle = b"no bundle"
            spec = JobSpec(
                name="forged",
                bundle=digest(bundle),
                arguments=arguments,
                not_after=time.time() + 60,  # noqa: TID251 - as a submitter's clock
                nonce=secrets.token_hex(8),
            )
            envelope = bytearray(sign_job(spec, company.submitter))
            place = envelope.index(b'"sig"') + 12
            envelope[place] ^= 1
            with pytest.raises(SignatureError):
                grid.call(grid.api.submit_job(bytes(envelope), blobs=[*pages, page_list, bundle]))
        with connect(company.address, key=PrivateKey.generate()) as stranger:
            with pytest.raises(UntrustedKeyError) as refused:
                stranger.map(slow_square, range(3))
            assert refused.value.remedy
            assert stranger.jobs() == []


def test_a_device_that_does_not_trust_the_submitter_says_so_and_the_job_ends(folder: Path):
    wary = {"trusted_keys": folder / "nobody"}
    with Company(folder, computers={"one": wary, "two": wary}) as company, company.connect() as grid:
        job = grid.map(slow_square, range(3), verify="none")
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.FAILED
        for result in job.raw_results():
            assert (result.state, result.reason) == (TaskState.FAILED, "untrusted_key")
            assert "trusted_keys" in result.detail
        assert any("no such key is trusted here" in company.log(name) for name in company.computers)


def test_one_wary_device_does_not_hold_up_a_job(folder: Path):
    computers = {"wary": {"trusted_keys": folder / "nobody"}, "two": {}}
    with Company(folder, computers=computers) as company, company.connect() as grid:
        job = grid.map(slow_square, range(20), verify="none")
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
        assert list(job) == [x * x for x in range(20)]


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own; skips the test where none can be mounted."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0711", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def test_a_full_disk_is_named_and_others_do_the_work(folder: Path):
    with small_disk(folder / "full", 96 << 20) as disk:
        computers = {"full": {"spare_runners": 0}, "two": {}}
        with Company(folder, computers=computers) as company, company.connect() as grid:
            fill(disk / "filling")
            job = grid.map(slow_square, range(20), verify="none")
            assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
            assert list(job) == [x * x for x in range(20)]
            company.unplug("two")
            wait_until(lambda: not company.runners("two"), "two is out")
            alone = grid.map(slow_square, [1], verify="none")
            assert alone.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.FAILED
            for result in alone.raw_results():
                assert result.reason == "store"
                assert "No space left" in result.detail
                assert "Make room" in result.detail
            assert "No space left" in company.log("full")
            (disk / "filling").unlink()
            again = grid.map(slow_square, range(5), verify="none")
            assert again.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE


def test_a_disk_that_runs_full_under_a_task_fails_that_task_alone(folder: Path):
    with small_disk(folder / "full", 96 << 20):
        computers = {"full": {"spare_runners": 0}}
        with Company(folder, computers=computers) as company, company.connect() as grid:
            job = grid.map(leave_files, [1, 60, 2], verify="none")
            assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.FAILED
            first, large, last = sorted(job.raw_results(), key=lambda result: result.index)
            assert (first.state, last.state) == (TaskState.FINAL, TaskState.FINAL)
            assert "No space left" in large.detail
            assert not Digest(large.blob)
