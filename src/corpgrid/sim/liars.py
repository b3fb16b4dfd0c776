"""Devices that do not tell the truth, each in its own way.

* *steady*: a share of its results is wrong, from the first one on.
* *sleeper*: honest until it is believed.
* *slow*: lies more and more.
* *colluder*: lies about the tasks that its gang has picked, and so do all of the gang, with the same wrong answer.
* *patient*: lies only about tasks of which another of its gang has, or had, a copy: it sees the other's copies.
* *forger*: its answers are right, and it says that they belong to leases that it never had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from corpgrid.domain.ids import JobId, TaskKey
from corpgrid.sim.workload import share


class Honesty(StrEnum):
    """How far a device can be believed."""

    HONEST = "honest"
    STEADY = "steady"
    SLEEPER = "sleeper"
    SLOW = "slow"
    COLLUDER = "colluder"
    PATIENT = "patient"
    FORGER = "forger"


SABOTAGE_RATE = 0.2
HONEST_TASKS = 30
RISE_TASKS = 200


@dataclass(slots=True)
class Gang:
    """Devices of different owners who work together.

    Attributes:
        copies: who of them was given which task.
    """

    name: str = "gang"
    copies: dict[TaskKey, set[str]] = field(default_factory=dict)

    def learn(self, member: str, key: TaskKey) -> None:
        """One of them was given a task."""
        self.copies.setdefault(key, set()).add(member)

    def shares(self, member: str, key: TaskKey) -> bool:
        """Whether another of them has, or had, a copy."""
        return bool(self.copies.get(key, set()) - {member})


@dataclass(slots=True)
class Conscience:
    """Decides when one device lies."""

    name: str
    honesty: Honesty
    rng: Random
    gang: Gang = field(default_factory=Gang)
    answered: int = 0
    lies: int = 0

    @property
    def mind(self) -> str:
        """Those of one mind tell the same lie."""
        return self.gang.name if self.honesty in {Honesty.COLLUDER, Honesty.PATIENT} else self.name

    def given(self, job: JobId, index: int) -> None:
        """It was given a task."""
        if self.honesty is Honesty.PATIENT:
            self.gang.learn(self.name, (job, index))

    def lies_about(self, job: JobId, index: int) -> bool:
        """Whether its next answer is a lie."""
        if self.honesty in {Honesty.HONEST, Honesty.FORGER}:
            return False
        self.answered += 1
        lie = self._wants_to(job, index)
        self.lies += lie
        return lie

    def _wants_to(self, job: JobId, index: int) -> bool:
        match self.honesty:
            case Honesty.STEADY:
                return self.rng.random() < SABOTAGE_RATE
            case Honesty.SLEEPER:
                return self.answered > HONEST_TASKS and self.rng.random() < SABOTAGE_RATE
            case Honesty.SLOW:
                return self.rng.random() < SABOTAGE_RATE * min(1.0, self.answered / RISE_TASKS)
            case Honesty.COLLUDER:
                return share(job, index, self.gang.name[:16]) < SABOTAGE_RATE
            case _:
                return self.gang.shares(self.name, (job, index))
