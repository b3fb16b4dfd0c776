"""35: an agent that is killed leaves nothing running, whatever its jobs did to stay."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from corpgrid.host.cgroup_detect import find_cgroups
from corpgrid.host.cgroup_mounts import own_groups
from corpgrid.host.sandbox_orphans import end_orphans
from tests.sandbox.probing import Prober, host_status, needs_x86_64

ORPHAN_SECONDS = 5.0

DAEMON = """
import os, signal, time
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: break
        os._exit(0)
os.write(1, b'up')
while True: time.sleep(60)
"""
UNTIE = """
import os, time
# Code for the sandbox's first process: prctl(PR_SET_PDEATHSIG, 0), then wait for ever.
code = bytes.fromhex('b89d000000bf0100000031f60f05b8220000000f05ebf7')
while (state := open('/proc/1/syscall').read().split())[0] != '61': time.sleep(0.001)  # until it waits
at = int(state[-1], 16)
with open('/proc/1/mem', 'r+b', buffering=0) as memory:
    memory.seek(at)
    memory.write(code)
# It runs once the first process's wait returns: for a child that is left to it.
if os.fork() == 0:
    if os.fork() == 0: time.sleep(0.05)
    os._exit(0)
time.sleep(0.3)
os.write(1, b'up')
while True: time.sleep(60)
"""


@contextmanager
def _agent(prober: Prober, source: str, number: int = 2, **settings: object) -> Iterator[subprocess.Popen[str]]:
    folder = Path(tempfile.mkdtemp(dir=prober.folder))
    folder.chmod(0o755)
    asked = {"folder": str(folder), "python": prober.python, "source": source, "number": number, **settings}
    agent = subprocess.Popen(
        [sys.executable, "-m", "tests.sandbox.agent_stand_in", json.dumps(asked)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert agent.stdout is not None
    try:
        assert agent.stdout.readline() == "starting\n"
        yield agent
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _alive(pids: list[int]) -> list[int]:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", maxsplit=1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    return [pid for pid in pids if runs(pid)]


def _gone(pids: list[int], seconds: float = ORPHAN_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while _alive(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not _alive(pids)


def _of_folder(folder: Path) -> list[int]:
    """Sandboxes whose work folder lies below ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--json-status-fd" in words and any(word.startswith(bytes(folder)) for word in words):
            found.append(int(path.parts[2]))
    return _alive(found)


def _kill_and_look(agent: subprocess.Popen[str]) -> list[int]:
    """Kill a working agent; every process that its sandboxes had."""
    assert agent.stdout is not None
    family = _alive([pid for outer in json.loads(agent.stdout.readline()) for pid in _family(outer)])
    assert len(family) >= 3
    agent.kill()
    agent.wait()
    return family


@pytest.mark.parametrize("how", ["running", "frozen", "thread"])
def test_nothing_survives_the_agent(prober: Prober, how: str) -> None:
    with _agent(prober, DAEMON, freeze=how == "frozen", thread=how == "thread") as agent:
        assert _gone(_kill_and_look(agent))


@needs_x86_64
def test_a_job_cannot_untie_itself(prober: Prober) -> None:
    with _agent(prober, UNTIE, 1) as agent:
        assert _gone(_kill_and_look(agent))


@needs_x86_64
def test_the_filter_is_what_keeps_it_tied(prober: Prober) -> None:
    with _agent(prober, UNTIE, 1, layer="filter", unknown=True) as agent:
        family = _kill_and_look(agent)
        assert not _gone(family, seconds=0.5)
        for pid in _alive(family):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert _gone(family)


def test_dying_with_the_parent_is_what_ends_them(prober: Prober) -> None:
    with _agent(prober, DAEMON, 1, layer="die-with-parent", unknown=True) as agent:
        family = _kill_and_look(agent)
        assert not _gone(family, seconds=0.5)
        for pid in _alive(family):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert _gone(family)


def test_an_agent_killed_while_it_starts_sandboxes_leaves_none_that_ran(prober: Prober) -> None:
    rng = random.Random(35)
    for _ in range(12):
        with _agent(prober, "import time; time.sleep(60)", 10) as agent:
            time.sleep(rng.uniform(0, 0.06))
            agent.kill()
            agent.wait()
        time.sleep(0.02)  # for one that was just being started to become what it is
        _gone(_of_folder(prober.folder), seconds=1.0)
        # One whose first half was tied to the agent already waits for ever: it ran nothing, and the next agent ends it.
        assert not [pid for pid in _of_folder(prober.folder) if "Seccomp:\t2\n" in host_status(pid)]
        end_orphans()
        assert _gone(_of_folder(prober.folder))


def test_only_sandboxes_of_agents_that_are_gone_are_ended(prober: Prober) -> None:
    with _agent(prober, DAEMON) as agent:
        assert agent.stdout is not None
        family = [pid for outer in json.loads(agent.stdout.readline()) for pid in _family(outer)]
        end_orphans()
        assert _alive(family)
    with _agent(prober, DAEMON, layer="die-with-parent") as agent:
        family = _kill_and_look(agent)
        assert _alive(family)
        end_orphans()
        assert _gone(family)


@pytest.mark.skipif(find_cgroups() is None, reason="no control group can be written here")
def test_the_next_agent_removes_the_groups_that_were_left(prober: Prober) -> None:
    groups = find_cgroups()
    assert groups is not None
    with _agent(prober, DAEMON) as agent:
        own = own_groups(Path("/proc/self/mountinfo").read_text(), Path(f"/proc/{agent.pid}/cgroup").read_text())
        family = _kill_and_look(agent)
    assert _gone(family)
    groups.sweep()
    assert not [left for folder in own.values() for left in folder.glob(f"corpgrid.{agent.pid}.*")]
