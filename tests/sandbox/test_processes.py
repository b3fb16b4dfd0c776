"""7 to 9: other processes cannot be traced, signalled or looked into."""

from __future__ import annotations

import os

import pytest

from corpgrid.errors import SandboxError
from corpgrid.host import sandbox_held
from tests.sandbox.probing import Prober, needs_x86_64, without_filter, without_flags

TRACE = """
agent = int(sys.argv[1])
PTRACE_TRACEME, PTRACE_ATTACH, GET_FD = 0, 16, 438
child = os.fork()
if child == 0: time.sleep(60)
def trace_me():  # in a process of its own: a traced one would stop at the next signal
    pid = os.fork()
    if pid == 0: os._exit(0 if libc.ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 else ctypes.get_errno())
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number: raise OSError(number, 'refused')
attempt('trace me', trace_me)
call('attach to a child', 101, PTRACE_ATTACH, child, 0, 0)
call('attach to the agent', 101, PTRACE_ATTACH, agent, 0, 0)
word = ctypes.create_string_buffer(8)
class Vector(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
here, there = Vector(ctypes.addressof(word), 8), Vector(ctypes.addressof(word), 8)
call('read a child', 310, child, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
call('write a child', 311, child, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
own = os.pidfd_open(child)
call('take a descriptor of a child', GET_FD, own, 0, 0)
call('compare', 312, child, os.getpid(), 0, 0, 0)
os.kill(child, 9)
"""
SIGNALS = """
agent, group = int(sys.argv[1]), int(sys.argv[2])
attempt('agent', lambda: os.kill(agent, 0))
attempt('agent group', lambda: os.killpg(group, 0))
attempt('first', lambda: os.kill(1, signal.SIGKILL))
attempt('first by stop', lambda: os.kill(1, signal.SIGSTOP))
attempt('parent', lambda: os.kill(os.getppid(), signal.SIGTERM))
attempt('everyone', lambda: os.kill(-1, signal.SIGTERM))
attempt('seen', lambda: sorted(name for name in os.listdir('/proc') if name.isdigit()))
"""
PROC = """
def put(path, text):
    with open(path, 'w') as file: file.write(text)
agent = sys.argv[1]
attempt('agent', lambda: os.listdir('/proc/' + agent))
attempt('root of the first', lambda: sorted(os.listdir('/proc/1/root')))
attempt('sysrq', lambda: put('/proc/sysrq-trigger', 'h'))
attempt('core pattern', lambda: put('/proc/sys/kernel/core_pattern', '|/work/x'))
attempt('modprobe', lambda: put('/proc/sys/kernel/modprobe', '/work/x'))
attempt('kcore', lambda: open('/proc/kcore', 'rb').read(1))
attempt('kmsg', lambda: open('/proc/kmsg', 'rb').read(1))
attempt('keys', lambda: len(open('/proc/keys').readlines()))
attempt('uid map', lambda: put('/proc/self/uid_map', '0 0 1'))
attempt('oom score', lambda: put('/proc/self/oom_score_adj', '-1000'))
"""


@needs_x86_64
async def test_no_process_can_be_traced_or_read(prober: Prober) -> None:
    found = await prober.probe(TRACE, str(os.getpid()))
    assert set(found.values()) == {"EPERM"}


@needs_x86_64
async def test_the_filter_is_what_refuses_it(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(TRACE, str(os.getpid()))
    assert found["trace me"] == "ok"
    assert found["attach to a child"] == "ok"
    assert found["attach to the agent"] == "ESRCH"


async def test_signals_stay_inside(prober: Prober) -> None:
    found = await prober.probe(SIGNALS, str(os.getpid()), str(os.getpgid(0)))
    assert (found["agent"], found["agent group"]) == ("ESRCH", "ESRCH")
    # The kernel drops what its own processes send to the first one: it stays, and so does the sandbox.
    assert found["seen"] == ["1", "2"]
    assert os.getpgid(0)


async def test_a_sandbox_that_saw_the_hosts_processes_would_not_start(
    prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_held, "SETUP_SECONDS", 0.3)
    with without_flags(monkeypatch, added=("--ro-bind", "/proc", "/proc")), pytest.raises(SandboxError):
        await prober.start("pass")


async def test_proc_shows_and_takes_nothing_of_the_host(prober: Prober) -> None:
    found = await prober.probe(PROC, str(os.getpid()))
    assert found.pop("agent") == "ENOENT"
    assert "etc" not in found.pop("root of the first")  # type: ignore[operator]
    assert found.pop("keys") in {0, "ENOENT"}
    assert set(found.values()) <= {"EPERM", "EACCES", "EROFS", "ENOENT"}
