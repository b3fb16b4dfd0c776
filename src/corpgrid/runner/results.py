"""What a task returned or raised, in the form in which it leaves the runner.

Reasons: ``raised`` (an exception; the traceback is the detail), ``not_data`` (the result is not data),
``result_bytes`` (it is too large), ``memory_bytes`` (there was no memory for it), and those that an engine or an item
gives with ``Failure``.

Describing an exception runs code of the job (``__str__``), so it may raise, and even then there is a detail.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from corpgrid.errors import LimitError, NotDataError
from corpgrid.wire import data

MAX_TRACEBACK_CHARACTERS = 16 << 10

_name_of_type = type.__dict__["__name__"].__get__
"""A class's own name; its metaclass has no say in it."""
_OURS = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - importing pathlib is a quarter of a runner's start


class Failure(Exception):  # noqa: N818 - it is how a task ends, and no fault of the runner
    """A task ends without a result.

    Args:
        reason: a short name, lower case.
        detail: the story, for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def encode_result(value: Any, *, result_bytes: int) -> bytes:
    """The bytes of a result.

    Raises:
        Failure: it is not data, or too large.
    """
    try:
        return data.encode(value, max_bytes=result_bytes)
    except LimitError as cause:
        detail = f"its result has {cause.got:,} bytes where result_bytes allows {result_bytes:,}"
        raise Failure("result_bytes", detail) from None
    except NotDataError as cause:
        raise Failure("not_data", f"its result cannot travel: {cause.explain()}") from None


def failure_of(cause: BaseException) -> tuple[str, str]:
    """Reason and detail of whatever a task raised; its type is asked, because ``isinstance`` asks the exception."""
    if type(cause) is Failure:
        return cause.reason, _safe(cause.detail)
    reason = "memory_bytes" if issubclass(type(cause), MemoryError) else "raised"
    try:
        return reason, _safe(_describe(cause))
    except BaseException:  # noqa: BLE001 - it cannot even be described
        return reason, f"{_name_of_type(type(cause))}, which cannot be described"


def _describe(cause: BaseException) -> str:
    import traceback  # noqa: PLC0415 - costs a tenth of a runner's start, and most runners never need it

    return "".join(traceback.format_exception(type(cause), cause, _frames_of_the_job(cause.__traceback__)))


def _frames_of_the_job(frames: TracebackType | None) -> TracebackType | None:
    """Leave out the runner's own frames at the top."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return frames


def _safe(text: str) -> str:
    """Its last ``MAX_TRACEBACK_CHARACTERS``, as valid Unicode."""
    if len(text) > MAX_TRACEBACK_CHARACTERS:
        text = "...\n" + text[-MAX_TRACEBACK_CHARACTERS:]
    return text.encode("utf-8", "replace").decode("utf-8")
