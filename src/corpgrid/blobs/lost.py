"""What is said of a blob that is gone or damaged: to an operator, and to people whose job named it."""

from __future__ import annotations

from corpgrid.domain.ids import Digest, digest_text
from corpgrid.errors import DigestError, NotFoundError


def gone(digest: Digest, place: object) -> NotFoundError:
    """A blob is not where blobs are."""
    return NotFoundError(
        f"there is no blob {digest_text(digest)} in {place}",
        remedy="Submit the job that names it again, or restore it from a backup.  See who deleted it: CorpGrid deletes "
        "only what no job needs.",
    )


def damaged(digest: Digest, aside: object) -> DigestError:
    """A blob's bytes are not those of its name any more; they were taken out of its place."""
    return DigestError(
        f"the stored blob {digest_text(digest)} is damaged; it was moved to {aside}",
        remedy="Submit the job that names it again, or restore it from a backup; check the disk if it happens twice.",
    )
