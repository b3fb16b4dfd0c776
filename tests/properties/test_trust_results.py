"""Batches of any items: what is signed is verified, and whatever is said otherwise is not."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corpgrid.domain.ids import Digest, Epoch, JobId
from corpgrid.domain.messages import Batch, Item, Outcome, OutputFile
from corpgrid.errors import DigestError, MalformedDataError, SignatureError
from corpgrid.trust.digest import check_proof, digest, merkle_proof, merkle_root
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import batch_leaves, sign_batch, verify_batch

KEY = PrivateKey.from_raw(bytes(32))
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
NOTHING = st.just(b"")
OUTPUTS = st.lists(
    st.builds(OutputFile, st.from_regex(r"[a-y]{1,5}(/[a-y]{1,5})?", fullmatch=True), DIGESTS, st.integers(0, 1 << 50)),
    max_size=2,
).map(tuple)
COMMON = {
    "index": st.integers(0, 9_999_999),
    "attempt": st.integers(0, 20),
    "epoch": st.integers(0, 2**63 - 1).map(Epoch),
    "reason": st.text(max_size=5),
    "detail": st.text(max_size=5),
    "seconds": st.floats(0.0, 1e9) | st.integers(0, 10),
    "log": st.binary(max_size=5),
    "log_dropped": st.integers(0, 1 << 40),
    "outputs": OUTPUTS,
}
ENDS = [outcome for outcome in Outcome if outcome is not Outcome.RESULT]
ITEM = (
    st.builds(Item, outcome=st.just(Outcome.RESULT), payload=st.binary(max_size=20), blob=NOTHING, **COMMON)
    | st.builds(Item, outcome=st.just(Outcome.RESULT), payload=NOTHING, blob=DIGESTS, **COMMON)
    | st.builds(Item, outcome=st.sampled_from(ENDS), payload=NOTHING, blob=NOTHING, **COMMON)
)
ITEMS = st.lists(ITEM, min_size=1, max_size=9, unique_by=lambda item: (item.index, item.attempt)).map(tuple)


def batch(items: tuple[Item, ...]) -> Batch:
    return Batch(JobId("job_a"), KEY.public.device_id, items)


def result_of(item: Item) -> bytes:
    if item.outcome is not Outcome.RESULT:
        return b""
    return item.blob or digest(item.payload)


@given(ITEMS)
def test_what_is_signed_is_verified(items):
    found = verify_batch(sign_batch(batch(items), KEY), KEY.public)
    assert found.digests == tuple(map(result_of, items))
    assert found.items == items


@given(ITEMS, ITEM, st.data())
def test_another_item_breaks_the_signature(items, other, data):
    place = data.draw(st.integers(0, len(items) - 1))
    assume(
        other != items[place] and not (result_of(other) == result_of(items[place]) and other[6:] == items[place][6:])
    )
    changed = (*items[:place], other, *items[place + 1 :])
    with pytest.raises((SignatureError, MalformedDataError)):
        verify_batch(sign_batch(batch(items), KEY)._replace(items=changed), KEY.public)


@given(ITEMS, st.data())
def test_another_selection_breaks_the_signature(items, data):
    others = data.draw(st.permutations(items))[: data.draw(st.integers(0, len(items)))]
    assume(tuple(others) != items)
    with pytest.raises(SignatureError):
        verify_batch(sign_batch(batch(items), KEY)._replace(items=tuple(others)), KEY.public)


@given(ITEMS, st.integers(0, 511))
def test_a_flipped_bit_of_the_signature_is_refused(items, bit):
    signed = sign_batch(batch(items), KEY)
    flipped = (int.from_bytes(signed.signature, "big") ^ (1 << bit)).to_bytes(64, "big")
    with pytest.raises(SignatureError):
        verify_batch(signed._replace(signature=flipped), KEY.public)


@given(ITEMS, st.data())
def test_an_item_is_evidence_by_itself(items, data):
    place = data.draw(st.integers(0, len(items) - 1))
    found = verify_batch(sign_batch(batch(items), KEY), KEY.public)
    leaves = batch_leaves(found, found.digests)
    proof = merkle_proof(leaves, place)
    check_proof(merkle_root(leaves), leaves[place], proof, index=place, count=len(items))
    elsewhere = batch_leaves(found._replace(job=JobId("job_b")), found.digests)
    with pytest.raises(DigestError):
        check_proof(merkle_root(leaves), elsewhere[place], proof, index=place, count=len(items))


@given(ITEM, st.sampled_from([math.nan, math.inf, -1.0]))
def test_time_is_a_number(item, seconds):
    with pytest.raises(MalformedDataError):
        sign_batch(batch((item._replace(seconds=seconds),)), KEY)
