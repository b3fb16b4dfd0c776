"""``corpgrid up``: a scheduler in this process, and agents as its children.

* Everything that is missing is made: folders, the submitter's key, the agents' keys; the agents trust that key, and the
  grid trusts the agents, because they are this machine.
* An agent that is killed is started again after a pause; one that says why it cannot work ends the grid with its
  error and its remedy.
* Each agent is in a session of its own, so that a Ctrl-C in the terminal reaches this process alone.  It then ends them
  while the scheduler still answers: they deliver what they have, and hand back what they have not finished.
* With ``with_parent`` the grid ends when its standard input does, and so do its agents always: nothing outlives it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from corpgrid.compose.process import spare_the_collector
from corpgrid.compose.scheduler import running_scheduler
from corpgrid.config import Config
from corpgrid.host.keyfiles import ensure_private_key, write_public_key
from corpgrid.sdk.child_error import SAID_BYTES, child_error, printed_error
from corpgrid.trust.keys import PublicKey

log = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0
_STOP_SECONDS = 10.0
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
        CorpGridError: an agent ended, and this is why.
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
            log.info("stopping: agents (%d) deliver their results, and hand back what is not finished", len(agents))
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
        self._number = number

    async def run(self, address: str) -> None:
        """Keep it up until cancelled."""
        while True:
            said = _Said()
            code = await self._once(address, said)
            if code >= 0:
                raise child_error(said.text, f"agent {self._number} ended by itself (exit status {code})")
            log.warning("an agent was killed by signal %d and is started again", -code)
            await asyncio.sleep(_RESTART_SECONDS)

    async def _once(self, address: str, said: _Said) -> int:
        options = [f"--set=agent.{name}={value}" for name, value in {**self._settings, "address": address}.items()]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "corpgrid", "agent", "run", "--with-parent", "--json", *options,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            while piece := await process.stderr.read(SAID_BYTES):
                _pass_on(said.hear(piece))
            _pass_on(said.rest())
            return await process.wait()
        finally:
            process.stdin.close()
            await _ended(process)


class _Said:
    """What an agent says on standard error: all is passed on but an error in its last line, which its end is told with.

    It is heard by the piece, not by the line: what a job made an agent log may be one line without end.
    """

    def __init__(self) -> None:
        self._end = b""
        self._held = b""

    @property
    def text(self) -> str:
        """The end of it."""
        return self._end.decode(errors="replace")

    def hear(self, piece: bytes) -> bytes:
        """A piece more; what to pass on now."""
        self._end = (self._end + piece)[-SAID_BYTES:]
        heard = self._held + piece
        last = heard.rfind(b"\n", 0, -1) + 1
        holds = heard.startswith(b"{", last) and len(heard) - last <= SAID_BYTES
        self._held = heard[last:] if holds else b""
        return heard[:last] if holds else heard

    def rest(self) -> bytes:
        """That was all; what is still to pass on."""
        return b"" if printed_error(self.text, "") else self._held


def _pass_on(said: bytes) -> None:
    sys.stderr.buffer.write(said)
    sys.stderr.flush()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a child whose input was closed; end it if it takes too long."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
