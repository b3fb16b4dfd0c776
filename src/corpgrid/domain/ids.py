"""Names of things, as types: never a bare string where a name is meant.

* A **digest** is 32 bytes of BLAKE3; its text form is ``b3:`` and 64 hexadecimal digits.
* A **job id** is made from the digest of the signed specification, so that submitting the same signed bytes twice
  names the same job: the specification is its own idempotency key.
* A **device id** and a **key id** are made from a public key, so that nobody can claim another's.
* A **task** is named by its job and its index from 0; people write ``job_abc/17``.
* An **epoch** is the number of a lease: one sequence for the whole grid, strictly rising.
"""

from __future__ import annotations

import base64
from typing import NewType

from corpgrid.errors import UsageError

JobId = NewType("JobId", str)
DeviceId = NewType("DeviceId", str)
KeyId = NewType("KeyId", str)
OwnerId = NewType("OwnerId", str)
SiteId = NewType("SiteId", str)
Digest = NewType("Digest", bytes)
Epoch = NewType("Epoch", int)
TaskKey = tuple[JobId, int]

DIGEST_BYTES = 32
_ID_BYTES = 10


def _short(prefix: str, seed: bytes) -> str:
    return prefix + base64.b32encode(seed[:_ID_BYTES]).decode().lower()


def job_id(spec_digest: Digest) -> JobId:
    """The id of the job whose signed specification has this digest."""
    return JobId(_short("job_", spec_digest))


def device_id(key_digest: Digest) -> DeviceId:
    """The id of the device whose public key has this digest."""
    return DeviceId(_short("dev_", key_digest))


def key_id(key_digest: Digest) -> KeyId:
    """The id of the public key with this digest."""
    return KeyId(_short("key_", key_digest))


def digest_text(digest: bytes) -> str:
    """``b3:`` and 64 hexadecimal digits."""
    return "b3:" + digest.hex()


def parse_digest(text: str) -> Digest:
    """Read a digest's text form.

    Raises:
        UsageError: the text is not a digest.
    """
    prefix, _, digits = text.partition(":")
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        digest = b""
    if prefix != "b3" or len(digest) != DIGEST_BYTES:
        raise UsageError(f"{text!r} is not a digest", remedy="A digest is b3: and 64 hexadecimal digits.")
    return Digest(digest)


def task_text(key: TaskKey) -> str:
    """``job_abc/17``."""
    return f"{key[0]}/{key[1]}"
