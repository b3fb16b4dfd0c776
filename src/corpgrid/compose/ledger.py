"""What a scheduler keeps of the ledger in its own folder: the key that signs it, and what it signed last.

Neither is in the database: who can write there can neither sign a log of his own making, nor take the checkpoint back.
"""

from __future__ import annotations

from pathlib import Path

from corpgrid.host.keyfiles import ensure_private_key
from corpgrid.scheduler.sealer import Sealer
from corpgrid.trust.ledger import origin_of
from corpgrid.trust.note import NoteKey

KEY_FILE = "ledger.pem"
CHECKPOINT_FILE = "ledger.checkpoint"
VERIFIER_FILE = "ledger.pub"


class CheckpointFile:
    """The newest checkpoint in a file: whole, the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes:
        """It; empty if there is none."""
        return self._path.read_bytes() if self._path.exists() else b""

    def write(self, note: bytes) -> None:
        """Keep this one instead.

        It is not forced to the disk: after a power cut an older one is as good.
        """
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.write_bytes(note)
        draft.replace(self._path)


def sealer_of(grid: str, folder: Path) -> Sealer:
    """What seals the ledger of a grid for the scheduler that has this folder; its public key is written beside it.

    Raises:
        TrustError: the key's file cannot be used.
    """
    key, origin = ensure_private_key(folder / KEY_FILE), origin_of(grid)
    (folder / VERIFIER_FILE).write_text(f"{NoteKey(origin, key.public)}\n", encoding="ascii")
    return Sealer(origin, key, CheckpointFile(folder / CHECKPOINT_FILE))
