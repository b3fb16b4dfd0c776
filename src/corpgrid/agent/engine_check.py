"""Which engines work on this device: each tests itself, in the sandbox in which it will work.

A device offers the engines that pass, and says of the others why they do not.
"""

from __future__ import annotations

from collections.abc import Mapping

from corpgrid.agent.runner_spec import RunnerPlace, runner_spec, sandbox_limits
from corpgrid.agent.worker import Worker
from corpgrid.domain.job import Limits
from corpgrid.errors import LoadError
from corpgrid.ports.sandbox import Sandbox

ENGINES = ("python", "command")


async def engine_faults(sandbox: Sandbox, place: RunnerPlace) -> Mapping[str, str]:
    """Every engine, and why it does not work here; empty for one that does.

    Raises:
        SandboxError: no runner can be started at all.
    """
    return {engine: await _fault(engine, sandbox, place) for engine in ENGINES}


async def _fault(engine: str, sandbox: Sandbox, place: RunnerPlace) -> str:
    try:
        worker = await Worker.start(sandbox, runner_spec(place, sandbox_limits(Limits())))
    except LoadError as cause:
        return str(cause)
    try:
        await worker.load(engine=engine, entry={"kind": "self_test"}, limits=Limits())
    except LoadError as cause:
        return str(cause)
    finally:
        await worker.close()
    return ""
