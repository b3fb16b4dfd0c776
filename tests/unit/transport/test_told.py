"""What a scheduler said is wrong outlives the silence after it."""

from __future__ import annotations

import random

import pytest

from corpgrid.errors import UnavailableError
from corpgrid.transport.address import parse
from corpgrid.transport.grpc_client import GrpcWire
from corpgrid.transport.limits import TransportLimits

SAID = UnavailableError("the scheduler's store failed: the disk is full", remedy="On the scheduler: free space there.")
SILENT = UnavailableError("no answer within 1 s")


@pytest.mark.parametrize(
    ("errors", "raised"), [([SAID, SILENT], SAID), ([SILENT, SAID, SILENT], SAID), ([SILENT, SILENT], SILENT)]
)
async def test_the_last_that_a_scheduler_said_is_raised(
    errors: list[UnavailableError], raised: UnavailableError
) -> None:
    wire = GrpcWire([parse("127.0.0.1:1")], TransportLimits(), random.Random(1), patient=True)
    left = list(errors)

    async def once(_seconds: float) -> None:
        raise left.pop(0) if len(left) > 1 else left[0]

    with pytest.raises(UnavailableError) as failed:
        await wire._again(once, seconds=1.0)
    await wire.close()
    assert failed.value is raised
    assert len(left) == 1, "it was tried as often as that"
