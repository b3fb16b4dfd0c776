"""What an agent does next, as a pure state machine: replies and host changes in, instructions out.

No sockets, no processes, no clock: ``supervisor`` carries the instructions out and feeds back what came of them.

* **The owner comes first.**  The moment the host no longer allows work, everything is frozen; if that lasts longer than
  ``yield_grace_seconds``, it is stopped, and every task is handed back so that it runs elsewhere.  On battery there
  is no grace.  No word of the scheduler is waited for.
* ``should_continue = false`` in any reply is obeyed at once, in the same way.
* One poll, one submit and one heartbeat are under way at a time.  Results ride on a poll if one is due, else on a
  submit.
* A refused session registers again and names what it still holds; nothing that runs is lost by a scheduler's restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

from corpgrid.agent.queue import HeldTask, WorkQueue
from corpgrid.domain.device import PowerStatus
from corpgrid.domain.ids import DeviceId, Epoch, JobId
from corpgrid.domain.messages import AgentSettings, AgentStatus, Item, Outcome, PollReply, RegisterReply, Reply

_BATCH_ITEMS = 1024


class Link(Enum):
    """Where the agent stands with its scheduler."""

    DOWN = auto()
    REGISTERING = auto()
    UP = auto()


# -- instructions


@dataclass(frozen=True, slots=True)
class Register:
    """Introduce this agent; these epochs are still worked on."""

    held: tuple[Epoch, ...]


Batches = dict[JobId, list[Item]]


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask for work, bring results."""

    status: AgentStatus
    wanted: int
    wait_seconds: float
    batches: Batches


@dataclass(frozen=True, slots=True)
class Submit:
    """Bring results."""

    status: AgentStatus
    batches: Batches


@dataclass(frozen=True, slots=True)
class Beat:
    """Renew what is held."""

    status: AgentStatus


@dataclass(frozen=True, slots=True)
class LearnSpecs:
    """Keep these signed specifications."""

    specs: dict[JobId, bytes]


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop every runner where it stands."""


@dataclass(frozen=True, slots=True)
class Thaw:
    """Let every runner go on."""


@dataclass(frozen=True, slots=True)
class StopRunners:
    """End runners: those of these jobs, or all."""

    jobs: frozenset[JobId] | None = None


Instruction = Register | Poll | Submit | Beat | LearnSpecs | Freeze | Thaw | StopRunners


@dataclass(frozen=True, slots=True)
class Host:
    """What the host's probes and policy say now."""

    power: PowerStatus = field(default_factory=PowerStatus)
    blockers: tuple[str, ...] = ()
    thermal_headroom: float = 1.0
    disk_free_bytes: int = 0

    @property
    def allows_work(self) -> bool:
        """Whether the owner's policy lets work run."""
        return self.power.on_ac_power and not self.blockers

    @property
    def reason(self) -> str:
        """The first thing that forbids it."""
        return "battery" if not self.power.on_ac_power else (self.blockers or ("",))[0]


