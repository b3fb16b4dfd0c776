"""23: a log is bytes; it may flood, and hold anything."""

from __future__ import annotations

import asyncio

from tests.sandbox.probing import Prober

NASTY = b"\0\x1b[2J\x1b]0;owned\x07\xff\xfe\x80\r\n" * 100


async def test_a_flood_waits_for_its_reader(prober: Prober) -> None:
    process = await prober.start("import os\nsent = 0\nwhile True: sent += os.write(2, bytes(4096)); os.write(1, b'.')")
    written = 0
    try:
        async with asyncio.timeout(0.5):
            while True:
                written += len(await process.read())
    except TimeoutError:
        pass
    assert written * 4096 <= 256 << 10  # a pipe's worth, whatever the time
    process.kill()
    await process.wait()


async def test_every_byte_comes_through_unread(prober: Prober) -> None:
    outcome = await prober.run(f"import os; os.write(2, {NASTY!r})")
    assert outcome.log == NASTY


async def test_the_log_can_be_opened_by_its_path(prober: Prober) -> None:
    outcome = await prober.run("open('/dev/stderr', 'w').write('by path')")
    assert outcome.log == b"by path"
