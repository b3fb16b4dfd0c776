"""What a submitter asks for, checked before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpgrid.config import ClientConfig
from corpgrid.domain.job import Isolation, Limits, Requirements, VerifyMode, VerifyPolicy
from corpgrid.errors import JobFileError, UsageError
from corpgrid.sdk.request import Options, Request, make_request

CONFIG = ClientConfig(tenant="research", job_days=2.0)


def test_what_nobody_says_is_the_default() -> None:
    request = make_request({}, CONFIG, name="square")
    assert (request.name, request.tenant, request.expires_seconds) == ("square", "research", 172_800.0)
    assert (request.limits, request.requirements, request.verify) == (Limits(), Requirements(), VerifyPolicy())


def test_what_is_said_stands_in_the_specification(tmp_path: Path) -> None:
    (tmp_path / "data.csv").touch()
    options = Options(
        name="mine",
        inputs={"data.csv": str(tmp_path / "data.csv")},
        verify="quorum",
        requirements=Requirements(cpus=2),
        limits=Limits(wall_seconds=5.0),
        isolation="task",
        priority=7,
    )
    spec = make_request(options, CONFIG, name="square").spec(now=100.0)
    assert (spec.name, spec.priority, spec.isolation) == ("mine", 7, Isolation.TASK)
    assert spec.verify == VerifyPolicy(mode=VerifyMode.QUORUM)
    assert spec.not_after == 100.0 + 172_800.0
    assert set(spec.inputs) == {"data.csv"}
    assert (spec.requirements.cpus, spec.limits.wall_seconds) == (2, 5.0)


@pytest.mark.parametrize(
    ("options", "said", "remedy"),
    [
        ({"verify": "maybe"}, "verify is 'maybe', which it cannot be", "none, audit, quorum, tiers, trusted"),
        ({"isolation": "machine"}, "isolation is 'machine', which it cannot be", "job, task"),
        ({"limits": {"wall_seconds": 1}}, "which is no Limits", "Give a Limits"),
        ({"requirements": Limits()}, "which is no Requirements", "Give a Requirements"),
        (
            {"inputs": {"x": "/none/there"}},
            "inputs: x is '/none/there', which cannot be read: No such file",
            "Name a file",
        ),
        ({"inputs": {"x": "/"}}, "inputs: x is '/', which cannot be read: Is a directory", "Name a file"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, said: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        make_request(options, CONFIG, name="square")
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": 101}, "priority is 101; it must be a whole number from 0 to 100"),
        ({"name": "x" * 201}, "it must be printable text of 1 to 200 characters"),
        ({"limits": Limits(max_attempts=0)}, "limits.max_attempts is 0; it must be a whole number from 1 to 1,000"),
        ({"inputs": {"../x": __file__}}, "inputs may not have the file name '../x'"),
    ],
)
def test_what_is_out_of_range_is_refused(options: Any, said: str) -> None:
    with pytest.raises(JobFileError) as caught:
        make_request(options, CONFIG, name="square")
    assert said in str(caught.value)


def test_only_what_is_like_the_last_one_goes_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Request] = []
    monkeypatch.setattr(Request, "check", lambda request: checked.append(request))  # noqa: PLW0108 - a method
    known = make_request({"priority": 7}, CONFIG, name="square")
    assert make_request({"priority": 7}, CONFIG, name="square", known=known) == known
    assert checked == [known]
    others = [
        make_request({"priority": 8}, CONFIG, name="square", known=known),
        make_request({"priority": 7}, CONFIG, name="cube", known=known),
        make_request({"priority": 7, "limits": Limits(processes=1)}, CONFIG, name="square", known=known),
    ]
    assert checked == [known, *others]
    inputs = Options(inputs={"data.csv": tmp_path / "data.csv"})
    with_file = make_request(inputs, CONFIG, name="square")
    make_request(inputs, CONFIG, name="square", known=with_file)
    assert checked[len(others) + 1 :] == [with_file, with_file], "a file may have gone since"
