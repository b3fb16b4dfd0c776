"""A changed row is what ``dataclasses.replace`` makes of it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.device import Device
from corpgrid.domain.ids import DeviceId, JobId, KeyId, OwnerId, SiteId
from corpgrid.domain.job import Job
from corpgrid.domain.rows import changed

ROWS = {
    Device: Device(id=DeviceId("d"), public_key=b"k", owner=OwnerId("o"), site=SiteId("s")),
    Job: Job(id=JobId("j"), name="n", submitter=KeyId("k"), tenant="t", priority=1, tasks=2, created_at=3.0),
}


@pytest.mark.parametrize("kind", ROWS)
@given(data=st.data())
def test_a_changed_row_is_a_new_row_with_these_columns_and_the_rest(kind, data):
    row, before = ROWS[kind], repr(ROWS[kind])
    names = st.sampled_from([field.name for field in fields(kind)])
    columns = data.draw(st.dictionaries(names, st.integers()))
    made = changed(row, **columns)
    assert made == replace(row, **columns)
    assert repr(row) == before


def test_a_column_that_there_is_not_is_refused():
    with pytest.raises(KeyError):
        changed(ROWS[Job], colour="red")
