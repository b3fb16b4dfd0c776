"""Presence read from a file: for machines whose presence something else knows, for demonstrations and for tests.

The file holds seconds since the last input, such as ``12.5``, or ``none`` where nobody can ever sit.  A file that is
missing or says anything else means that somebody is there: whoever configured it wants to be asked.
"""

from __future__ import annotations

import math
from pathlib import Path


class FilePresence:
    """A ``PresenceProbe`` that reads ``path`` at every call."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def idle_seconds(self) -> float | None:
        """What the file says now."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return 0.0
        return None if text == "none" else _seconds(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
