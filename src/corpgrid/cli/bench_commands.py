"""``corpgrid bench``: what this grid does on this machine.  With ``--json`` each command prints one object, last.

Every command says beside its figures on what machine they were taken, how busy it was, and of which commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from corpgrid.cli.context import output_options
from corpgrid.cli.render import Renderer

if TYPE_CHECKING:
    from corpgrid.cli.bench.grid import Setting

_COUNT = click.IntRange(1)


def _numbers(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of whole numbers, such as 1,10,100") from None
    if min(numbers) < 0:
        raise click.BadParameter(f"{text!r} has a number below 0")
    return numbers


def _names(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[str, ...]:
    """Names with commas between them; empty: none."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _grid_setting(command: Callable[..., None]) -> Callable[..., None]:
    """``--store`` and ``--dsn``: the grid that is measured."""
    command = click.option("--dsn", default="", help="An empty PostgreSQL database; none: a server for this run.")(
        command
    )
    return click.option(
        "--store", type=click.Choice(["sqlite", "postgres"]), default="sqlite", show_default=True, help="Of its state."
    )(command)


_peers = click.option(
    "--peers", callback=_names, default="", help="Other systems to measure in the same run: dask, ray, with commas."
)


def _setting(store: str, dsn: str, *, agents: int = 2) -> Setting:
    from corpgrid.cli.bench.grid import Setting  # noqa: PLC0415 - gRPC takes long to import

    if dsn and store != "postgres":
        raise click.UsageError("--dsn names a PostgreSQL database: say --store postgres")
    return Setting(store=store, dsn=dsn, agents=agents)


@click.group("bench")
def bench_group() -> None:
    """Measure this grid on this machine."""


@bench_group.command("dispatch")
@click.option("--tasks", type=_COUNT, default=10_000, show_default=True, help="No-op tasks in one job.")
@click.option("--singles", type=_COUNT, default=200, show_default=True, help="Jobs of one task, one after another.")
@click.option("--runs", type=_COUNT, default=3, show_default=True, help="How often; the best counts, all are shown.")
@_grid_setting
@_peers
@output_options
def dispatch(  # noqa: PLR0913 - its options
    renderer: Renderer, *, tasks: int, singles: int, runs: int, store: str, dsn: str, peers: tuple[str, ...]
) -> None:
    """No-op tasks a second, durable, signed, audited; and the latency of one task."""
    from corpgrid.cli.bench.dispatch import measure_dispatch  # noqa: PLC0415 - gRPC takes long to import

    found = measure_dispatch(tasks=tasks, singles=singles, runs=runs, setting=_setting(store, dsn), peers=peers)
    renderer.facts(found, name="tasks_per_s")


@bench_group.command("latency")
@click.option("--singles", type=_COUNT, default=500, show_default=True, help="Jobs of one task, one after another.")
@click.option("--trace", is_flag=True, help="Say where the milliseconds go, on a second grid with stopwatches.")
@_grid_setting
@_peers
@output_options
def latency(  # noqa: PLR0913 - its options
    renderer: Renderer, *, singles: int, trace: bool, store: str, dsn: str, peers: tuple[str, ...]
) -> None:
    """One task from the call to its value, one after another on an idle grid."""
    from corpgrid.cli.bench.latency import measure_latency  # noqa: PLC0415 - gRPC takes long to import

    found = measure_latency(singles=singles, trace=trace, setting=_setting(store, dsn), peers=peers)
    renderer.facts(found, name="p50_ms")


@bench_group.command("heartbeats")
@click.option(
    "--agents", callback=_numbers, default="1,10,100,1000,10000", show_default=True, help="How many, in turn."
)
@click.option("--seconds", type=click.FloatRange(0.01), default=5.0, show_default=True, help="For each number.")
@click.option("--in-flight", type=_COUNT, default=256, show_default=True, help="The most that are sent at once.")
@click.option("--streams", type=_COUNT, default=1_000, show_default=True, help="Over how many they are spread.")
@_grid_setting
@output_options
def heartbeats(  # noqa: PLR0913 - its options
    renderer: Renderer, *, agents: tuple[int, ...], seconds: float, in_flight: int, streams: int, store: str, dsn: str
) -> None:
    """Heartbeats a second that one scheduler process acknowledges, over gRPC."""
    from corpgrid.cli.bench.heartbeats import Load, measure_heartbeats  # noqa: PLC0415 - gRPC takes long to import

    numbers = [number for number in agents if number] or [1]
    found = measure_heartbeats(
        agents=numbers,
        load=Load(seconds=seconds, in_flight=in_flight, streams=streams),
        setting=_setting(store, dsn, agents=0),
    )
    renderer.facts(found, name="heartbeats_per_s")


