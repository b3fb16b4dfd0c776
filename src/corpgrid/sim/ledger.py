"""I8: the audit log has a line for each change of state, in the same commit, no gap, and a past that stays.

``committed`` must be called before ``Invariants.committed``, for it compares the rows of a tick with those before it.
``check`` reads what the store added since the last time and takes a checkpoint; ``check_whole`` reads everything again,
and holds it against every checkpoint.

Lines that a store writes by itself (what was thrown away of old jobs) belong to no tick, and may stand anywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from hashlib import blake2b

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.device import DEVICE_MOVES, Device, DeviceState
from corpgrid.domain.effects import AuditEntry, Effects, View
from corpgrid.domain.ids import task_text
from corpgrid.domain.job import JobState
from corpgrid.ports.store import Store
from corpgrid.sim.invariants import Invariants

_PAGE = 10_000
_BY_THE_STORE = frozenset({"job.collected"})
_OF_A_STATE = {f"device.{state}": state for state in DeviceState}
_Change = tuple[str, str]


class Ledger:
    """The audit log, against what was committed.

    Args:
        rows: what was committed before.
        fail: told of each violation.
    """

    def __init__(self, rows: Invariants, fail: Callable[[str], None]) -> None:
        self._rows = rows
        self._fail = fail
        self._unread: deque[AuditEntry] = deque()
        self._number = 0
        self._digest = blake2b(digest_size=16)
        self._checkpoints: list[tuple[int, bytes]] = []

    def committed(self, view: View, effects: Effects) -> None:
        """A tick was committed."""
        if not (effects.audit or effects.devices or effects.jobs or effects.new_jobs or effects.attempts):
            return
        self._unread.extend(effects.audit)
        told: Counter[_Change] = Counter()
        states: defaultdict[str, list[DeviceState]] = defaultdict(list)
        for line in effects.audit:
            if line.at != view.now or not line.actor:
                self._fail(f"I8: a line of the audit log is not of its tick, or of nobody: {line}")
            if line.kind in _OF_A_STATE:
                states[line.subject].append(_OF_A_STATE[line.kind])
            elif line.kind != "task.disputed":
                told[line.kind, line.subject] += 1
        done = Counter(self._changes(effects))
        for change in [*(done - told), *(told - done)]:
            self._fail(f"I8: {change} happened {done[change]} times, and the audit log says {told[change]}")
        for device in effects.devices:
            self._check_device(device, states.pop(device.id, []))
        for subject in states:
            self._fail(f"I8: the audit log has a new state of {subject}, whose row did not change")
        self._check_disputes(effects)

    def _changes(self, effects: Effects) -> Iterator[_Change]:
        """What a tick changed, as lines of the log name it."""
        rows = self._rows
        for new in effects.new_jobs:
            yield "job.submitted", new.job.id
        for job in effects.jobs:
            if job.state is not rows.jobs[job.id].row.state:
                yield "job.cancelled" if job.state is JobState.CANCELLED else "job.closed", job.id
        for device in effects.devices:
            if device.id not in rows.devices:
                yield "device.registered", device.id
        for attempt in effects.attempts:
            # Of two reasons to reject a result the other is a dispute, which has a line of its own.
            if attempt.state is AttemptState.REJECTED and attempt.reason != "mismatch":
                key = (attempt.job, attempt.index)
                if rows.attempts[key][attempt.number].state is not AttemptState.REJECTED:
                    yield "task.rerun", task_text(key)

    def _check_device(self, device: Device, path: list[DeviceState]) -> None:
        """From its old state its lines must lead to the new one, each by a legal move."""
        old = self._rows.devices.get(device.id)
        state = DeviceState.ACTIVE if old is None else old.state
        for after in path:
            if after not in DEVICE_MOVES[state]:
                self._fail(f"I8: the audit log says that {device.id} moved from {state} to {after}")
            state = after
        if state is not device.state:
            self._fail(f"I8: {device.id} is {device.state}, and by the audit log {state}")

    def _check_disputes(self, effects: Effects) -> None:
        """A job counts its disputes; each has a line."""
        told: Counter[str] = Counter()
        for line in effects.audit:
            if line.kind == "task.disputed":
                told[line.subject.rpartition("/")[0]] += 1
        for job in effects.jobs:
            disputes = job.mismatches - self._rows.jobs[job.id].row.mismatches
            if disputes != told.pop(job.id, 0):
                self._fail(f"I8: {disputes} tasks of {job.id} were disputed, and the audit log says another number")
        for subject in told:
            self._fail(f"I8: the audit log has a dispute in {subject} that its row does not count")

    # -- what the store has of it

    async def check(self, store: Store) -> None:
        """What was committed since the last time is what the store added, line by line."""
        while lines := await store.audit_log(after=self._number, limit=_PAGE):
            for number, line in lines:
                self._number += 1
                if number != self._number:
                    self._fail(f"I8: line {self._number} of the audit log is missing")
                    self._number = number
                self._digest.update(repr(line).encode())
                if line.kind not in _BY_THE_STORE:
                    expected = self._unread.popleft() if self._unread else None
                    if line != expected:
                        self._fail(f"I8: line {number} of the audit log is {line}, and {expected} was committed")
        if self._unread:
            self._fail(f"I8: {len(self._unread)} lines of the audit log are lost, first {self._unread[0]}")
            self._unread.clear()
        self._checkpoints.append((self._number, self._digest.digest()))

    async def check_whole(self, store: Store) -> None:
        """Every checkpoint is a prefix of what the store has now."""
        await self.check(store)
        digest, number, taken = blake2b(digest_size=16), 0, dict(self._checkpoints)
        taken.pop(0, None)
        while lines := await store.audit_log(after=number, limit=_PAGE):
            for place, line in lines:
                number = place
                digest.update(repr(line).encode())
                if taken.pop(number, digest.digest()) != digest.digest():
                    self._fail(f"I8: the first {number} lines of the audit log are not what they were")
                    return
        if taken:
            self._fail(f"I8: the audit log ends at line {number}, and had {max(taken)}")
