"""What makes one device a better choice than another: the specification's six factors, and the rank made of them.

Every factor is between 0 and 1; ``Weights`` says how much each counts (specification, section 6):

* **reputation**: the lower of the lower bounds of correctness and availability.
* **fit**: the share of the device's GPU memory (memory, for work without a GPU) that one task uses, so that small work
  leaves large machines free; work without a GPU fits a device with one only half as well.
* **thermal headroom**: as the device reports it.
* **fairness**: the idle share of its capacity.
* **correlation**: the share of site, GPU backend and driver that it has in common with copies already placed.  It
  counts against the device: what is alike fails alike.
* **utilisation**: the idle share of its *lanes*, which are the tasks of this kind that it can run side by side.

A device may hold more tasks than it has lanes, so that short tasks follow each other without a pause.  Tasks go out in
**rounds**: in each a device gets no more than fill its lanes, so that nothing queues on a good device while another
idles.  Within a round the score decides, and equal scores are decided by a hash of the device's name under a seed, so
that the order in which devices are listed means nothing.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from corpgrid.domain.device import Device, Facts, Gpu
from corpgrid.domain.fairshare import inverse_utilisation
from corpgrid.domain.feasibility import gpus_wanted, suitable_gpus
from corpgrid.domain.ids import DeviceId, JobId, OwnerId, SiteId
from corpgrid.domain.job import Requirements, VerifyMode
from corpgrid.domain.reputation import lower_bound

SPARE_GPU_FIT = 0.5

# A rank is one 63-bit number, the lower the better: round, then score (in steps of 2e-6), then hash.
ROUND_MAX = (1 << 14) - 1
SCORE_BITS = 21
TIE_BITS = 28
SCORE_STEPS = 1 << (SCORE_BITS - 2)  # a score is between -1 and 1, and both ends must fit


class Weights(NamedTuple):
    """How much each factor counts."""

    reputation: float = 0.4
    fit: float = 0.2
    thermal_headroom: float = 0.1
    fairness: float = 0.1
    correlation_penalty: float = 0.15
    utilisation: float = 0.05


WEIGHTS = Weights()


class Want(NamedTuple):
    """Tasks of one job that are alike: whoever may take one may take any.

    Attributes:
        count: how many.
        excluded_owners: owners who may have none of them.
        excluded_devices: devices that may have none of them.
        placed_sites: where copies of them are already.
        placed_backends: on which GPU backends.
        placed_drivers: under which GPU drivers.
        prefer_trusted: the operator's own devices go first, however busy.
        require_trusted: the operator's own devices only.
    """

    job: JobId
    requirements: Requirements
    verify_mode: VerifyMode
    count: int  # type: ignore[assignment]  # a field here, not the method of tuples
    excluded_owners: frozenset[OwnerId] = frozenset()
    excluded_devices: frozenset[DeviceId] = frozenset()
    placed_sites: frozenset[SiteId] = frozenset()
    placed_backends: frozenset[str] = frozenset()
    placed_drivers: frozenset[str] = frozenset()
    prefer_trusted: bool = False
    require_trusted: bool = False

    @property
    def kinds_placed(self) -> int:
        """In how many ways a device can be like the copies already placed."""
        return bool(self.placed_sites) + bool(self.placed_backends) + bool(self.placed_drivers)


class Circumstances(NamedTuple):
    """What holds for the whole of one matching.

    Attributes:
        now: seconds since the epoch.
        seen_within_seconds: a device that was not heard of for longer is not there.
        weights: how much each factor counts.
        tie_seed: odd, 64 bits; decides between equals.
    """

    now: float
    seen_within_seconds: float
    weights: Weights
    tie_seed: int


class Seat(NamedTuple):
    """What decides how a device ranks for one kind of want.

    Attributes:
        static: the part of its score that does not change while tasks are given out.
        held: tasks that it holds.
        capacity: tasks that it may hold.
        free: tasks that it can take.
        lanes: tasks of the kind in question that it can run side by side.
        tie: decides between equals.
    """

    static: float
    held: int
    capacity: int
    free: int
    lanes: int
    tie: int

    def rank(self, given: int, weights: Weights) -> int:
        """Its rank when it was given so many more: the lower the better, and no two devices alike."""
        held, lanes = self.held + given, self.lanes
        score = self.static + weights.fairness * inverse_utilisation(held, self.capacity)
        score += weights.utilisation * inverse_utilisation(held, lanes)
        worse = int((1.0 - score) * SCORE_STEPS)
        return ((min(held // lanes, ROUND_MAX) << SCORE_BITS | worse) << TIE_BITS) | self.tie


def reputation(device: Device) -> float:
    """A device is worth the worse of its two scores."""
    return min(lower_bound(device.correctness), lower_bound(device.availability))


def lanes(requirements: Requirements, facts: Facts) -> int:
    """How many such tasks the device can run side by side, if it may have any."""
    room = facts.cpus // max(requirements.cpus, 1)
    if requirements.memory_bytes:
        room = min(room, facts.memory_bytes // requirements.memory_bytes)
    return max(1, min(room, gpu_lanes(requirements, facts.gpus)))


def gpu_lanes(requirements: Requirements, gpus: tuple[Gpu, ...]) -> int:
    """The same, as far as GPUs limit it."""
    wanted = gpus_wanted(requirements)
    return len(suitable_gpus(requirements, gpus)) // wanted if wanted else ROUND_MAX


def fit(requirements: Requirements, facts: Facts) -> float:
    """How well the device's size suits the task."""
    if gpus_wanted(requirements):
        return gpu_fit(requirements, facts.gpus)
    full = float(requirements.memory_bytes) / float(facts.memory_bytes) if requirements.memory_bytes else 1.0
    return full * gpu_fit(requirements, facts.gpus)


