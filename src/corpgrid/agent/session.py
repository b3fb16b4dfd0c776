"""What an agent does next, as a pure state machine: replies and host changes in, instructions out.

No sockets, no processes, no clock: ``supervisor`` carries the instructions out and feeds back what came of them.

* **The owner comes first.**  The moment the host no longer allows work, everything is frozen; if that lasts longer than
  ``yield_grace_seconds``, every runner is ended, also one without a task, and every task is handed back so that it runs
  elsewhere.  On battery there is no grace.  No word of the scheduler is waited for.
* ``should_continue = false`` in any reply is obeyed at once: every runner is ended, every task handed back.  Then a
  poll that wants nothing waits for the word to go on.
* One poll, one submit and one heartbeat are under way at a time.  Results ride on a poll if one is due, else on a
  submit.  When all that is here will be done within a moment, the poll waits for it: one request brings everything.
* A refused session registers again and names what it still holds; nothing that runs is lost by a scheduler's restart.
* Results that the scheduler will not take are cut down until the one that it chokes on stands alone: that one is
  reported as crashed, and holds up no other.
* A device that could not start anything rests, longer each time, so that it does not eat up what others could do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

from corpgrid.agent.instructions import (
    Batches,
    Beat,
    Freeze,
    Instruction,
    LearnSpecs,
    Poll,
    Register,
    StopRunners,
    Submit,
    Thaw,
)
from corpgrid.agent.queue import WorkQueue
from corpgrid.domain.device import PowerStatus
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.messages import AgentSettings, AgentStatus, Item, Outcome, PollReply, RegisterReply, Reply

_BATCH_ITEMS = 1024
_FIRST_REST_SECONDS = 0.5
_LONGEST_REST_SECONDS = 15.0
_UNDELIVERABLE = "undeliverable"
_STOPPING = "agent_stopping"
_NEVER_SECONDS = 60.0
_MOMENT_SECONDS = 0.003


class Link(Enum):
    """Where the agent stands with its scheduler."""

    DOWN = auto()
    REGISTERING = auto()
    UP = auto()


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
        self._yielded = False
        self._closing = False
        self._closed_at = 0.0
        self._rests = 0
        self._rest_until = 0.0
        self._most_items = _BATCH_ITEMS
        self._retry_at = 0.0
        self._failures = 0
        self._beat_at = 0.0
        self._moment_until = 0.0
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
        self._arrived(self._polling)
        self._polling = None
        out: list[Instruction] = []
        if reply.specs:
            out.append(LearnSpecs(dict(reply.specs), reply.blobs))
        self.queue.add(reply.grants)
        if self._closing:
            self.queue.stop_all(_STOPPING)
        return out + self._replied(reply, now=now)

    def submitted(self, reply: Reply, *, now: float) -> list[Instruction]:
        """A submit was answered."""
        self._arrived(self._submitting)
        self._submitting = None
        return self._replied(reply, now=now)

    def beaten(self, reply: Reply, *, now: float) -> list[Instruction]:
        """A heartbeat was answered."""
        self._beating = False
        return self._replied(reply, now=now)

    def failed(
        self,
        what: Register | Poll | Submit | Beat,
        *,
        refused: bool,
        now: float,
        fault: str = "",
        pause_seconds: float = 0.0,
    ) -> list[Instruction]:
        """A request was not answered, its session was refused, or something in it was (``fault`` says what).

        ``pause_seconds`` is what the scheduler asked for; chance is added, so that not all come back at once.
        """
        match what:
            case Poll():
                self._bounced(self._polling, fault)
                self._polling = None
            case Submit():
                self._bounced(self._submitting, fault)
                self._submitting = None
            case Beat():
                self._beating = False
            case Register():
                self.link = Link.DOWN
        if refused and not isinstance(what, Register) and what.status.session == self._secret and self.link is Link.UP:
            self.link = Link.DOWN  # the session that was refused is the one that it has, not one before it
        self._failures += 1
        delay = min(0.1 * 2 ** min(self._failures, 10), self.settings.reconnect_window_seconds)
        self._retry_at = now + pause_seconds + self._rng.uniform(0.0, max(delay, pause_seconds))
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
        if any(item.outcome is Outcome.RESULT for item in items):
            self._rests = 0
        return self.advance(now=now)

    def rest(self, *, now: float) -> float:
        """This device cannot start anything at the moment: ask for no work for a while; for how long."""
        if now >= self._rest_until:
            seconds = min(_FIRST_REST_SECONDS * 2.0 ** min(self._rests, 10), _LONGEST_REST_SECONDS)
            self._rests += 1
            self._rest_until = now + seconds
        return self._rest_until - now

    def close(self, *, now: float) -> list[Instruction]:
        """The agent is asked to end: hand everything back, and say goodbye."""
        self._closing = True
        self._beat_at = self._closed_at = now
        self.queue.stop_all(_STOPPING)
        return [StopRunners(), *self.advance(now=now)]

    @property
    def may_run(self) -> bool:
        """Whether runners may start and work at this moment."""
        return self.host.allows_work and not self._told_to_stop and not self._closing

    @property
    def drained(self) -> bool:
        """Whether a closing agent has nothing left to say, or nobody to say it to."""
        if not self._closing or self.link is Link.DOWN:
            return self._closing
        under_way = self._submitting is not None or bool(self._polling) or self._beating
        return not under_way and not self.queue.to_send and self._beat_at > self._closed_at

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
        moments = [now + _NEVER_SECONDS]
        if now < self._retry_at:
            moments.append(self._retry_at)
        elif self.link is Link.UP:
            moments += [] if self._beating else [self._beat_at]
            moments += [moment for moment in (self._rest_until, self._moment_until) if now < moment]
        if self._frozen_at is not None and not self._yielded:
            moments.append(self._frozen_at + self._grace)
        return max(0.0, min(moments) - now)

    def _requests(self, *, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        wanted = self.queue.wanted() if self.may_run and now >= self._rest_until else 0
        held_back = self._polling is None and wanted > 0 and self._nearly_done(now=now)
        if self._polling is None and not held_back and (wanted > 0 or self._waits_for_leave):
            batches = {} if self._submitting is not None else self._outbox()
            self._polling = batches
            self._moment_until = 0.0
            self._beat_at = now + self.settings.heartbeat_seconds
            out.append(Poll(self._status(), wanted, self.settings.poll_wait_seconds, batches))
        elif not held_back and self._submitting is None and self.queue.to_send:
            self._submitting = self._outbox()
            out.append(Submit(self._status(), self._submitting))
        if now >= self._beat_at and not self._beating:
            self._beat_at = now + self.settings.heartbeat_seconds
            self._beating = True
            out.append(Beat(self._status()))
        return out

    @property
    def _waits_for_leave(self) -> bool:
        """Whether nothing but the scheduler's word keeps it from working."""
        return self._told_to_stop and self.host.allows_work and not self._closing

    def _nearly_done(self, *, now: float) -> bool:
        """Whether all that is here is about to be done; true for one moment at most."""
        if not self.queue.unfinished or self.queue.expected_seconds() > _MOMENT_SECONDS:
            return False
        self._moment_until = self._moment_until or now + _MOMENT_SECONDS
        return now < self._moment_until

    def _outbox(self) -> Batches:
        return self.queue.take_outbox(self._most_items, self.settings.batch_bytes)

    def _arrived(self, batches: Batches | None) -> None:
        """The scheduler has these."""
        if batches:
            self.queue.sent(batches.items())
            self._most_items = _BATCH_ITEMS

    def _bounced(self, batches: Batches | None, fault: str) -> None:
        """These did not arrive: send them again; with a fault in them, fewer at a time, to find the one that has it."""
        if not batches:
            return
        count = sum(map(len, batches.values()))
        if not fault or count > 1:
            self.queue.unsent(batches.items())
            self._most_items = max(1, count // 2) if fault else self._most_items
            return
        ((job, (item,)),) = batches.items()
        if item.reason == _UNDELIVERABLE:
            self.queue.sent(batches.items())  # nothing of it is left that could be at fault: its lease will run out
            return
        bare = Item(item.index, item.attempt, item.epoch, Outcome.CRASHED, reason=_UNDELIVERABLE, detail=fault)
        self.queue.unsent([(job, [bare])])

    def _status(self) -> AgentStatus:
        return AgentStatus(
            device=self._device,
            session=self._secret,
            power=self.host.power,
            held=self.queue.held(),
            blockers=(*self.host.blockers, *([_STOPPING] if self._closing else [])),
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
        if should_continue or message:
            self.message = message
        before, self._told_to_stop = self._told_to_stop, not should_continue
        if should_continue or (before and not self.queue.unfinished):
            return []
        self.queue.stop_all("told_to_stop")
        return [StopRunners()]

    def _yield(self, *, now: float) -> list[Instruction]:
        """The yield ladder: freeze, then hand back."""
        if self.host.allows_work:
            if self._frozen_at is None:
                return []
            self._frozen_at, self._yielded = None, False
            return [Thaw()]
        out: list[Instruction] = []
        if self._frozen_at is None:
            self._frozen_at = now
            out.append(Freeze())
        grace = self._grace if self.host.power.on_ac_power else 0.0
        if now >= self._frozen_at + grace and (self.queue.unfinished or not self._yielded):
            self._yielded = True
            self.queue.stop_all(self.host.reason)
            out.append(StopRunners())
        return out
