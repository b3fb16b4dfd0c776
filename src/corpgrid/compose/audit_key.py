"""The secret of the audit coin: one for a grid, so that every scheduler draws the same.

* The one scheduler of an embedded store keeps it in a file of its folder that nobody else can read.
* Schedulers that share a store share the secret, and it stands there.  The first of them brings it: that of its folder,
  if there is one, so that a grid keeps its secret; else a new one.  What other folders hold is not used.
* Who can read it can foresee which results are audited, and cheat on the others.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from corpgrid.errors import ConfigError
from corpgrid.ports.store import Store

log = logging.getLogger(__name__)

KEY_BYTES = 32
_FILE = "audit.key"
_NAME = "audit"
_PRIVATE = 0o600
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


async def audit_key_of(store: Store, folder: Path) -> bytes:
    """The secret of the grid whose state a store holds.

    Raises:
        ConfigError: what is kept is no such secret.
        StoreError: the store cannot be asked.
    """
    path = folder / _FILE
    own = _read(path)
    if not store.shared:
        return own or _made(path)
    from corpgrid.stores.postgres.store import PostgresStore  # noqa: PLC0415 - its driver comes with the extra `postgres`

    assert isinstance(store, PostgresStore), "the only shared store"
    key = await store.secret(_NAME, own or secrets.token_bytes(KEY_BYTES))
    _require_key(key, f"the row {_NAME!r} of the table secrets in {store.place}")
    if own and own != key:
        log.info("the grid's audit key is that in its database; %s is not used", path)
    return key


def _read(path: Path) -> bytes:
    """What the file holds; nothing if it is not there."""
    if not path.exists():
        return b""
    key = path.read_bytes()
    _require_key(key, str(path))
    return key


def _require_key(key: bytes, where: str) -> None:
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{where} is damaged", remedy="Delete it; a new one is made, and open audits are drawn anew.")


def _made(path: Path) -> bytes:
    """A new one, whole or not at all."""
    key, draft = secrets.token_bytes(KEY_BYTES), path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(draft, _CREATE, _PRIVATE), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return key
