"""What a worker promises over any sandbox, written once; a suite subclasses `WorkerContract` and gives ``bench``.

The functions here are the jobs: they are pickled by value and run in the runner.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import pytest

from corpgrid.agent.progress import Finished, RunnerTask
from corpgrid.agent.runner_spec import RunnerPlace, runner_spec, sandbox_limits
from corpgrid.agent.worker import Worker
from corpgrid.domain.job import Limits
from corpgrid.domain.messages import Outcome
from corpgrid.errors import LoadError
from corpgrid.ports.sandbox import Sandbox
from corpgrid.wire import data
from tests.contracts import hostile_jobs
from tests.contracts.hostile_jobs import ATTACKS, RESULT_BYTES, attacker, closes_its_pipe

cloudpickle.register_pickle_by_value(sys.modules[__name__])
cloudpickle.register_pickle_by_value(hostile_jobs)

PATIENCE_SECONDS = 20.0
LIMITS = Limits(wall_seconds=PATIENCE_SECONDS, memory_bytes=512 << 20, log_bytes=4096, result_bytes=RESULT_BYTES)


class Bench(NamedTuple):
    """A sandbox, an interpreter in it, and where it works."""

    sandbox: Sandbox
    place: RunnerPlace

    async def start(self, limits: Limits = LIMITS) -> Worker:
        return await Worker.start(self.sandbox, runner_spec(self.place, sandbox_limits(limits)))

    async def loaded(self, function: Callable[[Any], Any], limits: Limits = LIMITS) -> Worker:
        (self.place.job / "function.pkl").write_bytes(cloudpickle.dumps(function))
        worker = await self.start(limits)
        await worker.load(engine="python", entry={"kind": "function", "file": "function.pkl"}, limits=limits)
        return worker


def tasks(*values: Any) -> list[RunnerTask]:
    return [RunnerTask(index, 1, b"d" + data.encode(value)) for index, value in enumerate(values)]


async def finish(worker: Worker, *values: Any) -> list[Finished]:
    """Run these and close the worker."""
    found: list[Finished] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for batch in worker.run(tasks(*values)):
            found += batch
        await worker.close()
    return found


class WorkerContract:
    """Inherit, and give ``bench``."""

    async def test_tasks_run_in_order_and_come_in_batches(self, bench: Bench):
        worker = await bench.loaded(lambda x: x * 2)
        found = await finish(worker, *range(300))
        assert [(f.index, f.attempt, f.outcome) for f in found] == [(i, 1, Outcome.RESULT) for i in range(300)]
        assert [data.decode(f.payload) for f in found] == [2 * i for i in range(300)]
        assert worker.not_started == []

    async def test_a_spare_takes_a_job_that_came_later(self, bench: Bench):
        worker = await bench.start()
        (bench.place.job / "late.py").write_text("def f(x): return [x]")
        await worker.load(engine="python", entry={"kind": "module", "module": "late", "name": "f"}, limits=LIMITS)
        (found,) = await finish(worker, 7)
        assert data.decode(found.payload) == [7]

    async def test_more_may_be_given_while_tasks_run(self, bench: Bench):
        worker = await bench.loaded(lambda x: x)
        given, found = 0, []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < 100:
                if given < 100:
                    worker.give([RunnerTask(given, 0, b"d" + data.encode(given))])
                    given += 1
                if given % 10 == 0:
                    found += await worker.next_batch()
            await worker.close()
        assert [f.index for f in found] == list(range(100))

    async def test_logs_belong_to_their_tasks(self, bench: Bench):
        def chatty(x: int) -> None:
            os.write(1, b"\0%d\xff\x1b[31m" % x)
            os.write(2, b"x" * x)

        found = await finish(await bench.loaded(chatty), 0, 10, 100_000, 5)
        assert found[1].log == b"\x0010\xff\x1b[31mxxxxxxxxxx"
        assert len(found[2].log) <= LIMITS.log_bytes
        assert found[2].log_dropped > 90_000
        assert found[3].log == b"\x005\xff\x1b[31mxxxxx"

    async def test_a_flood_of_log_stops_nobody(self, bench: Bench):
        def floods(x: int) -> int:
            for _ in range(x):
                os.write(2, b"\0" * 65_536)
            return x

        found = await finish(await bench.loaded(floods), 500, 1, 0)
        assert [data.decode(f.payload) for f in found] == [500, 1, 0]
        assert found[0].log_dropped > 30_000_000

    async def test_failures_carry_reason_and_story(self, bench: Bench):
        def fails(x: int) -> float:
            return 1 / x

        bad, good = await finish(await bench.loaded(fails), 0, 1)
        assert (bad.outcome, bad.reason) == (Outcome.FAILED, "raised")
        assert bad.detail.endswith("ZeroDivisionError: division by zero\n")
        assert good.outcome is Outcome.RESULT

    async def test_files_are_left_where_the_agent_finds_them(self, bench: Bench):
        def leaves(x: int) -> None:
            if x:
                Path("file.txt").write_text(str(x))

        first, second = await finish(await bench.loaded(leaves), 0, 5)
        assert first.outputs is None
        assert second.outputs == bench.place.work / "task-1-1"
        assert (second.outputs / "file.txt").read_text() == "5"

    async def test_a_task_that_never_ends_is_ended(self, bench: Bench):
        def spins(x: int) -> int:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.stdout.write(f"task {x}\n")
            while x == 1:
                pass
            return x

        limits = replace(LIMITS, wall_seconds=0.5)
        worker = await bench.loaded(spins, limits)
        found = await finish(worker, 0, 1, 2, 3)
        assert [(f.outcome, f.reason) for f in found] == [(Outcome.RESULT, ""), (Outcome.FAILED, "wall_seconds")]
        assert found[1].detail == "task 1\nit ran for more than wall_seconds, 0.5"
        assert [task.index for task in worker.not_started] == [2, 3]

    async def test_each_task_has_its_own_time(self, bench: Bench):
        limits = replace(LIMITS, wall_seconds=1.0)
        found = await finish(await bench.loaded(time.sleep, limits), *[0.3] * 6)
        assert [f.outcome for f in found] == [Outcome.RESULT] * 6

    @pytest.mark.parametrize(
        ("number", "reason"), [(signal.SIGSEGV, "sigsegv"), (signal.SIGKILL, "sigkill"), (signal.SIGABRT, "sigabrt")]
    )
    async def test_the_task_under_which_it_dies_bears_it(self, bench: Bench, number: int, reason: str):
        def dies(x: int) -> int:
            sys.stdout.write(f"task {x}\n")
            if x == 1:
                os.kill(os.getpid(), number)
            return x

        worker = await bench.loaded(dies)
        found = await finish(worker, 0, 1, 2)
        assert (found[-1].index, found[-1].outcome) == (1, Outcome.CRASHED)
        # The first result may still have been on its way when the process died: that task is handed back.
        assert sorted([f.index for f in found] + [t.index for t in worker.not_started]) == [0, 1, 2]
        assert found[-1].reason == reason
        assert found[-1].log.startswith(b"task 1\n")
        assert found[-1].detail.endswith(f"the runner was ended by {reason.upper()}")
        assert worker.not_started[-1] == tasks(0, 1, 2)[2]
        assert not worker.alive

    async def test_an_exit_of_the_process_is_named(self, bench: Bench):
        (found,) = await finish(await bench.loaded(lambda _: os._exit(3)), 1)
        assert (found.outcome, found.reason) == (Outcome.CRASHED, "exit")
        assert "exit status 3" in found.detail

    @pytest.mark.parametrize("attack", ATTACKS)
    async def test_a_runner_that_forges_is_ended_and_the_next_is_fine(self, bench: Bench, attack: str):
        worker = await bench.loaded(attacker(attack))
        found = await finish(worker, 0, 1, 2)
        assert (found[-1].outcome, found[-1].reason) == (Outcome.CRASHED, "protocol"), found[-1]
        assert found[-1].index in (1, 2)
        assert sorted([f.index for f in found] + [t.index for t in worker.not_started]) == [0, 1, 2]
        again = await finish(await bench.loaded(lambda x: x), 1, 2)
        assert [f.outcome for f in again] == [Outcome.RESULT] * 2

    async def test_a_runner_that_goes_silent_is_ended(self, bench: Bench):
        worker = await bench.loaded(closes_its_pipe, replace(LIMITS, wall_seconds=3.0))
        found = await finish(worker, 0, 1, 2)
        # A sandbox whose own processes hold the pipe too does not show that it was closed: then the time runs out.
        assert (found[-1].index, found[-1].reason) in ((1, "protocol"), (1, "wall_seconds"))
        assert sorted([f.index for f in found] + [t.index for t in worker.not_started]) == [0, 1, 2]

    async def test_a_forged_mark_hurts_only_its_own_log(self, bench: Bench):
        def forges(x: int) -> int:
            (frame,) = [f for f in sys._current_frames().values() if "Runner" in str(f.f_code)] or [sys._getframe()]
            while frame.f_back is not None and "_mark" not in vars(frame.f_locals.get("self", object)):
                frame = frame.f_back
            mark = frame.f_locals["self"]._mark
            if x == 1:
                os.write(2, b"before" + mark + b"1.1\0\n" + mark + b"2.1\0\n" + b"after")
            return x

        found = await finish(await bench.loaded(forges), 0, 1, 2)
        assert [data.decode(f.payload) for f in found] == [0, 1, 2]
        assert found[1].log == b"before"

    async def test_freezing_stops_the_work_and_the_clock(self, bench: Bench):
        def ticks(seconds: float) -> int:
            deadline, count = time.monotonic() + seconds, 0
            while time.monotonic() < deadline:
                Path("tick").write_text(str(count))
                count += 1
            return count

        limits = replace(LIMITS, wall_seconds=3.0)
        worker = await bench.loaded(ticks, limits)
        worker.give(tasks(1.0))
        tick = bench.place.work / "out" / "tick"
        while not tick.exists():  # noqa: ASYNC110 - a file made by another process
            await asyncio.sleep(0.01)
        worker.freeze()
        seen = tick.read_text()
        await asyncio.sleep(0.3)
        assert tick.read_text() == seen
        await asyncio.sleep(3.0)
        worker.thaw()
        (found,) = await worker.next_batch()
        assert found.outcome is Outcome.RESULT
        await worker.close()

    async def test_a_frozen_runner_can_be_ended(self, bench: Bench):
        worker = await bench.loaded(time.sleep)
        worker.give(tasks(60))
        worker.freeze()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.close()
        assert [task.index for task in worker.not_started] == [0]

    async def test_when_the_agent_ends_it_nobody_is_to_blame(self, bench: Bench):
        worker = await bench.loaded(lambda x: time.sleep(60) if x else x)
        worker.give(tasks(0, 1, 2))
        (first,) = await worker.next_batch()
        worker.kill()
        assert not worker.alive
        assert await worker.next_batch() == []
        await worker.close()
        assert first.outcome is Outcome.RESULT
        assert [task.index for task in worker.not_started] == [1, 2]
        worker.give(tasks(0)[:1])
        assert [task.index for task in worker.not_started] == [1, 2, 0]

    async def test_results_that_nobody_takes_are_not_gathered_without_end(self, bench: Bench):
        worker = await bench.loaded(lambda _: b"x" * (8 << 20))
        worker.give(tasks(*range(40)))
        await asyncio.sleep(1.0)
        assert worker.untaken_bytes < 100 << 20
        found: list[Finished] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < 40:
                found += await worker.next_batch()
        assert all(len(f.payload) > 8 << 20 for f in found)
        await worker.close()

    async def test_large_items_arrive(self, bench: Bench):
        worker = await bench.loaded(len)
        found = await finish(worker, *(b"x" * (5 << 20) for _ in range(6)))
        assert [data.decode(f.payload) for f in found] == [5 << 20] * 6

    @pytest.mark.parametrize(
        ("source", "reason", "told"),
        [
            ("raise ValueError('no model')", "raised", "ValueError: no model"),
            ("import os; print('bye'); os._exit(7)", "exit", "bye\nthe runner ended with exit status 7"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "sigsegv", "SIGSEGV"),
            ("import time; time.sleep(60)", "load_seconds", "too long"),
        ],
    )
    async def test_a_load_that_fails_says_why(self, bench: Bench, source: str, reason: str, told: str):
        (bench.place.job / "broken.py").write_text(source)
        worker = await bench.start()
        with pytest.raises(LoadError) as refusal:
            await worker.load(
                engine="python", entry={"kind": "module", "module": "broken", "name": "f"}, limits=LIMITS, seconds=2.0
            )
        assert refusal.value.reason == reason
        assert told in refusal.value.detail
        await worker.close()

    async def test_a_process_that_is_no_runner_is_found_out(self, bench: Bench):
        spec = runner_spec(bench.place, sandbox_limits(LIMITS))
        argv = (bench.place.python, "-c", "import sys; sys.exit('not today')")
        with pytest.raises(LoadError, match="not today"):
            await Worker.start(bench.sandbox, replace(spec, argv=argv))

    async def test_a_load_after_the_end_is_refused(self, bench: Bench):
        worker = await bench.start()
        worker.kill()
        await worker.close()
        with pytest.raises(LoadError, match="killed"):
            await worker.load(engine="python", entry={"kind": "self_test"}, limits=LIMITS)

    async def test_threads_of_the_job_hold_nobody_up(self, bench: Bench):
        def leaves_a_thread(_: Any) -> None:
            threading.Thread(target=time.sleep, args=(600,)).start()

        started = time.monotonic()
        await finish(await bench.loaded(leaves_a_thread), 1)
        assert time.monotonic() - started < PATIENCE_SECONDS / 2
