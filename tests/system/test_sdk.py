"""The library against a real grid: what comes back, what goes wrong and how that is told."""

from __future__ import annotations

import functools
import sys
import threading
import time
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import corpgrid
from corpgrid.domain.device import DeviceState
from tests.system.company import wait_until
from tests.system.own_grid import embedded_grid
from tests.unit.sdk.wheel_maker import installed_wheel, make_wheel

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

FACTOR = 2


@pytest.fixture(scope="module")
def grid() -> Iterator[corpgrid.Grid]:
    with embedded_grid() as grid:
        yield grid


def square(x: int) -> int:
    return x * x


def scaled(x: int) -> int:
    return FACTOR * x


def picky(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd \x1b[31m")
    return x


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


class Vector:
    def __init__(self, *parts: float) -> None:
        self.parts = parts

    def length(self) -> float:
        return sum(part * part for part in self.parts) ** 0.5


class TestResults:
    def test_in_order(self, grid: corpgrid.Grid) -> None:
        assert list(grid.map(square, range(500))) == [x * x for x in range(500)]

    def test_as_completed(self, grid: corpgrid.Grid) -> None:
        found = {done.index: done.value for done in grid.map(square, range(100)).as_completed()}
        assert found == {x: x * x for x in range(100)}

    def test_twice_from_the_same_handle_and_from_another(self, grid: corpgrid.Grid) -> None:
        job = grid.map(square, [3, 4])
        assert list(job) == job.results() == grid.job(job.id).results() == [9, 16]

    def test_a_generator_of_many_items(self, grid: corpgrid.Grid) -> None:
        assert sum(grid.map(square, (x for x in range(5_000)), verify="none")) == sum(x * x for x in range(5_000))

    def test_a_single_call(self, grid: corpgrid.Grid) -> None:
        assert grid.submit(pow, 2, 10).result() == 1024
        assert grid.submit(functools.partial(int, base=16), "ff").result() == 255
        with pytest.raises(corpgrid.UsageError, match="has 2 tasks"):
            grid.map(square, [1, 2]).result()

    def test_items_that_are_no_data(self, grid: corpgrid.Grid) -> None:
        assert grid.map(Vector.length, [Vector(3.0, 4.0)]).results() == [5.0]
        assert grid.map(lambda vector: isinstance(vector, Vector), [Vector()]).results() == [True]

    def test_what_changed_here_since_the_last_call_is_seen(
        self, grid: corpgrid.Grid, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert grid.submit(scaled, 10).result() == 20
        monkeypatch.setitem(globals(), "FACTOR", 3)
        assert grid.submit(scaled, 10).result() == 30

    def test_arrays_through_a_package(self, grid: corpgrid.Grid, tmp_path: Path) -> None:
        def outer(row: np.ndarray[typing.Any, typing.Any]) -> np.ndarray[typing.Any, typing.Any]:
            return np.outer(row, row)

        rows = [np.arange(3.0), np.arange(4, dtype=np.int16)]
        with pytest.raises(corpgrid.UsageError, match="outer refers to numpy, which is in none") as caught:
            grid.map(outer, rows)
        assert "packages=['numpy']" in caught.value.remedy
        results = grid.map(outer, rows, packages=[str(installed_wheel(tmp_path, "numpy"))]).results()
        for row, result in zip(rows, results, strict=True):
            assert result.dtype == row.dtype
            assert np.array_equal(result, np.outer(row, row))

    def test_results_too_large_for_a_message(self, grid: corpgrid.Grid) -> None:
        sizes = [10, 70_000, 3_000_000]
        assert [len(result) for result in grid.map(bytes, sizes)] == sizes

    def test_a_local_wheel(self, grid: corpgrid.Grid, tmp_path: Path) -> None:
        wheel = make_wheel(tmp_path, "greeting", {"greeting.py": "def hello(name):\n    return f'hello {name}'\n"})

        def greet(name: str) -> str:
            import greeting  # type: ignore[import-not-found]

            return str(greeting.hello(name))

        assert grid.submit(greet, "you", packages=[str(wheel)]).result() == "hello you"


class TestFiles:
    def test_inputs(self, grid: corpgrid.Grid, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_text("1,2\n")

        def read(name: str) -> str:
            return Path("/in", name).read_text()

        for text in ("1,2\n", "1,2,3\n"):
            (tmp_path / "table.csv").write_text(text)
            job = grid.submit(read, "data/table.csv", inputs={"data/table.csv": tmp_path / "table.csv"})
            assert job.result() == text

    def test_outputs_and_logs(self, grid: corpgrid.Grid, tmp_path: Path) -> None:
        def write(size: int) -> None:
            sys.stdout.write(f"writing {size}\n")
            Path("deep").mkdir()
            Path("deep/file.bin").write_bytes(bytes(size))

        job = grid.map(write, [1, 2_000_000])
        for done in job.as_completed():
            (saved,) = job.save_outputs(done, tmp_path / str(done.index))
            assert saved == tmp_path / str(done.index) / "deep" / "file.bin"
            assert saved.stat().st_size == done.outputs[0].size_bytes
        assert (tmp_path / "1" / "deep" / "file.bin").stat().st_size == 2_000_000
        (attempt,) = job.logs(0)
        assert attempt.log == b"writing 1\n"
        with pytest.raises(corpgrid.NotFoundError, match="has the tasks 0 to 1, and not 2"):
            job.logs(2)


class TestFailures:
    LIMITS = corpgrid.Limits(max_attempts=1)

    def test_a_failed_task_is_an_error_in_its_place(self, grid: corpgrid.Grid) -> None:
        job = grid.map(picky, range(4), limits=self.LIMITS)
        results = iter(job)
        assert next(results) == 0
        with pytest.raises(corpgrid.TaskFailedError, match=r"task 1 failed \(raised\): ValueError: 1 is odd") as caught:
            next(results)
        assert (caught.value.index, caught.value.reason) == (1, "raised")
        assert "in picky" in caught.value.detail
        assert "\x1b" not in str(caught.value) + caught.value.detail + "".join(caught.value.__notes__)
        assert any(note.startswith("On device dev_") for note in caught.value.__notes__)

    def test_the_others_can_be_had(self, grid: corpgrid.Grid) -> None:
        job = grid.map(picky, range(4), limits=self.LIMITS)
        found = []
        with pytest.raises(corpgrid.TaskFailedError):
            found.extend(done.value for done in job.as_completed())
        returned = job.results(errors="return")
        assert [value for value in returned if not isinstance(value, Exception)] == [0, 2]
        assert [value.index for value in returned if isinstance(value, corpgrid.TaskFailedError)] == [1, 3]
        assert job.wait().state == "failed"

    def test_a_package_that_is_imported_inside_and_not_brought(self, grid: corpgrid.Grid) -> None:
        def fit(_: int) -> str:
            import sklearn

            return str(sklearn.__version__)

        with pytest.raises(corpgrid.TaskFailedError, match="No module named 'sklearn'") as caught:
            grid.submit(fit, 1, limits=self.LIMITS).result()
        assert "packages=" in caught.value.remedy
        assert caught.value.__notes__[-1] == f"-> {caught.value.remedy}"

    def test_an_array_without_its_package(self, grid: corpgrid.Grid) -> None:
        with pytest.raises(corpgrid.TaskFailedError, match="there is an array in it, and no NumPy here") as caught:
            grid.map(len, [np.arange(3)], limits=self.LIMITS).results()
        assert "packages=" in caught.value.remedy

    def test_a_result_that_is_no_data(self, grid: corpgrid.Grid) -> None:
        with pytest.raises(corpgrid.TaskFailedError, match="not_data"):
            grid.submit(set, [1], limits=self.LIMITS).result()

    def test_a_task_that_takes_too_long(self, grid: corpgrid.Grid) -> None:
        limits = corpgrid.Limits(wall_seconds=0.2, max_attempts=1)
        with pytest.raises(corpgrid.TaskFailedError, match="wall_seconds"):
            grid.submit(sleep, 60.0, limits=limits).result()


class TestJobs:
    def test_cancelled(self, grid: corpgrid.Grid) -> None:
        job = grid.map(sleep, [0.0, 60.0, 60.0])
        results = iter(job)
        assert next(results) == 0.0
        assert job.cancel("the test is over").state == "cancelled"
        with pytest.raises(corpgrid.JobCancelledError):
            next(results)
        assert job.wait().reason == "the test is over"
        assert "cancelled" in job.why().summary

    def test_waiting_has_an_end(self, grid: corpgrid.Grid) -> None:
        job = grid.submit(sleep, 60.0)
        rows = []
        with pytest.raises(corpgrid.UnavailableError, match=r"did not end within 0\.1 s"):
            job.wait(timeout_seconds=0.1, progress=rows.append)
        assert rows[0].id == job.id
        job.cancel()
        assert job.wait(timeout_seconds=60.0).state == "cancelled"

    def test_a_paused_device_is_why(self, grid: corpgrid.Grid) -> None:
        (device,) = grid.devices()
        assert grid.set_device(device.id, "paused", "lunch").state is DeviceState.PAUSED
        try:
            job = grid.submit(square, 3)
            wait_until(lambda: "paused" in job.why().summary, "the pause is why")
            assert [obstacle.reason for obstacle in job.why().obstacles] == ["paused"]
            assert "lunch" in grid.why_device(device.id).summary
        finally:
            grid.set_device(device.id, "active")
        assert job.result() == 9
        with pytest.raises(corpgrid.UsageError, match="state is 'asleep'"):
            grid.set_device(device.id, "asleep")

    def test_requirements_that_nobody_has(self, grid: corpgrid.Grid) -> None:
        job = grid.submit(square, 3, requirements=corpgrid.Requirements(labels=("lab",)))
        assert "lab" in job.why().obstacles[0].detail
        job.cancel()

    def test_what_is_known_of_it(self, grid: corpgrid.Grid) -> None:
        job = grid.map(square, range(10), name="ten squares", verify="trusted", priority=60)
        assert job.wait().counts.final == 10
        row = grid.jobs(limit=1)[0]
        assert (row.id, row.name, row.priority, row.state) == (job.id, "ten squares", 60, "done")
        assert len(grid.tasks(job.id, limit=4)) == 4
        report = job.report()
        assert report.executions_per_task == 1.0
        assert "10 of 10 results are final" in report.standing
        assert grid.info().version == corpgrid.__version__

    def test_what_there_is_not(self, grid: corpgrid.Grid) -> None:
        for ask in (grid.job, grid.tasks):
            with pytest.raises(corpgrid.NotFoundError, match="there is no job job_none"):
                ask("job_none")
        with pytest.raises(corpgrid.NotFoundError, match="there is no device dev_none"):
            grid.device("dev_none")
        with pytest.raises(corpgrid.UsageError, match="at least one item"):
            grid.map(square, [])


class TestKeys:
    def test_a_key_that_nobody_trusts(self, grid: corpgrid.Grid) -> None:
        with (
            corpgrid.connect(grid.address, key=corpgrid.PrivateKey.generate()) as stranger,
            pytest.raises(corpgrid.TrustError, match="no such key is trusted here"),
        ):
            stranger.submit(square, 3)

    def test_looking_needs_no_key(self, grid: corpgrid.Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORPGRID_CLIENT_KEY_FILE", str(tmp_path / "none.pem"))
        with corpgrid.connect(grid.address) as onlooker:
            assert len(onlooker.devices()) == 1
            with pytest.raises(corpgrid.NotFoundError, match="there is no key file"):
                onlooker.submit(square, 3)


class TestExecutor:
    def test_calls(self, grid: corpgrid.Grid) -> None:
        with grid.executor(name="calls", verify="none") as pool:
            futures = [pool.submit(pow, 2, exponent) for exponent in range(300)]
            assert [future.result(60) for future in futures] == [2**exponent for exponent in range(300)]
            assert list(pool.map(max, [1, 5], [3, 2])) == [3, 5]
            assert pool.submit(int, "ff", base=16).result(60) == 255
            jobs = [row for row in grid.jobs() if row.name == "calls"]
            assert len(jobs) < 20, "calls of one function travel together"
        with pytest.raises(corpgrid.UsageError, match="this executor was shut down"):
            pool.submit(pow, 2, 2)

    def test_errors_belong_to_their_call(self, grid: corpgrid.Grid) -> None:
        with grid.executor(limits=corpgrid.Limits(max_attempts=1)) as pool:
            good, bad = pool.submit(picky, 2), pool.submit(picky, 1)
            unsent = pool.submit(lambda lock: lock, threading.Lock())
            assert good.result(60) == 2
            assert isinstance(bad.exception(60), corpgrid.TaskFailedError)
            assert isinstance(unsent.exception(60), corpgrid.UsageError)

    def test_leaving_by_an_error_cancels(self, grid: corpgrid.Grid) -> None:
        futures = []

        def leave() -> None:
            with grid.executor(name="left") as pool:
                futures.append(pool.submit(sleep, 60.0))
                wait_until(lambda: any(row.name == "left" for row in grid.jobs()), "it was submitted")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave()
        assert futures[0].cancelled()
        (row,) = [row for row in grid.jobs() if row.name == "left"]
        assert row.state == "cancelled"

    def test_a_cancelled_future_stays_cancelled(self, grid: corpgrid.Grid) -> None:
        with grid.executor() as pool:
            future = pool.submit(sleep, 0.2)
            assert future.cancel()
            assert pool.submit(pow, 2, 3).result(60) == 8
        assert future.cancelled()


def test_many_threads_share_a_grid(grid: corpgrid.Grid) -> None:
    def ask(number: int) -> list[int]:
        return grid.map(lambda x: x + number, range(20)).results()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[x + number for x in range(20)] for number in range(8)]
