"""How long ago somebody used a Mac, from the registry entry of its input devices.

Rules:

* ``ioreg`` is asked for ``IOHIDSystem``, whose ``HIDIdleTime`` counts nanoseconds since any keyboard, mouse or trackpad
  was used, in whatever session; unlike the window server it also answers a daemon.
* Where it does not tell, somebody is taken to be there.
* ``parse`` decides and is tested over a recorded answer; the call has not been run on a Mac.
"""

from __future__ import annotations

import re
import subprocess

_COMMAND = ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOHIDSystem")
_TIMEOUT_SECONDS = 2.0
_IDLE = re.compile(r'"HIDIdleTime"\s*=\s*(\d+)')


class MacPresence:
    """The ``PresenceProbe`` of macOS."""

    def idle_seconds(self) -> float | None:
        """Seconds since the last input."""
        try:
            answer = subprocess.run(_COMMAND, capture_output=True, check=True, timeout=_TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError):
            return 0.0
        return parse(answer.stdout.decode(errors="replace"))


def parse(answer: str) -> float:
    """Seconds since the last input in ``ioreg``'s answer; 0 where it does not say."""
    return min((int(nanoseconds) for nanoseconds in _IDLE.findall(answer)), default=0) / 1e9
