"""The caller's side of a stream of calls (``wire.calls``): one stream, from its first call to its end.

* It ends once, for one reason, and with it every call on it; whoever holds it opens another.
* A call that nobody waits for any more is taken back, so that the other side may stop working on it.
* It is believed dead if nothing at all came of it while a call waited all of its time, or if it takes nothing more.
* Nothing is written before the other side has greeted: an older version, which has no such streams, does not, and
  ``NotSpokenError`` says so.  Every call then goes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from corpgrid.errors import CorpGridError, MalformedDataError, UnavailableError
from corpgrid.transport.grpc_status import error_of
from corpgrid.transport.outbox import Outbox
from corpgrid.transport.rpc import grpc
from corpgrid.wire.calls import ANSWERS, CALLS, GREETING, Answer, Call
from corpgrid.wire.convert_errors import error_from_wire

_EOF: Any = vars(grpc.aio)["EOF"]
"""gRPC's mark of a stream's end, which its stubs do not know."""
_MESSAGE_BYTES = 1 << 20
_REASON_SECONDS = 1.0
"""How long after a failed write the reason may take to come."""


class NotSpokenError(Exception):
    """The other side has no streams of calls."""


class CallStream:
    """Calls that share a stream.

    Args:
        stream: of gRPC, just opened.
        target: who is called, for messages.

    Attributes:
        over: whether it takes no more calls.
    """

    def __init__(self, stream: Any, target: str) -> None:
        self.over = False
        self._stream = stream
        self._target = target
        self._greeted = False
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._outbox: Outbox[Call] = Outbox(self._write, largest_bytes=_MESSAGE_BYTES, failed=self._unwritten)
        self._heard = 0
        self._reading = asyncio.create_task(self._read())

    def __len__(self) -> int:
        """Calls under way."""
        return len(self._waiting)

    async def call(self, path: str, content: bytes, *, seconds: float) -> bytes:
        """One call.

        Raises:
            CorpGridError: what the other side answered.
            UnavailableError: there was no answer within ``seconds``, or the stream ended.
            NotSpokenError: see above.
        """
        assert not self.over
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[number] = answer
        self._outbox.put(Call(number, path, content), size_bytes=len(content))
        timer = loop.call_later(seconds, self._overdue, answer, seconds, self._heard)
        try:
            return await answer
        finally:
            timer.cancel()
            if self._waiting.pop(number, None) is not None:
                self._outbox.put(Call(number), size_bytes=0)

    def end(self, error: Exception) -> None:
        """No more calls; those under way end with this."""
        if self.over:
            return
        self.over = True
        self._outbox.close()
        self._stream.cancel()
        self._reading.cancel()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(error)

    def _overdue(self, answer: asyncio.Future[bytes], seconds: float, heard: int) -> None:
        if answer.done():
            return
        error = UnavailableError(f"no answer from {self._target} within {seconds:.3g} s")
        answer.set_exception(error)
        if heard == self._heard:
            self.end(error)

    def _unwritten(self, failure: BaseException) -> None:
        """Most often the other side ended the stream, and says why; if it does not, nobody shall wait for it."""
        gone = UnavailableError(f"{self._target} takes no more calls: {failure}")
        asyncio.get_running_loop().call_later(_REASON_SECONDS, self.end, gone)

    async def _write(self, calls: Sequence[Call]) -> None:
        if not self._greeted:
            metadata = await self._stream.initial_metadata()
            self._greeted = GREETING in {(key, value) for key, value in metadata or ()}
        if self._greeted:  # else it is over, and whoever reads it will hear why
            await self._stream.write(CALLS.encode(calls))

    async def _read(self) -> None:
        try:
            while (content := await self._stream.read()) is not _EOF:
                self._heard += 1
                for answer in ANSWERS.decode(content):
                    self._answered(answer)
            self.end(UnavailableError(f"{self._target} takes no more calls on this connection"))
        except grpc.aio.AioRpcError as failure:
            self.end(self._why(failure))
        except MalformedDataError as error:
            self.end(error)
        except asyncio.CancelledError:
            self.end(UnavailableError(f"the connection to {self._target} was closed"))

    def _why(self, failure: grpc.aio.AioRpcError) -> Exception:
        if failure.code() is grpc.StatusCode.UNIMPLEMENTED:
            return NotSpokenError()
        error = error_of(failure, self._target)
        if failure.code() is grpc.StatusCode.INTERNAL:  # a write that met the end of the stream
            return UnavailableError(str(error))
        return error

    def _answered(self, answer: Answer) -> None:
        waiting = self._waiting.pop(answer.number, None)
        if waiting is None or waiting.done():
            return
        if answer.reply is not None:
            waiting.set_result(answer.reply)
        else:
            waiting.set_exception(_error_of(answer))


def _error_of(answer: Answer) -> CorpGridError:
    try:
        return error_from_wire(answer.error)
    except MalformedDataError as error:
        return error
