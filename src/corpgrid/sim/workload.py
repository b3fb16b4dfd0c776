"""What the simulated jobs compute: a task's result is a pure function of its job and its index, and so are its faults.

A result of a job with ``float`` results differs a little from device to device, as results of real devices do.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import blake2b
from math import exp

from corpgrid.domain.ids import JobId
from corpgrid.domain.job import ComparatorKind, Limits, VerifyPolicy
from corpgrid.wire import data


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of job.

    Attributes:
        tasks: how many.
        seconds: median run time of a task on a device of speed 1.
        spread: how far run times differ (standard deviation of their logarithm).
        result_bytes: size of a result; a large one travels as a blob.
        faulty: share of tasks that fail wherever they run.
        priority: of the job.
        cancel_after_seconds: after so long its submitter wants no more of it; 0: never.
    """

    tasks: int
    seconds: float = 1.0
    spread: float = 0.5
    result_bytes: int = 16
    faulty: float = 0.0
    priority: int = 50
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    limits: Limits = field(default_factory=Limits)
    cancel_after_seconds: float = 0.0

    @property
    def numeric(self) -> bool:
        """Whether results are numbers, compared within a tolerance."""
        return self.verify.comparator.kind is ComparatorKind.FLOAT


def draw(job: JobId, index: int, what: str, *, size: int = 8) -> bytes:
    """Bytes that depend on the task and the question alone."""
    return blake2b(f"{job}/{index}".encode(), digest_size=size, person=what.encode()).digest()


def share(job: JobId, index: int, what: str) -> float:
    """The same as a number in [0, 1)."""
    (word,) = struct.unpack(">Q", draw(job, index, what))
    return float(word / (1 << 64))


def truth(workload: Workload, job: JobId, index: int, *, noise: float = 0.0) -> bytes:
    """The right result, as a device whose arithmetic is off by ``noise`` gives it."""
    if workload.numeric:
        return data.encode((1.0 + share(job, index, "truth")) * (1.0 + noise))
    return draw(job, index, "truth", size=16) * max(1, workload.result_bytes // 16)


def is_right(workload: Workload, job: JobId, index: int, payload: bytes) -> bool:
    """Whether a result is right."""
    right = truth(workload, job, index)
    if payload == right or not workload.numeric:
        return payload == right
    value, wanted = data.decode(payload), data.decode(right)
    return isinstance(value, float) and abs(value - wanted) <= 1e-6 * abs(wanted)


def lie(workload: Workload, job: JobId, index: int, who: str) -> bytes:
    """A wrong result; those of one mind give the same."""
    if workload.numeric:
        return data.encode(3.0 + share(job, index, who[:16]))
    return draw(job, index, who[:16], size=16) * max(1, workload.result_bytes // 16)


def fails(workload: Workload, job: JobId, index: int) -> bool:
    """Whether a task fails wherever it runs."""
    return workload.faulty > 0 and share(job, index, "fails") < workload.faulty


def run_seconds(workload: Workload, job: JobId, index: int) -> float:
    """How long a task takes on a device of speed 1."""
    if workload.spread == 0:
        return workload.seconds
    # A sum of four even draws stands in for a normal one.
    normal = (sum(share(job, index, f"seconds {part}") for part in range(4)) - 2.0) * 3.0**0.5
    return workload.seconds * exp(workload.spread * normal)
