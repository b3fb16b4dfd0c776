r"""A runner's log, cut into the logs of its tasks.

The runner writes a mark after each task, ``\0 nonce index.attempt \0 \n``.  What came before it is that task's.

* Only the mark that is due next counts, and only whole; anything else, NULs and bytes that are no text among it, is
  log.  A job can learn the nonce and end its own log early; it cannot touch what came before.
* Of each log at most ``log_bytes`` are kept: its first half and its last half, with a line between them that says how
  much is missing.  The rest is counted and dropped, so that a flood costs nothing but time.
* Bytes stay as they came.  Whoever shows them escapes them.

>>> splitter = LogSplitter(nonce=b"n0nce", log_bytes=1024)
>>> splitter.expect(7, 0)
>>> splitter.feed(b"hello\n\0n0n"), splitter.feed(b"ce7.0\0\nnext")
([], [TaskLog(kept=b'hello\n', dropped=0)])
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_GAP_BYTES = 64
"""Room for the line between the halves."""


class TaskLog(NamedTuple):
    """What one task printed.

    Attributes:
        kept: at most ``log_bytes``.
        dropped: bytes that were not kept.
    """

    kept: bytes
    dropped: int


_SILENCE = TaskLog(b"", 0)


class Clipping:
    """Keeps the start and the end of a stream of bytes."""

    __slots__ = ("_end", "_half", "_start", "_total")

    def __init__(self, limit_bytes: int) -> None:
        self._half = limit_bytes // 2
        self._start = bytearray()
        self._end = bytearray()
        self._total = 0

    @property
    def empty(self) -> bool:
        """Whether nothing came."""
        return self._total == 0

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._total += len(data)
        room = self._half - len(self._start)
        if room > 0:
            self._start += data[:room]
            data = data[room:]
        self._end += data[-self._half :] if self._half else b""
        del self._end[: max(0, len(self._end) - self._half)]

    def result(self) -> TaskLog:
        """What was kept."""
        if self._total <= len(self._start) + len(self._end):
            return TaskLog(bytes(self._start + self._end), 0)
        end = bytes(self._end[_GAP_BYTES:])
        dropped = self._total - len(self._start) - len(end)
        gap = f"\n[... {dropped} bytes dropped ...]\n".encode() if len(self._end) > _GAP_BYTES else b""
        return TaskLog(bytes(self._start) + gap + end, dropped)


class LogSplitter:
    """Bytes in, whole logs of tasks out.

    Args:
        nonce: as the runner was told it.
        log_bytes: what is kept of each log.
    """

    def __init__(self, *, nonce: bytes, log_bytes: int) -> None:
        self._prefix = b"\0" + nonce
        self._log_bytes = log_bytes
        self._marks: deque[bytes] = deque()
        self._rest = b""
        self._log = Clipping(log_bytes)

    def expect(self, index: int, attempt: int) -> None:
        """This task was given to the runner, after those before."""
        self._marks.append(b"%b%d.%d\0\n" % (self._prefix, index, attempt))

    def feed(self, data: bytes) -> list[TaskLog]:
        """Take the next bytes; the logs that are now whole, in the order in which their tasks were expected."""
        buffer = self._rest + data
        start = 0
        logs: list[TaskLog] = []
        while self._marks and (end := buffer.find(self._marks[0], start)) >= 0:
            if end > start:
                self._log.add(buffer[start:end])
            start = end + len(self._marks.popleft())
            logs.append(self._end_log())
        keep_from = self._possible_mark(buffer, start)
        self._log.add(buffer[start:keep_from])
        self._rest = buffer[keep_from:]
        return logs

    def finish(self) -> TaskLog:
        """What came after the last mark, when nothing more will come."""
        self._log.add(self._rest)
        self._rest = b""
        return self._end_log()

    def _end_log(self) -> TaskLog:
        if self._log.empty:
            return _SILENCE
        log = self._log.result()
        self._log = Clipping(self._log_bytes)
        return log

    def _possible_mark(self, buffer: bytes, start: int) -> int:
        """Where a mark may start whose end has not come yet."""
        if not self._marks:
            return len(buffer)
        mark = self._marks[0]
        place = max(start, len(buffer) - len(mark) + 1)
        while (place := buffer.find(b"\0", place)) >= 0:
            if mark.startswith(buffer[place:]):
                return place
            place += 1
        return len(buffer)
