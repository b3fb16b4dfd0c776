"""The engines of this runner, by name.  An engine's module is imported only when a job asks for it.

An engine is a module with two functions:

    load(entry, *, job, limits) -> function      entry from the bundle, job the folder of its files
    self_test() -> None                          raises unless the engine works on this machine

The function takes a task's item and returns its result; whatever it raises ends the task and not the runner.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from corpgrid.runner.execution import TaskFunction
from corpgrid.runner.results import Failure

ENGINES: Mapping[str, str] = {
    "python": "corpgrid.runner.engines.python",
    "command": "corpgrid.runner.engines.command",
}


class Engine(Protocol):
    """What an engine's module offers."""

    def load(self, entry: Mapping[str, Any], *, job: str, limits: Mapping[str, Any]) -> TaskFunction:
        """The function that runs one task."""

    def self_test(self) -> None:
        """Do something small that needs all of the engine."""


def load(name: str, entry: Mapping[str, Any], *, job: str, limits: Mapping[str, Any]) -> TaskFunction:
    """The function of a job's tasks; for the entry ``{"kind": "self_test"}`` the engine tests itself.

    Raises:
        Failure: there is no such engine, or the entry is none of its.
    """
    if name not in ENGINES:
        raise Failure("engine", f"there is no engine {name!r} here; there are {', '.join(ENGINES)}")
    engine = cast("Engine", importlib.import_module(ENGINES[name]))
    if entry.get("kind") == "self_test":
        engine.self_test()
        return _nothing
    return engine.load(entry, job=job, limits=limits)


def _nothing(_item: Any) -> None:
    """What a self-test loads."""
