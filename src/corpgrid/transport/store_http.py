"""HTTP to an object store at addresses that the scheduler gave: the standard library's, with its rough edges off.

* Every call blocks and belongs into a thread.  Nothing here stands still for longer than ``idle_seconds``.
* Only http and https, by the proxies that the environment names; TLS is verified against the machine's trust store.
  A redirection is not followed: an address stands for one store.
* An address is a credential: no error and no log repeats more of it than its host.

It is a module of its own because what it imports takes longer than all else here, and most grids never need it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from corpgrid.errors import NotFoundError, RefusedError, UnavailableError

_SCHEMES = frozenset({"http", "https"})
_NOT_FOUND = 404
_PARTIAL = 206
_SERVER_FAULTS = frozenset({408, 429, 500, 502, 503, 504})
_BLOB_KIND = "BlockBlob"
"""Azure wants to be told; others do not mind."""


class StoreHttp:
    """Opens addresses."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._opener = OpenerDirector()
        for handler in (
            ProxyHandler(),
            HTTPHandler(),
            HTTPSHandler(context=ssl.create_default_context()),
            HTTPDefaultErrorHandler(),
            HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def get(self, url: str, offset: int) -> tuple[HTTPResponse, int]:
        """A reader of the bytes from ``offset``, and how many are to come.

        Raises:
            NotFoundError: there are none.
            RefusedError: asking again is of no use.
            UnavailableError: asking again may be.
        """
        answer = self._open("GET", url, {"Range": f"bytes={offset}-"} if offset else {})
        length = answer.headers.get("Content-Length") or ""
        if not length.isdecimal() or (offset and answer.status != _PARTIAL):
            answer.close()
            raise RefusedError(f"the object store at {_host(url)} did not answer as one does")
        return answer, int(length)

    def read(self, url: str, answer: HTTPResponse, most_bytes: int) -> bytes:
        """Some of the bytes that are to come, at least one.

        Raises:
            UnavailableError: the connection broke.
        """
        try:
            chunk = answer.read(most_bytes)
        except (OSError, HTTPException) as error:
            raise _broken(url, error) from None
        if not chunk:
            raise _broken(url, ConnectionError())
        return chunk

    def put(self, url: str, body: Iterator[bytes], size_bytes: int) -> None:
        """Store so many bytes; if ``body`` raises or ends early, nothing is stored.

        Raises:
            RefusedError: asking again is of no use.
            UnavailableError: asking again may be.
        """
        headers = {
            "Content-Length": str(size_bytes),
            "Content-Type": "application/octet-stream",
            "x-ms-blob-type": _BLOB_KIND,
        }
        self._open("PUT", url, headers, body).close()

    def _open(self, verb: str, url: str, headers: dict[str, str], body: Iterator[bytes] | None = None) -> HTTPResponse:
        if urlsplit(url).scheme not in _SCHEMES:
            raise RefusedError("the scheduler named an address that is not HTTP")
        request = Request(url, data=body, headers=headers, method=verb)  # noqa: S310 - its scheme is known by now
        try:
            return cast(HTTPResponse, self._opener.open(request, timeout=self._idle_seconds))
        except HTTPError as error:
            error.close()
            said = f"the object store at {_host(url)} answered {error.code}"
            if error.code == _NOT_FOUND:
                raise NotFoundError(said) from None
            raise (UnavailableError if error.code in _SERVER_FAULTS else RefusedError)(said) from None
        except (OSError, HTTPException) as error:
            raise _broken(url, error) from None


def _broken(url: str, error: Exception) -> UnavailableError:
    reason = getattr(error, "reason", error)
    return UnavailableError(f"the object store at {_host(url)} cannot be reached ({type(reason).__name__})")


def _host(url: str) -> str:
    return urlsplit(url).hostname or "no host"
