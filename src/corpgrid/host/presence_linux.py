"""How long ago somebody used a Linux machine.

Who is asked, and the most recent input wins:

* **Terminals**: the kernel stamps a terminal whenever something typed is read from it (in steps of 8 s, to hide how
  fast people type).  Virtual consoles count only where an input device exists: elsewhere nobody can type there.
* **The display**, where the agent runs inside its owner's X session: exact (``presence_x11``).
* **logind**, where no display answers, for the sessions of the machine's own seat: desktops tell it when a session
  becomes idle, so that idle time starts late and ends at once.  A film that keeps the screen on counts as use.

A session whose idleness nobody can tell means that somebody is there.  With no terminal, no display and no session at
all the machine has no seat, and the answer is None.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from corpgrid.host.presence_x11 import X11Idle
from corpgrid.ports.host import Clock

_LOGIND_FRESH_SECONDS = 0.5
_LOGIND_RETRY_SECONDS = 60.0
_LOGIND_TIMEOUT_SECONDS = 1.0
_LOGIND_QUESTION = (
    "get-property",
    "org.freedesktop.login1",
    "/org/freedesktop/login1/seat/seat0",
    "org.freedesktop.login1.Seat",
    "IdleHint",
    "IdleSinceHint",
)


class LinuxPresence:
    """The ``PresenceProbe`` of Linux.

    Args:
        clock: the machine's clock; terminals and logind stamp wall-clock time.
        environ: the agent's environment: which display and bus are its owner's.
        dev: a tree like ``/dev``.
        busctl: the program that talks to logind; None looks it up.
    """

    def __init__(
        self, *, clock: Clock, environ: Mapping[str, str], dev: Path = Path("/dev"), busctl: str | None = None
    ) -> None:
        self._clock = clock
        self._dev = dev
        self._display = X11Idle.from_environment(environ)
        self._wayland = bool(environ.get("WAYLAND_DISPLAY"))
        self._logind = Logind(busctl=busctl or shutil.which("busctl"))

    def idle_seconds(self) -> float | None:
        """Seconds since the last input."""
        now = self._clock.now()
        answers = (terminals_idle_seconds(self._dev, now=now), self._session_idle_seconds(now))
        return min((answer for answer in answers if answer is not None), default=None)

    def _session_idle_seconds(self, now: float) -> float | None:
        idle = None if self._display is None else self._display.idle_seconds()
        if idle is None:
            idle = self._logind.idle_seconds(now=now)
        if idle is None and (self._wayland or (self._display is not None and self._display.alive())):
            return 0.0
        return idle


def terminals_idle_seconds(dev: Path, *, now: float) -> float | None:
    """Seconds since something typed was read from a terminal under ``dev``, or None where there is none."""
    stamps = [stamp for path in _terminals(dev) if (stamp := _read_at(path)) is not None]
    return max(now - max(stamps), 0.0) if stamps else None


def _terminals(dev: Path) -> Iterator[Path]:
    yield from dev.glob("pts/[0-9]*")
    if any(dev.glob("input/event*")):
        yield dev / "tty"
        yield from dev.glob("tty[0-9]*")


def _read_at(path: Path) -> float | None:
    try:
        return path.stat().st_atime
    except OSError:
        return None  # it was closed meanwhile


class Logind:
    """Asks logind, at most twice a second: every question costs a process.

    Args:
        busctl: path of the program that talks to it, or None where there is none.
    """

    def __init__(self, *, busctl: str | None) -> None:
        self._busctl = busctl
        self._answer = ""
        self._answered_once = False
        self._ask_again = 0.0

    def idle_seconds(self, *, now: float) -> float | None:
        """Seconds since the last session became idle, 0 while one is not; None: no session, or no logind."""
        moment = time.monotonic()
        if self._busctl is not None and moment >= self._ask_again:
            self._answer = self._ask(self._busctl)
            self._answered_once = self._answered_once or bool(self._answer)
            self._ask_again = moment + (_LOGIND_FRESH_SECONDS if self._answered_once else _LOGIND_RETRY_SECONDS)
        if self._answered_once and not self._answer:
            return 0.0  # it fell silent: somebody may be there
        return parse_logind(self._answer, now=now)

    def _ask(self, busctl: str) -> str:
        command = (busctl, "--system", *_LOGIND_QUESTION)
        try:
            done = subprocess.run(command, capture_output=True, check=True, timeout=_LOGIND_TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.decode(errors="replace")


def parse_logind(answer: str, *, now: float) -> float | None:
    """Read ``busctl``'s two lines: whether all sessions are idle (``b true``), and since when (``t`` microseconds).

    A seat without a session is idle since 0.  One whose desktop never says whether it is idle is not idle since 0: it
    counts as used.
    """
    words = answer.split()
    if len(words) != 4 or words[0] != "b" or words[2] != "t" or not words[3].isdecimal():
        return None
    if words[1] != "true":
        return 0.0
    since = int(words[3]) / 1e6
    return max(now - since, 0.0) if since > 0.0 else None
