"""Which bucket: ``s3://bucket/prefix?endpoint=https://store.example.org``, ``gs://bucket`` or ``az://container``.

* What says where and how stands in the URL; credentials never do.  They come from where each store's own tools look
  for them: its environment variables, or the identity of the machine.
* An option that is not known is an error, not something that is silently left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from corpgrid.errors import ConfigError

_FORM = "Write it like s3://bucket/prefix?endpoint=https://store.example.org&region=eu-1; gs:// and az:// work alike."
_ENVIRONMENT = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_OPTIONS = {
    "s3": ("endpoint", "region", "virtual_hosted_style_request"),
    "gs": ("endpoint",),
    "az": ("endpoint", "account_name", "use_emulator"),
}
_BUCKET_CHARACTERS = (3, 63)


class CloudPlace(NamedTuple):
    """A bucket, and the part of it that is ours.

    Attributes:
        scheme: ``s3``, ``gs`` or ``az``.
        bucket: its name.
        prefix: what every key begins with, without slashes at its ends; empty for the whole bucket.
        options: settings of the store.
        allow_http: whether it may be spoken to without TLS.
    """

    scheme: str
    bucket: str
    prefix: str
    options: Mapping[str, str]
    allow_http: bool

    @property
    def name(self) -> str:
        """As people are told of it."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def credentials(self) -> str:
        """The environment variables that hold its credentials."""
        return _ENVIRONMENT[self.scheme]


def parse(url: str) -> CloudPlace:
    """Read the URL of a bucket.

    Raises:
        ConfigError: it is not written like one, holds credentials, or names an option that there is not.
    """
    parts = _split(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _OPTIONS[parts.scheme]
    unknown = sorted(options.keys() - {*known, "allow_http"})
    if unknown:
        raise ConfigError(
            f"scheduler.blobs names options that a {parts.scheme}:// URL does not have: {', '.join(unknown)}",
            remedy=f"It has {', '.join(known)} and allow_http; credentials belong into the environment "
            f"({_ENVIRONMENT[parts.scheme]}).",
        )
    allow_http = _flag(options.pop("allow_http", "false"))
    if options.get("endpoint", "").startswith("http://") and not allow_http:
        raise ConfigError(
            f"the endpoint {options['endpoint']} of scheduler.blobs is not encrypted",
            remedy="Use https://, or add allow_http=true where the network itself is trusted.",
        )
    return CloudPlace(parts.scheme, parts.netloc, parts.path.strip("/"), options, allow_http)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("scheduler.blobs is no URL", remedy=_FORM) from None
    if "@" in parts.netloc:
        # Not even the bucket is repeated here: messages are logged.
        raise ConfigError(
            "scheduler.blobs holds credentials, and settings are shown to people",
            remedy=f"Leave out all before the @; set {_ENVIRONMENT.get(parts.scheme, 'them in the environment')}.",
        )
    if parts.scheme not in _OPTIONS:
        begins = f"begins with {parts.scheme}:" if parts.scheme else "is no URL: it begins with no scheme"
        raise ConfigError(f"scheduler.blobs {begins}", remedy=_FORM)
    low, high = _BUCKET_CHARACTERS
    if not low <= len(parts.netloc) <= high:
        raise ConfigError(f"scheduler.blobs names a bucket that is not {low} to {high} characters long", remedy=_FORM)
    if parts.fragment or "//" in parts.path.strip("/"):
        raise ConfigError("scheduler.blobs holds a fragment or an empty step in its path", remedy=_FORM)
    return parts


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ConfigError(f"allow_http is {text!r} in scheduler.blobs", remedy="It is true or false.")
    return text == "true"
