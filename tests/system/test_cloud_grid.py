"""A whole grid over an object store: large bytes go between it and those who need them, past the scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psutil
import pytest

from corpgrid.domain.job import VerifyMode, VerifyPolicy
from corpgrid.trust.digest import digest
from tests.contracts.s3 import S3Server, credentials
from tests.system.company import SCHEDULER, Company, open_folder

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

MIB = 1 << 20
INPUT_BYTES = 64 * MIB
PASSING_BYTES = 144 * MIB
MOST_BYTES = 140 * MIB
"""Some windows and parts at a time, in both directions, and what the allocator keeps of them: 111 MiB for 256."""


class CloudCompany(Company):
    """Only its scheduler holds credentials."""

    def __init__(self, folder: Path, s3: S3Server, *, environment: dict[str, str] | None = None) -> None:
        super().__init__(folder, scheduler={"blobs": s3.new_bucket()})
        self._s3 = s3
        self._environment = environment or {}

    def start(self, name: str) -> None:
        if name != SCHEDULER:
            with mock.patch.dict(os.environ, self._environment):
                super().start(name)
            return
        with credentials(self._s3):
            super().start(name)

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(self._processes[name].pid)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def turn_around(_item: int) -> int:
    content = Path("/in/big.bin").read_bytes()
    Path("out.bin").write_bytes(content[: len(content) // 2][::-1])
    return len(content)


def test_large_bytes_do_not_pass_through_the_scheduler(folder: Path, s3: S3Server, tmp_path: Path) -> None:
    content = os.urandom(INPUT_BYTES)
    (tmp_path / "big.bin").write_bytes(content)
    with CloudCompany(folder, s3) as company:
        scheduler, agent = company.process(SCHEDULER), company.process("one")
        assert scheduler.environ()["AWS_SECRET_ACCESS_KEY"] == s3.secret_key
        assert s3.secret_key not in agent.environ().values()
        before = scheduler.memory_info().rss
        with company.connect() as grid:
            job = grid.submit(
                turn_around, 1, inputs={"big.bin": tmp_path / "big.bin"}, verify=VerifyPolicy(mode=VerifyMode.NONE)
            )
            assert job.result() == INPUT_BYTES
            (done,) = job.as_completed()
            (saved,) = job.save_outputs(done, tmp_path / "out")
            assert digest(saved.read_bytes()) == digest(content[: INPUT_BYTES // 2][::-1])
            counters = grid.info().counters
        peak = peak_bytes(scheduler)
        log = company.log(SCHEDULER) + company.log("one")
    assert counters["blobs_located"] >= 3
    assert counters["blob_bytes_in"] + counters["blob_bytes_out"] < MIB
    assert peak - before < 24 * MIB
    assert "X-Amz-Signature" not in log


def test_where_devices_cannot_reach_the_store_the_bytes_pass_through_the_scheduler(
    folder: Path, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(PASSING_BYTES)
    (tmp_path / "big.bin").write_bytes(content)
    firewall = {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}
    with CloudCompany(folder, s3, environment=firewall) as company, company.connect() as grid:
        scheduler = company.process(SCHEDULER)
        before = scheduler.memory_info().rss
        for name, value in firewall.items():
            monkeypatch.setenv(name, value)
        job = grid.submit(
            turn_around, 1, inputs={"big.bin": tmp_path / "big.bin"}, verify=VerifyPolicy(mode=VerifyMode.NONE)
        )
        (done,) = job.as_completed()
        (saved,) = job.save_outputs(done, tmp_path / "out")
        assert saved.read_bytes() == content[: PASSING_BYTES // 2][::-1]
        counters = grid.info().counters
        peak = peak_bytes(scheduler)
    assert counters["blob_bytes_in"] >= PASSING_BYTES + PASSING_BYTES // 2
    assert counters["blob_bytes_out"] >= PASSING_BYTES + PASSING_BYTES // 2
    assert peak - before < MOST_BYTES


@pytest.mark.parametrize("wrong", ["bucket", "endpoint", "option"])
def test_a_scheduler_that_cannot_use_its_blobs_says_why_and_ends(folder: Path, s3: S3Server, wrong: str) -> None:
    url, told, remedy = {
        "bucket": (f"s3://nowhere?endpoint={s3.endpoint}&allow_http=true", "does not exist", "Create the bucket"),
        "endpoint": ("s3://grid?endpoint=http://127.0.0.1:1&allow_http=true", "does not answer", "machine reaches it"),
        "option": ("s3://grid?verify=no", "verify", "endpoint, region"),
    }[wrong]
    settings = {"scheduler.blobs": url, "scheduler.folder": folder, "scheduler.listen": f"unix:{folder}/run/grid.sock"}
    with credentials(s3):
        done = subprocess.run(
            [sys.executable, "-m", "corpgrid", "scheduler", "run", *(f"--set={k}={v}" for k, v in settings.items())],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode not in {0, 70}
    assert told in done.stderr
    assert remedy in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def peak_bytes(process: psutil.Process) -> int:
    """The most memory that it ever held."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
