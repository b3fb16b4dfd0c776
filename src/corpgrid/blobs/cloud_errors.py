"""What went wrong at an object store, as an error that says what to do about it.

A store's answer is known by its code, which stands in the text of every error; a code that is not known is told as it
came.  What may pass by itself is an ``UnavailableError``, and is tried again by whoever asked; all else is a
``StoreError``, and somebody must do something.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from corpgrid.blobs.cloud_url import CloudPlace
from corpgrid.errors import CorpGridError, StoreError, UnavailableError


class _Fault(NamedTuple):
    codes: tuple[str, ...]
    happened: str
    remedy: str


_NO_BUCKET = ("NoSuchBucket", "The specified bucket does not exist", "ContainerNotFound")
_FAULTS = (
    _Fault(
        _NO_BUCKET,
        "the bucket of {name} does not exist",
        "Create the bucket, or correct scheduler.blobs; CorpGrid makes none by itself.",
    ),
    _Fault(
        # Without any the machine is asked for a role: these are the places of that question.
        ("/latest/api/token", "/latest/meta-data", "/metadata/identity", "computeMetadata", "metadata.google.internal"),
        "there are no credentials for {name}",
        "Set {credentials} for the scheduler, or run it on a machine that has a role for the bucket.",
    ),
    _Fault(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "invalid_grant", "InvalidToken"),
        "the credentials for {name} are wrong",
        "Correct {credentials} for the scheduler.",
    ),
    _Fault(
        ("RequestTimeTooSkewed", "RequestExpired", "ExpiredToken"),
        "{name} refused a request because of its time",
        "Set this machine's clock by NTP (it must agree with the store's to some minutes), or renew the credentials.",
    ),
    _Fault(
        ("QuotaExceeded", "InsufficientStorage", "507 "),
        "there is no room left in {name}",
        "Raise its quota or delete what is not needed; nothing that was acknowledged is lost.",
    ),
    _Fault(
        ("AccessDenied", "403 Forbidden", "AuthorizationPermissionMismatch", "Unauthorized", "401 "),
        "the credentials may not do that in {name}",
        "Allow them to get, put, list and delete objects and to abort multipart uploads there.",
    ),
    _Fault(
        ("AuthorizationHeaderMalformed", "PermanentRedirect", "301 Moved"),
        "{name} stands in another region",
        "Say which: ?region=NAME in scheduler.blobs.",
    ),
    _Fault(
        ("builder error", "URL scheme is not allowed"),
        "{name} cannot be spoken to as scheduler.blobs says",
        "Use an https:// endpoint, or add allow_http=true where the network itself is trusted.",
    ),
)
_PASSING = (
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "ServerBusy",
    "OperationAborted",
    "HTTP error",
    "timed out",
)
_PASSING_STATUS = ("429 ", "500 ", "502 ", "503 ", "504 ")


@contextmanager
def translated(place: CloudPlace) -> Iterator[None]:
    """Errors of the store become errors of CorpGrid; but that something is not there is ``FileNotFoundError``."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - installed only where a cloud is used

    try:
        yield
    except FileNotFoundError as error:
        if any(code in str(error) for code in _NO_BUCKET):
            raise error_of(str(error), place) from error
        raise
    except BaseError as error:
        raise error_of(str(error), place) from error


def error_of(told: str, place: CloudPlace) -> CorpGridError:
    """The error that a store's own words stand for."""
    for fault in _FAULTS:
        if any(code in told for code in fault.codes):
            names = {"name": place.name, "credentials": place.credentials}
            return StoreError(fault.happened.format(**names), remedy=fault.remedy.format(**names))
    first = told.splitlines()[0][:300] if told else "no reason given"
    passing = any(code in told for code in _PASSING) or any(f"status code: {code}" in told for code in _PASSING_STATUS)
    if passing:
        return UnavailableError(
            f"{place.name} does not answer ({first})",
            remedy="Look whether the store runs and this machine reaches it; what was asked is tried again.",
        )
    return StoreError(f"{place.name} failed: {first}", remedy="The store's own log says more.")
