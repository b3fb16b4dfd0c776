"""The answering side of a stream of calls (``wire.calls``), without a socket: messages in, messages out.

* Calls of one stream are answered side by side, each as soon as it is ready.
* While ``stream_calls`` of them are under way no more are read: who sends more waits.
* When a stream ends, so do the calls on it: nobody would hear what came of them.  ``finish`` lets those under way end
  first, and takes no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from corpgrid.errors import CorpGridError, MalformedDataError
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.outbox import Outbox
from corpgrid.wire.calls import ANSWERS, CALLS, Answer, Call
from corpgrid.wire.convert_errors import error_to_wire

_MESSAGE_BYTES = 1 << 20


class AnswerStream:
    """One stream.

    Args:
        dispatch: what answers.
        write: sends one message.
        stream_calls: how many calls may be under way.
    """

    def __init__(self, dispatch: Dispatch, write: Callable[[bytes], Awaitable[None]], *, stream_calls: int) -> None:
        self._dispatch = dispatch
        self._send = write
        self._most = stream_calls
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._finishing = asyncio.Event()
        self._outbox: Outbox[Answer] = Outbox(
            self._write, largest_bytes=_MESSAGE_BYTES, failed=lambda _: self._finishing.set()
        )

    async def serve(self, read: Callable[[], Awaitable[bytes | None]]) -> None:
        """Answer until there is no more to read (None), or ``finish`` was called.

        Raises:
            MalformedDataError: what came is no message of calls.
        """
        reading = asyncio.create_task(self._read(read))
        finishing = asyncio.create_task(self._finishing.wait())
        try:
            await asyncio.wait([reading, finishing], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            elif self._calls:
                await asyncio.wait(self._calls.values())
            await self._outbox.flush()
        finally:
            self._outbox.close()
            for task in [reading, finishing, *self._calls.values()]:
                task.cancel()

    def finish(self) -> None:
        """Take no more calls, and end when those under way are answered."""
        self._finishing.set()

    async def _read(self, read: Callable[[], Awaitable[bytes | None]]) -> None:
        while (content := await read()) is not None:
            for call in CALLS.decode(content):
                self._take(call)
            while len(self._calls) >= self._most:
                self._room.clear()
                await self._room.wait()

    def _take(self, call: Call) -> None:
        if not call.path:
            unwanted = self._calls.get(call.number)
            if unwanted is not None:
                unwanted.cancel()
            return
        if call.number in self._calls:
            raise MalformedDataError(f"call {call.number} is under way already")
        task = self._calls[call.number] = asyncio.create_task(self._answer(call))
        task.add_done_callback(lambda _: self._ended(call.number))

    def _ended(self, number: int) -> None:
        del self._calls[number]
        self._room.set()

    async def _answer(self, call: Call) -> None:
        try:
            reply = await self._dispatch.call_path(call.path, call.request)
        except CorpGridError as error:
            content = error_to_wire(error)
            self._outbox.put(Answer(call.number, None, content), size_bytes=len(content))
        else:
            self._outbox.put(Answer(call.number, reply), size_bytes=len(reply))

    async def _write(self, answers: Sequence[Answer]) -> None:
        await self._send(ANSWERS.encode(answers))
