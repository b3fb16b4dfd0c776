"""Hints between schedulers: what is said is heard whole, by all others, however often the connection is lost."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.stores.postgres.hints import decode, encode

ids = st.text("abcdefghijklmnop", min_size=20, max_size=24)


@given(
    work=st.booleans(),
    ended=st.frozensets(ids.map(lambda text: JobId(f"job_{text}")), max_size=250),
    devices=st.frozensets(ids.map(lambda text: DeviceId(f"dev_{text}")), max_size=250),
)
def test_payloads_say_all_of_a_hint_and_fit(
    *, work: bool, ended: frozenset[JobId], devices: frozenset[DeviceId]
) -> None:
    payloads = list(encode(Hint(work, ended, devices), instance="f" * 32))
    heard = [decode(payload) for payload in payloads]
    assert all(len(payload.encode()) < 8_000 for payload in payloads)
    assert {instance for instance, _ in heard} == {"f" * 32}
    assert {hint.work for _, hint in heard} == {work}
    assert frozenset[JobId]().union(*(hint.ended for _, hint in heard)) == ended
    assert frozenset[DeviceId]().union(*(hint.devices for _, hint in heard)) == devices


@given(st.text() | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_what_cannot_be_read_may_mean_anything(payload: str) -> None:
    instance, hint = decode(payload)
    assert isinstance(instance, str)
    assert isinstance(hint, Hint)
    if instance == "":
        assert hint.work
