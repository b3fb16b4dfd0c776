"""24: what a work folder may hold, and what of it a walk from outside believes."""

from __future__ import annotations

import os
import stat

from corpgrid.host.sandbox_usage import work_usage
from tests.sandbox.probing import Prober

CONTENTS = """
open('plain', 'wb').write(bytes(1000))
os.symlink('/etc/shadow', 'link')
os.symlink(sys.argv[1], 'linked folder')
os.mkfifo('fifo')
socket.socket(socket.AF_UNIX).bind('socket')
attempt('device', lambda: os.mknod('device', 0o600 | 0o020000, os.makedev(1, 3)))
attempt('disk', lambda: os.mknod('disk', 0o600 | 0o060000, os.makedev(8, 0)))
attempt('hard link to the bundle', lambda: os.link('/job/code', 'hard'))
attempt('hard link to a program', lambda: os.link('/usr/bin/env', 'hard'))
"""
SWAP = """
import os
os.mkdir('a')
while True:
    try: os.rename('a', 'b'); os.symlink('/', 'a'); os.unlink('a'); os.rename('b', 'a')
    except OSError: pass
"""


async def test_no_device_and_no_link_into_the_host(prober: Prober) -> None:
    bundle = prober.folder / "bundle"
    bundle.mkdir(mode=0o755)
    (bundle / "code").touch(mode=0o644)
    found = await prober.probe(CONTENTS, str(prober.folder), read_only={bundle: "/job"})
    assert set(found.values()) <= {"EPERM", "EXDEV", "EACCES"}
    kinds = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in prober.work.iterdir()}
    assert stat.S_IFCHR not in kinds.values()
    assert stat.S_IFBLK not in kinds.values()


async def test_a_walk_follows_no_link(prober: Prober) -> None:
    (prober.folder / "large").write_bytes(bytes(1 << 20))
    await prober.probe(CONTENTS, str(prober.folder))
    usage = work_usage(prober.work, files_max=100)
    assert usage.files == len(os.listdir(prober.work))  # noqa: PTH208 - names are compared, not paths
    assert usage.size_bytes < 100_000


async def test_a_folder_swapped_for_a_link_leads_nowhere(prober: Prober) -> None:
    process = await prober.start(SWAP)
    try:
        for _ in range(300):
            assert work_usage(prober.work, files_max=1000).files <= 3
    finally:
        process.kill()
        await process.wait()


async def test_a_result_with_the_setuid_bit_is_the_job_users(prober: Prober) -> None:
    await prober.run("import os; open('x', 'w'); os.chmod('x', 0o4755)")
    owner = prober.sandbox.user.uid if prober.sandbox.user else os.geteuid()
    assert [path.stat().st_uid for path in prober.work.iterdir()] == [owner]
