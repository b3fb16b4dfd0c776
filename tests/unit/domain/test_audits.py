"""Which results are audited, by example."""

from __future__ import annotations

import pytest

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.audits import DOUBTED_RATE, Audits, fingerprint
from corpgrid.domain.device import Device
from corpgrid.domain.draft import Draft
from corpgrid.domain.effects import Standing, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, SiteId, TaskKey
from corpgrid.domain.job import Purpose
from corpgrid.domain.rules import GridRules

JOB, BUNDLE, TASKS = JobId("job_a"), Digest(b"b" * 32), 2_000
DEVICE = Device(id=DeviceId("dev_b"), public_key=b"k" * 32, owner=OwnerId("ben"), site=SiteId("here"))
RULES = GridRules(audit_key=b"secret", agree=lambda *_: False)


def audited(rate: float, first: AttemptState | None, *, returned: int = RULES.probation_tasks) -> float:
    """The share of audits among a device's results for tasks of which another had a copy that ended so."""
    attempts: dict[TaskKey, tuple[Attempt, ...]] = {}
    mine = []
    for index in range(TASKS):
        one = Attempt(JOB, index, 0, DeviceId("dev_a"), OwnerId("ann"), SiteId("here"), Purpose.PRIMARY, Epoch(1))
        before = (one._replace(state=first),) if first is not None else ()
        two = one._replace(number=len(before), device=DEVICE.id, owner=DEVICE.owner, state=AttemptState.RETURNED)
        attempts[JOB, index] = (*before, two)
        mine.append(two)
    standing = Standing(DEVICE.id, BUNDLE, fingerprint(DEVICE.facts), returned=returned)
    view = View(now=1.0, devices={DEVICE.id: DEVICE}, attempts=attempts, standings={(DEVICE.id, BUNDLE): standing})
    audits = Audits(Draft(view), RULES)
    return sum(audits.due(attempt, BUNDLE, rate) for attempt in mine) / TASKS


@pytest.mark.parametrize("first", [None, AttemptState.EXPIRED, AttemptState.STOPPED, AttemptState.CRASHED])
def test_the_coin_has_the_rate_of_the_job(first: AttemptState | None) -> None:
    assert audited(0.0, first) == 0.0
    assert abs(audited(0.1, first) - 0.1) < 0.03


def test_answers_after_a_rejected_one_are_audited_more_often() -> None:
    """Whose friend was caught may wait for that work, and knows which lie to repeat."""
    assert abs(audited(0.0, AttemptState.REJECTED) - DOUBTED_RATE) < 0.05
    assert abs(audited(0.8, AttemptState.REJECTED) - 0.8) < 0.05


def test_a_new_device_is_audited_whatever_the_coin_says() -> None:
    assert audited(0.0, None, returned=0) == RULES.probation_tasks / TASKS
