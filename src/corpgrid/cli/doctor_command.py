"""``corpgrid doctor``: what works on this machine, what does not and how to mend it; or each setting and its source."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import click

from corpgrid import __version__
from corpgrid.cli.context import Context, grid_options
from corpgrid.config import describe
from corpgrid.errors import CorpGridError, NotFoundError, SandboxError, StoreError
from corpgrid.sdk.text import printable


@click.command("doctor")
@click.option("--settings", is_flag=True, help="Print every setting and where it came from instead.")
@grid_options
def doctor(context: Context, *, settings: bool) -> None:
    """Say what works here and what does not, and how to mend it.

    Exit 6 if no job could run on this machine, 1 if the scheduler that is configured on it could not start.
    """
    if settings:
        rows = [setting._asdict() for setting in describe(context.config)]
        context.renderer.rows(rows, columns=("name", "value", "source"), empty="there are no settings")
        return
    checks = [*_sandbox_checks(context), *_host_checks(context), *_store_checks(context), *_grid_checks(context)]
    rows = [dict(zip(("check", "state", "detail", "remedy"), check, strict=True)) for check in checks]
    context.renderer.rows(rows, columns=("check", "state", "detail"), empty="there is nothing to check")
    for row in rows:
        if row["state"] != "ok" and row["remedy"]:
            context.renderer.line(printable(f"\n{row['check']}: {row['detail']}\n  -> {row['remedy']}"))
    if any(row["check"].startswith("sandbox") and row["state"] == "FAILED" for row in rows):
        raise SandboxError("no job can run on this machine until the sandbox holds")
    if any(row["check"] in _STORES and row["state"] == "FAILED" for row in rows):
        raise StoreError("no scheduler can start with these settings", remedy="Do what is said above.")


Check = tuple[str, str, str, str]
_STORES = ("store", "blobs")
_CLOCK_SECONDS = 5.0
"""A question may take some of it."""


def _sandbox_checks(context: Context) -> Iterator[Check]:
    from corpgrid.compose.adapters import choose_sandbox  # noqa: PLC0415 - takes long to import
    from corpgrid.host.sandbox_python import runner_python  # noqa: PLC0415
    from corpgrid.host.sandbox_user import choose_job_user  # noqa: PLC0415

    try:
        sandbox = choose_sandbox(context.config.agent.sandbox)
        for gate in asyncio.run(sandbox.self_test()):
            state = "ok" if gate.passed else "FAILED"
            yield f"sandbox {gate.name}", state, gate.detail, gate.remedy
        python = runner_python(choose_job_user())
        yield "sandbox python", "ok", f"Python {python.minor} at {python.path}", ""
    except CorpGridError as error:
        yield "sandbox", "FAILED", str(error), error.remedy


def _host_checks(context: Context) -> Iterator[Check]:
    from corpgrid.compose.adapters import choose_probes  # noqa: PLC0415 - takes long to import

    yield "corpgrid", "ok", f"{__version__}, Python {sys.version.split()[0]} on {sys.platform}", ""
    probes = choose_probes(context.config.agent)
    power = probes.power.read()
    charge = f", battery {power.battery_percent:.0f} %" if power.battery_percent is not None else ""
    yield "power", "ok", ("mains" if power.on_ac_power else "on battery: no jobs run") + charge, ""
    idle = probes.presence.idle_seconds()
    yield "presence", "ok", "nobody can sit here" if idle is None else f"last input {idle:.0f} s ago", ""
    yield "heat", "ok", f"{probes.thermal.headroom():.0%} headroom", ""
    yield _key_check(context)


def _key_check(context: Context) -> Check:
    path = context.key_file or context.config.client.key_file
    try:
        return "submitter key", "ok", f"{context.key().public.key_id} in {path}", ""
    except NotFoundError:
        return "submitter key", "none", f"{path} is not there", "`corpgrid up` or `corpgrid key new` makes one."
    except CorpGridError as error:
        return "submitter key", "FAILED", str(error), error.remedy


def _store_checks(context: Context) -> Iterator[Check]:
    """Where this machine's scheduler is to keep its state, if that is not a folder."""
    from corpgrid.compose import store_check  # noqa: PLC0415 - takes long to import

    settings = context.config.scheduler
    asked = ((settings.store, store_check.check_store), (settings.blobs, store_check.check_blobs))
    for name, (url, check) in zip(_STORES, asked, strict=True):
        if url:
            try:
                found = asyncio.run(check(settings))
                yield name, "off" if found.remedy else "ok", found.detail, found.remedy
            except CorpGridError as error:
                yield name, "FAILED", str(error), error.remedy


def _grid_checks(context: Context) -> Iterator[Check]:
    from corpgrid.host.clock import SystemClock  # noqa: PLC0415 - rarely needed

    try:
        with context.grid() as grid:
            info, now, devices = grid.info(), SystemClock().now(), grid.devices()
    except CorpGridError as error:
        yield "grid", "none", str(error), error.remedy
        return
    yield "grid", "ok", f"scheduler {info.version}, {len(devices)} device(s)", ""
    seconds = now - info.now
    state, side = "ok" if abs(seconds) < _CLOCK_SECONDS else "off", "ahead of" if seconds > 0 else "behind"
    yield "clock", state, f"{abs(seconds):,.1f} s {side} the grid's", "Set this machine's clock and the grid's by NTP."
