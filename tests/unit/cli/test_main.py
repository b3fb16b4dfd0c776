"""The root of the command line: what it lists, and with which status each way to end ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest

from corpgrid.cli import main
from corpgrid.cli.context import Context, grid_options, output_options
from corpgrid.cli.main import cli, run
from corpgrid.cli.render import Renderer
from corpgrid.errors import CorpGridError, JobFileError, NotFoundError, SandboxError, TrustError, UnavailableError


def command(error: BaseException | type[BaseException]) -> click.Command:
    """A command that ends with this error."""

    @click.command("broken")
    @output_options
    def broken(renderer: Renderer) -> NoReturn:
        raise error

    return broken


def status(monkeypatch: pytest.MonkeyPatch, error: BaseException | type[BaseException], *options: str) -> int:
    monkeypatch.setattr(cli, "get_command", lambda *_: command(error))
    return run(["broken", *options])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CorpGridError("no"), 1),
        (JobFileError("no"), 2),
        (TrustError("no"), 3),
        (NotFoundError("no"), 4),
        (UnavailableError("no"), 5),
        (SandboxError("no"), 6),
    ],
)
def test_an_error_of_the_tree_ends_with_its_code(
    error: CorpGridError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        status(monkeypatch, error)
    assert caught.value.code == code == error.exit_code
    assert capsys.readouterr().err.startswith("error: no")
    with pytest.raises(SystemExit):
        status(monkeypatch, error, "--json")
    assert json.loads(capsys.readouterr().err)["exit"] == code


def test_a_bug_ends_with_seventy_and_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, ZeroDivisionError("division by zero")) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "ZeroDivisionError" in told
    assert told.endswith("please report it with the lines above\n")


def test_an_interrupt_ends_with_a_hundred_and_thirty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, KeyboardInterrupt) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["job", "frobnicate"],
        ["job", "list", "--frobnicate"],
        ["job", "show"],
        ["job", "list", "--limit", "0"],
        ["job", "logs", "job_x", "-1"],
        ["up", "--agents", "0"],
        ["up", "--temporary", "--folder", "/nowhere"],
    ],
)
def test_wrong_use_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Error: " in printed.err


def test_help_lists_every_command_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in main._COMMANDS)
    assert set(main._HELP) == set(main._COMMANDS)


def test_every_command_has_help_and_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    context = click.Context(cli)
    for name in main._COMMANDS:
        found = cli.get_command(context, name)
        assert found is not None
        verbs = [[name, verb] for verb in found.list_commands(context)] if isinstance(found, click.Group) else [[name]]
        for path in verbs:
            assert run([*path, "--help"]) == 0
            told = capsys.readouterr().out
            assert "--json" in told, path
            assert "--quiet" in told, path


def test_help_imports_nothing_heavy() -> None:
    """`corpgrid --help` answers at once."""
    program = (
        "import sys, corpgrid.cli.main as main; main.run(['--help']);"
        "print([name for name in ('grpc', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_wrong_setting_is_named_and_ends_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORPGRID_CLIENT_ADRESS", "unix:/x")
    with pytest.raises(SystemExit) as caught:
        run(["job", "list"])
    assert caught.value.code == 2
    assert "Did you mean CORPGRID_CLIENT_ADDRESS?" in capsys.readouterr().err


def test_options_win_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Context] = []

    @click.command("look")
    @grid_options
    def look(context: Context) -> None:
        seen.append(context)

    monkeypatch.setenv("CORPGRID_CLIENT_TENANT", "from-the-environment")
    monkeypatch.setattr(cli, "get_command", lambda *_: look)
    (tmp_path / "config.toml").write_text('[client]\naddress = "unix:/from/the/file"\n')
    assert run(["look", "--config", str(tmp_path / "config.toml"), "--key", "mine.pem"]) == 0
    assert run(["look", "--address", "unix:/from/the/option"]) == 0
    first, second = seen
    assert (first.config.client.tenant, first.config.client.address) == ("from-the-environment", "unix:/from/the/file")
    assert (first.key_file, second.key_file, second.address) == (Path("mine.pem"), None, "unix:/from/the/option")


def test_no_grid_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["job", "list"], ["device", "list"], ["job", "results", "job_x"]):
        with pytest.raises(SystemExit) as caught:
            run([*arguments, "--address", f"unix:{tmp_path}/none.sock", "--json"])
        assert caught.value.code == 5
        told = json.loads(capsys.readouterr().err)
        assert told["error"] == "unavailable"
        assert "corpgrid up" in told["remedy"]


def test_an_address_that_others_could_reach_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for address, code in (("10.0.0.1:7421", 4), ("nonsense", 2)):
        with pytest.raises(SystemExit) as caught:
            run(["job", "list", "--address", address])
        assert caught.value.code == code
        assert capsys.readouterr().err
