"""How long ago somebody used a Windows machine, from ``GetLastInputInfo``.

Rules:

* Windows answers for the session of the process that asks, so the agent must run in its owner's session (a task at
  log-on), not as a service: a service would be told of a session in which nobody ever types.
* Both numbers are milliseconds since start in 32 bits and wrap every 49.7 days; their difference does not.
* ``idle_between`` decides, ``_ask`` calls.  ``_ask`` was run with a Windows build of Python under Wine, not on a
  Windows machine.
"""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple

_TICKS = 1 << 32


class _LastInputInfo(ctypes.Structure):
    _fields_ = (("size_bytes", ctypes.c_uint32), ("tick", ctypes.c_uint32))


class Ticks(NamedTuple):
    """Milliseconds since the machine started, modulo 2**32: now, and at the last input."""

    now: int
    last_input: int


class WindowsPresence:
    """The ``PresenceProbe`` of Windows."""

    def idle_seconds(self) -> float | None:
        """Seconds since the last input.  Where Windows does not tell, somebody is taken to be there."""
        ticks = _ask()
        return 0.0 if ticks is None else idle_between(ticks)


def idle_between(ticks: Ticks) -> float:
    """Seconds from the last input until now."""
    return ((ticks.now - ticks.last_input) % _TICKS) / 1000


def _ask() -> Ticks | None:  # pragma: no cover - needs Windows
    """Both ticks, or None where Windows does not tell."""
    answer = None
    if sys.platform == "win32":
        info = _LastInputInfo(size_bytes=ctypes.sizeof(_LastInputInfo))
        if ctypes.WinDLL("user32").GetLastInputInfo(ctypes.byref(info)):
            tick = ctypes.WinDLL("kernel32").GetTickCount() % _TICKS
            answer = Ticks(now=tick, last_input=info.tick)
    return answer
