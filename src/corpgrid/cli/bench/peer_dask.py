"""Dask's distributed scheduler: worker processes of one thread each, one client.

``--saturation=inf`` hands all tasks to the workers at once, its best setting for tasks that do nothing.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from typing import Any

from corpgrid.cli.bench.peer_run import arguments, report


def noop(item: int) -> int:
    """The task of which only its way is measured."""
    return item


def main() -> None:
    """Measure it."""
    parser = arguments("Dask, measured as our grid is.")
    parser.add_argument("--saturation", default="")
    asked = parser.parse_args()
    # By name: the program is complete without its peers, and so are its types.
    dask: Any = importlib.import_module("dask")
    distributed: Any = importlib.import_module("distributed")
    if asked.saturation:
        dask.config.set({"distributed.scheduler.worker-saturation": asked.saturation})
    with (
        tempfile.TemporaryDirectory(prefix="dask-") as folder,
        dask.config.set({"temporary-directory": folder}),
        distributed.LocalCluster(
            n_workers=asked.workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def map_all(tasks: int) -> Sequence[int]:
            values: list[int] = client.gather(client.map(noop, range(tasks), pure=False))
            return values

        def single(item: int) -> int:
            value: int = client.submit(noop, item, pure=False).result()
            return value

        report(asked, map_all, single)


if __name__ == "__main__":
    main()
