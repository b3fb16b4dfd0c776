"""What somebody was told, written down before anything else is done about it: one JSON object a line, by one write.

A line that was written is there whatever becomes of its writer; one that was not finished was never written.  Times are
the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

Line = Mapping[str, Any]
Book = Sequence[Line]
SUBMITTING = "submitting"
"""Before a submit: ``name``, ``kind``, ``tasks``, ``salt``."""
SUBMITTED = "submitted"
"""The grid has it: ``name``, ``job``."""
READING = "reading"
"""The results of ``job`` are read from the first one on."""
RESULT = "result"
"""A task ended: ``job``, ``index``, ``state``, ``value`` or ``reason``."""
CANCELLED = "cancelled"
"""The grid has ended it: ``job``."""
ENDED = "ended"
"""``job`` is in ``state``, and all its results were seen."""
TOLD = "told"
"""A device was told that ``received`` of the ``items`` (index, attempt, epoch) of ``job`` count."""
TROUBLE = "trouble"
"""A call failed: ``code``, ``error``."""
PROGRESS = frozenset({SUBMITTED, RESULT, ENDED, CANCELLED})


class Journal:
    """Appends to a file; may be used by any thread."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._writing = Lock()
        os.write(self._descriptor, b"\n")  # ends what another left unfinished

    def note(self, what: str, **facts: Any) -> None:
        """Write one line."""
        line = json.dumps({"at": round(time.monotonic(), 4), "what": what, **facts}, separators=(",", ":"))
        with self._writing:
            os.write(self._descriptor, line.encode() + b"\n")


def read(path: Path) -> list[Line]:
    """All finished lines of a file; none if it is not there."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = []
    for line in text.split("\n"):
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines
