"""The limits of a connection, all named; the configuration sets them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """What one call may take.

    Attributes:
        message_bytes: largest request or reply.
        blob_bytes: largest blob that a client may store.
        stream_calls: how many calls may be under way on one stream; 0: every call goes by itself.
        connections: how many streams of calls a server has at once.
        stream_bytes: largest request that goes on a stream.
        chunk_bytes: bytes in one message of a blob's stream.
        call_seconds: how long a call may take beyond what it waits by itself, reconnecting included.
        idle_seconds: how long a blob's stream may stand still.
        keepalive_seconds: how often a quiet connection is probed.
        grace_seconds: how long calls under way may take to end when a server stops.
    """

    message_bytes: int = 32 << 20
    blob_bytes: int = 8 << 30
    stream_calls: int = 64
    connections: int = 100_000
    stream_bytes: int = 256 << 10
    chunk_bytes: int = 1 << 20
    call_seconds: float = 30.0
    idle_seconds: float = 30.0
    keepalive_seconds: float = 20.0
    grace_seconds: float = 5.0
