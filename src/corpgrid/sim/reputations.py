"""I10: both scores of every device follow from the log of its outcomes, as the rows of attempts and tasks tell it.

``committed`` must be called before ``Invariants.committed``, for it compares the rows of a tick with those before it.
Devices that are out are left alone: their scores decide nothing any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from math import isclose

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState
from corpgrid.domain.device import DeviceState
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.ids import DeviceId, Epoch
from corpgrid.domain.job import TaskState
from corpgrid.domain.messages import Batch, Outcome
from corpgrid.domain.reputation import Beta, Observation, OutcomeKind, Score, replay
from corpgrid.sim.invariants import Invariants

_OUT = frozenset({DeviceState.QUARANTINED, DeviceState.REVOKED})
_Seen = tuple[DeviceId, Score, OutcomeKind]


class Reputations:
    """The log of outcomes.

    Args:
        rows: what was committed before.
        read_batch: reads the content of a stored batch.
    """

    def __init__(self, rows: Invariants, read_batch: Callable[[bytes], Batch]) -> None:
        self._rows = rows
        self._read_batch = read_batch
        self._log: defaultdict[DeviceId, list[Observation]] = defaultdict(list)

    def committed(self, view: View, effects: Effects) -> None:
        """A tick was committed."""
        batches = {stored.number: self._read_batch(stored.content) for stored in effects.batches}
        seen: Counter[_Seen] = Counter()
        lost: set[tuple[Epoch, DeviceId]] = set()
        now = {(row.job, row.index, row.number): row for row in effects.attempts}
        for row in effects.attempts:
            old = self._rows.attempts[row.job, row.index][row.number]
            if old.state in LIVE and row.state is AttemptState.EXPIRED:
                lost.add((row.epoch, row.device))
            elif old.state in LIVE and row.batch:
                seen.update(_brought(row, batches[row.batch]))
            if row.state is AttemptState.REJECTED is not old.state and row.reason == "mismatch":
                seen[row.device, Score.CORRECTNESS, OutcomeKind.MISMATCH] += 1
        for task in effects.tasks:
            if task.state is TaskState.FINAL:
                before = self._rows.attempts.get((task.job, task.index), [])
                rows = [now.get((task.job, task.index, row.number), row) for row in before]
                agreed = [row.device for row in rows if row.state is AttemptState.ACCEPTED]
                for device in agreed if len(agreed) > 1 else ():
                    seen[device, Score.CORRECTNESS, OutcomeKind.SUCCESS] += 1
        for _, device in lost:
            seen[device, Score.AVAILABILITY, OutcomeKind.HEARTBEAT_LOSS] += 1
        for (device, score, kind), times in seen.items():
            self._log[device].append(Observation(score, kind, view.now, times))

    def check(self, fail: Callable[[str], None]) -> None:
        """Every score must be what its log says."""
        for device in self._rows.devices.values():
            if device.state in _OUT:
                continue
            for name, row, replayed in zip(
                ("correctness", "availability"),
                (device.correctness, device.availability),
                replay(self._log[device.id]),
                strict=True,
            ):
                if not _same(row, replayed):
                    fail(f"I10: {name} of {device.id} is {row}, and its outcomes make it {replayed}")


def _brought(row: Attempt, batch: Batch) -> dict[_Seen, int]:
    outcome = batch.items[row.position].outcome
    if outcome is Outcome.RESULT:
        return {(row.device, Score.AVAILABILITY, OutcomeKind.SUCCESS): 1}
    if outcome is Outcome.CRASHED:
        return {(row.device, Score.AVAILABILITY, OutcomeKind.CRASH): 1}
    return {}


def _same(one: Beta, two: Beta) -> bool:
    return isclose(one.alpha, two.alpha, rel_tol=1e-6) and isclose(one.beta, two.beta, rel_tol=1e-6)
