"""How long ago somebody used the machine: terminals, logind, files, macOS and Windows."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.host.clock import SystemClock
from corpgrid.host.presence_file import FilePresence
from corpgrid.host.presence_linux import LinuxPresence, Logind, parse_logind, terminals_idle_seconds
from corpgrid.host.presence_macos import MacPresence, parse
from corpgrid.host.presence_windows import Ticks, WindowsPresence, idle_between

NOW = 1_800_000_000.0
IOREG = """+-o IOHIDSystem  <class IOHIDSystem, id 0x1000002d3, registered, matched, active, busy 0 (0 ms), retain 21>
    {
      "IOClass" = "IOHIDSystem"
      "HIDServiceSupport" = Yes
      "HIDIdleTime" = 12853462291
      "HIDParameters" = {"HIDClickTime"=500000000,"Clicking"=0}
    }
"""


class FixedClock:
    """A clock that stands still."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def touch(path: Path, read_at: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (read_at, NOW))


def busctl(folder: Path, script: str) -> str:
    """A program in the place of busctl."""
    path = folder / "busctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def presence(dev: Path, *, program: str = "/no/such/program", **environ: str) -> LinuxPresence:
    return LinuxPresence(clock=FixedClock(), environ=environ, dev=dev, busctl=program)


def test_the_last_terminal_that_was_read_counts(tmp_path: Path) -> None:
    touch(tmp_path / "pts" / "0", NOW - 500)
    touch(tmp_path / "pts" / "3", NOW - 20)
    touch(tmp_path / "pts" / "ptmx", NOW)
    assert terminals_idle_seconds(tmp_path, now=NOW) == 20.0


def test_virtual_consoles_count_only_where_something_can_be_typed(tmp_path: Path) -> None:
    touch(tmp_path / "tty1", NOW - 30)
    assert terminals_idle_seconds(tmp_path, now=NOW) is None
    touch(tmp_path / "input" / "event0", NOW - 9_999)
    assert terminals_idle_seconds(tmp_path, now=NOW) == 30.0


def test_a_terminal_read_in_the_future_counts_as_now(tmp_path: Path) -> None:
    touch(tmp_path / "pts" / "0", NOW + 500)
    assert terminals_idle_seconds(tmp_path, now=NOW) == 0.0


@pytest.mark.linux
def test_typing_into_a_real_terminal_is_seen(tmp_path: Path) -> None:
    """The kernel stamps what a terminal's own reader reads."""
    keyboard, terminal = pty.openpty()
    try:
        path = Path(os.ttyname(terminal))
        (tmp_path / "pts").mkdir()
        (tmp_path / "pts" / "0").symlink_to(path)
        before = path.stat().st_atime
        os.utime(path, (before - 1_000, before))
        clock = SystemClock()
        assert (terminals_idle_seconds(tmp_path, now=clock.now()) or 0.0) >= 900.0
        os.write(keyboard, b"typed\n")
        assert os.read(terminal, 100) == b"typed\n"
        assert (terminals_idle_seconds(tmp_path, now=clock.now()) or 0.0) < 60.0
    finally:
        os.close(keyboard)
        os.close(terminal)


def test_a_machine_without_a_seat_has_nobody_to_disturb(tmp_path: Path) -> None:
    assert presence(tmp_path).idle_seconds() is None


def test_the_most_recent_input_wins(tmp_path: Path) -> None:
    touch(tmp_path / "pts" / "0", NOW - 500)
    since = int((NOW - 40) * 1e6)
    program = busctl(tmp_path, f"printf 'b true\\nt {since}\\n'")
    assert presence(tmp_path, program=program).idle_seconds() == 40.0
    touch(tmp_path / "pts" / "1", NOW - 3)
    assert presence(tmp_path, program=program).idle_seconds() == 3.0


def test_a_wayland_session_that_nobody_can_ask_counts_as_used(tmp_path: Path) -> None:
    assert presence(tmp_path, WAYLAND_DISPLAY="wayland-0", DISPLAY=":0").idle_seconds() == 0.0


