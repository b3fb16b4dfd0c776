"""gRPC, imported so that the process may go on starting others.

gRPC hooks into ``fork`` to make its own threads survive it.  An agent forks for every runner and only ever to run
another program, and there the hooks do nothing but harm: now and then they crash the child before it got so far.
gRPC reads the switch for them once, when it is imported.

    from corpgrid.transport.forkless import grpc
"""

from __future__ import annotations

import os

_SWITCH = "GRPC_ENABLE_FORK_SUPPORT"
_before = os.environ.get(_SWITCH)
os.environ[_SWITCH] = "0"

import grpc  # noqa: E402 - the switch comes first

if _before is None:
    del os.environ[_SWITCH]
else:
    os.environ[_SWITCH] = _before

__all__ = ["grpc"]
