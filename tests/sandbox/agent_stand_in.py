"""Starts sandboxes and waits to be killed: what an agent is to them.  Run as a program by the tests beside it.

Its argument is JSON: ``folder``, ``python``, ``source``, ``number`` of sandboxes, whether to ``freeze`` them, to run
the event loop in another ``thread``, to take a ``layer`` away first, or to be ``unknown`` to other agents of this host,
which would end what is left.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path

import pytest

from corpgrid.host import sandbox_held
from corpgrid.host.sandbox_linux import LinuxSandbox
from tests.sandbox.probing import Prober, without_filter, without_flags


async def main(settings: dict[str, object]) -> None:
    prober = Prober(
        LinuxSandbox(use_cgroups=not settings.get("unknown")), str(settings["python"]), Path(str(settings["folder"]))
    )
    sys.stdout.write("starting\n")
    sys.stdout.flush()
    processes = [await prober.start(str(settings["source"])) for _ in range(int(str(settings["number"])))]
    for process in processes:
        await process.read()
        if settings.get("freeze"):
            process.freeze()
    sys.stdout.write(json.dumps([process.pid for process in processes]) + "\n")
    sys.stdout.flush()
    await asyncio.sleep(120)


def run(settings: dict[str, object]) -> None:
    patch = pytest.MonkeyPatch()
    if settings.get("unknown"):
        patch.setattr(sandbox_held, "own_mark", lambda: "a-test-of-the-sandbox")
    if settings.get("layer") == "filter":
        with without_filter(patch):
            asyncio.run(main(settings))
    elif settings.get("layer") == "die-with-parent":
        with without_flags(patch, "--die-with-parent"):
            asyncio.run(main(settings))
    else:
        asyncio.run(main(settings))


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    if asked.get("thread"):
        loop_thread = threading.Thread(target=run, args=(asked,))
        loop_thread.start()
        loop_thread.join()
    else:
        run(asked)