@bench_group.command("agents")
@click.option(
    "--agents", callback=_numbers, default="1,10,100,1000,10000", show_default=True, help="How many, in turn."
)
@click.option("--tasks", type=_COUNT, default=20_000, show_default=True, help="No-op tasks in one job.")
@click.option("--runs", type=_COUNT, default=2, show_default=True, help="How often; the best counts, all are shown.")
@click.option("--streams", type=_COUNT, default=1_000, show_default=True, help="Over how many they are spread.")
@click.option("--verify", type=click.Choice(["none", "audit"]), default="none", show_default=True, help="Of the job.")
@_grid_setting
@output_options
def agents(  # noqa: PLR0913 - its options
    renderer: Renderer,
    *,
    agents: tuple[int, ...],
    tasks: int,
    runs: int,
    streams: int,
    verify: str,
    store: str,
    dsn: str,
) -> None:
    """Tasks a second by how many agents are connected, each a real session over gRPC without a runner."""
    from corpgrid.cli.bench.connected import Work, measure_connected  # noqa: PLC0415 - gRPC takes long to import
    from corpgrid.domain.job import VerifyMode  # noqa: PLC0415 - as above

    found = measure_connected(
        agents=[number for number in agents if number] or [1],
        work=Work(tasks=tasks, runs=runs, verify=VerifyMode(verify)),
        streams=streams,
        setting=_setting(store, dsn, agents=0),
    )
    renderer.facts(found, name="tasks_per_s")


@bench_group.command("placement")
@click.option("--devices", callback=_numbers, default="1000,10000,100000", show_default=True, help="How many.")
@click.option("--sets", callback=_numbers, default="1,50", show_default=True, help="Kinds of tasks.")
@click.option("--tasks", type=_COUNT, default=1_000, show_default=True, help="Tasks of all kinds together.")
@click.option("--rounds", type=_COUNT, default=9, show_default=True, help="How often; the median counts.")
@output_options
def placement(renderer: Renderer, *, devices: tuple[int, ...], sets: tuple[int, ...], tasks: int, rounds: int) -> None:
    """Milliseconds to place tasks over many devices, in memory."""
    from corpgrid.cli.bench.placement import measure_placement  # noqa: PLC0415 - NumPy takes long to import

    found = measure_placement(
        devices=[number for number in devices if number] or [1],
        sets=[number for number in sets if number] or [1],
        tasks=tasks,
        rounds=rounds,
    )
    renderer.facts(found, name="match_ms")


@bench_group.command("queue")
@click.option(
    "--queued", callback=_numbers, default="0,10000,100000", show_default=True, help="Tasks that wait, in turn."
)
@click.option("--tasks", callback=_numbers, default="1000,10000,100000", show_default=True, help="Sizes of one job.")
@click.option("--probe", type=_COUNT, default=10_000, show_default=True, help="Tasks of the job that is timed.")
@click.option("--runs", type=_COUNT, default=3, show_default=True, help="How often; the best counts, all are shown.")
@_grid_setting
@output_options
def queue(  # noqa: PLR0913 - its options
    renderer: Renderer,
    *,
    queued: tuple[int, ...],
    tasks: tuple[int, ...],
    probe: int,
    runs: int,
    store: str,
    dsn: str,
) -> None:
    """Tasks a second while many others wait, the scheduler's memory, and the rate by the size of a job."""
    from corpgrid.cli.bench.queue import measure_queue  # noqa: PLC0415 - gRPC takes long to import

    sizes = [number for number in tasks if number] or [probe]
    found = measure_queue(queued=queued, sizes=sizes, tasks=probe, runs=runs, setting=_setting(store, dsn))
    renderer.facts(found, name="tasks_per_s")


@bench_group.command("blobs")
@click.option("--sizes", callback=_numbers, default="4096,1048576,67108864", show_default=True, help="In bytes.")
@click.option("--rounds", type=_COUNT, default=9, show_default=True, help="How often; the median counts.")
@output_options
def blobs(renderer: Renderer, *, sizes: tuple[int, ...], rounds: int) -> None:
    """Blobs of this machine against plain files: put with write and fsync, get with read."""
    from corpgrid.cli.bench.blobs import measure_blobs  # noqa: PLC0415 - NumPy takes long to import

    renderer.facts(measure_blobs(sizes=[size for size in sizes if size] or [1], rounds=rounds), name="put_mb_per_s")


@bench_group.command("runner")
@click.option("--tasks", default=2_000, show_default=True, help="No-op tasks given to a warm runner, one at a time.")
@click.option("--starts", default=20, show_default=True, help="Cold starts.")
@output_options
def runner(renderer: Renderer, *, tasks: int, starts: int) -> None:
    """What a sandboxed runner costs: cold start against a bare interpreter, and a task on a warm one."""
    from corpgrid.cli.bench.runner import measure_runner  # noqa: PLC0415 - takes long to import

    renderer.facts(measure_runner(tasks=tasks, starts=starts), name="task_ms")
