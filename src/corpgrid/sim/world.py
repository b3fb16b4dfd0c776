"""A whole grid under one seed: built, lived through, and judged.

First faults go on for the scenario's hours: that is for safety, which is checked after every commit.  Then everything
heals, and all must come to its end within a bound: that is for liveness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

from corpgrid.domain.device import DeviceState
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.messages import HeartbeatRequest, PollRequest, Reply, SubmitRequest
from corpgrid.domain.rules import GridRules
from corpgrid.sim.clocks import START, SimClock
from corpgrid.sim.headquarters import Headquarters, agree
from corpgrid.sim.invariants import Invariants
from corpgrid.sim.liars import Gang, Honesty
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.machine import Machine, Model, Site
from corpgrid.sim.nature import Nature
from corpgrid.sim.network import Door, Network, SimWire
from corpgrid.sim.operator import Operator
from corpgrid.sim.people import Person
from corpgrid.sim.promises import Promises
from corpgrid.sim.reputations import Reputations
from corpgrid.sim.scenarios import HOUR_SECONDS, Scenario
from corpgrid.sim.storage import SimBlobs, SimStore
from corpgrid.sim.trace import Trace
from corpgrid.sim.workload import Workload
from corpgrid.stores.settings import StoreSettings
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import RemoteGrid
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.wire.convert import batch_blobs, decode_batch, item_payload

_BOOT_SECONDS = 10.0
_BACK_SECONDS = 60.0
_DISPUTE_SECONDS = 300.0
_CALL_SECONDS = 8.0
"""Less patience than agents have by default, and less than a lease lasts: much happens where somebody gives up."""
_FIRST_JOB_SECONDS = 12.0
_LIVENESS_SECONDS = 900.0


class World:
    """One simulation."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.violations: list[str] = []
        self.loop = SimLoop()  # type: ignore[abstract]  # sockets and signals are left out: there are none
        self.trace = Trace(self.loop)
        self.invariants = Invariants(self.fail, decode_batch if scenario.deep else None)
        self.promises = Promises(self.invariants, self.fail)
        self.reputations = Reputations(self.invariants, decode_batch) if scenario.deep else None
        self.enrolled: dict[DeviceId, Machine] = {}
        self._broken: asyncio.Event = asyncio.Event()
        self._seed = f"{seed}/{scenario.name}"
        day_seconds = scenario.start_hour * HOUR_SECONDS
        self._day_seconds = day_seconds
        self.network = Network(self.loop, Random(f"{self._seed}/network"), self.trace, heard=self._heard)
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
        people = asyncio.gather(*(self._submit(number) for number in range(len(self.scenario.jobs))))
        await self._until(people, self.scenario.hours * HOUR_SECONDS, early=not self._faulty)
        await nature.calm(self.headquarters, self.network, self.machines, self._operator)
        await asyncio.gather(*booting)
        if not self.violations:
            await self._heal(people)
        people.cancel()
        await self._shut_down()

    async def _heal(self, people: asyncio.Future[Any]) -> None:
        """Everything is well again: now all must come to its end."""
        since = self.headquarters.clock.now()
        await self._until(people, _BACK_SECONDS + 5.0, early=False)
        self._check_agents(since)
        await self._until(people, self._bound_seconds(), early=True)
        if not people.done():
            for person in self.people:
                if person.outcome.row is None:
                    self.fail(f"L1: {person.outcome.job} has not ended {self._bound_seconds():.0f} s after all faults")
            return
        people.result()
        await asyncio.sleep(1.0)
        await self._check_end()

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
        clock = SimClock(self.loop, offset_seconds=self._day_seconds)
        settings = StoreSettings(clock=clock, item_payload=item_payload, batch_blobs=batch_blobs)
        return Headquarters(
            loop=self.loop,
            store=SimStore(settings, Random(f"{self._seed}/store"), self._committed),
            blobs=SimBlobs(clock, self.promises.collected),
            clock=clock,
            rng=Random(f"{self._seed}/scheduler"),
            rules=GridRules(
                audit_key=Random(f"{self._seed}/coin").randbytes(32),
                agree=agree,
                settings=self.scenario.settings,
                dispute_seconds=_DISPUTE_SECONDS,
            ),
            limits=self.scenario.limits,
            keyring=Keyring([self._person_key.public]),
            trusted=self._trusts,
            door=Door(),
            trace=self.trace,
        )

    def _trusts(self, device: DeviceId) -> bool:
        machine = self.enrolled.get(device)
        return machine is not None and machine.model.trusted

    def _machines(self) -> Iterator[Machine]:
        scenario, rng = self.scenario, Random(f"{self._seed}/machines")
        site = Site(
            loop=self.loop,
            network=self.network,
            door=self.headquarters.door,
            keyring=self.headquarters.keyring,
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
            acknowledged=self.promises.acknowledged_submit,
            honest=not self.scenario.dishonest,
        )
        self.people.append(person)
        await process.spawn(person.run())

    def _grid(self, name: str, process: Process | None = None) -> RemoteGrid:
        """The grid as somebody sees it."""
        process = process or Process(self.loop, name)
        return RemoteGrid(SimWire(self.network, process, name, self.headquarters.door, TransportLimits()))

    # -- what is looked at

    def _committed(self, view: View, effects: Effects) -> None:
        if self.reputations is not None:
            self.reputations.committed(view, effects)
        self.invariants.committed(view, effects)
        rows = sorted((task.job, task.index, task.state.value, task.open, task.live) for task in effects.tasks)
        told = ";".join(f"{index}:{state}:{opened}:{live}" for _, index, state, opened, live in rows)
        leases = sorted(lease.epoch for lease in effects.leases)
        self.trace.note(f"commit {len(effects.replies)} {leases} {told}" if told or leases else "commit")

    def _heard(self, _method: str, request: Any, reply: Any, asked_at: float) -> None:
        """An agent was told something."""
        if isinstance(request, PollRequest | SubmitRequest) and request.batches:
            for batch, received in zip(request.batches, reply.received, strict=True):
                self.promises.acknowledged_results(request.status.device, batch, received)
        if isinstance(request, PollRequest | SubmitRequest | HeartbeatRequest) and isinstance(reply, Reply):
            until = START + self._day_seconds + asked_at + self.scenario.settings.lease_ttl_seconds
            held = [epoch for epoch in request.status.held if epoch not in reply.lost]
            self.promises.acknowledged_renewal(request.status.device, held, until)
            if not request.status.power.on_ac_power and reply.should_continue:
                self.fail(f"I7: {request.status.device} is on battery, and was told to go on")
            self._told(request.status.device, reply)

    def _told(self, device: DeviceId, reply: Reply) -> None:
        machine = self.enrolled.get(device)
        if machine is not None and machine.device == device:
            machine.told(go_on=reply.should_continue)

    def _check_agents(self, since: float) -> None:
        """Every agent is back within a minute."""
        for machine in self.machines:
            row = self.invariants.devices.get(machine.device)
            if row is None or row.last_seen < since:
                self.fail(f"L2: {machine.model.name} is not back {_BACK_SECONDS:.0f} s after all faults")

    async def _check_end(self) -> None:
        """Every job has ended: nothing may be left."""
        self.promises.audited()
        if self.reputations is not None:
            self.reputations.check(self.fail)
        store, scheduler = self.headquarters.store, self.headquarters.scheduler
        await self.promises.compare(store)
        now, ttl = self.headquarters.clock.now(), self.scenario.settings.lease_ttl_seconds
        for lease in self.invariants.leases.values():
            if lease.until + 2 * ttl < now or lease.job not in self.invariants.jobs:
                self.fail(f"L3: lease {lease.epoch} of {lease.device} is stuck since {now - lease.until:.0f} s")
        if scheduler is None or scheduler.counters.queue_length:
            self.fail("L4: the scheduler is gone, or events wait in its queue")
        for device in self.invariants.devices.values():
            machine = self.enrolled.get(device.id)
            honest = machine is not None and machine.model.honesty is Honesty.HONEST
            if device.state is DeviceState.QUARANTINED and honest:
                self.fail(f"V7: {device.id} is honest, and quarantined: {device.reason}")
