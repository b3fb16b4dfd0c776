"""What happens to a simulated grid from outside: owners, power, lids, crashes, bad weather, killed schedulers.

Everything here draws from random numbers that belong to one thing each (a computer, the network, the store), so that
one more event in one place does not shift all others.  ``calm`` ends all of it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from random import Random
from typing import Any

from corpgrid.sim.headquarters import Headquarters, Station
from corpgrid.sim.loop import Process
from corpgrid.sim.machine import Machine
from corpgrid.sim.network import FAIR, Network, Weather
from corpgrid.sim.operator import Operator
from corpgrid.sim.scenarios import HOUR_SECONDS, Days, Storms
from corpgrid.sim.storage import SimStore, StoreWeather

_MINUTE = 60.0
_ALL = 0.25
"""Share of kills that end all schedulers at once."""
_WORKDAY = (9 * HOUR_SECONDS, 17.5 * HOUR_SECONDS)


class Nature:
    """All that happens from outside."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def trouble_computers(self, machines: Sequence[Machine], days: Days, seed: str) -> None:
        """Let computers live."""
        for number, machine in enumerate(machines):
            rng = Random(f"{seed}/{machine.model.name}")
            if machine.model.server:
                self._begin(_now_and_then(rng, days.crashes, partial(_crash, machine, rng, days)))
                continue
            if days.owners:
                self._begin(_workdays(machine, rng))
            if number < days.laptops * len(machines):
                self._begin(_now_and_then(rng, days.unplugged, partial(_unplug, machine, rng)))
                self._begin(_now_and_then(rng, days.closed, partial(_close, machine, rng)))
            self._begin(_now_and_then(rng, days.crashes, partial(_crash, machine, rng, days)))
            self._begin(_now_and_then(rng, days.disk_full, partial(_fill, machine, rng)))
            self._begin(_now_and_then(rng, days.clock_steps, partial(_step, machine, rng)))

    def trouble_grid(
        self, headquarters: Headquarters, network: Network, machines: Sequence[Machine], storms: Storms, seed: str
    ) -> None:
        """Let storms come over schedulers, store and network."""
        store, rng = headquarters.store, Random(f"{seed}/storms")
        names = [machine.model.name for machine in machines]
        for often, event in (
            (storms.kills, partial(_kill, headquarters, rng)),
            (storms.traps, partial(_trap, headquarters, rng)),
            (storms.freezes, partial(_freeze, headquarters, rng)),
            (storms.cuts, partial(_cut, headquarters, rng)),
            (storms.lost_hints, partial(_store_spell, store, rng, "lost_hints")),
            (storms.stale, partial(_store_spell, store, rng, "stale")),
            (storms.failing, partial(_store_spell, store, rng, "failing")),
            (storms.down, partial(_store_down, store, rng)),
            (storms.weather, partial(_weather_spell, network, rng)),
            (storms.partitions, partial(_partition_spell, network, names, rng)),
        ):
            self._begin(_now_and_then(rng, often, event))

    def trouble_devices(self, operator: Operator, machines: Sequence[Machine], storms: Storms, seed: str) -> None:
        """Let the operator pause devices."""
        rng = Random(f"{seed}/operator")
        self._begin(_now_and_then(rng, storms.pauses, partial(_pause, operator, machines, rng)))

    def _begin(self, life: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(life))

    async def calm(
        self, headquarters: Headquarters, network: Network, machines: Sequence[Machine], operator: Operator
    ) -> None:
        """End all faults, and mend what is broken."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        network.trace.note("all faults end")
        network.weather = FAIR
        network.deaf.clear()
        network.mute.clear()
        headquarters.store.weather = StoreWeather()
        headquarters.store.trap = None
        headquarters.start()
        for machine in machines:
            machine.open_lid()
            machine.plug_in()
            machine.get_up()
            machine.disk_full = False
            machine.boot()
        await operator.resume_all()


async def _now_and_then(rng: Random, times_an_hour: float, event: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if times_an_hour <= 0:
        return
    while True:
        await asyncio.sleep(rng.expovariate(times_an_hour / HOUR_SECONDS))
        await event()


# -- computers


async def _workdays(machine: Machine, rng: Random) -> None:
    """On weekdays, from morning to evening, its owner sits at it for a while, and goes for a while."""
    while True:
        seconds = machine.clock.now() % (24 * HOUR_SECONDS)
        weekday = int(machine.clock.now() // (24 * HOUR_SECONDS) + 3) % 7
        if weekday < 5 and _WORKDAY[0] <= seconds < _WORKDAY[1]:
            machine.sit_down()
            await asyncio.sleep(rng.expovariate(1 / (15 * _MINUTE)))
            machine.get_up()
            await asyncio.sleep(rng.expovariate(1 / (25 * _MINUTE)))
        else:
            await asyncio.sleep(5 * _MINUTE * (1 + rng.random()))


async def _unplug(machine: Machine, rng: Random) -> None:
    machine.unplug()
    await asyncio.sleep(rng.choice([1.0, 20.0, 300.0, 1_200.0]) * (0.5 + rng.random()))
    machine.plug_in()


async def _close(machine: Machine, rng: Random) -> None:
    machine.close_lid()
    await asyncio.sleep(rng.choice([10.0, 60.0, 900.0, 3 * HOUR_SECONDS]) * (0.5 + rng.random()))
    machine.open_lid()


async def _crash(machine: Machine, rng: Random, days: Days) -> None:
    machine.crash()
    await asyncio.sleep(5.0 + rng.expovariate(1 / 60.0))
    if rng.random() < days.disk_lost:
        machine.forget()
    machine.boot()


async def _fill(machine: Machine, rng: Random) -> None:
    machine.disk_full = True
    await asyncio.sleep(rng.expovariate(1 / (5 * _MINUTE)))
    machine.disk_full = False


async def _step(machine: Machine, rng: Random) -> None:
    machine.clock.step(rng.uniform(-60.0, 60.0))


async def _pause(operator: Operator, machines: Sequence[Machine], rng: Random) -> None:
    machine = rng.choice(machines)
    await operator.pause(machine.device)
    await asyncio.sleep(rng.uniform(10.0, 300.0))
    await operator.resume_all()


# -- schedulers, store, network


async def _kill(headquarters: Headquarters, rng: Random) -> None:
    """Kill one scheduler, or all at once."""
    some = headquarters.stations if rng.random() < _ALL else [rng.choice(headquarters.stations)]
    for station in some:
        station.kill()
    await asyncio.sleep(rng.choice([0.5, 5.0, 45.0]) * (0.5 + rng.random()))
    for station in some:
        station.start()


async def _trap(headquarters: Headquarters, rng: Random) -> None:
    """Kill the scheduler that commits next, before anybody is answered."""
    sprung: asyncio.Future[Station | None] = asyncio.get_running_loop().create_future()

    def trap(process: Process) -> None:
        station = headquarters.station_of(process)
        if station is not None:
            station.kill()
        sprung.set_result(station)

    headquarters.store.trap = trap
    station = await sprung
    await asyncio.sleep(rng.choice([0.2, 2.0, 30.0]) * (0.5 + rng.random()))
    if station is not None:
        station.start()


async def _freeze(headquarters: Headquarters, rng: Random) -> None:
    """Let a scheduler stand still while others work."""
    station = rng.choice(headquarters.stations)
    station.freeze()
    await asyncio.sleep(rng.choice([3.0, 30.0, 300.0]) * (0.5 + rng.random()))
    station.thaw()


async def _cut(headquarters: Headquarters, rng: Random) -> None:
    """Put the store out of one scheduler's reach."""
    station = rng.choice(headquarters.stations)
    station.cut(off=True)
    await asyncio.sleep(rng.choice([1.0, 20.0, 90.0]) * (0.5 + rng.random()))
    station.cut(off=False)


