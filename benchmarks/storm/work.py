"""The jobs of a storm: each is a few words, from which everybody can tell what every task must give.

The functions travel by value and run in the sandbox, so that they need nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random
from typing import Any

from corpgrid.domain.job import Limits, TaskState, VerifyMode, VerifyPolicy

_FAULTY_EVERY = 4
_LARGE_BYTES = 96 << 10
_TRIES = 60
_PATIENT = Limits(max_attempts=40)
_AUDIT = VerifyPolicy(mode=VerifyMode.AUDIT, rate=0.1, max_total=_TRIES)
_QUORUM = VerifyPolicy(mode=VerifyMode.QUORUM, max_total=_TRIES, max_error=_TRIES // 2)
_NONE = VerifyPolicy(mode=VerifyMode.NONE, max_total=_TRIES)


class JobKind(StrEnum):
    """What a job is like."""

    PLAIN = "plain"
    """Numbers, audited."""
    SINGLE = "single"
    """One number or two, so that somebody submits at any moment."""
    UNCHECKED = "unchecked"
    """Numbers, and the first result stands."""
    QUORUM = "quorum"
    """Numbers, each computed by two."""
    LARGE = "large"
    """Arguments, results and files that travel as blobs."""
    FAULTY = "faulty"
    """Every fourth task raises."""
    CANCELLED = "cancelled"
    """Its submitter wants no more of it after a moment."""


_KINDS = (
    *[JobKind.PLAIN] * 4,
    *[JobKind.SINGLE] * 12,
    JobKind.UNCHECKED,
    JobKind.QUORUM,
    JobKind.LARGE,
    JobKind.FAULTY,
    JobKind.CANCELLED,
)
_TASKS = {
    JobKind.PLAIN: (20, 60),
    JobKind.SINGLE: (1, 2),
    JobKind.UNCHECKED: (20, 60),
    JobKind.QUORUM: (5, 15),
    JobKind.LARGE: (3, 6),
    JobKind.FAULTY: (4, 12),
    JobKind.CANCELLED: (20, 40),
}
_POLICIES = {JobKind.UNCHECKED: _NONE, JobKind.QUORUM: _QUORUM}
_MILLISECONDS = {JobKind.CANCELLED: 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job.

    Attributes:
        name: nobody gives two jobs the same.
        salt: what its results hang on besides the index.
    """

    name: str
    kind: JobKind
    tasks: int
    salt: int

    @classmethod
    def draw(cls, name: str, rng: Random) -> Order:
        """Some job."""
        kind = rng.choice(_KINDS)
        return cls(name=name, kind=kind, tasks=rng.randint(*_TASKS[kind]), salt=rng.getrandbits(32))

    @classmethod
    def read(cls, line: Any) -> Order:
        """The order in a line of a journal."""
        return cls(name=line["name"], kind=JobKind(line["kind"]), tasks=line["tasks"], salt=line["salt"])

    def facts(self) -> dict[str, Any]:
        """For a line of a journal."""
        return asdict(self)

    @property
    def function(self) -> Any:
        """What runs."""
        return {JobKind.LARGE: fill, JobKind.FAULTY: stumble}.get(self.kind, mix)

    def items(self) -> list[list[Any]]:
        """Arguments of all tasks: salt, index, milliseconds, and bytes for their own sake."""
        most = _MILLISECONDS.get(self.kind, 40)
        rng = Random(self.salt)
        size = _LARGE_BYTES if self.kind is JobKind.LARGE else 0
        return [[self.salt, index, rng.randint(most // 8, most), rng.randbytes(size)] for index in range(self.tasks)]

    def options(self) -> dict[str, Any]:
        """How it is submitted."""
        limits = Limits() if self.kind is JobKind.FAULTY else _PATIENT
        return {"name": self.name, "verify": _POLICIES.get(self.kind, _AUDIT), "limits": limits}

    def fails(self, index: int) -> bool:
        """Whether a task raises wherever it runs."""
        return self.kind is JobKind.FAULTY and index % _FAULTY_EVERY == 0

    def truth(self, index: int) -> Any:
        """What a task that does not fail must return."""
        value = number(self.salt, index)
        return pattern(value) if self.kind is JobKind.LARGE else value

    def may_end(self, index: int, state: TaskState) -> bool:
        """Whether a task may end so."""
        if state is TaskState.CANCELLED:
            return self.kind is JobKind.CANCELLED
        return state is (TaskState.FAILED if self.fails(index) else TaskState.FINAL)


def number(salt: int, index: int) -> int:
    """A number that nobody guesses."""
    return int.from_bytes(hashlib.blake2b(f"{salt}/{index}".encode(), digest_size=6).digest(), "big")


def pattern(value: int) -> bytes:
    """Many bytes that are made of one number."""
    return hashlib.shake_128(str(value).encode()).digest(_LARGE_BYTES)


def written(value: Any) -> Any:
    """A value as journals have it: many bytes by their digest."""
    return hashlib.blake2b(value, digest_size=16).hexdigest() if isinstance(value, bytes) else value


def mix(item: list[Any]) -> int:
    """Work for a while, and give the number."""
    time.sleep(item[2] / 1_000)
    return number(item[0], item[1])


def fill(item: list[Any]) -> bytes:
    """Give many bytes, and leave them in a file as well."""
    value = pattern(mix(item))
    with open("pattern", "wb") as file:  # noqa: PTH123 - as a job would
        file.write(value)
    return value


def stumble(item: list[Any]) -> int:
    """Fail at every fourth item."""
    if item[1] % _FAULTY_EVERY == 0:
        raise ValueError(f"item {item[1]} cannot be done")
    return mix(item)
