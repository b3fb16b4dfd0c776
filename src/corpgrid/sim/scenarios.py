"""Scenarios: which computers there are, what happens to them, and which jobs they are given.

A scenario is a value.  What is left to chance in it is drawn from the seed alone, by ``World``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from corpgrid.domain.job import Comparator, ComparatorKind, Limits, VerifyMode, VerifyPolicy
from corpgrid.domain.messages import AgentSettings
from corpgrid.errors import UsageError
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.sim.liars import Honesty
from corpgrid.sim.workload import Workload

HOUR_SECONDS = 3_600.0
_SLOTS = 4
_HEARTBEAT_SECONDS_MOST = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """How computers live; what happens so often an hour, on average.

    Attributes:
        owners: whether somebody sits at them at times.
        laptops: share that is unplugged and closed at times.
        unplugged: of a laptop.
        closed: the lid of a laptop.
        crashes: of any computer.
        disk_lost: share of crashes that cost the disk.
        disk_full: of any computer.
        clock_steps: of any computer.
    """

    owners: bool = False
    laptops: float = 0.0
    unplugged: float = 0.0
    closed: float = 0.0
    crashes: float = 0.0
    disk_lost: float = 0.2
    disk_full: float = 0.0
    clock_steps: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storms:
    """What happens to schedulers, store and network; so often an hour, on average.

    Attributes:
        kills: of a scheduler, or of all at once, at any moment.
        traps: of a scheduler, between a commit and its replies.
        freezes: of a scheduler, which stands still for seconds or minutes, and goes on.
        cuts: of a scheduler's connection to the store.
        lost_hints: spells in which what schedulers tell each other gets lost.
        stale: spells in which the store finds views stale.
        failing: spells in which the store fails now and then.
        down: outages of the store.
        weather: spells of lost, doubled and late messages.
        partitions: spells in which some computers are deaf, mute or both.
        pauses: devices that the operator pauses for a while.
    """

    kills: float = 0.0
    traps: float = 0.0
    freezes: float = 0.0
    cuts: float = 0.0
    lost_hints: float = 0.0
    stale: float = 0.0
    failing: float = 0.0
    down: float = 0.0
    weather: float = 0.0
    partitions: float = 0.0
    pauses: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything but the seed.

    Attributes:
        hours: for how long faults go on; after that everything heals, and all must come to its end.
        devices: how many computers, trusted ones included.
        trusted: of them, the operator's own.
        dishonest: share of the others by their way of lying.
        jobs: what is submitted, over the first two thirds of the hours.
        start_hour: of the day (a Monday) at which it begins.
        slots: runners on each computer.
        deep: whether the content of every stored batch is read and compared with the rows.
        schedulers: how many there are; more than one share the store.
        wire: share of heartbeats, and of polls that bring nothing, that are encoded and decoded; all else always is.
    """

    name: str
    hours: float
    devices: int
    jobs: tuple[Workload, ...]
    trusted: int = 1
    dishonest: Mapping[Honesty, float] = field(default_factory=dict)
    days: Days = field(default_factory=Days)
    storms: Storms = field(default_factory=Storms)
    settings: AgentSettings = field(default_factory=AgentSettings)
    limits: SchedulerLimits = field(default_factory=SchedulerLimits)
    start_hour: float = 9.0
    slots: int = _SLOTS
    deep: bool = True
    schedulers: int = 1
    wire: float = 1 / 16


_AUDIT = VerifyPolicy(mode=VerifyMode.AUDIT)
_QUORUM = VerifyPolicy(mode=VerifyMode.QUORUM, max_total=40, max_error=20)
_FLOAT = VerifyPolicy(mode=VerifyMode.AUDIT, comparator=Comparator(kind=ComparatorKind.FLOAT))
_PATIENT_LIMITS = Limits(max_attempts=12)
_STORM_LIMITS = SchedulerLimits(collect_seconds=120.0, collect_grace_seconds=60.0)
_SMALL_INLINE = AgentSettings(inline_bytes=256)
_ALL_LIARS: Mapping[Honesty, float] = {
    Honesty.STEADY: 0.04,
    Honesty.SLEEPER: 0.04,
    Honesty.SLOW: 0.04,
    Honesty.COLLUDER: 0.08,
}


