"""``corpgrid up``, ``corpgrid scheduler`` and ``corpgrid agent``: the programs that stay."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import click

from corpgrid.cli.context import output_options
from corpgrid.cli.render import Renderer, Style, to_json
from corpgrid.config import Config, load_config
from corpgrid.errors import ConfigError

Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--config`` and ``--set`` for a daemon."""
    command = click.option("--set", "settings", multiple=True, help="section.name=value; wins over all else.")(command)
    return click.option("--config", type=click.Path(path_type=Path), default=None, help="A configuration file.")(command)


def read_config(path: Path | None, settings: Sequence[str]) -> Config:
    """The configuration of a daemon.

    Raises:
        ConfigError: a setting is wrong.
    """
    overrides: dict[str, object] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: there is no value", remedy="Write --set section.name=value.")
        overrides[name] = value
    return load_config(path=path, environ=os.environ, overrides=overrides)


def serve(work: Work, *, with_parent: bool) -> None:
    """Run a daemon until SIGTERM, SIGINT or (``with_parent``) the end of standard input."""
    from corpgrid.compose.up import stop_with_parent  # noqa: PLC0415 - gRPC takes long to import

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if with_parent:
            stop_with_parent(stop)
        await work(stop)

    asyncio.run(main())


@click.command("up")
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Keep everything below this folder.")
@click.option("--agents", type=int, default=None, help="How many agents to start.")
@click.option("--with-parent", is_flag=True, help="End when standard input ends.")
@config_options
@output_options
def up(
    renderer: Renderer,
    *,
    folder: Path | None,
    agents: int | None,
    with_parent: bool,
    config: Path | None,
    settings: Sequence[str],
) -> None:
    """Start a grid on this machine: a scheduler and agents, until Ctrl-C."""
    from corpgrid.compose.up import UpOptions, run_up  # noqa: PLC0415 - gRPC takes long to import

    read = read_config(config, settings)
    options = UpOptions(folder=folder, agents=agents or read.grid.agents)

    def ready(address: str, key: Path) -> None:
        if renderer.style is Style.JSON:
            click.echo(to_json({"address": address, "key": str(key)}))
        else:
            click.echo(f"the grid is up at {address}; submit with: corpgrid job submit examples/digits/job.toml")
        sys.stdout.flush()

    serve(lambda stop: run_up(read, options, stop=stop, ready=ready), with_parent=with_parent)


@click.group("scheduler")
def scheduler_group() -> None:
    """Run a scheduler."""


@scheduler_group.command("run")
@click.option("--with-parent", is_flag=True, help="End when standard input ends.")
@config_options
@output_options
def scheduler_run(renderer: Renderer, *, with_parent: bool, config: Path | None, settings: Sequence[str]) -> None:
    """Run a scheduler until it is stopped."""
    from corpgrid.compose.scheduler import run_scheduler  # noqa: PLC0415 - gRPC takes long to import

    read = read_config(config, settings)

    def ready(address: str) -> None:
        click.echo(to_json({"address": address}) if renderer.style is Style.JSON else f"listening at {address}")
        sys.stdout.flush()

    serve(lambda stop: run_scheduler(read, stop=stop, ready=ready), with_parent=with_parent)


@click.group("agent")
def agent_group() -> None:
    """Run an agent on this machine."""


@agent_group.command("run")
@click.option("--with-parent", is_flag=True, help="End when standard input ends.")
@config_options
@output_options
def agent_run(renderer: Renderer, *, with_parent: bool, config: Path | None, settings: Sequence[str]) -> None:  # noqa: ARG001 - errors are rendered by the decorator
    """Lend this machine to a grid until it is stopped."""
    from corpgrid.compose.agent import run_agent  # noqa: PLC0415 - gRPC takes long to import

    read = read_config(config, settings)
    serve(lambda stop: run_agent(read, stop=stop), with_parent=with_parent)
