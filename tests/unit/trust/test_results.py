"""Registrations and batches: everything that is said is bound by the signature."""

import dataclasses

import pytest

from corpgrid.domain.device import Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId
from corpgrid.domain.messages import Batch, Item, Outcome, OutputFile, RegisterRequest
from corpgrid.errors import ExpiredError, LimitError, MalformedDataError, SignatureError, TrustError
from corpgrid.trust import limits
from corpgrid.trust.digest import check_proof, digest, merkle_proof, merkle_root
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import (
    batch_leaves,
    registration_statement,
    sign_batch,
    sign_registration,
    verify_batch,
    verify_registration,
)

KEY = PrivateKey.from_raw(bytes(32))
OTHER = PrivateKey.from_raw(bytes([1]) * 32)
NOW = 1_700_000_000.0
REQUEST = RegisterRequest(
    public_key=KEY.public.raw,
    owner="ada",
    site="zürich",
    name="workstation",
    facts=Facts(
        hostname="ws1",
        python="3.11",
        cpus=8,
        memory_bytes=1 << 34,
        gpus=(Gpu(backend="cuda", name="H100", vram_bytes=1 << 36),),
        thermal_headroom=0.5,
    ),
    power=PowerStatus(on_ac_power=True, battery_percent=80.0),
    boot="boot-1",
    signed_at=NOW,
    capacity=4,
    blockers=("battery",),
    held=(Epoch(3), Epoch(9)),
)
BLOB = digest(b"large")
ITEMS = (
    Item(0, 0, Epoch(7), Outcome.RESULT, payload=b"\xc0", seconds=0.25, log=b"hello\n"),
    Item(1, 2, Epoch(7), Outcome.RESULT, blob=BLOB, outputs=(OutputFile("a/b.txt", digest(b"b"), 1),)),
    Item(2, 0, Epoch(8), Outcome.FAILED, reason="raised", detail="Traceback\né\ud800", log_dropped=5),
    Item(3, 0, Epoch(8), Outcome.STOPPED, reason="battery"),
)
BATCH = Batch(JobId("job_a"), KEY.public.device_id, ITEMS)
SIGNED = sign_batch(BATCH, KEY)


def test_a_registration_is_the_devices_own():
    signed = sign_registration(REQUEST, KEY)
    assert verify_registration(signed, now=NOW + 1) == KEY.public
    assert registration_statement(signed) == registration_statement(REQUEST)
    with pytest.raises(SignatureError):
        verify_registration(REQUEST, now=NOW)
    with pytest.raises(SignatureError):
        verify_registration(dataclasses.replace(signed, public_key=OTHER.public.raw), now=NOW)


CHANGES = {
    "public_key": OTHER.public.raw,
    "owner": "bob",
    "site": "basel",
    "name": "other",
    "facts": Facts(),
    "power": PowerStatus(on_ac_power=False),
    "boot": "boot-2",
    "signed_at": NOW + 0.5,
    "capacity": 5,
    "blockers": (),
    "held": (Epoch(3),),
}
FACTS = {
    "hostname": "ws2",
    "operating_system": "macos",
    "architecture": "arm64",
    "python": "3.12",
    "engines": ("python",),
    "sandbox": "bubblewrap",
    "cpus": 9,
    "memory_bytes": 1,
    "disk_free_bytes": 1,
    "gpus": (),
    "labels": ("fast",),
    "thermal_headroom": 0.25,
    "agent_version": "2",
}


