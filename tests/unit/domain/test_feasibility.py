"""Feasibility by example: each reason alone, all reasons together, and the words for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.feasibility import Refusal, explain, refusals, summarise
from corpgrid.domain.ids import DeviceId, OwnerId, SiteId
from corpgrid.domain.job import Requirements, VerifyMode

NOW = 1_000.0
GIB = 1 << 30
CARD = Gpu(backend="cuda", name="gpu", vram_bytes=8 * GIB)
DEVICE = Device(
    id=DeviceId("dev_a"),
    public_key=b"",
    owner=OwnerId("ada"),
    site=SiteId("bern"),
    facts=Facts(python="3.12", cpus=4, memory_bytes=8 * GIB, disk_free_bytes=GIB, gpus=(CARD, CARD), labels=("fast",)),
    capacity=2,
    last_seen=NOW,
)


def refused(device=DEVICE, *, mode=VerifyMode.AUDIT, now=NOW, **needs):
    return refusals(Requirements(**needs), mode, device, now=now, seen_within_seconds=60.0)


def test_a_device_that_has_everything_is_refused_for_nothing():
    assert refused() == ()
    assert (
        refused(
            engine="python",
            operating_systems=("macos", "linux"),
            architectures=("x86_64",),
            python="3.12",
            memory_bytes=8 * GIB,
            disk_bytes=GIB,
            cpus=4,
            gpus=2,
            gpu_backend="cuda",
            vram_bytes=8 * GIB,
            sites=("bern",),
            owners=("ada",),
            labels=("fast",),
        )
        == ()
    )


@pytest.mark.parametrize(
    ("needs", "reason", "words"),
    [
        ({"engine": "wasm"}, Refusal.ENGINE, "has no working wasm engine"),
        ({"operating_systems": ("macos", "windows")}, Refusal.OPERATING_SYSTEM, "linux where macos or windows is"),
        ({"architectures": ("arm64",)}, Refusal.ARCHITECTURE, "x86_64 processor where arm64 is needed"),
        ({"python": "3.11"}, Refusal.PYTHON, "has Python 3.12 where 3.11 is needed"),
        ({"memory_bytes": 9 * GIB}, Refusal.MEMORY, "has 8 GiB of memory where 9 GiB is needed"),
        ({"disk_bytes": 2 * GIB}, Refusal.DISK, "has 1 GiB of free disk where 2 GiB is needed"),
        ({"cpus": 5}, Refusal.CPUS, "has 4 cores where 5 are needed"),
        ({"gpus": 3}, Refusal.GPU_COUNT, "has 2 GPUs where 3 are needed"),
        ({"gpus": 1, "gpu_backend": "metal"}, Refusal.GPU_BACKEND, "has cuda GPUs where metal is needed"),
        ({"gpu_backend": "metal"}, Refusal.GPU_BACKEND, "metal"),
        ({"vram_bytes": 9 * GIB}, Refusal.VRAM, "has GPUs of 8 GiB where 9 GiB is needed"),
        ({"sites": ("rome",)}, Refusal.SITE, "is at site bern where rome is wanted"),
        ({"owners": ("bob",)}, Refusal.OWNER, "is of owner ada where bob is wanted"),
        ({"labels": ("fast", "lab")}, Refusal.LABELS, "has no label lab"),
    ],
)
def test_each_requirement_that_is_not_met_is_named(needs, reason, words):
    assert refused(**needs) == (reason,)
    assert words in explain(reason, Requirements(**needs), DEVICE)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"state": DeviceState.PENDING}, Refusal.PENDING, "is waiting for the operator's approval"),
        ({"state": DeviceState.PAUSED, "reason": "a demo"}, Refusal.PAUSED, "is paused: a demo"),
        ({"state": DeviceState.DRAINING}, Refusal.DRAINING, "is draining"),
        ({"state": DeviceState.QUARANTINED}, Refusal.QUARANTINED, "is quarantined"),
        ({"state": DeviceState.REVOKED}, Refusal.REVOKED, "is revoked"),
        ({"power": PowerStatus(on_ac_power=False)}, Refusal.BATTERY, "is on battery"),
        ({"blockers": ("battery",)}, Refusal.BATTERY, "is on battery"),
        ({"blockers": ("too_warm", "owner_present")}, Refusal.HOST, "(too_warm, owner_present)"),
        ({"leased": 2}, Refusal.FULL, "is full with 2 of 2 tasks"),
        ({"last_seen": NOW - 60.5}, Refusal.NOT_SEEN, "was not heard of lately"),
    ],
)
def test_what_stands_against_a_device_itself_is_named(changes, reason, words):
    device = replace(DEVICE, **changes)
    assert refused(device) == (reason,)
    assert words in explain(reason, Requirements(), device)


def test_only_trusted_devices_do_what_asks_for_trust():
    assert refused(mode=VerifyMode.TRUSTED) == (Refusal.NOT_TRUSTED,)
    assert refused(replace(DEVICE, trusted=True), mode=VerifyMode.TRUSTED) == ()
    need = Requirements()
    assert refusals(need, VerifyMode.AUDIT, DEVICE, now=NOW, require_trusted=True) == (Refusal.NOT_TRUSTED,)


def test_copies_never_share_a_device_or_an_owner():
    ours, this = frozenset({DEVICE.owner}), frozenset({DEVICE.id})
    both = refusals(Requirements(), VerifyMode.AUDIT, DEVICE, now=NOW, excluded_owners=ours, excluded_devices=this)
    assert both == (Refusal.SAME_DEVICE, Refusal.SAME_OWNER)


def test_room_is_what_the_caller_says_where_it_says():
    full = replace(DEVICE, leased=2)
    assert refusals(Requirements(), VerifyMode.AUDIT, full, now=NOW, free=1) == ()
    assert refusals(Requirements(), VerifyMode.AUDIT, DEVICE, now=NOW, free=0) == (Refusal.FULL,)


def test_all_reasons_are_given_and_what_lasts_comes_first():
    laptop = replace(DEVICE, power=PowerStatus(on_ac_power=False), blockers=("battery", "owner_present"), leased=2)
    assert refused(laptop, gpus=4, python="3.11") == (
        Refusal.PYTHON,
        Refusal.GPU_COUNT,
        Refusal.BATTERY,
        Refusal.HOST,
        Refusal.FULL,
    )


def test_every_reason_has_words_and_a_plural():
    for reason in Refusal:
        words = explain(reason, Requirements(gpu_backend="metal", labels=("lab",)), DEVICE)
        assert words.split()[0] in {"is", "has", "was"}
        assert summarise([(reason,), (reason,)]).split()[3] in {"are", "have", "were"}


def test_a_summary_counts_devices_under_what_would_last():
    laptop = replace(DEVICE, facts=replace(DEVICE.facts, python="3.11"), power=PowerStatus(on_ac_power=False))
    devices = [laptop, DEVICE, laptop]
    reasons = [refused(device, python="3.11") for device in devices]
    told = summarise(reasons, requirements=Requirements(python="3.11"), devices=devices)
    assert told == "3 devices: 2 are on battery, 1 has Python 3.12 where 3.11 is needed"
    assert summarise(reasons) == "3 devices: 2 are on battery, 1 has another Python than is needed"


def test_a_summary_of_few():
    assert summarise([]) == "no device has joined the grid"
    assert summarise([()]) == "1 device: 1 could take it"
    assert summarise([(Refusal.FULL,), ()]) == "2 devices: 1 could take it, 1 is full"
