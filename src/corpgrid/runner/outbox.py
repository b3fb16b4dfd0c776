"""Results on their way to the agent: many in one frame, and none of them late.

A frame leaves when the list of tasks is finished, when ``FLUSH_BYTES`` are gathered, or ``FLUSH_SECONDS`` after its
first record; the last by a thread of its own, because the next task may run for hours.  Where no task is next, nobody
wakes that thread: a single short task would pay more for it than for all else.
"""

from __future__ import annotations

import os
import threading
import time

from corpgrid.wire.frames import Done, encode_frame

FLUSH_BYTES = 256 << 10
FLUSH_SECONDS = 0.005
_RECORD_BYTES = 64
"""What a record takes beside its payload and detail, roughly."""


class Outbox:
    """Gathers records and writes frames to the control pipe."""

    def __init__(self, control_out: int) -> None:
        self._control_out = control_out
        self._records: list[Done] = []
        self._bytes = 0
        self._lock = threading.Lock()
        self._gathering = threading.Event()
        threading.Thread(target=self._flush_in_time, name="corpgrid-outbox", daemon=True).start()

    def send(self, frame: bytes) -> None:
        """Write one frame now, after the records that wait."""
        with self._lock:
            self._flush()
            self._write(frame)

    def add(self, record: Done, *, more: bool) -> None:
        """Take a record; it leaves within ``FLUSH_SECONDS``, or with ``flush`` where no ``more`` tasks follow it."""
        with self._lock:
            first = not self._records
            self._records.append(record)
            self._bytes += _RECORD_BYTES + len(record.payload) + len(record.detail)
            if self._bytes >= FLUSH_BYTES:
                self._flush()
        if first and more:
            self._gathering.set()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._records:
            self._write(encode_frame("done", self._records))
            self._records = []
            self._bytes = 0

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._control_out, rest) :]

    def _flush_in_time(self) -> None:
        while True:
            self._gathering.wait()
            self._gathering.clear()
            time.sleep(FLUSH_SECONDS)
            self.flush()
