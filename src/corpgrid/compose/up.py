"""``corpgrid up``: a scheduler in this process, and agents as its children.

* Everything that is missing is made: folders, the submitter's key, the agents' keys; the agents trust that key, and the
  grid trusts the agents, because they are this machine.
* An agent that is killed is started again after a pause; one that says why it cannot work ends the grid with its
  reason.
* With ``with_parent`` the grid ends when its standard input does, and so do its agents always: nothing outlives it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from corpgrid.compose.process import spare_the_collector
from corpgrid.compose.scheduler import running_scheduler
from corpgrid.config import Config
from corpgrid.errors import SandboxError, UnavailableError
from corpgrid.host.keyfiles import ensure_private_key, write_public_key
from corpgrid.trust.keys import PublicKey

log = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
_STOP_SECONDS = 10.0
_SAID_BYTES = 4096
_PRIVATE_FOLDER = 0o700
_OPEN_FOLDER = 0o711


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """How to bring a grid up.

    Attributes:
        folder: where it keeps everything, its socket and keys too; None for the configured places.
        agents: how many.
    """

    folder: Path | None
    agents: int


async def run_up(
    config: Config, options: UpOptions, *, stop: asyncio.Event, ready: Callable[[str, Path], None]
) -> None:
    """Run a grid until ``stop`` is set.

    Raises:
        SandboxError: an agent's sandbox does not hold.
        UnavailableError: an agent could not start.
    """
    placed = _placed(config, options)
    root = placed.grid.folder
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_OPEN_FOLDER)
    placed.client.key_file.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    key = ensure_private_key(placed.client.key_file)
    _publish(placed.scheduler.trusted_keys, key.public)
    agents = [_Agent(placed, root / "agents" / str(number), number) for number in range(1, options.agents + 1)]
    async with running_scheduler(placed) as scheduler:
        spare_the_collector()
        running = [asyncio.create_task(agent.run(scheduler.address)) for agent in agents]
        stopping = asyncio.create_task(stop.wait())
        ready(scheduler.address, placed.client.key_file)
        try:
            done, _ = await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (stopping, *running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def _placed(config: Config, options: UpOptions) -> Config:
    """The configuration with everything below one folder, if one was named."""
    if options.folder is None:
        return replace(config, scheduler=replace(config.scheduler, folder=config.grid.folder / "scheduler"))
    root = options.folder.resolve()
    return replace(
        config,
        grid=replace(config.grid, folder=root),
        client=replace(config.client, key_file=root / "keys" / "submitter.pem"),
        scheduler=replace(
            config.scheduler,
            folder=root / "scheduler",
            trusted_keys=root / "trusted_keys",
            trusted_devices=root / "trusted_devices",
            listen=f"unix:{root}/run/grid.sock",
        ),
    )


def _publish(folder: Path, key: PublicKey) -> None:
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    target = folder / f"{key.key_id}.pem"
    if not target.exists():
        write_public_key(target, key)


class _Agent:
    """A child process that is an agent of this machine."""

    def __init__(self, config: Config, folder: Path, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.parent.chmod(_OPEN_FOLDER)
        folder.chmod(_OPEN_FOLDER)
        key = ensure_private_key(folder / "device.pem")
        _publish(config.scheduler.trusted_devices, key.public)
        self._settings = {
            "folder": folder,
            "trusted_keys": config.scheduler.trusted_keys,
            "owner": config.agent.owner,
            "site": config.agent.site,
            "name": config.agent.name or f"{os.uname().nodename}-{number}",
            "idle_seconds": config.grid.idle_seconds,
            "capacity": config.grid.capacity,
        }
        self._said = b""

    async def run(self, address: str) -> None:
        """Keep it up until cancelled."""
        while True:
            code = await self._once(address)
            if code >= 0:
                text = self._said.decode(errors="replace").strip()
                kind = SandboxError if code == SandboxError.exit_code else UnavailableError
                raise kind(f"an agent ended by itself (exit status {code}): {text}")
            log.warning("an agent was killed by signal %d and is started again", -code)
            await asyncio.sleep(_RESTART_SECONDS)

    async def _once(self, address: str) -> int:
        options = [f"--set=agent.{name}={value}" for name, value in {**self._settings, "address": address}.items()]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "corpgrid", "agent", "run", "--with-parent", *options,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            # By the piece, not by the line: what a job made an agent log may be one line without end.
            while said := await process.stderr.read(_SAID_BYTES):
                self._said = (self._said + said)[-_SAID_BYTES:]
                sys.stderr.buffer.write(said)
                sys.stderr.flush()
            return await process.wait()
        finally:
            process.stdin.close()
            await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a child whose input was closed; end it if it takes too long."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def stop_with_parent(stop: asyncio.Event) -> None:
    """Set ``stop`` when standard input ends, as it does when whoever holds its other end is gone."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, name="corpgrid-parent", daemon=True).start()
