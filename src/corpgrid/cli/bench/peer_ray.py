"""Ray on this machine: as many worker processes as are asked for, one driver, nothing told to anybody outside."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from corpgrid.cli.bench.peer_run import arguments, report

_STORE_BYTES = 256 << 20
_SECRET_BYTES = 32


def noop(item: int) -> int:
    """The task of which only its way is measured."""
    return item


def main() -> None:
    """Measure it."""
    asked = arguments("Ray, measured as our grid is.").parse_args()
    # A secret of this run alone: it would keep one in the user's home otherwise.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_TOKEN=secrets.token_hex(_SECRET_BYTES))
    # By name: the program is complete without its peers, and so are its types.
    ray: Any = importlib.import_module("ray")
    # A short name: it makes sockets below it.
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        ray.init(
            num_cpus=asked.workers,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            log_to_driver=False,
            _temp_dir=folder,
        )
        remote = ray.remote(noop)

        def map_all(tasks: int) -> Sequence[int]:
            values: list[int] = ray.get([remote.remote(item) for item in range(tasks)])
            return values

        def single(item: int) -> int:
            value: int = ray.get(remote.remote(item))
            return value

        try:
            report(asked, map_all, single)
        finally:
            ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