class Session:
    """The agent's side of the protocol, and the owner's rights."""

    def __init__(self, *, slots: int, yield_grace_seconds: float, rng: Random) -> None:
        self.queue = WorkQueue(slots=slots)
        self.host = Host()
        self.link = Link.DOWN
        self.settings = AgentSettings()
        self.message = ""
        self._grace = yield_grace_seconds
        self._rng = rng
        self._device = DeviceId("")
        self._secret = ""
        self._told_to_stop = False
        self._frozen_at: float | None = None
        self._closing = False
        self._retry_at = 0.0
        self._failures = 0
        self._beat_at = 0.0
        self._polling: Batches | None = None
        self._submitting: Batches | None = None
        self._beating = False

    # -- what came of the instructions

    def registered(self, reply: RegisterReply, *, now: float) -> list[Instruction]:
        """The scheduler knows this agent."""
        self.link, self._failures = Link.UP, 0
        self._device, self._secret, self.settings = reply.device, reply.session, reply.settings
        self._beat_at = now + self.settings.heartbeat_seconds
        return self._obey(reply.should_continue, reply.message) + self.advance(now=now)

    def polled(self, reply: PollReply, *, now: float) -> list[Instruction]:
        """A poll was answered."""
        self.queue.sent((self._polling or {}).items())
        self._polling = None
        out: list[Instruction] = []
        if reply.specs:
            out.append(LearnSpecs(dict(reply.specs)))
        self.queue.add(reply.grants)
        return out + self._replied(reply, now=now)

    def submitted(self, reply: Reply, *, now: float) -> list[Instruction]:
        """A submit was answered."""
        self.queue.sent((self._submitting or {}).items())
        self._submitting = None
        return self._replied(reply, now=now)

    def beaten(self, reply: Reply, *, now: float) -> list[Instruction]:
        """A heartbeat was answered."""
        self._beating = False
        return self._replied(reply, now=now)

    def failed(self, what: Register | Poll | Submit | Beat, *, refused: bool, now: float) -> list[Instruction]:
        """A request was not answered, or its session was refused."""
        match what:
            case Poll():
                self.queue.unsent((self._polling or {}).items())
                self._polling = None
            case Submit():
                self.queue.unsent((self._submitting or {}).items())
                self._submitting = None
            case Beat():
                self._beating = False
            case Register():
                self.link = Link.DOWN
        if refused:
            self.link = Link.DOWN
        self._failures += 1
        delay = min(0.1 * 2 ** min(self._failures, 10), self.settings.reconnect_window_seconds)
        self._retry_at = now + self._rng.uniform(0.0, delay)
        return self.advance(now=now)

    # -- what the host and the runners do

    def host_changed(self, host: Host, *, now: float) -> list[Instruction]:
        """The probes say something new."""
        changed = host.allows_work != self.host.allows_work
        self.host = host
        out = self._yield(now=now)
        if changed:
            self._beat_at = now
        return out + self.advance(now=now)

    def finished(self, job: JobId, items: Sequence[Item], *, now: float) -> list[Instruction]:
        """A runner brought items to their end."""
        self.queue.finish(job, items)
        return self.advance(now=now)

    def not_started(self, tasks: Sequence[HeldTask]) -> None:
        """A runner went away before it started these."""
        self.queue.give_back(tasks)

    def refuse(self, job: JobId, *, reason: str, detail: str, now: float) -> list[Instruction]:
        """Nothing of a job can be started here."""
        self.queue.take(job, self.queue.unfinished)
        running = self.queue.running(job)
        items = [
            Item(task.index, task.attempt, task.epoch, Outcome.REFUSED, reason=reason, detail=detail)
            for task in running
        ]
        return self.finished(job, items, now=now)

    def close(self, *, now: float) -> list[Instruction]:
        """The agent is asked to end: hand everything back."""
        self._closing = True
        self.queue.stop_all("agent_stopping")
        return [StopRunners(), *self.advance(now=now)]

    @property
    def may_run(self) -> bool:
        """Whether runners may start and work at this moment."""
        return self.host.allows_work and not self._told_to_stop and not self._closing

    @property
    def drained(self) -> bool:
        """Whether a closing agent has nothing left to say."""
        return self._closing and not self.queue.to_send and self._submitting is None

    # -- what to do now

    def advance(self, *, now: float) -> list[Instruction]:
        """Everything that is due."""
        out = self._yield(now=now)
        if now < self._retry_at:
            return out
        if self.link is Link.DOWN:
            if self._closing:
                return out
            self.link = Link.REGISTERING
            return [*out, Register(self.queue.held())]
        if self.link is Link.REGISTERING:
            return out
        out.extend(self._requests(now=now))
        return out

    def next_due(self, *, now: float) -> float:
        """Seconds until ``advance`` has something to do by time alone."""
        moments = [self._beat_at if self.link is Link.UP else now + 60.0]
        if now < self._retry_at:
            moments = [self._retry_at]
        if self._frozen_at is not None:
            moments.append(self._frozen_at + self._grace)
        return max(0.0, min(moments) - now)

    def _requests(self, *, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        wanted = self.queue.wanted() if self.may_run else 0
        if self._polling is None and wanted > 0:
            batches = (
                {} if self._submitting is not None else self.queue.take_outbox(_BATCH_ITEMS, self.settings.batch_bytes)
            )
            self._polling = batches
            self._beat_at = now + self.settings.heartbeat_seconds
            out.append(Poll(self._status(), wanted, self.settings.poll_wait_seconds, batches))
        elif self._submitting is None and self.queue.to_send:
            self._submitting = self.queue.take_outbox(_BATCH_ITEMS, self.settings.batch_bytes)
            out.append(Submit(self._status(), self._submitting))
        if now >= self._beat_at and not self._beating:
            self._beat_at = now + self.settings.heartbeat_seconds
            self._beating = True
            out.append(Beat(self._status()))
        return out

    def _status(self) -> AgentStatus:
        return AgentStatus(
            device=self._device,
            session=self._secret,
            power=self.host.power,
            held=self.queue.held(),
            blockers=self.host.blockers,
            capacity=self.queue.slots,
            thermal_headroom=self.host.thermal_headroom,
            disk_free_bytes=self.host.disk_free_bytes,
        )

    def _replied(self, reply: Reply, *, now: float) -> list[Instruction]:
        self._failures = 0
        out: list[Instruction] = []
        if reply.lost:
            jobs = self.queue.drop(reply.lost)
            if jobs:
                out.append(StopRunners(frozenset(jobs)))
        return out + self._obey(reply.should_continue, reply.message) + self.advance(now=now)

    def _obey(self, should_continue: bool, message: str) -> list[Instruction]:  # noqa: FBT001 - as the reply says it
        self.message = message
        self._told_to_stop = not should_continue
        if should_continue or not self.queue.unfinished:
            return []
        self.queue.stop_all("told_to_stop")
        return [StopRunners()]

    def _yield(self, *, now: float) -> list[Instruction]:
        """The yield ladder: freeze, then hand back."""
        if self.host.allows_work:
            if self._frozen_at is None:
                return []
            self._frozen_at = None
            return [Thaw()]
        out: list[Instruction] = []
        if self._frozen_at is None:
            self._frozen_at = now
            out.append(Freeze())
        grace = self._grace if self.host.power.on_ac_power else 0.0
        if self.queue.unfinished and now >= self._frozen_at + grace:
            self.queue.stop_all(self.host.reason)
            out.append(StopRunners())
        return out
