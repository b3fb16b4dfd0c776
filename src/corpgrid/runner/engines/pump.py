"""A pipe that is always drained: its bytes go to the log as they come, and its start or its end is kept."""

from __future__ import annotations

import os
import threading
from typing import IO

_READ_BYTES = 64 << 10
_PATIENCE_SECONDS = 1.0


class Pump:
    """Drains one pipe of a command.

    Args:
        pipe: its reading end; closed at the end.
        copy_to: descriptor that gets all bytes.
        keep_bytes: how much is kept,
        keep_end: of its end instead of its start.
    """

    def __init__(self, pipe: IO[bytes], *, copy_to: int, keep_bytes: int, keep_end: bool = False) -> None:
        self._pipe = pipe
        self._copy_to = copy_to
        self._keep_bytes = keep_bytes
        self._keep_end = keep_end
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def finish(self) -> bytes:
        """What was kept.  A process that left the command's group may hold the pipe open: it is not waited for."""
        self._thread.join(_PATIENCE_SECONDS)
        return bytes(self._kept)

    def _drain(self) -> None:
        with self._pipe:
            while data := os.read(self._pipe.fileno(), _READ_BYTES):
                self._keep(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._copy_to, rest) :]

    def _keep(self, data: bytes) -> None:
        if self._keep_end:
            self._kept += data
            del self._kept[: -self._keep_bytes]
        else:
            self._kept += data[: self._keep_bytes - len(self._kept)]
