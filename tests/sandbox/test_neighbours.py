"""32: one job sees nothing of another's, neither beside it nor after it."""

from __future__ import annotations

from tests.sandbox.probing import PRELUDE, Prober, needs_x86_64, without_flags

LEAVE = """
open('/work/mine', 'w').close(); open('/tmp/mine', 'w').close(); open('/dev/shm/mine', 'w').close()
call('segment', 29, 4242, 4096, 0o1666)
call('semaphore', 64, 4242, 1, 0o1666)
call('queue', 68, 4242, 0o1666)
call('posix queue', 240, b'mine', 0o102, 0o666, 0)
"""
LOOK = """
found['files'] = [path for path in ('/work/mine', '/tmp/mine', '/dev/shm/mine') if os.path.exists(path)]
call('segment', 29, 4242, 4096, 0)
call('semaphore', 64, 4242, 1, 0)
call('queue', 68, 4242, 0)
call('posix queue', 240, b'mine', 2, 0, 0)
found['processes'] = len([name for name in os.listdir('/proc') if name.isdigit()])
"""
SWEEP = """
libc.syscall(31, libc.syscall(29, 4242, 0, 0), 0, 0)
libc.syscall(66, libc.syscall(64, 4242, 0, 0), 0, 0)
libc.syscall(71, libc.syscall(68, 4242, 0), 0, 0)
libc.syscall(241, b'mine')
"""
KEPT = ("segment", "semaphore", "queue", "posix queue")


@needs_x86_64
async def test_nothing_is_seen_beside_or_after(prober: Prober) -> None:
    process = await prober.start(PRELUDE + LEAVE + "report()\ntime.sleep(60)")
    assert b'"queue": "ok"' in await process.read()
    beside = await prober.probe(LOOK)
    process.kill()
    await process.wait()
    after = await prober.probe(LOOK)
    for found in (beside, after):
        assert found["files"] == []
        assert found["processes"] == 2
        assert {found[name] for name in KEPT} <= {"ENOENT", "ENOSYS"}


@needs_x86_64
async def test_the_ipc_namespace_is_what_parts_them(prober: Prober, monkeypatch: object) -> None:
    spaces = ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup")
    with without_flags(monkeypatch, "--unshare-all", added=spaces):  # type: ignore[arg-type]
        await prober.probe(LEAVE)
        found = await prober.probe(LOOK)
        await prober.run(PRELUDE + SWEEP)
    assert found["queue"] == "ok"
