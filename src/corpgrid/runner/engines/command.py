"""The command engine: a task is one run of a command in the task's working folder.

    {"kind": "command", "argv": ["sh", "run.sh", "{lr}", "--out={name}.txt"]}

* ``{name}`` stands for the field ``name`` of the item where the item is a dict, ``{item}`` for the item itself;
  ``{{`` and ``}}`` stand for single braces.  Text goes in as it is, anything else as JSON.
* An argument without placeholders that names a file of the bundle becomes the path of that file.
* The result is what the command leaves in ``result.json``, and without such a file
  ``{"exit_code": 0, "stdout": "..."}``.  An exit status other than 0 fails the task.
* All that it prints is in the task's log.  Whatever it leaves running in its process group is ended.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpgrid.errors import MalformedDataError
from corpgrid.runner import context
from corpgrid.runner.engines.pump import Pump
from corpgrid.runner.execution import TaskFunction
from corpgrid.runner.results import Failure

RESULT_FILE = "result.json"
_TAIL_BYTES = 8 << 10
_LOG = 2

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load(entry: Mapping[str, Any], *, job: str, limits: Mapping[str, Any]) -> TaskFunction:
    """A function that runs the entry's command.

    Raises:
        Failure: the entry is no command.
    """
    argv = entry.get("argv")
    if entry.get("kind") != "command" or not argv or not all(type(argument) is str for argument in argv):
        raise Failure("entry", "the command engine wants an entry of kind command with its argv, a list of texts")
    template = [_bundle_path(argument, job) for argument in argv]
    result_bytes = int(limits["result_bytes"])

    def run(item: Any) -> Any:
        return _run([_fill(argument, item) for argument in template], result_bytes)

    return run


def self_test() -> None:
    """A command runs, prints, and its answer comes back."""
    run = load({"kind": "command", "argv": ["sh", "-c", "echo $0", "{item}"]}, job="/", limits={"result_bytes": 1024})
    assert run("ready") == {"exit_code": 0, "stdout": "ready\n"}, "an echo"


def _bundle_path(argument: str, job: str) -> str:
    path = Path(job, argument)
    inside = not path.is_absolute() or path.is_relative_to(job)
    return str(path) if inside and ".." not in path.parts and "\0" not in argument and path.is_file() else argument


def _fill(argument: str, item: Any) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        if isinstance(item, dict) and name in item:
            return _text(item[name], name)
        if name == "item":
            return _text(item, name)
        raise Failure("argument", f"the item has no field {name!r}, which {argument!r} asks for; {{{{ is a plain brace")

    return _PLACEHOLDER.sub(value, argument)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as cause:
        raise Failure("argument", f"the field {name!r} has no place on a command line: {cause}") from None


def _run(argv: list[str], result_bytes: int) -> Any:
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | _task_variables(),
            process_group=0,
        )
    except (OSError, ValueError) as cause:
        raise Failure("command", f"{argv[0]!r} cannot be started: {cause}") from None
    assert child.stdout is not None
    assert child.stderr is not None
    printed = Pump(child.stdout, copy_to=_LOG, keep_bytes=result_bytes + 1)
    complained = Pump(child.stderr, copy_to=_LOG, keep_bytes=_TAIL_BYTES, keep_end=True)
    _end_group(child.pid)
    status = child.wait()
    stdout, stderr = printed.finish(), complained.finish()
    if status != 0:
        raise Failure(*_story(status, stderr))
    return _result(stdout, result_bytes)


def _task_variables() -> dict[str, str]:
    task = context.current_task()
    return {"CORPGRID_TASK_INDEX": str(task.index), "CORPGRID_ATTEMPT": str(task.attempt)} if task else {}


def _end_group(leader: int) -> None:
    """Wait for the command, then end what it left; it is reaped later, so that its number stays its own till then."""
    os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
    os.killpg(leader, signal.SIGKILL)


def _story(status: int, stderr: bytes) -> tuple[str, str]:
    told = stderr.decode(errors="replace")
    if status < 0:
        return "signal", f"{told}\nthe command was ended by {signal.Signals(-status).name}"
    return "exit_code", f"{told}\nthe command ended with exit status {status}"


def _result(stdout: bytes, result_bytes: int) -> Any:
    left = _take_result_file(result_bytes)
    if left is not None:
        return _parse(left)
    if len(stdout) > result_bytes:
        raise Failure("result_bytes", f"it printed more than result_bytes allows, {result_bytes:,}")
    return {"exit_code": 0, "stdout": stdout.decode(errors="replace")}


def _take_result_file(result_bytes: int) -> bytes | None:
    """The content of the result file, which is taken away: it is no output."""
    path = Path(RESULT_FILE)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Failure("not_data", f"{RESULT_FILE} is no file")
        with path.open("rb") as file:
            content = file.read(result_bytes + 1)
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise Failure("not_data", f"{RESULT_FILE} cannot be read: {cause}") from None
    if len(content) > result_bytes:
        raise Failure("result_bytes", f"{RESULT_FILE} has more bytes than result_bytes allows, {result_bytes:,}")
    return content


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, MalformedDataError) as cause:
        raise Failure("not_data", f"{RESULT_FILE} cannot be read as JSON: {cause}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedDataError("an object has a key twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise MalformedDataError(f"{name} is no JSON")
