"""12 to 15, 38, 40: calls that only the filter refuses, other architectures, the clock and priorities."""

from __future__ import annotations

import pytest

from corpgrid.host.seccomp import NEWEST_CALL
from corpgrid.ports.sandbox import SandboxExit
from tests.sandbox.probing import Prober, needs_x86_64, without_filter

CALLS = """
call('keyctl', 250, 0, -3, 0)
call('add_key', 248, b'user', b'name', b'x', 1, -2)
call('request_key', 249, b'user', b'name', 0, -2)
call('io_uring_setup', 425, 1, ctypes.create_string_buffer(120))
call('io_uring_enter', 426, 0, 0, 0, 0, 0)
call('io_uring_register', 427, 0, 0, 0, 0)
call('bpf', 321, 0, ctypes.create_string_buffer(128), 128)
call('perf_event_open', 298, ctypes.create_string_buffer(128), 0, -1, -1, 0)
call('userfaultfd', 323, 1)
call('open_by_handle_at', 304, -100, ctypes.create_string_buffer(128), 0)
call('init_module', 175, 0, 0, b'')
call('finit_module', 313, 0, b'', 0)
call('delete_module', 176, b'x', 0)
call('kexec_load', 246, 0, 0, 0, 0)
call('kexec_file_load', 320, 0, 0, 0, 0, 0)
call('personality', 135, 0xffffffff)
call('reboot', 169, 0, 0, 0, 0)
call('swapon', 167, b'/work/x', 0)
call('syslog', 103, 10, 0, 0)
call('quotactl', 179, 0, 0, 0, 0)
call('acct', 163, 0)
call('modify_ldt', 154, 0, 0, 0)
call('iopl', 172, 3)
call('vhangup', 153)
call('memfd_secret', 447, 0)
call('clock_settime', 227, 0, ctypes.create_string_buffer(16))
call('settimeofday', 164, ctypes.create_string_buffer(16), 0)
call('sethostname', 170, b'x', 1)
"""
ABSENT = {"io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_secret"}
TERMINAL = """
main, other = os.openpty()
key = ctypes.create_string_buffer(b'x')
for name, request in {'TIOCSTI': 0x5412, 'TIOCLINUX': 0x541c}.items():
    call(name, 16, other, request, key)
    call(name + ' with a high bit', 16, other, request | 1 << 32, key)
attempt('an ordinary ioctl', lambda: os.get_terminal_size(other) and None)
"""
PRIORITIES = """
attempt('nice', lambda: os.nice(-5))
attempt('realtime', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
call('ioprio realtime', 251, 1, 0, 1 << 13)
attempt('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
import resource
attempt('more descriptors', lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)))
attempt('core files', lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)))
"""
OTHER_ARCHITECTURE = """
import mmap
code = bytes.fromhex('b814000000cd80c3')  # getpid of i386 by int 0x80
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
os.write(1, b'%d' % ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""
OTHERS = """
call('x32 getpid', 0x40000000 + 39)
call('a number of tomorrow', int(sys.argv[1]))
call('minus one', -1)
call('forget the agent', 157, 1, 0, 0, 0, 0)
word = ctypes.c_int(-1)
libc.prctl(2, ctypes.byref(word))
found['wish'] = word.value
"""


@needs_x86_64
async def test_dangerous_calls_are_refused(prober: Prober) -> None:
    found = await prober.probe(CALLS)
    assert {name for name, outcome in found.items() if outcome == "ENOSYS"} == ABSENT
    assert {outcome for name, outcome in found.items() if name not in ABSENT} == {"EPERM"}


@needs_x86_64
async def test_the_filter_is_what_refuses_them(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(CALLS)
    assert {"keyctl", "add_key", "io_uring_setup", "personality", "modify_ldt"} <= {
        name for name, outcome in found.items() if outcome == "ok"
    }


@needs_x86_64
async def test_a_terminal_takes_no_forged_keys(prober: Prober) -> None:
    found = await prober.probe(TERMINAL)
    assert found.pop("an ordinary ioctl") == "ok"
    assert set(found.values()) == {"EPERM"}


@needs_x86_64
async def test_the_filter_is_what_refuses_forged_keys(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(TERMINAL)
    assert "EPERM" not in {found["TIOCLINUX"], found["TIOCLINUX with a high bit"]}


@needs_x86_64
async def test_clock_priorities_and_limits_are_not_raised(prober: Prober) -> None:
    found = await prober.probe(PRIORITIES)
    refused = {"EPERM", "EACCES", "ValueError"}
    assert {
        found[name] for name in ("realtime", "ioprio realtime", "clock", "more descriptors", "core files")
    } <= refused
    assert found["nice"] in refused | {0}


@needs_x86_64
async def test_another_architectures_calls_end_the_process(prober: Prober) -> None:
    outcome = await prober.run("import ctypes, os\n" + OTHER_ARCHITECTURE)
    assert outcome.out == b""
    assert outcome.exit == SandboxExit(-31, "signal")


@needs_x86_64
async def test_x32_new_calls_and_untying_from_the_agent_do_nothing(prober: Prober) -> None:
    found = await prober.probe(OTHERS, str(NEWEST_CALL + 1))
    assert found["x32 getpid"] == found["a number of tomorrow"] == found["minus one"] == "ENOSYS"
    assert found["forget the agent"] == "ok"
    assert found["wish"] == 9


@needs_x86_64
async def test_the_filter_is_what_keeps_it_tied(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(OTHERS, str(NEWEST_CALL + 1))
    assert found["wish"] == 0
