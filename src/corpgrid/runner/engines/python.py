"""The python engine: a task is one call of a function with the task's item.

{"kind": "function", "file": "function.pkl"}                    a function pickled by value
{"kind": "module", "module": "search", "name": "evaluate"}      a function in a module of the bundle or environment
"""

from __future__ import annotations

import importlib
import operator
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpgrid.runner.execution import TaskFunction
from corpgrid.runner.results import Failure
from corpgrid.wire import data


def load(entry: Mapping[str, Any], *, job: str, limits: Mapping[str, Any]) -> TaskFunction:  # noqa: ARG001 - the port's
    """The entry's function.

    Raises:
        Failure: the entry names none.
    """
    match entry:
        case {"kind": "function", "file": str(file)}:
            function = pickle.loads((Path(job) / file).read_bytes())  # noqa: S301 - a signed file, inside the sandbox
        case {"kind": "module", "module": str(module), "name": str(name)}:
            function = operator.attrgetter(name)(importlib.import_module(module))
        case _:
            raise Failure("entry", f"the python engine has no entry of kind {entry.get('kind')!r}")
    if not callable(function):
        raise Failure("entry", f"the entry names a {type(function).__name__}, which cannot be called")
    result: TaskFunction = function
    return result


def self_test() -> None:
    """A function goes through a pickle, runs, and its result goes through the data codec."""
    import cloudpickle  # noqa: PLC0415 - only jobs that bring a pickled function need it

    offset = 40
    function = pickle.loads(cloudpickle.dumps(lambda item: item + offset))  # noqa: S301 - our own bytes
    assert data.decode(data.encode(function(2))) == 2 + offset, "two and forty"
