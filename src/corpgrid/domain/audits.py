"""Which first results somebody else computes again: all of a device on probation, then those that a keyed coin names.

The coin names more of those that come in the place of a rejected result.

A device is on probation for a bundle until it committed so many results for it in its present shape; a change of the
shape starts probation again.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.device import Facts
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import Standing
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.rules import GridRules
from corpgrid.domain.verification import DRAWS, keyed_draws

DOUBTED_RATE = 0.3
"""Least share of audits among results of tasks of which another result was rejected."""


class Audits:
    """The audits of one tick."""

    def __init__(self, draft: Draft, rules: GridRules) -> None:
        self.draft = draft
        self.rules = rules
        self._committed: defaultdict[tuple[DeviceId, Digest], int] = defaultdict(int)
        self._draws: dict[tuple[JobId, int, int], tuple[float, ...]] = {}
        self._shapes: dict[DeviceId, Digest] = {}

    def due(self, attempt: Attempt, bundle: Digest, rate: float) -> bool:
        """Whether the result that a device has just committed is to be audited; asked once for each, and counted."""
        mark = (attempt.device, bundle)
        if mark not in self._committed and self._on_probation(attempt.device, bundle):
            return True
        self._committed[mark] += 1
        return self._draw(attempt) < (max(rate, DOUBTED_RATE) if self._doubted(attempt) else rate)

    def _doubted(self, attempt: Attempt) -> bool:
        """Whether another result of the task was rejected: a friend of its device may have waited to repeat the lie."""
        rows = self.draft.attempts((attempt.job, attempt.index))
        return any(row.state is AttemptState.REJECTED for row in rows)

    def spares(self, attempt: Attempt, bundle: Digest, rate: float) -> bool:
        """The same the other way round, but only for devices that ``due`` met beyond probation; counted if true."""
        mark = (attempt.device, bundle)
        spared = mark in self._committed and self._draw(attempt) >= rate
        if spared:
            self._committed[mark] += 1
        return spared

    def keep(self) -> None:
        """Write down what devices committed beyond their probation: once a batch, not once a result."""
        for (device, bundle), count in self._committed.items():
            standing = self.draft.standing(device, bundle)
            assert standing is not None
            self.draft.put_standing(standing._replace(returned=standing.returned + count))
        self._committed.clear()

    def _on_probation(self, name: DeviceId, bundle: Digest) -> bool:
        """Whether the device is on probation for the bundle; if it is, this result is one more of it."""
        device = self.draft.device(name)
        assert device is not None
        shape = self._shapes.get(name) or self._shapes.setdefault(name, fingerprint(device.facts))
        standing = self.draft.standing(name, bundle)
        if standing is None or standing.fingerprint != shape:
            standing = Standing(device=name, bundle=bundle, fingerprint=shape)
        if standing.returned < self.rules.probation_tasks:
            self.draft.put_standing(standing._replace(returned=standing.returned + 1))
            return True
        return False

    def _draw(self, attempt: Attempt) -> float:
        """The attempt's draw; one keyed digest gives those of neighbours too."""
        block, place = divmod(attempt.index, DRAWS)
        mark = (attempt.job, block, attempt.number)
        draws = self._draws.get(mark)
        if draws is None:
            draws = self._draws[mark] = keyed_draws(self.rules.audit_key, attempt.job, block, attempt.number)
        return draws[place]


def fingerprint(facts: Facts) -> Digest:
    """What must not change without a new probation: GPUs, drivers, agent and Python."""
    shape = (
        facts.architecture,
        facts.python,
        facts.agent_version,
        [(gpu.uuid, gpu.name, gpu.driver) for gpu in facts.gpus],
    )
    return Digest(blake2b(repr(shape).encode(), digest_size=32).digest())
