"""Made-up devices, and work that is wanted of them: few values each, so that the two often fit.

Each device and each want is drawn from one number: a failing example shrinks to the fewest devices that show it, and
hundreds of fleets take seconds.
"""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DeviceId, JobId, OwnerId, SiteId
from corpgrid.domain.job import Requirements, VerifyMode
from corpgrid.domain.placement import Want
from corpgrid.domain.reputation import Beta

NOW = 1_000.0
GIB = 1 << 30
OWNERS = [OwnerId(name) for name in ("ada", "bob", "cem", "dia")]
SITES = [SiteId(name) for name in ("bern", "rome", "oslo")]
BACKENDS = ["cuda", "metal"]
DRIVERS = ["550", "560"]

seeds = st.integers(0, (1 << 32) - 1)


def made_up_device(seed: int, number: int) -> Device:
    """Device ``number``, as the seed has it."""
    r = Random(seed)
    return Device(
        id=DeviceId(f"dev_{number}"),
        public_key=b"k" * 32,
        owner=r.choice(OWNERS),
        site=r.choice(SITES),
        state=r.choice([DeviceState.ACTIVE] * 20 + list(DeviceState)),
        trusted=r.random() < 0.3,
        facts=made_up_facts(r),
        power=PowerStatus(on_ac_power=r.random() < 0.95),
        blockers=r.choice([()] * 20 + [("battery",), ("owner_present",), ("battery", "too_warm")]),
        capacity=r.randrange(13),
        leased=r.choice([0, 0, 0, 1, 2, 6]),
        last_seen=r.choice([NOW] * 20 + [NOW - 60, NOW - 61]),
        correctness=_beta(r),
        availability=_beta(r),
    )


def _beta(r: Random) -> Beta:
    return r.choice([Beta(), Beta(100.0, 1.0, NOW), Beta(1 + r.random() * 100, 1 + r.random() * 10, NOW)])


def made_up_facts(r: Random) -> Facts:
    """What a device says of itself, sense or not."""
    return Facts(
        operating_system=r.choice(["linux", "linux", "linux", "windows"]),
        architecture=r.choice(["x86_64", "x86_64", "x86_64", "arm64"]),
        python=r.choice(["3.11", "3.11", "3.12", ""]),
        engines=r.choice([("python", "command"), ("python",), ("cuda", "python")]),
        cpus=r.choice([1, 2, 4, 8]),
        memory_bytes=r.choice([0, 4 * GIB, 16 * GIB, (1 << 64) - 1]),
        disk_free_bytes=r.choice([0, GIB, 100 * GIB]),
        gpus=tuple(_gpu(r) for _ in range(r.choice([0, 0, 1, 2]))),
        labels=r.choice([(), ("fast",), ("fast", "lab")]),
        thermal_headroom=r.choice([r.random(), 1.0, 1.0, -1.0, 2.0, float("nan")]),
    )


def _gpu(r: Random) -> Gpu:
    vram_bytes = r.choice([8 * GIB, 24 * GIB])
    return Gpu(backend=r.choice(BACKENDS), name="gpu", vram_bytes=vram_bytes, driver=r.choice(DRIVERS))


def made_up_requirements(r: Random) -> Requirements:
    """Mostly easy to meet."""

    def seldom(*values):
        return r.choice(values) if r.random() < 0.15 else values[0]

    return Requirements(
        engine=seldom("python", "cuda", ""),
        operating_systems=seldom((), ("linux",), ("windows", "macos")),
        architectures=seldom((), ("x86_64",), ("arm64",)),
        python=seldom("", "3.11"),
        memory_bytes=seldom(0, GIB, 3 * GIB, 1 << 64),
        disk_bytes=seldom(0, GIB),
        cpus=seldom(1, 0, 2, 3),
        gpus=seldom(0, 1, 2),
        gpu_backend=seldom("", "cuda"),
        vram_bytes=seldom(0, 10 * GIB),
        sites=seldom((), ("bern",)),
        owners=seldom((), ("ada", "bob")),
        labels=seldom((), ("fast",), ("lab", "fast")),
    )


def made_up_want(seed: int) -> Want:
    """A want, as the seed has it."""
    r = Random(seed)

    def some(names, most):
        return frozenset(r.sample(names, r.randrange(most + 1))) if r.random() < 0.5 else frozenset()

    return Want(
        job=JobId("job_a"),
        requirements=made_up_requirements(r),
        verify_mode=r.choice([VerifyMode.AUDIT] * 8 + [VerifyMode.TRUSTED]),
        count=r.choice([0, 1, 1, 2, 5, 40]),
        excluded_owners=some(OWNERS, 2),
        excluded_devices=some([DeviceId(f"dev_{number}") for number in range(6)], 2),
        placed_sites=some(SITES, 2),
        placed_backends=some(BACKENDS, 1),
        placed_drivers=some(DRIVERS, 1),
        prefer_trusted=r.random() < 0.3,
        require_trusted=r.random() < 0.1,
    )


wants = seeds.map(made_up_want)


def fleets(*, min_size: int = 0, max_size: int = 16) -> st.SearchStrategy[list[Device]]:
    """Devices with different names."""
    return st.lists(seeds, min_size=min_size, max_size=max_size).map(
        lambda drawn: [made_up_device(seed, number) for number, seed in enumerate(drawn)]
    )