def test_a_registration_binds_every_field():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(RegisterRequest)} - {"proof"}
    assert set(FACTS) == {field.name for field in dataclasses.fields(Facts)}
    variants = [REQUEST]
    variants += [dataclasses.replace(REQUEST, **{name: value}) for name, value in CHANGES.items()]
    variants += [
        dataclasses.replace(REQUEST, facts=dataclasses.replace(REQUEST.facts, **{name: value}))
        for name, value in FACTS.items()
    ]
    variants += [
        dataclasses.replace(REQUEST, facts=dataclasses.replace(REQUEST.facts, gpus=(gpu,)))
        for gpu in (
            dataclasses.replace(REQUEST.facts.gpus[0], **{name: value})
            for name, value in {
                "backend": "metal",
                "name": "A",
                "uuid": "u",
                "vram_bytes": 1,
                "driver": "d",
                "compute": "c",
            }.items()
        )
    ]
    assert len({registration_statement(variant) for variant in variants}) == len(variants)


def test_whole_numbers_on_the_wire_do_not_break_a_registration():
    power = PowerStatus(battery_percent=80)
    whole = dataclasses.replace(REQUEST, signed_at=int(NOW), power=power, facts=Facts(thermal_headroom=1))
    real = dataclasses.replace(
        whole, signed_at=NOW, power=PowerStatus(battery_percent=80.0), facts=Facts(thermal_headroom=1.0)
    )
    assert registration_statement(whole) == registration_statement(real)


@pytest.mark.parametrize("now", [NOW - 601, NOW + 601])
def test_an_old_registration_is_refused(now):
    with pytest.raises(ExpiredError, match="601 s apart, where 600 s are allowed"):
        verify_registration(sign_registration(REQUEST, KEY), now=now)
    assert verify_registration(sign_registration(REQUEST, KEY), now=now, skew_seconds=700.0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"public_key": b"short"}, "public_key is b'short'; it must be 32 bytes"),
        ({"owner": ""}, "owner is ''"),
        ({"name": "\x1b[2J"}, "name is"),
        ({"capacity": -1}, "capacity is -1"),
        ({"signed_at": float("nan")}, "signed_at is nan"),
        ({"held": (Epoch(-1),)}, "held.0 is -1"),
        ({"power": PowerStatus(battery_percent=101.0)}, "power.battery_percent is 101.0"),
        ({"facts": Facts(thermal_headroom=2.0)}, "facts.thermal_headroom is 2.0"),
        ({"facts": Facts(gpus=(Gpu(backend="cuda", name="x", vram_bytes=-1),))}, "facts.gpus.0.vram_bytes is -1"),
    ],
)
def test_a_registration_out_of_range_is_refused(changes, why):
    with pytest.raises(MalformedDataError, match=why):
        verify_registration(dataclasses.replace(REQUEST, **changes), now=NOW)


def test_a_key_for_which_anybody_could_sign_does_not_register():
    with pytest.raises(TrustError, match="small order"):
        verify_registration(dataclasses.replace(REQUEST, public_key=bytes(32), proof=bytes(64)), now=NOW)


def test_a_batch_is_verified_and_gets_its_digests():
    found = verify_batch(SIGNED._replace(content=b"as it travelled"), KEY.public)
    assert found.digests == (digest(b"\xc0"), BLOB, b"", b"")
    assert found == SIGNED._replace(content=b"as it travelled", digests=found.digests)
    empty = sign_batch(BATCH._replace(items=()), KEY)
    assert verify_batch(empty, KEY.public).digests == ()


ITEM_CHANGES = {
    "index": 4,
    "attempt": 1,
    "epoch": Epoch(9),
    "outcome": Outcome.CRASHED,
    "payload": b"\xc1",
    "blob": digest(b"other"),
    "reason": "other",
    "detail": "other",
    "seconds": 0.5,
    "log": b"other",
    "log_dropped": 6,
    "outputs": (OutputFile("c", digest(b"b"), 1),),
}


def changed_items():
    assert set(ITEM_CHANGES) == set(Item._fields)
    for place, item in enumerate(ITEMS):
        for name, value in ITEM_CHANGES.items():
            yield place, name, item._replace(**{name: value})
    (output,) = ITEMS[1].outputs
    for change in ({"name": "a/c.txt"}, {"digest": digest(b"c")}, {"size_bytes": 2}):
        yield 1, f"output {change}", ITEMS[1]._replace(outputs=(output._replace(**change),))


