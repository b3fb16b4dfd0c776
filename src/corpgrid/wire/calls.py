"""Calls that share a stream: what one message of it holds, either way.

* A message holds whatever gathered while the last one was written: the busier the stream, the more in each.
* A call has a number of its caller's choice, and an answer names it.  A call without a path takes an earlier one back.

>>> CALLS.decode(CALLS.encode([Call(7, "/corpgrid.v1.Grid/GetInfo", b"")]))
[Call(number=7, path='/corpgrid.v1.Grid/GetInfo', request=b'')]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from corpgrid.wire.convert_checks import malformed, text
from corpgrid.wire.methods import PACKAGE, Codec
from corpgrid.wire.v1 import scheduler_pb2 as pb

GREETING = ("corpgrid-calls", "1")
"""Metadata with which a server answers before the first call: it speaks this."""
EXCHANGE_PATH = f"/{PACKAGE}.Calls/Exchange"


class Call(NamedTuple):
    """One call; with an empty ``path``, nobody waits for its number any more."""

    number: int
    path: str = ""
    request: bytes = b""


class Answer(NamedTuple):
    """What is said to a call: a reply, or an error (``convert_errors``)."""

    number: int
    reply: bytes | None
    error: bytes = b""


def _calls_to_wire(calls: Sequence[Call]) -> pb.CallsRequest:
    return pb.CallsRequest(calls=[pb.Call(number=number, path=path, request=body) for number, path, body in calls])


def _calls_from_wire(message: pb.CallsRequest) -> list[Call]:
    return [Call(call.number, text(call.path, "path"), call.request) for call in message.calls]


def _answers_to_wire(answers: Sequence[Answer]) -> pb.CallsResponse:
    return pb.CallsResponse(
        answers=[
            pb.Answer(number=number, error=error) if reply is None else pb.Answer(number=number, reply=reply)
            for number, reply, error in answers
        ]
    )


def _answers_from_wire(message: pb.CallsResponse) -> list[Answer]:
    return [_answer_from_wire(answer) for answer in message.answers]


def _answer_from_wire(answer: pb.Answer) -> Answer:
    match answer.WhichOneof("said"):
        case "reply":
            return Answer(answer.number, answer.reply)
        case "error":
            return Answer(answer.number, None, answer.error)
        case _:
            raise malformed("an answer says neither a reply nor an error")


CALLS: Codec[Sequence[Call], pb.CallsRequest] = Codec(pb.CallsRequest, _calls_to_wire, _calls_from_wire)
ANSWERS: Codec[Sequence[Answer], pb.CallsResponse] = Codec(pb.CallsResponse, _answers_to_wire, _answers_from_wire)
