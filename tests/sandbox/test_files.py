"""1, 2: what of the host can be read and written."""

from __future__ import annotations

import os
from pathlib import Path

from tests.sandbox.probing import REFUSED, Prober, as_root, host_status, needs_root, without_flags

READ = """
paths = sys.argv[1:] + ['/etc/shadow', '/root/.ssh', '/home', '/var/lib', '/run', '/sys', '/boot', '/proc/1/root/etc']
for path in paths: attempt(path, lambda: os.stat(path) and None)
"""
WRITE = """
def write(path): open(path, 'ab').close()
for path in ['/new', '/usr/new', '/usr/bin/env', '/bin/sh', '/dev/new', '/job/new', '/job/code',
             '/proc/sys/kernel/hostname']:
    attempt(path, lambda: write(path))
attempt('chmod', lambda: os.chmod('/job/code', 0o777))
attempt('rename', lambda: os.rename('/job/code', '/job/other'))
attempt('utime', lambda: os.utime('/job/code'))
for path in ['/work/new', '/tmp/new', '/dev/shm/new']: attempt(path, lambda: write(path))
"""


def _keys(folder: Path) -> list[str]:
    """An agent's key and a user's, as they lie on a host."""
    keys = [folder / "agent.pem", folder / "home" / ".ssh" / "id_ed25519"]
    for key in keys:
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_text("secret")
        key.chmod(0o600)
    return [str(key) for key in keys]


async def test_no_file_of_the_host_is_seen(prober: Prober) -> None:
    found = await prober.probe(READ, *_keys(prober.folder), str(Path.home()))
    assert set(found.values()) == {"ENOENT"}


async def test_the_mounts_are_what_hides_them(prober: Prober, monkeypatch: object) -> None:
    keys = _keys(prober.folder)
    shown = ("--ro-bind", str(prober.folder), str(prober.folder))
    with without_flags(monkeypatch, "--remount-ro /", added=shown):  # type: ignore[arg-type]
        found = await prober.probe(READ, *keys)
    assert [found[key] for key in keys] == ["ok", "ok"]


@needs_root
async def test_the_job_user_cannot_read_what_is_roots(prober: Prober) -> None:
    bundle = prober.folder / "bundle"
    bundle.mkdir(mode=0o755)
    (bundle / "secret").touch(mode=0o600)
    source = "attempt('secret', lambda: open('/job/secret').close())"
    assert await prober.probe(source, read_only={bundle: "/job"}) == {"secret": "EACCES"}
    with as_root(prober):
        assert await prober.probe(source, read_only={bundle: "/job"}) == {"secret": "ok"}


@needs_root
async def test_the_job_user_is_who_runs_on_the_host(prober: Prober) -> None:
    process = await prober.start("import time; time.sleep(60)")
    status = host_status(process.pid)
    process.kill()
    await process.wait()
    assert prober.sandbox.user is not None
    uid, gid = prober.sandbox.user
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
    assert f"Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n" in status
    assert "Groups:\t \n" in status or "Groups:\t\n" in status


async def test_only_work_and_memory_are_written(prober: Prober) -> None:
    bundle = prober.folder / "bundle"
    bundle.mkdir(mode=0o777)
    bundle.chmod(0o777)
    (bundle / "code").write_text("code")
    (bundle / "code").chmod(0o666)
    found = await prober.probe(WRITE, read_only={bundle: "/job"})
    allowed = {path for path, outcome in found.items() if outcome == "ok"}
    assert allowed == {"/work/new", "/tmp/new", "/dev/shm/new"}
    assert {outcome for path, outcome in found.items() if path not in allowed} <= REFUSED
    assert (bundle / "code").read_text() == "code"
    assert os.listdir(bundle) == ["code"]  # noqa: PTH208 - names are compared, not paths


async def test_the_last_mounts_are_what_closes_the_root_and_the_devices(prober: Prober, monkeypatch: object) -> None:
    with without_flags(monkeypatch, "--remount-ro /dev", "--remount-ro /"):  # type: ignore[arg-type]
        found = await prober.probe(WRITE)
    assert (found["/new"], found["/dev/new"]) == ("ok", "ok")
