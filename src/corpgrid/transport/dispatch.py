"""The server's side of every call, without a socket: bytes in, bytes out, or an error of ``errors``.

Rules:
* What a caller did wrong is a ``CorpGridError``, and travels as what it is.  Anything else is a fault of the scheduler:
  it is logged here with its traceback, and the caller hears only that it happened.
* A store that fails is the scheduler's trouble: callers hear that it is not available, and may ask again.
* A request or a reply larger than ``message_bytes``, or a blob larger than ``blob_bytes``, is a ``LimitError``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from corpgrid.errors import (
    CorpGridError,
    GridError,
    LimitError,
    MalformedDataError,
    StaleError,
    StoreError,
    UnavailableError,
)
from corpgrid.ports.api import GridApi, SchedulerApi
from corpgrid.ports.blobs import Blobs
from corpgrid.transport.limits import TransportLimits
from corpgrid.wire import methods
from corpgrid.wire.methods import BLOB_METHODS, GRID_METHODS, LOCATE_BLOB, SCHEDULER_METHODS, Method, PutPart

log = logging.getLogger(__name__)

UNARY: tuple[Method[Any, Any, Any], ...] = (*SCHEDULER_METHODS, *GRID_METHODS, *BLOB_METHODS)
_BY_PATH: Mapping[str, Method[Any, Any, Any]] = {method.path: method for method in UNARY}


class Dispatch:
    """Answers calls.

    Args:
        agents: what agents ask.
        grid: what everybody else asks.
        blobs: where blobs stand.
        limits: what a call may take.
    """

    def __init__(self, agents: SchedulerApi, grid: GridApi, blobs: Blobs, limits: TransportLimits) -> None:
        self._apis: Mapping[str, object] = {"Scheduler": agents, "Grid": grid, "Blobs": grid}
        self._blobs = blobs
        self._limits = limits

    async def call(self, method: Method[Any, Any, Any], content: bytes) -> bytes:
        """One unary call.

        Raises:
            CorpGridError: what is wrong with it.
        """
        with _faults_logged(method.path):
            request = method.request.decode(self._fitting(content, "the request"))
            if method is LOCATE_BLOB:
                self._check_blob(request.put_bytes or 0)
            reply = await method.call(self._apis[method.service], request)
            return self._fitting(method.reply.encode(reply), "the reply")

    async def call_path(self, path: str, content: bytes) -> bytes:
        """One unary call, by its name on the wire.

        Raises:
            CorpGridError: what is wrong with it.
        """
        method = _BY_PATH.get(path)
        if method is None:
            raise GridError(
                f"this scheduler does not know the call {path[:200]!r}",
                remedy="Run the same version of CorpGrid on both sides.",
            )
        return await self.call(method, content)

    async def put(self, parts: AsyncIterator[bytes]) -> bytes:
        """Store the blob that a stream brings.

        Raises:
            CorpGridError: what is wrong with it.
        """
        with _faults_logged(methods.PUT_BLOB_PATH):
            first = methods.PUT_PART.decode(await anext(parts, b""))
            stored = await self._blobs.put_stream(self._chunks(first, parts), expected=first.expected or None)
            return methods.PUT_REPLY.encode(stored)

    async def get(self, content: bytes) -> AsyncIterator[bytes]:
        """Stream a blob.

        Raises:
            CorpGridError: what is wrong with it.
        """
        with _faults_logged(methods.GET_BLOB_PATH):
            wish, step = methods.GET_REQUEST.decode(content), self._limits.chunk_bytes
            async for chunk in self._blobs.open(wish.digest, offset=wish.offset):
                for start in range(0, len(chunk), step):
                    yield methods.GET_CHUNK.encode(chunk[start : start + step])

    async def _chunks(self, first: PutPart, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = len(first.chunk)
        yield first.chunk
        async for content in parts:
            part = methods.PUT_PART.decode(content)
            if part.expected:
                raise MalformedDataError("only the first part of a blob may say what all of it is")
            size += len(part.chunk)
            self._check_blob(size)
            yield part.chunk

    def _check_blob(self, size_bytes: int) -> None:
        if size_bytes > self._limits.blob_bytes:
            raise LimitError("blob_bytes", limit=self._limits.blob_bytes, got=size_bytes, what="the blob")

    def _fitting(self, content: bytes, what: str) -> bytes:
        if len(content) > self._limits.message_bytes:
            raise LimitError("message_bytes", limit=self._limits.message_bytes, got=len(content), what=what)
        return content


@contextmanager
def _faults_logged(path: str) -> Iterator[None]:
    try:
        yield
    except StaleError as error:
        raise UnavailableError(str(error), remedy="Nothing was changed; try again.") from None
    except StoreError as error:
        # To whoever asks it is not their own store that failed, and asking again is safe.
        log.warning("call failed path=%s error=%s", path, error)
        raise UnavailableError(
            f"the scheduler's store failed: {error}", remedy=f"On the scheduler: {error.remedy}"
        ) from None
    except CorpGridError:
        raise
    except Exception:
        log.exception("call failed path=%s", path)
        raise GridError(
            f"the scheduler failed in {path}: a bug in CorpGrid", remedy="Its log has the traceback; please report it."
        ) from None
