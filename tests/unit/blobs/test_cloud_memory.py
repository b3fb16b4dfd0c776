"""A large blob is never all in memory: measured in a process of its own, because most of it is not Python's memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.contracts.s3 import S3Server

BLOB_MIB = 128
BOUND_MIB = 96
"""Twelve parts: what is made, sent, received and checked at one moment, and what the allocator keeps of it."""
PROGRAM = """
import asyncio, sys
from pathlib import Path
from corpgrid.blobs import cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.trust.digest import Hasher

MIB = 1 << 20

def kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

async def chunks(count):
    for number in range(count):
        yield number.to_bytes(4, "big") * (MIB // 4)

async def main(url, spool):
    blobs = await CloudBlobs.at(cloud_url.parse(url), Path(spool))
    await blobs.get(await blobs.put(b"warm"))
    hasher = Hasher()
    async for chunk in chunks(SIZE):
        hasher.update(chunk)
    name, before = hasher.digest(), kib("VmRSS")
    assert await blobs.put_stream(chunks(SIZE)) == name
    await blobs.fetch(name, Path(spool) / "target")
    print((kib("VmHWM") - before) // 1024)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.linux
def test_a_large_blob_takes_little_memory(s3: S3Server, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("SIZE", str(BLOB_MIB)), s3.new_bucket(), str(tmp_path)],
        env={**os.environ, **s3.environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) < BOUND_MIB
