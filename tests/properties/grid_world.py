"""A whole grid without processes: the real rules over a real store, devices that behave as a seed says.

``World`` plays rounds: every device may poll, bring results, fall silent, lie, replay an old batch or come back;
after each tick the invariants are checked; at the end the faults stop, and every task must reach its end.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from corpgrid.domain import grid
from corpgrid.domain.attempt import LIVE
from corpgrid.domain.device import DeviceState, Facts, PowerStatus
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.events import DeviceRegistered, Heartbeat, JobSubmitted, Polled, Swept
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, KeyId
from corpgrid.domain.job import TERMINAL, Arguments, JobSpec, JobState, TaskState, VerifyPolicy
from corpgrid.domain.messages import AgentSettings, AgentStatus, Batch, Grant, Item, Outcome, PollReply, RegisterRequest
from corpgrid.ports.store import Store
from corpgrid.sim.invariants import Invariants


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    at: float = 1_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@dataclass
class Actor:
    """A device.  ``kind`` is ``honest``, ``liar``, ``sleeper`` (lies after 12 honest results) or ``crasher``."""

    name: str
    kind: str = "honest"
    trusted: bool = False
    awake: bool = True
    plugged: bool = True
    held: dict[int, list[tuple[JobId, int, int]]] = field(default_factory=dict)
    replays: list[Batch] = field(default_factory=list)
    answered: int = 0

    @property
    def id(self) -> DeviceId:
        return DeviceId(f"dev_{self.name}")

    def answer(self, job: JobId, index: int, rng: random.Random) -> bytes:
        truth = f"{job}/{index}".encode().ljust(32)[:32]
        self.answered += 1
        if self.kind == "noise":
            return f"{self.name} {index} {rng.random()}".encode().ljust(32)[:32]
        lies = (self.kind == "liar" and rng.random() < 0.2) or (
            self.kind == "sleeper" and self.answered > 12 and rng.random() < 0.3
        )
        return f"lie {self.name} {index}".encode().ljust(32)[:32] if lies else truth

    def status(self, **changes: Any) -> AgentStatus:
        status = AgentStatus(
            device=self.id,
            session="",
            power=PowerStatus(on_ac_power=self.plugged),
            held=tuple(Epoch(epoch) for epoch in self.held),
            capacity=4,
        )
        return replace(status, **changes)


class World:
    """The grid and its devices."""

    def __init__(self, store: Store, clock: Clock, actors: list[Actor], seed: int) -> None:
        self.store = store
        self.clock = clock
        self.actors = {actor.id: actor for actor in actors}
        self.rng = random.Random(seed)
        self.rules = grid.GridRules(
            audit_key=b"secret", agree=lambda *_: False, settings=AgentSettings(lease_ttl_seconds=20.0)
        )
        self.events: list[Any] = []
        self.tickets: dict[int, Actor] = {}
        self.ticket = 0
        self.executions: Counter[JobId] = Counter()
        self.finals: dict[tuple[JobId, int], tuple[TaskState, int]] = {}
        self.epochs_seen: set[int] = set()
        self.quarantined: set[DeviceId] = set()
        self.jobs: list[JobId] = []
        self.violations: list[str] = []
        self.invariants = Invariants(self.violations.append)

    # -- what can happen

    def submit(self, tasks: int, **policy: Any) -> JobId:
        job = JobId(f"job_{len(self.jobs)}")
        spec = JobSpec(
            name="job",
            bundle=Digest(bytes([len(self.jobs)]) * 32),
            arguments=Arguments(tasks=tasks, page_tasks=16, pages=Digest(b"p" * 32)),
            not_after=2e9,
            nonce=str(job),
            verify=VerifyPolicy(**policy),
        )
        self.jobs.append(job)
        self.events.append(JobSubmitted(ticket=self._ticket(), job=job, spec=spec, envelope=b"e", submitter=KeyId("k")))
        return job

    def register(self, actor: Actor) -> None:
        request = RegisterRequest(
            public_key=actor.name.encode().ljust(32)[:32],
            owner=f"owner of {actor.name}",
            site="s",
            name=actor.name,
            facts=Facts(python="3.11", memory_bytes=1 << 33, disk_free_bytes=1 << 40),
            power=PowerStatus(on_ac_power=actor.plugged),
            boot=str(self.ticket),
            signed_at=self.clock.now(),
            capacity=4,
            held=tuple(Epoch(epoch) for epoch in actor.held),
        )
        self.events.append(
            DeviceRegistered(
                ticket=self._ticket(actor), device=actor.id, request=request, session=b"s" * 32, trusted=actor.trusted
            )
        )

    def poll(self, actor: Actor) -> None:
        batches = self.work(actor)
        self.events.append(
            Polled(
                ticket=self._ticket(actor),
                status=actor.status(),
                wanted=self.rng.randint(1, 6) if actor.plugged else 0,
                known_jobs=frozenset(),
                batches=tuple(batches),
                due=True,
            )
        )

    def work(self, actor: Actor) -> list[Batch]:
        """Do some of what it holds; what is brought is held until the reply, so it is dropped here and now."""
        batches = []
        for epoch in list(actor.held):
            items: dict[JobId, list[Item]] = defaultdict(list)
            rest = []
            for job, index, attempt in actor.held[epoch]:
                if not actor.plugged:
                    items[job].append(Item(index, attempt, Epoch(epoch), Outcome.STOPPED, reason="battery"))
                elif self.rng.random() < 0.8:
                    items[job].append(self._item(actor, job, index, attempt, epoch))
                else:
                    rest.append((job, index, attempt))
            actor.held[epoch] = rest
            if not rest:
                del actor.held[epoch]
            for job, found in items.items():
                digests = tuple(Digest(item.payload) for item in found)
                batches.append(Batch(job, actor.id, tuple(found), content=b"c", digests=digests))
        actor.replays += batches
        if actor.replays and self.rng.random() < 0.1:
            batches.append(self.rng.choice(actor.replays))
        return batches

    def _item(self, actor: Actor, job: JobId, index: int, attempt: int, epoch: int) -> Item:
        if actor.kind == "crasher" and self.rng.random() < 0.5:
            return Item(index, attempt, Epoch(epoch), Outcome.CRASHED, reason="sigsegv")
        return Item(
            index, attempt, Epoch(epoch), Outcome.RESULT, payload=actor.answer(job, index, self.rng), seconds=0.1
        )

    def _ticket(self, actor: Actor | None = None) -> int:
        self.ticket += 1
        if actor is not None:
            self.tickets[self.ticket] = actor
        return self.ticket

    # -- one tick

    async def tick(self) -> Effects:
        events, self.events = self.events, []
        views: list[View] = []

        def decide(view: View) -> Effects:
            views.append(view)
            return grid.decide(view, events, rng=random.Random(self.rng.random()), rules=self.rules)

        effects = await self.store.transact(grid.need(events, self.rules), decide)
        self.check(views[0], effects)
        for ticket, reply in effects.replies.items():
            actor = self.tickets.get(ticket)
            if actor is not None and isinstance(reply, PollReply):
                self._answered(actor, reply)
        return effects

    def _answered(self, actor: Actor, reply: PollReply) -> None:
        if not actor.awake:
            return
        for epoch in reply.lost:
            actor.held.pop(epoch, None)
        if not reply.should_continue:
            actor.held.clear()
        for grant in reply.grants:
            self._granted(actor, grant)

    def _granted(self, actor: Actor, grant: Grant) -> None:
        assert actor.id not in self.quarantined, "I7: work for a quarantined device"
        assert actor.plugged, "I7: work on battery"
        if self.rng.random() < 0.9:  # sometimes a reply is lost on its way
            actor.held[grant.epoch] = [(grant.job, task.index, task.attempt) for task in grant.tasks]

    # -- what must hold

    def check(self, view: View, effects: Effects) -> None:
        self.invariants.committed(view, effects)
        assert not self.violations, self.violations
        for attempt in effects.new_attempts:
            assert attempt.epoch >= view.next_epoch, "I5: an epoch was used before"
            self.executions[attempt.job] += 1
        for lease in effects.leases:
            if lease.epoch >= view.next_epoch:
                assert lease.epoch not in self.epochs_seen, "I5: epochs rise"
                self.epochs_seen.add(lease.epoch)
        for task in effects.tasks:
            key = (task.job, task.index)
            assert key not in self.finals, "I3: a task changed after its end"
            if task.state in TERMINAL:
                self.finals[key] = (task.state, task.accepted)
        for device in effects.devices:
            if device.state is DeviceState.QUARANTINED:
                self.quarantined.add(device.id)

    async def check_replicas(self, job: JobId) -> None:
        """I6: live and returned copies of a task have owners of their own, but for a trusted device in a dispute."""
        for task in await self.store.tasks(job, limit=10_000):
            attempts = await self.store.attempts(job, task.index)
            assert [attempt.number for attempt in attempts] == list(range(task.attempts))
            assert sum(attempt.state in LIVE for attempt in attempts) == task.live
            owners = Counter(
                attempt.owner
                for attempt in attempts
                if not self.actors[attempt.device].trusted and (attempt.state in LIVE or attempt.digest)
            )
            assert not owners or max(owners.values()) == 1, attempts

    # -- a run

    async def run(self, rounds: int, *, faults: bool = True) -> None:
        for actor in self.actors.values():
            self.register(actor)
        await self.tick()
        for _ in range(rounds):
            await self.round(faults=faults)

    async def round(self, *, faults: bool) -> None:
        self.clock.at += self.rng.uniform(0.1, 3.0)
        for actor in self.actors.values():
            if faults:
                self._disturb(actor)
            if actor.awake and self.rng.random() < 0.7:
                self.poll(actor)
            elif actor.awake:
                self.events.append(Heartbeat(ticket=self._ticket(), status=actor.status()))
        self.events.append(Swept())
        self.rng.shuffle(self.events)
        await self.tick()

    def _disturb(self, actor: Actor) -> None:
        chance = self.rng.random()
        if chance < 0.05:
            actor.awake = not actor.awake
        elif chance < 0.10:
            actor.plugged = not actor.plugged
        elif chance < 0.13:
            actor.held.clear()
            self.register(actor)

    async def settle(self, rounds: int = 400) -> None:
        """Stop all faults, and let every job come to its end."""
        for actor in self.actors.values():
            actor.awake = actor.plugged = True
        for _ in range(rounds):
            await self.round(faults=False)
            rows = [await self.store.job(job) for job in self.jobs]
            if all(row is not None and row.state is not JobState.RUNNING for row in rows):
                return
        raise AssertionError(f"jobs did not end: {rows}")

    async def wrong_accepted(self, job: JobId) -> int:
        wrong = 0
        for task in await self.store.tasks(job, states=[TaskState.FINAL], limit=100_000):
            attempts = await self.store.attempts(job, task.index)
            truth = f"{job}/{task.index}".encode().ljust(32)[:32]
            wrong += attempts[task.accepted].digest != truth
        return wrong