def _mixed(hours: float, devices: int, tasks: int) -> tuple[Workload, ...]:
    """A large job and small ones of every kind, which keep the computers busy for about half the time."""
    small = max(tasks // 10, 4)
    seconds = 0.3 * hours * HOUR_SECONDS * devices * _SLOTS / tasks
    base = Workload(tasks=small, seconds=min(max(seconds, 0.5), 90.0), limits=_PATIENT_LIMITS, verify=_AUDIT)
    return (
        replace(base, tasks=max(tasks - 5 * small, 4)),
        replace(base, verify=_QUORUM, priority=60),
        replace(base, verify=_FLOAT),
        replace(base, verify=VerifyPolicy(mode=VerifyMode.NONE), result_bytes=1024, priority=70),
        replace(base, faulty=0.1, limits=Limits(), verify=VerifyPolicy(mode=VerifyMode.TIERS, max_total=40)),
        replace(base, cancel_after_seconds=60.0, seconds=100.0),
    )


def _calm(hours: float, devices: int, tasks: int) -> Scenario:
    return Scenario(name="calm", hours=hours, devices=devices, jobs=(Workload(tasks=tasks),))


def _liars(hours: float, devices: int, tasks: int) -> Scenario:
    return Scenario(
        name="liars",
        hours=hours,
        devices=devices,
        jobs=tuple(Workload(tasks=count, seconds=0.5) for count in (tasks - tasks // 4, tasks // 4) if count),
        trusted=max(1, devices // 20),
        dishonest=_ALL_LIARS,
    )


def _forger(hours: float, devices: int, tasks: int) -> Scenario:
    return replace(_calm(hours, devices, tasks), name="forger", dishonest={Honesty.FORGER: 0.1})


def _laptops(hours: float, devices: int, tasks: int) -> Scenario:
    return Scenario(
        name="laptops",
        hours=hours,
        devices=devices,
        jobs=_mixed(hours, devices, tasks),
        days=Days(owners=True, laptops=0.6, unplugged=1.0, closed=0.5, crashes=0.05, disk_full=0.05, clock_steps=0.1),
        storms=Storms(pauses=2),
        settings=_SMALL_INLINE,
    )


def _storm(hours: float, devices: int, tasks: int) -> Scenario:
    return Scenario(
        name="storm",
        hours=hours,
        devices=devices,
        jobs=_mixed(hours, devices, tasks),
        storms=Storms(kills=4, traps=8, freezes=4, cuts=2, lost_hints=4, stale=4, failing=4, down=2, weather=6),
        schedulers=3,
        limits=_STORM_LIMITS,
        settings=_SMALL_INLINE,
    )


def _partition(hours: float, devices: int, tasks: int) -> Scenario:
    return Scenario(
        name="partition",
        hours=hours,
        devices=devices,
        jobs=_mixed(hours, devices, tasks),
        storms=Storms(partitions=12, weather=2, cuts=6, lost_hints=4),
        schedulers=2,
        settings=_SMALL_INLINE,
    )


def _everything(hours: float, devices: int, tasks: int) -> Scenario:
    return Scenario(
        name="everything",
        hours=hours,
        devices=devices,
        jobs=_mixed(hours, devices, tasks),
        trusted=max(1, devices // 10),
        dishonest=_ALL_LIARS,
        days=Days(owners=True, laptops=0.5, unplugged=1.0, closed=0.5, crashes=0.3, disk_full=0.2, clock_steps=0.2),
        storms=Storms(
            kills=2,
            traps=3,
            freezes=2,
            cuts=1,
            lost_hints=2,
            stale=2,
            failing=2,
            down=1,
            weather=4,
            partitions=4,
            pauses=4,
        ),
        schedulers=2,
        limits=_STORM_LIMITS,
        settings=_SMALL_INLINE,
    )


_MAKERS: Mapping[str, Callable[[float, int, int], Scenario]] = {
    "calm": _calm,
    "liars": _liars,
    "forger": _forger,
    "laptops": _laptops,
    "storm": _storm,
    "partition": _partition,
    "everything": _everything,
}
NAMES = tuple(_MAKERS)


def scenario(  # noqa: PLR0913 - its sizes, by keyword
    name: str,
    *,
    hours: float,
    devices: int,
    tasks: int,
    schedulers: int = 0,
    heartbeat_seconds: float = 0.0,
    wire: bool = False,
) -> Scenario:
    """A scenario by its name.

    Args:
        name: of the scenario.
        hours: for how long faults go on.
        devices: how many computers.
        tasks: of all jobs together, about.
        schedulers: how many share one store; 0: as many as the scenario has.
        heartbeat_seconds: how often agents are heard of, and a quarter of how long polls wait and leases last; 0: as
            agents are told by default.
        wire: whether light messages are all encoded, too.

    Raises:
        UsageError: there is none of that name, or a number makes no sense.
    """
    if name not in _MAKERS:
        raise UsageError(f"there is no scenario {name!r}", remedy=f"Take one of {', '.join(NAMES)}.")
    if hours <= 0 or devices < 2 or tasks < 1 or schedulers < 0:
        raise UsageError("a simulation needs hours above 0, two devices or more, and a task or more")
    if not 0 <= heartbeat_seconds <= _HEARTBEAT_SECONDS_MOST:
        raise UsageError(f"devices that are heard of less often than every {_HEARTBEAT_SECONDS_MOST:g} s are not there")
    made = _MAKERS[name](hours, devices, tasks)
    settings = made.settings
    if heartbeat_seconds:
        settings = replace(
            settings,
            heartbeat_seconds=heartbeat_seconds,
            poll_wait_seconds=4 * heartbeat_seconds,
            lease_ttl_seconds=4 * heartbeat_seconds,
        )
    return replace(made, schedulers=schedulers or made.schedulers, settings=settings, wire=1.0 if wire else made.wire)
