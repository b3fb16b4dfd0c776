"""The runner, from outside: what it answers to frames, whatever its tasks do."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import corpgrid
from corpgrid.wire import data
from corpgrid.wire.frames import read_done
from tests.unit.runner.driver import PlainRunner, item, mark, pickled

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_it_says_what_it_is(runner: PlainRunner):
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert runner.ready == ["ready", {"python": minor, "version": corpgrid.__version__}]


def test_results_come_in_order(runner: PlainRunner):
    runner.load_function(lambda x: {"square": x * x})
    done = runner.run(*range(500), attempt=3)
    assert [(d.index, d.attempt, d.ok) for d in done] == [(i, 3, True) for i in range(500)]
    assert [data.decode(d.payload) for d in done] == [{"square": i * i} for i in range(500)]
    assert all(0 <= d.seconds < 1 for d in done)


def test_pickled_items_are_opened(runner: PlainRunner):
    runner.load_function(lambda make: make(20))
    (done,) = runner.run_items(pickled(lambda x: x + 1))
    assert data.decode(done.payload) == 21


@pytest.mark.parametrize("content", [b"", b"x", b"d", b"d\xc1", b"q\x01"])
def test_an_item_that_is_none_fails_its_task(runner: PlainRunner, content: bytes):
    runner.load_function(lambda x: x)
    bad, good = runner.run_items(content, item(1))
    assert (bad.ok, bad.reason) == (False, "argument")
    assert good.ok


def test_a_pickle_that_cannot_be_opened_fails_its_task(runner: PlainRunner):
    runner.load_function(lambda x: x)
    (done,) = runner.run_items(b"pgarbage")
    assert done.reason == "raised"
    assert "UnpicklingError" in done.detail


def test_a_traceback_begins_with_the_job(runner: PlainRunner):
    def inner(x: int) -> float:
        return 1 / x

    def outer(x: int) -> float:
        return inner(x)

    runner.load_function(outer)
    (done,) = runner.run(0)
    assert done.reason == "raised"
    assert done.detail.startswith("Traceback (most recent call last):\n")
    assert done.detail.endswith("ZeroDivisionError: division by zero\n")
    assert "in outer" in done.detail.splitlines()[1]
    assert "corpgrid/runner" not in done.detail


def exits(_: Any) -> None:
    raise SystemExit(3)


def interrupts(_: Any) -> None:
    raise KeyboardInterrupt


def recurses(x: Any) -> Any:
    return recurses(x)


def recurses_by_turns(x: Any) -> Any:
    return sum(recurses_by_turns(y) for y in [x])


def raises_unprintable(_: Any) -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise SystemExit

        __repr__ = __str__

    raise UnprintableError


def raises_a_novel(_: Any) -> None:
    raise ValueError("\ud800\x00\x1b[31m" + "x" * 1_000_000)


def raises_noise(_: Any) -> None:
    error = ValueError("x")
    error.__notes__ = 7  # type: ignore[assignment]
    error.__cause__ = error
    raise error


def raises_a_group(_: Any) -> None:
    raise BaseExceptionGroup("many", [BaseExceptionGroup("x", [KeyError(i)]) for i in range(1000)])


def lies_about_its_class(_: Any) -> None:
    class LiarError(Exception):
        __class__ = property(lambda _: 1 / 0)  # type: ignore[assignment]

    raise LiarError


def has_no_name(_: Any) -> None:
    class Nameless(type):
        __name__ = property(lambda _: 1 / 0)  # type: ignore[assignment]

    raise Nameless("Hidden", (ValueError,), {})


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (exits, "SystemExit: 3"),
        (interrupts, "KeyboardInterrupt"),
        (recurses, "RecursionError"),
        (recurses_by_turns, "RecursionError"),
        (raises_unprintable, "UnprintableError"),
        (raises_a_novel, "xxx"),
        (raises_noise, "ValueError"),
        (raises_a_group, "BaseExceptionGroup"),
        (lies_about_its_class, "LiarError"),
        (has_no_name, "Hidden"),
    ],
)
def test_whatever_is_raised_fails_one_task(runner: PlainRunner, function: Any, told: str):
    runner.load_function(lambda x: function(x) if x else "fine")
    bad, good = runner.run(1, 0)
    assert (bad.ok, bad.reason, bad.payload) == (False, "raised", b"")
    assert told in bad.detail
    assert len(bad.detail) < 17_000
    assert good.ok


def test_no_memory_is_named_so(runner: PlainRunner):
    runner.load_function(lambda n: bytes(n) and None)
    bad, good = runner.run(1 << 60, 1)
    assert bad.reason == "memory_bytes"
    assert "MemoryError" in bad.detail
    assert good.ok


@pytest.mark.parametrize("value", [{1, 2}, object, lambda: 1, range(3), {"a": [{1}]}])
def test_a_result_that_is_no_data_is_named(runner: PlainRunner, value: Any):
    runner.load_function(lambda x: value if x else None)
    bad, good = runner.run(1, 0)
    assert bad.reason == "not_data"
    assert "its result cannot travel: value" in bad.detail
    assert "NumPy arrays and scalars" in bad.detail
    assert good.ok


def test_a_result_beyond_its_limit_is_named(runner: PlainRunner):
    runner.load_function(lambda n: b"x" * n, result_bytes=1000)
    bad, good = runner.run(1001, 990)
    assert bad.reason == "result_bytes"
    assert bad.payload == b""
    assert "1,004 bytes where result_bytes allows 1,000" in bad.detail
    assert good.ok


def test_what_a_task_prints_stands_before_its_mark(runner: PlainRunner):
    def chatty(x: int) -> None:
        sys.stdout.write(f"out {x}\n")
        sys.stderr.write(f"err {x}\n")
        os.write(1, b"raw %d\n" % x)
        sys.stdout.write("no end of line")

    runner.load_function(chatty)
    runner.run(5, 6)
    assert runner.log == b"".join(
        b"out %d\nerr %d\nraw %d\nno end of line" % (x, x, x) + mark(index) for index, x in enumerate((5, 6))
    )


def test_text_that_is_no_text_can_be_printed(runner: PlainRunner):
    runner.load_function(lambda _: sys.stdout.write("\ud800 é \x00\n"))
    (done,) = runner.run(1)
    assert done.ok
    assert runner.log == b"\\ud800 \xc3\xa9 \0\n" + mark(0)


def breaks_streams(_: Any) -> None:
    sys.stdout.close()
    sys.stderr = None  # type: ignore[assignment]
    os.close(1)
    os.close(2)


def test_a_task_may_break_its_streams_but_not_the_marks(runner: PlainRunner):
    runner.load_function(lambda x: breaks_streams(x) if x else "fine")
    bad, good = runner.run(1, 0)
    assert good.ok
    assert bad.ok
    assert runner.log == mark(0) + mark(1)


def test_its_input_is_empty_and_its_output_is_the_log(runner: PlainRunner):
    runner.load_function(lambda _: [sys.stdin.read(), str(Path("/proc/self/fd/0").readlink())])
    assert runner.result(1) == ["", "/dev/null"]


def test_children_do_not_inherit_the_control_pipes(runner: PlainRunner):
    def open_pipes(_: Any) -> int:
        import subprocess

        listed = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True).stdout
        return listed.count("pipe:")

    runner.load_function(open_pipes)
    assert runner.result(1) <= 2  # its own output


def test_files_that_a_task_leaves_are_set_aside(runner: PlainRunner):
    def leaves(name: str) -> str:
        if name:
            Path(name).mkdir()
            (Path(name) / "file.txt").write_text(name)
        return str(Path.cwd())

    runner.load_function(leaves)
    done = runner.run("a", "", "b", attempt=4)
    assert [d.has_outputs for d in done] == [True, False, True]
    assert {data.decode(d.payload) for d in done} == {str(runner.work / "out")}
    assert sorted(path.name for path in runner.work.iterdir()) == ["out", "task-0-4", "task-2-4"]
    assert (runner.work / "task-2-4" / "b" / "file.txt").read_text() == "b"
    assert list((runner.work / "out").iterdir()) == []


def test_a_task_may_lose_its_working_folder(runner: PlainRunner):
    def loses(x: int) -> None:
        if x == 0:
            os.chdir("/")
        elif x == 1:
            Path.cwd().rmdir()
        elif x == 2:
            Path.cwd().rename("../elsewhere")
        Path("here.txt" if x == 3 else "/dev/null").touch()

    runner.load_function(loses)
    done = runner.run(0, 1, 2, 3)
    assert [(d.ok, d.has_outputs) for d in done] == [(True, False)] * 3 + [(True, True)]
    assert (runner.work / "task-3-0" / "here.txt").exists()


def test_a_task_may_stand_in_the_way_of_its_own_outputs(runner: PlainRunner):
    def stands(x: int) -> None:
        if x:
            Path("../task-0-0/full").mkdir(parents=True)
            Path("file").touch()

    runner.load_function(stands)
    bad, good = runner.run(1, 0)
    assert (bad.ok, bad.reason) == (False, "outputs")
    assert good.index == 1


def test_a_child_that_returns_from_its_fork_says_nothing(runner: PlainRunner):
    def forks(_: Any) -> int:
        return os.fork() and 1

    runner.load_function(forks)
    done = runner.run(1, 2, 3)
    assert [(d.index, data.decode(d.payload)) for d in done] == [(0, 1), (1, 1), (2, 1)]
    assert runner.log.count(b"\0n0nce") == 3


def test_a_short_result_does_not_wait_for_a_long_task(runner: PlainRunner, tmp_path: Path):
    gate = tmp_path / "gate"

    def waits(name: str) -> str:
        while name and not Path(name).exists():
            time.sleep(0.005)
        return name

    runner.load_function(waits)
    runner.send("run", [[0, 0, item("")], [1, 0, item("")], [2, 0, item(str(gate))]])
    first = []
    while len(first) < 2:
        first += read_done(runner.next_frame())
    assert [d.index for d in first] == [0, 1]
    gate.touch()
    assert [d.index for d in read_done(runner.next_frame())] == [2]


def test_many_results_come_in_few_frames(runner: PlainRunner):
    runner.load_function(lambda x: x)
    runner.send("run", [[index, 0, item(index)] for index in range(2000)])
    frames, seen = 0, 0
    while seen < 2000:
        seen += len(read_done(runner.next_frame()))
        frames += 1
    assert frames < 200


def test_large_results_leave_as_they_gather(runner: PlainRunner):
    runner.load_function(lambda x: b"x" * 200_000)
    runner.send("run", [[index, 0, item(index)] for index in range(8)])
    sizes = []
    while sum(sizes) < 8:
        sizes.append(len(read_done(runner.next_frame())))
    assert max(sizes) <= 2


def test_a_job_knows_its_task(runner: PlainRunner):
    def who(_: Any) -> list[int]:
        from corpgrid.runner.context import current_task

        return list(current_task())

    runner.load_function(who)
    done = runner.run(0, 0, attempt=2)
    assert [data.decode(d.payload) for d in done] == [[0, 2], [1, 2]]


def test_modules_of_the_job_shadow_nothing_that_runs_it(runner: PlainRunner):
    for name in ("msgpack", "struct", "json", "corpgrid"):
        (runner.job / f"{name}.py").write_text("raise SystemExit('shadowed')")
    (runner.job / "search.py").write_text(
        "import json, struct, msgpack\nclass Space:\n    def evaluate(x):\n        return json.dumps(x)\n"
    )
    assert runner.load("python", {"kind": "module", "module": "search", "name": "Space.evaluate"}) == ["loaded"]
    assert runner.result({"a": 1}) == '{"a": 1}'


def test_files_may_come_after_the_runner_started(runtime: Path, tmp_path: Path):
    with PlainRunner(runtime, tmp_path) as spare:
        assert spare.load("python", {"kind": "module", "module": "late", "name": "f"})[0] == "load_failed"
        (spare.job / "late.py").write_text("def f(x): return x + 1")
        assert spare.load("python", {"kind": "module", "module": "late", "name": "f"}) == ["loaded"]
        assert spare.result(1) == 2


@pytest.mark.parametrize(
    ("engine", "entry", "reason", "told"),
    [
        ("fortran", {}, "engine", "there are python, command"),
        ("python", {"kind": "poem"}, "entry", "poem"),
        ("python", {"kind": "function", "file": "absent.pkl"}, "raised", "FileNotFoundError"),
        ("python", {"kind": "module", "module": "absent", "name": "f"}, "raised", "No module named 'absent'"),
        ("python", {"kind": "module", "module": "os", "name": "absent"}, "raised", "AttributeError"),
        ("python", {"kind": "module", "module": "os", "name": "sep"}, "entry", "a str, which cannot be called"),
        ("command", {"kind": "command", "argv": []}, "entry", "argv"),
        ("command", {"kind": "command", "argv": [1]}, "entry", "argv"),
    ],
)
def test_a_load_that_fails_says_why(runner: PlainRunner, engine: str, entry: dict[str, Any], reason: str, told: str):
    kind, got, detail = runner.load(engine, entry)
    assert (kind, got) == ("load_failed", reason)
    assert told in detail


@pytest.mark.parametrize("engine", ["python", "command"])
def test_engines_test_themselves(runner: PlainRunner, engine: str):
    assert runner.load(engine, {"kind": "self_test"}) == ["loaded"]


def test_runners_are_alike(runtime: Path, tmp_path: Path):
    def circumstances(_: Any) -> list[Any]:
        words = [f"word{i}" for i in range(50)]
        return [list({*words}), sys.flags.hash_randomization, sys.getfilesystemencoding(), time.tzname[0], sys.argv]

    seen = []
    for name in "ab":
        (tmp_path / name).mkdir()
        with PlainRunner(runtime, tmp_path / name) as started:
            started.load_function(circumstances)
            seen.append(started.result(0))
    assert seen[0] == seen[1]
    assert seen[0][1:] == [0, "utf-8", "UTC", ["corpgrid-runner"]]


def test_a_crash_in_native_code_leaves_its_story_in_the_log(runner: PlainRunner):
    def crashes(_: Any) -> None:
        import ctypes

        ctypes.string_at(0)

    runner.load_function(crashes)
    runner.send("run", [[0, 0, item(1)]])
    assert runner.process.wait(timeout=10) == -signal.SIGSEGV
    assert b"Segmentation fault" in runner.log
    assert b"in crashes" in runner.log


def test_arrays_travel_where_numpy_is_in_the_environment(runtime: Path, tmp_path: Path):
    site_packages = str(Path(np.__file__).parent.parent)
    with PlainRunner(runtime, tmp_path, environment=site_packages) as started:
        started.load_function(lambda a: a * 2)
        assert (started.result(np.arange(3.0)) == np.arange(3.0) * 2).all()


def test_an_array_without_numpy_fails_its_task(runner: PlainRunner):
    runner.load_function(lambda a: a)
    bad, good = runner.run(np.arange(3), 1)
    assert bad.reason == "argument"
    assert "Name numpy in the job's packages" in bad.detail
    assert good.ok


@pytest.mark.parametrize("ending", ["stop", "pipe"])
def test_it_ends_when_it_is_told_or_left_alone(runner: PlainRunner, ending: str):
    def leaves_a_thread(_: Any) -> None:
        import threading

        threading.Thread(target=time.sleep, args=(600,)).start()

    runner.load_function(leaves_a_thread)
    runner.run(1)
    if ending == "stop":
        runner.send("stop")
    else:
        runner.process.stdin.close()
    assert runner.process.wait(timeout=10) == 0
