"""What every command has: its renderer, and a connection to the grid when it asks for one.

Exit codes: 0 done; 1 the job ended without all results; 2 wrong use; 3 trust; 4 the grid says no; 5 nobody answers;
6 sandbox; 70 a bug of ours; 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corpgrid.cli.render import Renderer, Style
from corpgrid.config import Config, load_config
from corpgrid.errors import CorpGridError
from corpgrid.host.keyfiles import read_private_key
from corpgrid.trust.keys import PrivateKey

if TYPE_CHECKING:
    from corpgrid.sdk.client import Grid


@dataclass(slots=True)
class Context:
    """One command's surroundings."""

    renderer: Renderer
    config: Config
    address: str
    key_file: Path | None

    def grid(self) -> Grid:
        """A connection to the running grid.

        Raises:
            UnavailableError: nobody answers there.
        """
        from corpgrid.sdk.client import connect  # noqa: PLC0415 - gRPC takes long to import; `--help` must not

        return connect(self.address or self.config.client.address, key=self.key_file, config=self.config.client)

    def key(self) -> PrivateKey:
        """The submitter's key.

        Raises:
            NotFoundError: there is none.
            TrustError: its file cannot be used.
        """
        return read_private_key(self.key_file or self.config.client.key_file)


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--json`` and ``--quiet``, and turn CorpGrid's errors into exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    @click.option("--quiet", "-q", is_flag=True, help="Print ids only.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool = False, quiet: bool = False, **kwargs: Any) -> None:
        style = Style.JSON if as_json else Style.QUIET if quiet else Style.TABLE
        renderer = Renderer(style)
        try:
            command(renderer, *args, **kwargs)
        except CorpGridError as error:
            renderer.error(error)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            # The reader of a pipe has seen enough; say nothing, not even at interpreter exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)

    return wrapped


def grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that find a grid, and those of ``output_options``."""

    @click.option("--address", default="", help="unix:PATH or HOST:PORT; default: the grid of `corpgrid up`.")
    @click.option("--key", type=click.Path(path_type=Path), default=None, help="The submitter's private key file.")
    @click.option("--config", type=click.Path(path_type=Path), default=None, help="A configuration file.")
    @output_options
    @functools.wraps(command)
    def wrapped(
        renderer: Renderer,
        *args: Any,
        address: str = "",
        key: Path | None = None,
        config: Path | None = None,
        **kwargs: Any,
    ) -> None:
        settings = load_config(path=config, environ=os.environ)
        command(Context(renderer=renderer, config=settings, address=address, key_file=key), *args, **kwargs)

    return wrapped
