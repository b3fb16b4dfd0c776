"""The weaker sandbox: its command line, what it refuses, and, where firejail is, that its promises hold."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_firejail import PROMISED, FirejailSandbox, firejail_argv
from corpgrid.host.sandbox_python import runner_python
from corpgrid.ports.sandbox import SandboxExit, SandboxLimits, SandboxSpec
from tests.contracts.sandbox import Bench, is_silent
from tests.sandbox.probing import needs_root

LIMITS = SandboxLimits(memory_bytes=96 << 20, processes=8, work_bytes=1 << 20, work_files=100)
SPEC = SandboxSpec(argv=("sh", "run.sh"), work=Path("/srv/work"), limits=LIMITS)
FIREJAIL = Path("/usr/bin/firejail")


def _serves_this_user() -> bool:
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return os.geteuid() >= 1000 and name != "nobody" and shutil.which("firejail") is not None


live = pytest.mark.skipif(not _serves_this_user(), reason="firejail serves ordinary users, where it is installed")


def test_the_core_flags_stand_in_the_command_line() -> None:
    argv = firejail_argv(SPEC, FIREJAIL)
    assert {"--noprofile", "--net=none", "--private=/srv/work", "--caps.drop=all", "--nonewprivs"} <= set(argv)
    assert any(word.startswith("--seccomp") for word in argv)
    assert argv[-2:] == ["sh", "run.sh"]


def test_the_network_is_left_out_only_by_grant() -> None:
    assert "--net=none" not in firejail_argv(replace(SPEC, network=True), FIREJAIL)


def test_folders_are_shown_at_their_own_paths() -> None:
    argv = firejail_argv(replace(SPEC, read_only={Path("/srv/job"): "/srv/job"}), FIREJAIL)
    assert "--read-only=/srv/job" in argv
    with pytest.raises(SandboxError, match="cannot show"):
        firejail_argv(replace(SPEC, read_only={Path("/srv/job"): "/job"}), FIREJAIL)
    with pytest.raises(SandboxError, match="GPU"):
        firejail_argv(replace(SPEC, gpus=(0,)), FIREJAIL)


@needs_root
def test_root_is_refused() -> None:
    with pytest.raises(SandboxError, match="cannot drop root") as caught:
        FirejailSandbox(FIREJAIL)
    assert caught.value.remedy


def test_where_it_is_not_installed_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SandboxError, match="not installed"):
        FirejailSandbox()


@live
async def test_its_gates_hold() -> None:
    gates = await FirejailSandbox().self_test()
    assert {gate.name for gate in gates} == PROMISED
    assert [gate for gate in gates if not gate.passed] == []


@live
async def test_it_runs_freezes_and_ends(folder: Path) -> None:
    bench = Bench(FirejailSandbox(), (runner_python().path, "-I", "-S", "-c"), folder, LIMITS)
    assert (await bench.run("import sys; print('out'); sys.exit(7)"))[::2] == (b"out\n", SandboxExit(7, "exited"))
    process = await bench.start("import os, time\nwhile True: os.write(1, b'.'); time.sleep(0.002)")
    await process.read()
    process.freeze()
    assert await is_silent(process)
    process.thaw()
    assert await process.read()
    process.kill()
    assert await process.wait() == SandboxExit(-9, "killed")


@live
async def test_without_control_groups_memory_is_watched(folder: Path) -> None:
    bench = Bench(FirejailSandbox(), (runner_python().path, "-I", "-S", "-c"), folder, LIMITS)
    outcome = await bench.run("import time\nheld = []\nwhile True: held.append(bytearray(1 << 20)); time.sleep(0.001)")
    assert outcome.exit.reason == "memory_bytes"
