"""Blobs in a bucket keep their contract on a server of this process; ``tests/system`` has a real one."""

from __future__ import annotations

from tests.contracts.cloud import CloudContract


class TestMoto(CloudContract):
    """The company's blobs."""