def test_a_wayland_session_is_as_idle_as_logind_says(tmp_path: Path) -> None:
    program = busctl(tmp_path, f"printf 'b true\\nt {int((NOW - 700) * 1e6)}\\n'")
    assert presence(tmp_path, program=program, WAYLAND_DISPLAY="wayland-0").idle_seconds() == 700.0


@pytest.mark.parametrize(
    ("answer", "idle"),
    [
        (f"b false\nt {int((NOW - 900) * 1e6)}\n", 0.0),  # active for 900 s
        ("b false\nt 0\n", 0.0),  # a desktop that never tells
        (f"b true\nt {int((NOW - 900) * 1e6)}\n", 900.0),
        (f"b true\nt {int((NOW + 900) * 1e6)}\n", 0.0),
        ("b true\nt 0\n", None),  # nobody is logged in
        ("", None),
        ("Failed to get property", None),
        ("b true\nt later\n", None),
    ],
)
def test_logind_is_understood(answer: str, idle: float | None) -> None:
    assert parse_logind(answer, now=NOW) == idle


@given(st.text())
def test_no_answer_breaks_the_reader(answer: str) -> None:
    idle = parse_logind(answer, now=NOW)
    assert idle is None or idle >= 0.0


def test_logind_is_asked_at_most_twice_a_second(tmp_path: Path) -> None:
    program = busctl(tmp_path, f"echo asked >>{tmp_path}/log; printf 'b false\\nt 1\\n'")
    logind = Logind(busctl=program)
    assert [logind.idle_seconds(now=NOW) for _ in range(20)] == [0.0] * 20
    assert (tmp_path / "log").read_text().count("asked") < 20


def test_logind_falling_silent_means_that_somebody_may_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpgrid.host.presence_linux._LOGIND_FRESH_SECONDS", 0.0)
    program = busctl(tmp_path, f"printf 'b true\\nt {int((NOW - 900) * 1e6)}\\n'")
    logind = Logind(busctl=program)
    assert logind.idle_seconds(now=NOW) == 900.0
    busctl(tmp_path, "exit 1")
    assert logind.idle_seconds(now=NOW) == 0.0


def test_a_machine_that_never_had_logind_is_not_asked_for_ever(tmp_path: Path) -> None:
    program = busctl(tmp_path, f"echo asked >>{tmp_path}/log; exit 1")
    logind = Logind(busctl=program)
    assert [logind.idle_seconds(now=NOW) for _ in range(5)] == [None] * 5
    assert (tmp_path / "log").read_text() == "asked\n"


@pytest.mark.parametrize(
    ("content", "idle"),
    [("0", 0.0), ("12.5\n", 12.5), ("none\n", None), ("-3", 0.0), ("soon", 0.0), ("nan", 0.0), ("inf", 0.0), ("", 0.0)],
)
def test_a_file_says_how_long_nobody_was_there(tmp_path: Path, content: str, idle: float | None) -> None:
    path = tmp_path / "idle"
    path.write_text(content)
    assert FilePresence(path).idle_seconds() == idle


def test_a_presence_file_that_is_missing_means_somebody_is_there(tmp_path: Path) -> None:
    path = tmp_path / "idle"
    probe = FilePresence(path)
    assert probe.idle_seconds() == 0.0
    path.write_text("60")
    assert probe.idle_seconds() == 60.0
    path.write_bytes(b"\xff\xff")
    assert probe.idle_seconds() == 0.0


def test_a_macs_registry_is_understood() -> None:
    assert parse(IOREG) == pytest.approx(12.853, abs=0.001)
    assert parse("nothing of the kind") == 0.0


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac answers there")
def test_without_an_answer_a_mac_counts_as_used() -> None:
    assert MacPresence().idle_seconds() == 0.0


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 40 * 86_400_000))
def test_windows_ticks_may_wrap_between_the_last_input_and_now(last: int, idle_milliseconds: int) -> None:
    ticks = Ticks(now=(last + idle_milliseconds) % (1 << 32), last_input=last)
    assert idle_between(ticks) == idle_milliseconds / 1000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows answers there")
def test_without_an_answer_windows_counts_as_used() -> None:
    assert WindowsPresence().idle_seconds() == 0.0
