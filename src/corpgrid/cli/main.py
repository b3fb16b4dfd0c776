"""The root of the command line: its commands by name, and what becomes of whatever ends one."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence

import click

from corpgrid import __version__

_COMMANDS = {
    "agent": ("corpgrid.cli.daemon_commands", "agent_group"),
    "bench": ("corpgrid.cli.bench_commands", "bench_group"),
    "bundle": ("corpgrid.cli.bundle_commands", "bundle_group"),
    "demo": ("corpgrid.cli.demo.command", "demo"),
    "device": ("corpgrid.cli.device_commands", "device_group"),
    "doctor": ("corpgrid.cli.doctor_command", "doctor"),
    "job": ("corpgrid.cli.job_commands", "job_group"),
    "key": ("corpgrid.cli.bundle_commands", "key_group"),
    "scheduler": ("corpgrid.cli.daemon_commands", "scheduler_group"),
    "sim": ("corpgrid.cli.sim_commands", "sim"),
    "up": ("corpgrid.cli.daemon_commands", "up"),
}
_HELP = {
    "agent": "Run an agent on this machine.",
    "bench": "Measure this grid.",
    "bundle": "Build and verify signed bundles.",
    "demo": "A whole grid with a laptop that is unplugged and a liar that is caught.",
    "device": "See the devices of the grid, pause them, ask why they idle.",
    "doctor": "Say what works here and what does not, and how to mend it.",
    "job": "Submit jobs, watch them, read their results.",
    "key": "Make keys.",
    "scheduler": "Run a scheduler.",
    "sim": "Live through a grid's worst days, on virtual time.",
    "up": "Start a grid on this machine.",
}
_BUG = 70
_INTERRUPTED = 130


class _Lazy(click.Group):
    """Imports a command's module when it is called: `corpgrid --help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_HELP.items()))


@click.command(cls=_Lazy)
@click.version_option(__version__, prog_name="corpgrid")
def cli() -> None:
    """CorpGrid: the computers a company already owns, as one batch grid whose answers can be trusted."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line (that of this process, if none is given); its exit status."""
    try:
        status = cli.main(arguments, prog_name="corpgrid", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except Exception:  # noqa: BLE001 - errors of the tree were rendered where they came up: this is none of them
        traceback.print_exc()
        click.echo("corpgrid: this is a bug in CorpGrid; please report it with the lines above", err=True)
        return _BUG
    return status if isinstance(status, int) else 0