CHANGED = {f"{name} of item {place}": (place, item) for place, name, item in changed_items()}


@pytest.mark.parametrize(("place", "item"), CHANGED.values(), ids=CHANGED)
def test_a_batch_binds_every_field_of_every_item(place, item):
    items = (*ITEMS[:place], item, *ITEMS[place + 1 :])
    with pytest.raises((SignatureError, MalformedDataError)):
        verify_batch(SIGNED._replace(items=items), KEY.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"job": JobId("job_b")},
        {"device": OTHER.public.device_id},
        {"device": DeviceId("")},
        {"items": ITEMS[:3]},
        {"items": (*ITEMS, ITEMS[0]._replace(index=9))},
        {"items": ITEMS[::-1]},
        {"items": ()},
        {"signature": b""},
        {"signature": OTHER.sign(b"")},
    ],
)
def test_a_batch_binds_the_rest(changes):
    with pytest.raises(SignatureError):
        verify_batch(SIGNED._replace(**changes), KEY.public)


def test_a_batch_of_another_device_is_refused():
    with pytest.raises(SignatureError, match="the key is"):
        verify_batch(SIGNED, OTHER.public)


RESULT, FAILED = ITEMS[0], ITEMS[3]
MISFITS = {
    "a negative index": RESULT._replace(index=-1),
    "an index beyond all jobs": RESULT._replace(index=limits.MAX_TASKS),
    "a negative attempt": RESULT._replace(attempt=-1),
    "a negative epoch": RESULT._replace(epoch=Epoch(-1)),
    "a huge epoch": RESULT._replace(epoch=Epoch(1 << 63)),
    "negative time": RESULT._replace(seconds=-0.1),
    "no time": RESULT._replace(seconds=float("nan")),
    "endless time": RESULT._replace(seconds=float("inf")),
    "a negative log": RESULT._replace(log_dropped=-1),
    "payload and blob": RESULT._replace(blob=BLOB),
    "a short blob": ITEMS[1]._replace(blob=Digest(b"short")),
    "a failure with a payload": FAILED._replace(payload=b"x"),
    "a failure with a blob": FAILED._replace(blob=BLOB),
    "an output outside": RESULT._replace(outputs=(OutputFile("../x", BLOB, 1),)),
    "an output with a short digest": RESULT._replace(outputs=(OutputFile("x", Digest(b"x"), 1),)),
    "an output of negative size": RESULT._replace(outputs=(OutputFile("x", BLOB, -1),)),
}


@pytest.mark.parametrize("item", MISFITS.values(), ids=MISFITS)
def test_what_no_item_may_say(item):
    with pytest.raises(MalformedDataError, match="task"):
        sign_batch(BATCH._replace(items=(item,)), KEY)
    among_others = tuple(ITEMS[0]._replace(index=index) for index in range(10, 20))
    with pytest.raises(MalformedDataError, match="task"):
        sign_batch(BATCH._replace(items=(*among_others[:5], item, *among_others[5:])), KEY)


def test_an_attempt_ends_once():
    with pytest.raises(MalformedDataError, match="twice"):
        sign_batch(BATCH._replace(items=(RESULT, FAILED, RESULT._replace(payload=b"other"))), KEY)


def test_a_batch_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BATCH_ITEMS", 3)
    with pytest.raises(LimitError, match="the batch is 4 where MAX_BATCH_ITEMS allows 3"):
        sign_batch(BATCH, KEY)


def test_one_item_is_evidence_without_the_others():
    batch = verify_batch(SIGNED, KEY.public)
    leaves = batch_leaves(batch, batch.digests)
    alone = batch_leaves(batch._replace(items=ITEMS[1:2]), batch.digests[1:2])
    check_proof(merkle_root(leaves), alone[0], merkle_proof(leaves, 1), index=1, count=4)
