"""A whole grid under one seed: built, lived through, and judged.

First faults go on for the scenario's hours: that is for safety, which is checked after every commit.  Then everything
heals, and all must come to its end within a bound: that is for liveness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

from corpgrid.domain.ids import DeviceId
from corpgrid.domain.rules import GridRules
from corpgrid.sim.clocks import START, SimClock
from corpgrid.sim.headquarters import Grid, Headquarters, agree
from corpgrid.sim.jury import Jury
from corpgrid.sim.liars import Gang, Honesty
from corpgrid.sim.light import LightCalls
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.machine import Machine, Model, Site
from corpgrid.sim.nature import Nature
from corpgrid.sim.network import Network
from corpgrid.sim.operator import Operator
from corpgrid.sim.people import Person
from corpgrid.sim.scenarios import HOUR_SECONDS, Scenario
from corpgrid.sim.storage import SimBlobs, SimStore
from corpgrid.sim.trace import Trace
from corpgrid.sim.wire import SimWire
from corpgrid.sim.workload import Workload
from corpgrid.stores.settings import StoreSettings
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import RemoteGrid
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.wire.convert import batch_blobs, item_payload

_BOOT_SECONDS = 10.0
_BACK_SECONDS = 60.0
_DISPUTE_SECONDS = 300.0
_CALL_SECONDS = 8.0
"""Less patience than agents have by default, and less than a lease lasts: much happens where somebody gives up."""
_FIRST_JOB_SECONDS = 12.0
_COMMIT_SECONDS = 0.002
_COMMIT_SECONDS_A_DEVICE = 5e-5
"""The larger the fleet, the more gathers for one tick, as it does where a store is busy."""
_DEVICES_COUNTED_A_SECOND = 200
_CLOCKS_APART_SECONDS = 1.0
_LIVENESS_SECONDS = 900.0
_LOOK_SECONDS = 300.0


class World:
    """One simulation."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.violations: list[str] = []
        self.loop = SimLoop()  # type: ignore[abstract]  # sockets and signals are left out: there are none
        self.trace = Trace(self.loop)
        self.enrolled: dict[DeviceId, Machine] = {}
        self._broken: asyncio.Event = asyncio.Event()
        self._seed = f"{seed}/{scenario.name}"
        day_seconds = scenario.start_hour * HOUR_SECONDS
        self._day_seconds = day_seconds
        self._clock = SimClock(self.loop, offset_seconds=day_seconds)
        self._rules = GridRules(
            audit_key=Random(f"{self._seed}/coin").randbytes(32),
            agree=agree,
            settings=scenario.settings,
            dispute_seconds=_DISPUTE_SECONDS,
        )
        self.jury = Jury(
            loop=self.loop,
            clock=self._clock,
            trace=self.trace,
            fail=self.fail,
            enrolled=self.enrolled,
            lease_ttl_seconds=scenario.settings.lease_ttl_seconds,
            grant_tasks=self._rules.grant_tasks,
            deep=scenario.deep,
        )
        self.network = Network(
            loop=self.loop, rng=Random(f"{self._seed}/network"), trace=self.trace, watch=self.jury, wire=scenario.wire
        )
        self._person_key = PrivateKey.from_raw(Random(f"{self._seed}/person").randbytes(32))
        self.headquarters = self._headquarters()
        self._workloads: dict[str, Workload] = {f"job {n}": work for n, work in enumerate(scenario.jobs)}
        self.machines = list(self._machines())
        self.people: list[Person] = []
        self._operator = Operator(self._grid("operator"), Process(self.loop, "operator"), self.trace)

    def fail(self, violation: str) -> None:
        """Something that must hold does not."""
        self.violations.append(violation)
        self.trace.note(f"VIOLATION {violation}")
        self._broken.set()

    def run(self) -> None:
        """Live through it."""
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self.loop.close()

    async def _live(self) -> None:
        nature = Nature()
        self.headquarters.start()
        booting = [asyncio.ensure_future(self._boot(machine)) for machine in self.machines]
        nature.trouble_computers(self.machines, self.scenario.days, self._seed)
        nature.trouble_grid(self.headquarters, self.network, self.machines, self.scenario.storms, self._seed)
        nature.trouble_devices(self._operator, self.machines, self.scenario.storms, self._seed)
        looking = asyncio.ensure_future(self._look_now_and_then())
        people = asyncio.gather(*(self._submit(number) for number in range(len(self.scenario.jobs))))
        await self._until(people, self.scenario.hours * HOUR_SECONDS, early=not self._faulty)
        await nature.calm(self.headquarters, self.network, self.machines, self._operator)
        await asyncio.gather(*booting)
        if not self.violations:
            await self._heal(people)
        people.cancel()
        looking.cancel()
        await self._shut_down()

    async def _heal(self, people: asyncio.Future[Any]) -> None:
        """Everything is well again: now all must come to its end."""
        since = self._clock.now()
        await self._until(people, _BACK_SECONDS + 5.0, early=False)
        for machine in self.machines:
            self.jury.require_seen(machine, since=since, within_seconds=_BACK_SECONDS)
        await self._until(people, self._bound_seconds(), early=True)
        if not people.done():
            for person in self.people:
                if person.outcome.row is None:
                    self.fail(f"L1: {person.outcome.job} has not ended {self._bound_seconds():.0f} s after all faults")
            return
        people.result()
        await asyncio.sleep(1.0)
        await self.jury.look_last(self.headquarters.store)
        for station in self.headquarters.stations:
            if station.scheduler is None or station.scheduler.counters.queue_length:
                self.fail(f"L4: scheduler {station.number} is gone, or events wait in its queue")

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self.headquarters.store.weather.down:
                await self.jury.look(self.headquarters.store)

    async def _until(self, people: asyncio.Future[Any], seconds: float, *, early: bool) -> None:
        """Wait so long, or until something is broken, or (``early``) until every job has ended."""
        broken = asyncio.ensure_future(self._broken.wait())
        waiting: set[asyncio.Future[Any]] = {broken, people} if early else {broken}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if people.done() and (error := people.exception()) is not None and not self.violations:
            raise error

    @property
    def _faulty(self) -> bool:
        """Whether there is anything to wait for besides the jobs."""
        scenario = self.scenario
        return scenario.days != type(scenario.days)() or scenario.storms != type(scenario.storms)()

    def _bound_seconds(self) -> float:
        """By when all must have ended.

        Rules that wait, the work several times over, and one task that fails at the slowest device again and again.
        """
        slowest = min(machine.speed for machine in self.machines)
        again_seconds = max(
            job.limits.max_attempts * (3.0 * job.seconds / slowest + 60.0) if job.faulty else 0.0
            for job in self.scenario.jobs
        )
        work_seconds = sum(job.tasks * job.seconds for job in self.scenario.jobs)
        room = sum(machine.model.slots * machine.speed for machine in self.machines)
        return _LIVENESS_SECONDS + 2 * _DISPUTE_SECONDS + 6 * work_seconds / room + again_seconds

    async def _boot(self, machine: Machine) -> None:
        await asyncio.sleep(_BOOT_SECONDS * Random(f"{self._seed}/{machine.model.name}/boot").random())
        machine.boot()

    async def _shut_down(self) -> None:
        """End every process, so that nothing is left that waits."""
        self.headquarters.kill()
        for machine in self.machines:
            machine.crash()
        await asyncio.sleep(1.0)
        for fault in self.loop.faults:
            self.fail(f"R1: nobody caught: {fault}")

    # -- what it is made of

    def _headquarters(self) -> Headquarters:
        scenario, clock = self.scenario, self._clock
        settings = StoreSettings(
            clock=clock,
            item_payload=item_payload,
            batch_blobs=batch_blobs,
            owners_seconds=max(1.0, scenario.devices / _DEVICES_COUNTED_A_SECOND),
        )
        rng = Random(f"{self._seed}/scheduler")
        grid = Grid(
            loop=self.loop,
            store=SimStore(
                settings,
                Random(f"{self._seed}/store"),
                self.jury.committed,
                commit_seconds=max(_COMMIT_SECONDS, scenario.devices * _COMMIT_SECONDS_A_DEVICE),
            ),
            blobs=SimBlobs(clock, self.jury.collected),
            rules=self._rules,
            limits=scenario.limits,
            keyring=Keyring([self._person_key.public]),
            trusted=self._trusts,
            trace=self.trace,
            schedulers=scenario.schedulers,
        )
        clocks = [clock] if scenario.schedulers == 1 else [self._clock_nearby(rng) for _ in range(scenario.schedulers)]
        return Headquarters(grid, clocks, rng)

    def _clock_nearby(self, rng: Random) -> SimClock:
        """A scheduler's clock, which is not quite that of the store."""
        offset_seconds = self._day_seconds + rng.uniform(-_CLOCKS_APART_SECONDS, _CLOCKS_APART_SECONDS)
        return SimClock(self.loop, drift=rng.uniform(-1e-5, 1e-5), offset_seconds=offset_seconds)

    def _trusts(self, device: DeviceId) -> bool:
        machine = self.enrolled.get(device)
        return machine is not None and machine.model.trusted

    def _machines(self) -> Iterator[Machine]:
        scenario, rng = self.scenario, Random(f"{self._seed}/machines")
        site = Site(
            loop=self.loop,
            network=self.network,
            light=LightCalls(
                self.network,
                gather_seconds=self.headquarters.store.commit_seconds,
                patience_seconds=_CALL_SECONDS / 2,
            ),
            doors=self.headquarters.doors,
            keyring=self.headquarters.grid.keyring,
            limits=TransportLimits(call_seconds=_CALL_SECONDS),
            workloads=self._workloads,
            enrolled=self.enrolled.__setitem__,
            gang=Gang(),
            fail=self.fail,
        )
        kinds = self._honesty(rng)
        for number in range(scenario.devices):
            trusted = number >= scenario.devices - scenario.trusted
            model = Model(
                name=f"pc-{number}",
                owner="operator" if trusted else f"owner-{number * 2 // 3}",
                site=f"site-{number % 3}",
                slots=scenario.slots,
                speed=rng.choice([0.3, 1.0, 1.0, 2.0]),
                trusted=trusted,
                server=trusted,
                honesty=Honesty.HONEST if trusted else kinds[number],
                clock_drift=rng.uniform(-2e-4, 2e-4),
                clock_offset_seconds=self._day_seconds + rng.uniform(-120.0, 120.0),
            )
            yield Machine(model, site, Random(f"{self._seed}/{model.name}/machine"))

    def _honesty(self, rng: Random) -> list[Honesty]:
        """Of each device that is not the operator's; at least one of each kind that there shall be."""
        count = self.scenario.devices - self.scenario.trusted
        kinds: list[Honesty] = []
        for kind, part in self.scenario.dishonest.items():
            kinds += [kind] * max(1, round(part * count))
        kinds = (kinds + [Honesty.HONEST] * count)[:count]
        rng.shuffle(kinds)
        return kinds

    async def _submit(self, number: int) -> None:
        rng = Random(f"{self._seed}/job {number}")
        late_seconds = rng.uniform(0.0, self.scenario.hours * HOUR_SECONDS / 1.5) if number else _FIRST_JOB_SECONDS
        await asyncio.sleep(late_seconds)
        process = Process(self.loop, f"person-{number}")
        person = Person(
            grid=self._grid(process.name, process),
            key=self._person_key,
            name=f"job {number}",
            workload=self._workloads[f"job {number}"],
            rng=rng,
            loop=self.loop,
            trace=self.trace,
            now=START + self._day_seconds,
            fail=self.fail,
            acknowledged=self.jury.promises.acknowledged_submit,
            honest=not self.scenario.dishonest,
        )
        self.people.append(person)
        await process.spawn(person.run())

    def _grid(self, name: str, process: Process | None = None) -> RemoteGrid:
        """The grid as somebody sees it."""
        process = process or Process(self.loop, name)
        return RemoteGrid(SimWire(self.network, process, name, self.headquarters.doors, TransportLimits()))