def gpu_fit(requirements: Requirements, gpus: tuple[Gpu, ...]) -> float:
    """The same, as far as GPUs decide it."""
    wanted = gpus_wanted(requirements)
    if not wanted:
        return SPARE_GPU_FIT if gpus else 1.0
    suitable = suitable_gpus(requirements, gpus)
    if len(suitable) < wanted:
        return 0.0
    if not requirements.vram_bytes:
        return wanted / len(suitable)
    return requirements.vram_bytes / max(gpu.vram_bytes for gpu in suitable)


def correlation(want: Want, device: Device) -> float:
    """How much the device is like those that have a copy."""
    if not want.kinds_placed:
        return 0.0
    return ((device.site in want.placed_sites) + gpu_likeness(want, device.facts.gpus)) / want.kinds_placed


def gpu_likeness(want: Want, gpus: tuple[Gpu, ...]) -> int:
    """In how many of backend and driver its GPUs are like those that have a copy."""
    backend = any(gpu.backend in want.placed_backends for gpu in gpus)
    driver = any(gpu.driver in want.placed_drivers for gpu in gpus)
    return backend + driver


def headroom(facts: Facts) -> float:
    """The thermal headroom, as far as what a device says makes sense; no number at all is none."""
    return min(1.0, max(0.0, facts.thermal_headroom))


def static_score(want: Want, device: Device, weights: Weights) -> float:
    """The part of the score that does not change while tasks are given out."""
    own = weights.reputation * reputation(device) + weights.thermal_headroom * headroom(device.facts)
    suits = own + weights.fit * fit(want.requirements, device.facts)
    return suits - weights.correlation_penalty * correlation(want, device)


def identity(device: DeviceId) -> int:
    """64 bits that stand for the device's name, the same everywhere and always."""
    return int.from_bytes(blake2b(device.encode(), digest_size=8).digest(), "big")


def tie_of(identity: int, tie_seed: int) -> int:
    """The hash that decides between equals under this seed."""
    return ((identity * tie_seed) & 0xFFFF_FFFF_FFFF_FFFF) >> (64 - TIE_BITS)
