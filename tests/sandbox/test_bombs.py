"""19 to 22: forks, memory, disks, and programs that will not end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from corpgrid.host.sandbox_files import remove_tree
from tests.contracts.sandbox import is_silent
from tests.sandbox.probing import LIMITS, PRELUDE, Prober, without_filter

FORKS = """
import threading
children = []
def fork():
    while True:
        pid = os.fork()
        if pid == 0: time.sleep(60)
        children.append(pid)
attempt('forks', fork)
for child in children: os.kill(child, 9)
for child in children: os.waitpid(child, 0)
def threads():
    while True: threading.Thread(target=time.sleep, args=(0.2,)).start()
attempt('threads', threads)
def zombies():
    while True:
        if os.fork() == 0: os._exit(0)
attempt('zombies', zombies)
found['children'] = len(children)
"""
BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
CHAIN = """
import os, time
if os.fork(): time.sleep(60)
while True:
    if os.fork(): os._exit(0)
    os.write(1, b'.')
"""
MEMORY = {
    "heap": """
held = []
while True: held.append(bytearray(1 << 20))
""",
    "shared": """
import mmap
held = []
while True:
    held.append(mmap.mmap(-1, 8 << 20))
    held[-1].write(bytes(8 << 20))
""",
    "family": """
import os, time
for _ in range(8):
    if os.fork() == 0: break
held = bytearray(os.urandom(1 << 20)) * 40
time.sleep(60)
""",
    "locked": """
import ctypes, mmap
libc, held = ctypes.CDLL(None), []
while True:
    held.append(mmap.mmap(-1, 4 << 20))
    held[-1].write(bytes(4 << 20))
    libc.mlock(ctypes.addressof(ctypes.c_char.from_buffer(held[-1])), 4 << 20)
""",
}
FULL_FOLDER = """
def fill(path):
    with open(path, 'wb') as file:
        while True: file.write(bytes(1 << 20))
attempt('tmp', lambda: fill('/tmp/fill'))
attempt('shm', lambda: fill('/dev/shm/fill'))
attempt('sizes', lambda: [os.path.getsize(path) >> 20 for path in ('/tmp/fill', '/dev/shm/fill')])
"""
SPARSE = """
def sparse(path, size):
    with open(path, 'wb') as file: file.truncate(size)
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
attempt('terabyte', lambda: sparse('sparse', 1 << 40))
attempt('allocate', lambda: os.posix_fallocate(os.open('fallocated', os.O_CREAT | os.O_RDWR), 0, 1 << 40))
"""
DISK = {
    "files": ("work_bytes", "for n in range(100): open(str(n), 'wb').write(bytes(1 << 20))"),
    "nameless": (
        "work_bytes",
        """
held = []
for n in range(100):
    held.append(open('x', 'wb', buffering=0))
    os.unlink('x')
    held[-1].write(bytes(1 << 20))
""",
    ),
    "mapped": (
        "work_bytes",
        """
import mmap
held = []
for n in range(100):
    with open('x', 'w+b') as file:
        os.unlink('x')
        file.truncate(1 << 20)
        held.append(mmap.mmap(file.fileno(), 1 << 20))
    held[-1].write(bytes(1 << 20))
""",
    ),
    "hidden": (
        "work_bytes",
        """
