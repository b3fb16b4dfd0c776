"""``corpgrid up``, ``corpgrid scheduler`` and ``corpgrid agent``: the programs that stay."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from corpgrid.cli.context import output_options
from corpgrid.cli.render import Renderer, Style, to_json
from corpgrid.config import Config, load_config
from corpgrid.errors import ConfigError, StoreError

_OPEN_FOLDER = 0o711
Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--config`` and ``--set`` for a daemon."""
    command = click.option("--set", "settings", multiple=True, help="section.name=value; wins over all else.")(command)
    return click.option("--config", type=click.Path(path_type=Path), default=None, help="A configuration file.")(
        command
    )


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
    """Run a daemon until SIGTERM, SIGINT, SIGHUP (its terminal closes) or (``with_parent``) standard input ends."""
    from corpgrid.compose.process import stop_with_parent  # noqa: PLC0415 - gRPC takes long to import

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        if with_parent:
            stop_with_parent(stop)
        await work(stop)

    asyncio.run(main())


@click.command("up")
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Keep everything below this folder.")
@click.option("--temporary", is_flag=True, help="Keep everything in a new folder, and remove it at the end.")
@click.option("--agents", type=click.IntRange(1, 64), default=None, help="How many agents to start.")
@click.option("--with-parent", is_flag=True, help="End when standard input ends.")
@config_options
@output_options
def up(  # noqa: PLR0913 - its options
    renderer: Renderer,
    *,
    folder: Path | None,
    temporary: bool,
    agents: int | None,
    with_parent: bool,
    config: Path | None,
    settings: Sequence[str],
) -> None:
    """Start a grid on this machine: a scheduler and agents, until Ctrl-C."""
    from corpgrid.compose.up import UpOptions, run_up  # noqa: PLC0415 - gRPC takes long to import

    if folder is not None and temporary:
        raise click.UsageError("--folder and --temporary exclude each other")
    read = read_config(config, settings)
    with _new_folder() if temporary else nullcontext(folder) as place:
        options = UpOptions(folder=place, agents=agents or read.grid.agents)

        def ready(address: str, key: Path) -> None:
            _say_ready(renderer, address=address, key=key, folder=place)

        serve(lambda stop: run_up(read, options, stop=stop, ready=ready), with_parent=with_parent)


@contextmanager
def _new_folder() -> Iterator[Path]:
    """A folder of the grid's own, that the job user may walk through; gone in the end."""
    from corpgrid.agent.removal import remove_tree  # noqa: PLC0415 - only here

    folder = Path(tempfile.mkdtemp(prefix="corpgrid-"))
    try:
        folder.chmod(_OPEN_FOLDER)
        yield folder
    finally:
        remove_tree(folder)


def _say_ready(renderer: Renderer, *, address: str, key: Path, folder: Path | None) -> None:
    if renderer.style is Style.JSON:
        click.echo(to_json({"address": address, "key": str(key), "folder": str(folder or "")}))
        return
    click.echo(f"the grid is up at {address}")
    if folder is not None:
        click.echo(
            f"  export CORPGRID_CLIENT_ADDRESS={shlex.quote(address)} CORPGRID_CLIENT_KEY_FILE={shlex.quote(str(key))}"
        )
    click.echo("  submit with: corpgrid job submit examples/digits/job.toml")


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

    serve(lambda stop: run_scheduler(read, stop=stop, ready=ready), with_parent=with_parent)


@scheduler_group.command("migrate")
@config_options
@output_options
def scheduler_migrate(renderer: Renderer, *, config: Path | None, settings: Sequence[str]) -> None:
    """Bring the store to the schema of this program; on PostgreSQL while older schedulers run."""
    from corpgrid.compose.scheduler import migrate_store  # noqa: PLC0415 - gRPC takes long to import

    renderer.facts({"store": str(asyncio.run(migrate_store(read_config(config, settings))))}, name="store")


@scheduler_group.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--without-store", is_flag=True, help="The database is elsewhere, and was saved before.")
@config_options
@output_options
def scheduler_backup(
    renderer: Renderer, *, folder: Path, without_store: bool, config: Path | None, settings: Sequence[str]
) -> None:
    """Copy database, blobs and keys into a new FOLDER, while the scheduler runs; what is copied can take its place."""
    from corpgrid.compose.backup import back_up  # noqa: PLC0415 - rarely needed

    saved = back_up(read_config(config, settings), folder, without_store=without_store)
    renderer.facts({**saved._asdict(), "damaged": len(saved.damaged)}, name="folder")
    if saved.damaged:
        raise StoreError(
            f"{len(saved.damaged)} blobs of the grid are damaged and not in the backup, first {saved.damaged[0]}",
            remedy="Take them from an earlier backup; check the disk.",
        )


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
