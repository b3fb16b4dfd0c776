"""16, 36: what a job can do to the control pipe from its end."""

from __future__ import annotations

import asyncio

import pytest

from corpgrid.errors import RunnerError
from tests.sandbox.probing import Prober

FORGE = """
import os, time
pid = os.fork()
# Every process of the sandbox may write to the control pipe, and open it again by its path.
with open('/proc/1/fd/1', 'wb', buffering=0) as other: other.write(b'forged')
if pid == 0: os._exit(0)
os.waitpid(pid, 0)
"""


async def test_what_is_forged_on_the_pipe_is_bytes_and_no_more(prober: Prober) -> None:
    outcome = await prober.run(FORGE)
    assert outcome.out == b"forgedforged"


async def test_an_endless_answer_is_taken_in_pieces(prober: Prober) -> None:
    process = await prober.start("import os\nwhile True: os.write(1, b'\\xff' * (1 << 20))")
    for _ in range(64):
        assert len(await process.read()) <= 1 << 20
    process.kill()
    await process.wait()


async def test_a_job_that_never_reads_blocks_its_writer_and_no_one_else(prober: Prober) -> None:
    deaf = await prober.start("import time; time.sleep(60)")
    writing = asyncio.create_task(deaf.write(bytes(8 << 20)))
    assert (await prober.run("print('fine')")).out == b"fine\n"
    assert not writing.done()
    deaf.kill()
    await deaf.wait()
    with pytest.raises(RunnerError):
        await writing


async def test_closing_the_pipes_ends_reading_not_the_job(prober: Prober) -> None:
    process = await prober.start("import os, time\nfor n in (0, 1, 2): os.close(n)\ntime.sleep(60)")
    # The sandbox's first process keeps the pipes: an end is the sandbox's end.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await process.read()
    process.kill()
    assert await process.read() == b""
    assert (await process.wait()).reason == "killed"


async def test_a_reader_that_gives_up_loses_nothing(prober: Prober) -> None:
    process = await prober.start("import os, time\ntime.sleep(0.3)\nos.write(1, b'late')")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await process.read()
    assert await process.read() == b"late"
    await process.wait()
