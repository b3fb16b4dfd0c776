"""gRPC, imported as CorpGrid needs it; both switches are read once, when it is imported, and then put back.

* It hooks into ``fork`` to make its own threads survive it.  An agent forks for every runner, and only to run another
  program, and there the hooks do nothing but harm: now and then they crash the child before it got so far.
* On Linux it waits for sockets in its older way: a round trip on a local socket takes a third less time and CPU that
  way (docs/performance.md).  ``GRPC_EXPERIMENTS``, where it is set, has the last word.

    from corpgrid.transport.rpc import grpc
"""

from __future__ import annotations

import os
import sys

_SWITCHES = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
if sys.platform == "linux" and "GRPC_EXPERIMENTS" not in os.environ:
    _SWITCHES["GRPC_EXPERIMENTS"] = "-event_engine_client,-event_engine_listener"
_before = {name: os.environ.get(name) for name in _SWITCHES}
os.environ.update(_SWITCHES)

import grpc  # noqa: E402 - the switches come first

for _name, _value in _before.items():
    if _value is None:
        del os.environ[_name]
    else:
        os.environ[_name] = _value

__all__ = ["grpc"]
