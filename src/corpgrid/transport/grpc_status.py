"""Errors as gRPC knows them, both ways.

The status is for tools that know nothing of CorpGrid; the error itself travels beside it (``wire.convert_errors``) and
is raised again as what it was.  A status without one comes from gRPC itself: nobody answered, or too much was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corpgrid.errors import (
    ConflictError,
    CorpGridError,
    DataError,
    GridError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    TrustError,
    UnavailableError,
    UsageError,
)
from corpgrid.transport.rpc import grpc
from corpgrid.wire.convert_errors import error_from_wire, error_to_wire

ERROR_KEY = "corpgrid-error-bin"

_STATUS: Mapping[type[CorpGridError], grpc.StatusCode] = {
    UsageError: grpc.StatusCode.INVALID_ARGUMENT,
    DataError: grpc.StatusCode.INVALID_ARGUMENT,
    TrustError: grpc.StatusCode.PERMISSION_DENIED,
    RefusedError: grpc.StatusCode.PERMISSION_DENIED,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_SILENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


def status_of(error: CorpGridError) -> grpc.StatusCode:
    """The status that says most of this error; that of its nearest class."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), grpc.StatusCode.INTERNAL)


def metadata_of(error: CorpGridError) -> tuple[tuple[str, bytes], ...]:
    """The error itself, for the trailing metadata."""
    return ((ERROR_KEY, error_to_wire(error)),)


def error_of(failure: grpc.aio.AioRpcError, target: str) -> CorpGridError:
    """The error that a failed call stands for."""
    trailing: Any = failure.trailing_metadata() or ()
    for key, value in trailing:
        if key == ERROR_KEY and isinstance(value, bytes):
            return error_from_wire(value)
    code, details = failure.code(), failure.details() or "no details"
    if code in _SILENT:
        return UnavailableError(f"no answer from {target}: {details}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return OverloadedError(f"{target} takes no more calls at the moment: {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return GridError(f"{target} does not know this call", remedy="Run the same version of CorpGrid on both sides.")
    return GridError(f"{target} answered {code.name}: {details}")
