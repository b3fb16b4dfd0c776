"""A simulated computer: its owner, its power, its lid, its disk, and the agent that runs on it.

Nature changes the computer by the small verbs here (``unplug``, ``close_lid``, ``crash``, ...); the agent notices as a
real one does, through its probes and its policy.  What the computer remembers of the work is held against its owner's
rights: work that was seen later than the yield bound after the owner came, or after the plug was pulled, is an
*interruption*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import cast

from corpgrid.agent.host_watch import HostWatch
from corpgrid.agent.requests import Identity, Requests
from corpgrid.agent.runners import RunnerPool
from corpgrid.agent.session import Host, Session
from corpgrid.agent.slot import Slot
from corpgrid.domain.availability import HostState, Memory, OwnerPolicy, look
from corpgrid.domain.device import Facts, PowerStatus
from corpgrid.domain.ids import DeviceId
from corpgrid.sim.clocks import SimClock
from corpgrid.sim.forger import ForgingScheduler
from corpgrid.sim.liars import Conscience, Gang, Honesty
from corpgrid.sim.light import LightCalls
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.network import Door, Network
from corpgrid.sim.runners import SimRunners, SimSlot
from corpgrid.sim.supervision import SimSupervisor
from corpgrid.sim.wire import SimWire
from corpgrid.sim.workload import Workload
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import RemoteScheduler
from corpgrid.trust.keys import Keyring, PrivateKey

YIELD_BOUND_SECONDS = 2.0
PROBE_SECONDS = 0.25
_LONG_AGO_SECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What kind of computer it is."""

    name: str
    owner: str
    site: str = "here"
    slots: int = 4
    speed: float = 1.0
    trusted: bool = False
    server: bool = False
    honesty: Honesty = Honesty.HONEST
    policy: OwnerPolicy = field(default_factory=OwnerPolicy)
    yield_grace_seconds: float = 30.0
    clock_drift: float = 0.0
    clock_offset_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all computers share."""

    loop: SimLoop
    network: Network
    light: LightCalls
    doors: Sequence[Door]
    keyring: Keyring
    limits: TransportLimits
    workloads: Mapping[str, Workload]
    enrolled: Callable[[DeviceId, Machine], None]
    gang: Gang
    fail: Callable[[str], None]


class Machine:
    """One computer.

    Attributes:
        device: its id as it stands now.
    """

    device: DeviceId

    def __init__(self, model: Model, site: Site, rng: Random) -> None:
        self.model = model
        self.site = site
        self.speed = model.speed
        self.clock = SimClock(site.loop, drift=model.clock_drift, offset_seconds=model.clock_offset_seconds)
        self.conscience = Conscience(model.name, model.honesty, Random(rng.random()), site.gang)
        self.disk_full = False
        self.process: Process | None = None
        self.worked_seconds = self.finished_seconds = 0.0
        self.interruptions = 0
        self.longest_interruption_seconds = 0.0
        self.news = asyncio.Event()
        self.key = self._new_key(rng)
        self._rng = rng
        self._on_mains = True
        self._owner_here = False
        self._last_input = -_LONG_AGO_SECONDS
        self._unwelcome_since: float | None = None
        self._stop_since: float | None = None
        self._boots = 0
        self.lid_closed = False

    def _new_key(self, rng: Random) -> PrivateKey:
        key = PrivateKey.from_raw(rng.randbytes(32))
        self.device = key.public.device_id
        self.site.enrolled(self.device, self)
        return key

    # -- what nature does

    def plug_in(self) -> None:
        """Mains power comes back."""
        self._changes(on_mains=True)

    def unplug(self) -> None:
        """Mains power goes."""
        self._changes(on_mains=False)

    def sit_down(self) -> None:
        """Its owner begins to use it."""
        self._changes(owner_here=True)

    def get_up(self) -> None:
        """Its owner goes."""
        self._changes(owner_here=False)

    def close_lid(self) -> None:
        """It falls asleep, with all that runs on it."""
        if not self.lid_closed:
            self._note("closes its lid")
            self.lid_closed = True
            self.clock.stand_still()
            if self.process is not None:
                self.process.sleep()

    def open_lid(self) -> None:
        """It wakes."""
        if self.lid_closed:
            self._note("opens its lid")
            self.lid_closed = False
            self.clock.go_on()
            if self._unwelcome_since is not None:
                self._unwelcome_since = self.site.loop.time()
            if self.process is not None:
                self.process.wake()

    def crash(self) -> None:
        """Everything that runs on it ends."""
        self._note("crashes")
        process, self.process = self.process, None
        if process is not None:
            process.kill()

    def forget(self) -> None:
        """Its disk is lost, and its key with it: it will come back as another device of the same owner."""
        self._note("loses its disk")
        self.key = self._new_key(self._rng)

    def boot(self) -> None:
        """Its agent starts."""
        if self.process is None:
            self._note("boots")
            self._stop_since = None
            self._boots += 1
            self.process = Process(self.site.loop, self.model.name)
            self.process.spawn(self._agent(self.process))
            if self.lid_closed:
                self.process.sleep()

    def _changes(self, *, on_mains: bool | None = None, owner_here: bool | None = None) -> None:
        now = self.site.loop.time()
        if on_mains is not None and on_mains != self._on_mains:
            self._on_mains = on_mains
            self._note("on mains" if on_mains else "on battery")
        if owner_here is not None and owner_here != self._owner_here:
            self._owner_here = owner_here
            self._last_input = now
            self._note("owner comes" if owner_here else "owner goes")
        unwelcome = not self._on_mains or (self._owner_here and not self.model.server)
        if not unwelcome:
            self._unwelcome_since = None
        elif self._unwelcome_since is None:
            self._unwelcome_since = now
        self.news.set()

    def _note(self, what: str) -> None:
        self.site.network.trace.note(f"{self.model.name} {what}")

    def told(self, *, go_on: bool) -> None:
        """The scheduler told its agent something."""
        if go_on:
            self._stop_since = None
        elif self._stop_since is None:
            self._stop_since = self.site.loop.time()

    # -- what its runners tell

    def work_begins(self) -> None:
        """A runner is about to work."""
        self._judge_presence()

    def worked(self, seconds: float) -> None:
        """A runner worked for so long, until now."""
        self.worked_seconds += seconds
        self._judge_presence()

    def finished(self, seconds: float) -> None:
        """So much of its work came to a result."""
        self.finished_seconds += seconds

    def _judge_presence(self) -> None:
        now, bound = self.site.loop.time(), YIELD_BOUND_SECONDS
        if self._stop_since is not None and now - self._stop_since > bound:
            self.site.fail(f"I7: {self.model.name} works {now - self._stop_since:.1f} s after it was told to stop")
        if self._unwelcome_since is None or self.lid_closed:
            return
        late_seconds = now - self._unwelcome_since
        if late_seconds > bound:
            self.interruptions += 1
            self.longest_interruption_seconds = max(self.longest_interruption_seconds, late_seconds)
            self.site.fail(
                f"O1: {self.model.name} works {late_seconds:.1f} s after its owner came or its plug was pulled"
            )

    # -- its agent

    async def _agent(self, process: Process) -> None:
        model, site = self.model, self.site
        session = Session(
            slots=model.slots, yield_grace_seconds=model.yield_grace_seconds, rng=Random(self._rng.random())
        )
        wire = SimWire(site.network, process, model.name, site.doors, site.limits)
        api = ForgingScheduler(wire, self.key) if model.honesty is Honesty.FORGER else RemoteScheduler(wire)
        runners = SimRunners(api, site.keyring, self.clock, self, site.workloads)
        identity = Identity(
            key=self.key,
            owner=model.owner,
            site=model.site,
            name=model.name,
            boot=f"{model.name}-{self._boots}",
            facts=self._facts,
        )
        slots = [
            SimSlot(number, session, runners, conscience=self.conscience, clock=self.clock, rng=self._rng)
            for number in range(model.slots)
        ]
        # The stand-ins have the public faces of what they stand for; the agent's own code cannot tell them apart.
        supervisor = SimSupervisor(
            wire,
            site.light,
            session=session,
            requests=Requests(api, session, identity, self.clock),
            runners=cast(RunnerPool, runners),
            watch=cast(HostWatch, SimWatch(self)),
            slots=cast(list[Slot], slots),
            clock=self.clock,
        )
        await supervisor.run()

    def _facts(self) -> Facts:
        return Facts(
            hostname=self.model.name,
            python="3.11",
            cpus=self.model.slots,
            memory_bytes=16 << 30,
            disk_free_bytes=1 << 40,
            sandbox="simulated",
            agent_version="sim",
        )

    def host_state(self) -> HostState:
        """What its probes say now."""
        now = self.clock.now()
        minutes = int(now // 60)
        idle = 0.0 if self._owner_here else self.site.loop.time() - self._last_input
        return HostState(
            now=now,
            power=PowerStatus(on_ac_power=self._on_mains, battery_percent=None if self.model.server else 80.0),
            idle_seconds=None if self.model.server else idle,
            weekday=(minutes // 1440 + 3) % 7,
            minute=minutes % 1440,
        )

    async def probe_delay(self) -> None:
        """Until its probes look the next time."""
        await asyncio.sleep(PROBE_SECONDS * self._rng.random())


class SimWatch:
    """The public face of the agent's ``HostWatch``: the policy is the production one, the probes read the machine.

    It looks when something changed, a little later, as a probe does, and whenever the last look may be out of date.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._memory = Memory()

    async def first(self) -> Host:
        """One look, before any work."""
        return self._see()[0]

    async def run(self, changed: Callable[[Host], None]) -> None:
        """Look until cancelled."""
        machine, before = self._machine, None
        while True:
            machine.news.clear()
            host, wait_seconds = self._see()
            if host != before:
                changed(host)
            before = host
            try:
                async with asyncio.timeout(wait_seconds):
                    await machine.news.wait()
            except TimeoutError:
                continue
            await machine.probe_delay()

    def _see(self) -> tuple[Host, float | None]:
        state = self._machine.host_state()
        seen = look(self._machine.model.policy, state, self._memory)
        self._memory = seen.memory
        blockers = tuple(blocker.name.value for blocker in seen.blockers)
        host = Host(power=state.power, blockers=blockers, disk_free_bytes=1 << 40)
        return host, None if seen.next_change is None else max(seen.next_change - state.now, 0.0) + 0.01
