"""16 to 18: nothing of the agent's comes along, and no program gains anything."""

from __future__ import annotations

import os

import pytest

from tests.sandbox.probing import Prober, without_flags

DESCRIPTORS = """
def is_open(number):
    try: os.fstat(number)
    except OSError: return False
    return True
found['open'] = [number for number in range(3, 4096) if is_open(number)]
found['first'] = sorted(os.listdir('/proc/1/fd'))
found['kinds'] = [os.readlink(f'/proc/self/fd/{number}').split(':')[0] for number in range(3)]
"""
ENVIRONMENT = """
found['own'] = sorted(os.environ)
found['others'] = [open(f'/proc/{pid}/environ').read() for pid in ('1', 'self')]
found['host'] = os.uname().nodename
"""
PRIVILEGES = """
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines() if ':' in line)
for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'):
    found[name] = status[name].strip()
import subprocess
programs = [path for path in ('/usr/bin/su', '/usr/bin/passwd', '/usr/bin/mount') if os.path.exists(path)]
setuid = [path for path in programs if os.stat(path).st_mode & 0o4000]
if setuid:
    child = subprocess.Popen([setuid[0]], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    found['effective'] = open(f'/proc/{child.pid}/status').read().split('Uid:')[1].split()[1]
    child.kill(); child.wait()
attempt('become root', lambda: os.setuid(0))
attempt('change group', lambda: os.setgid(0))
attempt('groups', lambda: os.setgroups([0]))
attempt('give away', lambda: (open('/work/mine', 'w').close(), os.chown('/work/mine', 0, 0)) and None)
attempt('setuid bit', lambda: os.chmod('/work/mine', 0o4755))
"""


async def test_no_descriptor_is_inherited(prober: Prober) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    os.set_inheritable(writing, True)
    try:
        found = await prober.probe(DESCRIPTORS)
    finally:
        os.close(reading)
        os.close(writing)
    assert found["open"] == []
    assert set(found["first"]) >= {"0", "1", "2"}  # type: ignore[call-overload]
    assert found["kinds"] == ["pipe", "pipe", "pipe"]


async def test_no_variable_of_the_agent_is_seen(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPGRID_TEST_SECRET", "hunter2")
    found = await prober.probe(ENVIRONMENT, env={"GIVEN": "1"})
    assert set(found["own"]) == {"GIVEN", "PWD", "LC_CTYPE"}  # type: ignore[call-overload]
    assert "hunter2" not in str(found)
    assert found["host"] == "job"


async def test_no_privilege_is_held_or_gained(prober: Prober) -> None:
    found = await prober.probe(PRIVILEGES)
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert found.get("effective", "65534") == "65534"
    assert {found[name] for name in ("become root", "change group", "groups", "give away")} <= {"EPERM", "EINVAL"}


async def test_capabilities_are_there_without_the_layer(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_flags(monkeypatch, "--cap-drop ALL", added=("--cap-add", "ALL")):
        found = await prober.probe(PRIVILEGES)
    assert found["CapEff"] != "0" * 16