async def _store_spell(store: SimStore, rng: Random, what: str) -> None:
    setattr(store.weather, what, rng.uniform(0.05, 0.5))
    await asyncio.sleep(rng.uniform(5.0, 60.0))
    setattr(store.weather, what, 0.0)


async def _store_down(store: SimStore, rng: Random) -> None:
    store.weather.down = True
    await asyncio.sleep(rng.choice([1.0, 10.0, 90.0]) * (0.5 + rng.random()))
    store.weather.down = False


async def _weather_spell(network: Network, rng: Random) -> None:
    network.weather = Weather(
        lose_request=rng.uniform(0.0, 0.3),
        lose_reply=rng.uniform(0.0, 0.3),
        twice=rng.uniform(0.0, 0.3),
        late_seconds=rng.choice([0.0, 0.05, 1.0, 5.0]),
    )
    await asyncio.sleep(rng.uniform(10.0, 180.0))
    network.weather = FAIR


async def _partition_spell(network: Network, names: Sequence[str], rng: Random) -> None:
    some = rng.sample(names, max(1, int(len(names) * rng.choice([0.1, 0.5, 1.0]))))
    deaf, mute = rng.choice([(True, False), (False, True), (True, True)])
    network.deaf.update(some if deaf else ())
    network.mute.update(some if mute else ())
    network.trace.note(f"partition deaf={deaf} mute={mute} of {len(some)}")
    await asyncio.sleep(rng.choice([5.0, 30.0, 300.0]) * (0.5 + rng.random()))
    network.deaf.difference_update(some)
    network.mute.difference_update(some)
