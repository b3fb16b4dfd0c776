from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corpgrid.wire import convert, convert_device, convert_grid, convert_job, methods
from corpgrid.wire.calls import ANSWERS, CALLS
from corpgrid.wire.convert_checks import Words
from corpgrid.wire.methods import BLOB_METHODS, GRID_METHODS, SCHEDULER_METHODS
from corpgrid.wire.v1 import scheduler_pb2 as pb

ROOT = Path(__file__).parents[3]
SERVICES = pb.DESCRIPTOR.services_by_name


def test_the_table_is_the_schema() -> None:
    table = {
        (method.service, method.name): (method.request.kind.DESCRIPTOR, method.reply.kind.DESCRIPTOR)
        for method in [*SCHEDULER_METHODS, *GRID_METHODS, *BLOB_METHODS]
    }
    table["Blobs", "PutBlob"] = (methods.PUT_PART.kind.DESCRIPTOR, methods.PUT_REPLY.kind.DESCRIPTOR)
    table["Blobs", "GetBlob"] = (methods.GET_REQUEST.kind.DESCRIPTOR, methods.GET_CHUNK.kind.DESCRIPTOR)
    table["Calls", "Exchange"] = (CALLS.kind.DESCRIPTOR, ANSWERS.kind.DESCRIPTOR)
    schema = {
        (service.name, method.name): (method.input_type, method.output_type)
        for service in SERVICES.values()
        for method in service.methods
    }
    assert table == schema


def test_the_agents_service_has_the_names_of_the_specification() -> None:
    names = [method.name for method in SERVICES["Scheduler"].methods]
    assert names == ["RegisterAgent", "PollJobs", "Heartbeat", "SubmitResult", "ReportCheckpoint"]


@pytest.mark.parametrize(
    ("words", "wire"),
    [
        (convert.OUTCOMES, pb.Outcome),
        (convert_device.DEVICE_STATES, pb.DeviceState),
        (convert_grid.VERIFY_MODES, pb.VerifyMode),
        (convert_job.JOB_STATES, pb.JobState),
        (convert_job.TASK_STATES, pb.TaskState),
        (convert_job.ATTEMPT_STATES, pb.AttemptState),
        (convert_job.PURPOSES, pb.Purpose),
    ],
)
def test_every_number_but_zero_is_a_word(words: Words[Any], wire: Any) -> None:
    numbers = [number for number in wire.values() if number]
    assert sorted(words.number.values()) == numbers
    assert [words.number[word] for word in words.words(numbers)] == numbers


def test_the_generated_code_is_fresh() -> None:
    check = [sys.executable, str(ROOT / "proto/generate.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