os.mkdir('d')
for n in range(100): open(f'd/{n}', 'wb').write(bytes(1 << 20))
os.chmod('d', 0)
""",
    ),
    "inodes": ("work_files", "for n in range(1_000_000): open(str(n), 'wb')"),
    "folders": ("work_files", "for n in range(10_000): os.mkdir('d'); os.chdir('d')"),
    "links": ("work_files", "open('x', 'w')\nfor n in range(1_000_000): os.link('x', str(n))"),
}
STUBBORN = """
import os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: break
os.write(1, b'up')
while True: pass
"""


async def test_forks_threads_and_zombies_meet_the_limit(prober: Prober) -> None:
    found = await prober.probe(FORKS)
    assert (found["forks"], found["threads"], found["zombies"]) == ("EAGAIN", "RuntimeError", "EAGAIN")
    assert int(found["children"]) < LIMITS.processes  # type: ignore[call-overload]


@pytest.mark.parametrize("frozen_first", [False, True])
async def test_a_fork_bomb_is_stopped_and_ended(prober: Prober, frozen_first: bool) -> None:  # noqa: FBT001 - pytest passes it
    process = await prober.start(BOMB)
    await asyncio.sleep(0.1)
    if frozen_first:
        process.freeze()
    process.kill()
    async with asyncio.timeout(5):
        assert (await process.wait()).reason == "killed"


async def test_a_chain_of_forks_cannot_outrun_the_freeze(prober: Prober) -> None:
    process = await prober.start(CHAIN)
    await process.read()
    for _ in range(5):
        process.freeze()
        assert await is_silent(process)
        process.thaw()
    process.kill()
    assert (await process.wait()).reason == "killed"


@pytest.mark.parametrize("kind", MEMORY)
async def test_memory_bombs_are_ended(prober: Prober, kind: str) -> None:
    process = await prober.start(MEMORY[kind])
    async with asyncio.timeout(20):
        end = await process.wait()
        log = await process.read_log()
    assert end.reason == "memory_bytes" or b"MemoryError" in log, (end, log)


async def test_memory_without_a_file_is_counted_or_cannot_be_had(prober: Prober) -> None:
    source = "held = []\nwhile True:\n    held.append(os.memfd_create('x')); os.write(held[-1], bytes(1 << 20))"
    process = await prober.start(PRELUDE + f"attempt('memfd', lambda: exec({source!r}))")
    async with asyncio.timeout(20):
        out, end = await process.read(), await process.wait()
    assert end.reason == "memory_bytes" or b"ENOSYS" in out


async def test_folders_in_memory_have_a_size(prober: Prober) -> None:
    found = await prober.probe(FULL_FOLDER, limits=replace(LIMITS, work_bytes=64 << 20))
    assert (found["tmp"], found["shm"]) == ("ENOSPC", "ENOSPC")
    assert found["sizes"] == [16, 16]


async def test_no_sparse_file_is_longer_than_the_limit(prober: Prober) -> None:
    found = await prober.probe(SPARSE)
    assert (found["terabyte"], found["allocate"]) == ("EFBIG", "EFBIG")


@pytest.mark.parametrize("kind", DISK)
async def test_a_disk_bomb_is_ended_and_removed(prober: Prober, kind: str) -> None:
    reason, source = DISK[kind]
    process = await prober.start("import os, time\n" + source + "\ntime.sleep(60)")
    async with asyncio.timeout(30):
        end = await process.wait()
    remove_tree(prober.work)
    assert end.reason == reason
    assert not prober.work.exists()


async def test_a_tree_deeper_than_any_path_is_removed(prober: Prober) -> None:
    await prober.run("import os\nfor n in range(10_000): os.mkdir('d' * 100); os.chdir('d' * 100)")
    remove_tree(prober.work)
    assert not prober.work.exists()


async def test_removal_follows_no_link(prober: Prober) -> None:
    kept = prober.folder / "kept"
    kept.mkdir()
    (kept / "file").touch()
    await prober.run(
        f"import os\nos.symlink({str(kept)!r}, 'link')\nos.mkdir('closed')\nopen('closed/x', 'w')\n"
        "os.chmod('closed/x', 0)\nos.chmod('closed', 0)"
    )
    remove_tree(prober.work)
    assert not prober.work.exists()
    assert (kept / "file").exists()


async def test_who_ignores_every_signal_and_hides_in_the_background_is_ended(prober: Prober) -> None:
    process = await prober.start(STUBBORN)
    await process.read()
    process.kill()
    async with asyncio.timeout(5):
        assert (await process.wait()).reason == "killed"


async def test_without_the_filter_limits_hold_all_the_same(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(FORKS)
    assert found["forks"] == "EAGAIN"
