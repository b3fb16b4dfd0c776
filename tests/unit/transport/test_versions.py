"""Over a real socket: a peer of another version says and asks more than this one knows."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from corpgrid.errors import GridError
from corpgrid.transport.address import Address, parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_client import GrpcWire, connect_grid
from corpgrid.transport.grpc_server import serving
from corpgrid.wire import methods
from corpgrid.wire.convert_ask import AskInfo
from corpgrid.wire.methods import Method
from tests.unit.transport.test_grpc import PATIENT, Api, dispatch
from tests.unit.wire.test_versions import UNKNOWN

GET_FUTURE = replace(methods.GET_INFO, name="GetFuture")


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return parse(f"unix:{tmp_path}/private/grid.sock")


class NewerDispatch(Dispatch):
    """Says more than older peers know."""

    async def call(self, method: Method[Any, Any, Any], content: bytes) -> bytes:
        return await super().call(method, content) + UNKNOWN


async def test_a_newer_client_may_say_more(address: Address) -> None:
    async with serving(dispatch(Api()), address, PATIENT):
        credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        async with grpc.aio.secure_channel(address.target, credentials) as channel:
            reply = await channel.unary_unary(methods.GET_INFO.path)(UNKNOWN)
    assert methods.GET_INFO.reply.decode(reply).version == "1"


async def test_a_newer_scheduler_may_answer_more(address: Address) -> None:
    api = Api()
    async with serving(NewerDispatch(api, api, api.blobs, PATIENT), address, PATIENT):
        grid = connect_grid([address], limits=PATIENT, rng=random.Random(1))
        assert (await grid.info()).version == "1"
        await grid.close()


async def test_a_call_that_an_older_scheduler_does_not_know_ends_with_a_word_and_nothing_else(address: Address) -> None:
    async with serving(dispatch(Api()), address, PATIENT):
        wire = GrpcWire([address], PATIENT, random.Random(1), patient=True)
        with pytest.raises(GridError, match=r"does not know th(is|e) call") as caught:
            await wire.call(GET_FUTURE, AskInfo())
        assert "same version" in caught.value.remedy
        assert (await wire.call(methods.GET_INFO, AskInfo())).version == "1"
        await wire.close()
