"""All who look on: told of every commit, every message and every collection; and they look at the whole now and then.

What follows a commit is in proportion to what the commit changed.  ``look`` counts everything anew and reads the whole
store: every few minutes, and at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from corpgrid.domain.device import DeviceState
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.ids import DeviceId, Digest
from corpgrid.domain.messages import HeartbeatRequest, PollReply, PollRequest, Reply, SubmitRequest
from corpgrid.ports.store import Store
from corpgrid.sim.clocks import SimClock
from corpgrid.sim.invariants import Invariants
from corpgrid.sim.ledger import Ledger
from corpgrid.sim.liars import Honesty
from corpgrid.sim.loop import SimLoop
from corpgrid.sim.machine import Machine
from corpgrid.sim.promises import Promises
from corpgrid.sim.quotas import Quotas
from corpgrid.sim.recount import recount
from corpgrid.sim.reputations import Reputations
from corpgrid.sim.trace import Trace
from corpgrid.wire.convert import decode_batch

_BRINGING = (PollRequest, SubmitRequest)
_AGENTS = (PollRequest, SubmitRequest, HeartbeatRequest)


class Jury:
    """Judges a simulation.

    Args:
        loop: on which it runs.
        clock: the store's.
        trace: where commits are noted.
        fail: told of each violation.
        enrolled: the computers by their devices.
        lease_ttl_seconds: how long a renewal lasts at least.
        grant_tasks: the most tasks in one grant.
        deep: whether the content of every stored batch is read and compared with the rows.

    Attributes:
        invariants: what was committed.
    """

    def __init__(  # noqa: PLR0913 - what it looks at, by keyword
        self,
        *,
        loop: SimLoop,
        clock: SimClock,
        trace: Trace,
        fail: Callable[[str], None],
        enrolled: Mapping[DeviceId, Machine],
        lease_ttl_seconds: float,
        grant_tasks: int,
        deep: bool,
    ) -> None:
        self.invariants = Invariants(fail, decode_batch if deep else None)
        self.promises = Promises(self.invariants, fail)
        self._reputations = Reputations(self.invariants, decode_batch) if deep else None
        self._ledger = Ledger(self.invariants, fail)
        self._quotas = Quotas(self.invariants, fail, grant_tasks=grant_tasks)
        self._loop = loop
        self._clock = clock
        self._trace = trace
        self._fail = fail
        self._enrolled = enrolled
        self._ttl_seconds = lease_ttl_seconds

    # -- what it is told

    def committed(self, view: View, effects: Effects) -> None:
        """A tick was committed; nobody was answered yet."""
        if self._reputations is not None:
            self._reputations.committed(view, effects)
        self._ledger.committed(view, effects)
        self.invariants.committed(view, effects)
        self._quotas.committed(effects)
        rows = sorted((task.job, task.index, task.state.value, task.open, task.live) for task in effects.tasks)
        told = ";".join(f"{index}:{state}:{opened}:{live}" for _, index, state, opened, live in rows)
        leases = sorted(lease.epoch for lease in effects.leases)
        self._trace.note(f"commit {len(effects.replies)} {leases} {told}" if told or leases else "commit")

    def collected(self, left: set[Digest]) -> None:
        """Blobs were collected; these are left."""
        self.promises.collected(left)

    def asked(self, request: Any) -> None:
        """A scheduler begins to work on a request."""
        if isinstance(request, PollRequest):
            self._quotas.asked(request)

    def answered(self, request: Any) -> None:
        """That ended, well or not."""
        if isinstance(request, PollRequest):
            self._quotas.answered(request, at=self._loop.time())

    def heard(self, request: Any, reply: Any, asked_at: float) -> None:
        """Somebody was told something."""
        if not isinstance(request, _AGENTS):
            return
        status = request.status
        if isinstance(request, _BRINGING) and request.batches:
            for batch, received in zip(request.batches, reply.received, strict=True):
                self.promises.acknowledged_results(status.device, batch, received)
        if isinstance(reply, PollReply) and isinstance(request, PollRequest) and reply.grants:
            self._quotas.heard(request, reply)
        if status.held:
            until = self._clock.now() - self._loop.time() + asked_at + self._ttl_seconds
            held = [epoch for epoch in status.held if epoch not in reply.lost]
            self.promises.acknowledged_renewal(status.device, held, until)
        if not status.power.on_ac_power and reply.should_continue:
            self._fail(f"I7: {status.device} is on battery, and was told to go on")
        self._told(status.device, reply)

    def _told(self, device: DeviceId, reply: Reply) -> None:
        machine = self._enrolled.get(device)
        if machine is not None and machine.device == device:
            machine.told(go_on=reply.should_continue)

    # -- what it looks at by itself

    async def look(self, store: Store) -> None:
        """Now and then: everything."""
        recount(self.invariants, self._fail)
        await self._ledger.check(store)
        await self.promises.compare(store)

    async def look_last(self, store: Store) -> None:
        """Every job has ended: nothing may be left."""
        await self.look(store)
        await self._ledger.check_whole(store)
        self.promises.audited()
        if self._reputations is not None:
            self._reputations.check(self._fail)
        now = self._clock.now()
        for lease in self.invariants.leases.values():
            if lease.until + 2 * self._ttl_seconds < now or lease.job not in self.invariants.jobs:
                self._fail(f"L3: lease {lease.epoch} of {lease.device} is stuck since {now - lease.until:.0f} s")
        for device in self.invariants.devices.values():
            machine = self._enrolled.get(device.id)
            honest = machine is not None and machine.model.honesty is Honesty.HONEST
            if device.state is DeviceState.QUARANTINED and honest:
                self._fail(f"V7: {device.id} is honest, and quarantined: {device.reason}")

    def require_seen(self, machine: Machine, *, since: float, within_seconds: float) -> None:
        """A computer's agent must have been heard of."""
        row = self.invariants.devices.get(machine.device)
        if row is None or row.last_seen < since:
            self._fail(f"L2: {machine.model.name} is not back {within_seconds:.0f} s after all faults")
