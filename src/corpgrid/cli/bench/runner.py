"""What a sandboxed runner costs: a cold start against a bare interpreter, and one task on a warm runner.

A task is timed as the agent sees it: given to the worker, run in the sandbox, its record and log back.  One at a time
is the worst case; by the hundred is how short tasks travel.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cloudpickle

from corpgrid.agent.progress import RunnerTask
from corpgrid.agent.removal import remove_tree
from corpgrid.agent.runner_spec import RunnerPlace, runner_spec, sandbox_limits
from corpgrid.agent.runtime import lay_out
from corpgrid.agent.worker import Worker
from corpgrid.cli.bench.facts import machine_facts, milliseconds
from corpgrid.compose.adapters import choose_sandbox
from corpgrid.domain.job import Limits
from corpgrid.host.sandbox_python import RunnerPython, runner_python
from corpgrid.host.sandbox_user import choose_job_user
from corpgrid.ports.sandbox import Sandbox
from corpgrid.sdk.items import encode_item

_BATCH = 500
_FOLDER_MODE = 0o755


def measure_runner(*, tasks: int, starts: int) -> dict[str, Any]:
    """Medians in milliseconds."""
    folder = Path(tempfile.mkdtemp(prefix="corpgrid-bench-"))
    folder.chmod(_FOLDER_MODE)
    try:
        return asyncio.run(_Bench(folder).run(tasks=tasks, starts=starts))
    finally:
        remove_tree(folder)


class _Bench:
    def __init__(self, folder: Path) -> None:
        def noop(item: int) -> int:
            return item

        self._folder = folder
        self._sandbox: Sandbox = choose_sandbox("auto")
        self._python: RunnerPython = runner_python(choose_job_user())
        self._runtime = lay_out(folder / "runtime")
        self._job = folder / "job"
        self._job.mkdir(mode=_FOLDER_MODE)
        (self._job / "function.pkl").write_bytes(cloudpickle.dumps(noop))
        self._made = 0

    async def run(self, *, tasks: int, starts: int) -> dict[str, Any]:
        machine, bare, cold = machine_facts(), [], []
        for _ in range(starts):
            bare.append(self._bare_seconds())
            started = time.perf_counter()
            worker = await self._start()
            await self._one(worker, 0)
            cold.append(time.perf_counter() - started)
            await worker.close()
        worker = await self._start()
        single = [await self._one(worker, index) for index in range(tasks)]
        batch_seconds = await self._many(worker, tasks)
        await worker.close()
        return {
            "bare_python_ms": milliseconds(median(bare)),
            "cold_start_ms": milliseconds(median(cold)),
            "cold_overhead_ms": milliseconds(median(cold) - median(bare)),
            "task_ms": milliseconds(median(single)),
            "task_in_batch_ms": milliseconds(batch_seconds / tasks),
            "sandbox": self._sandbox.name,
            **machine,
        }

    def _bare_seconds(self) -> float:
        started = time.perf_counter()
        subprocess.run([self._python.path, "-c", "pass"], check=True)
        return time.perf_counter() - started

    async def _start(self) -> Worker:
        self._made += 1
        work = self._folder / f"work-{self._made}"
        work.mkdir(mode=_FOLDER_MODE)
        place = RunnerPlace(
            python=self._python.path, runtime=self._runtime, work=work, job=self._job, also=self._python.read_only
        )
        worker = await Worker.start(self._sandbox, runner_spec(place, sandbox_limits(Limits())))
        entry = {"kind": "function", "file": "function.pkl"}
        await worker.load(engine="python", entry=entry, limits=Limits())
        return worker

    async def _one(self, worker: Worker, index: int) -> float:
        started = time.perf_counter()
        async for _ in worker.run([RunnerTask(index, 0, encode_item(index))]):
            pass
        return time.perf_counter() - started

    async def _many(self, worker: Worker, tasks: int) -> float:
        given = [RunnerTask(index, 1, encode_item(index)) for index in range(tasks)]
        started = time.perf_counter()
        for first in range(0, tasks, _BATCH):
            async for _ in worker.run(given[first : first + _BATCH]):
                pass
        return time.perf_counter() - started
