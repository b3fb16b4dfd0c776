"""The operator: pauses devices now and then, and lets them go on."""

from __future__ import annotations

import asyncio

from corpgrid.domain.device import DeviceState
from corpgrid.domain.ids import DeviceId
from corpgrid.errors import ConflictError, NotFoundError, OverloadedError, StoreError, UnavailableError
from corpgrid.ports.api import GridApi
from corpgrid.sim.loop import Process
from corpgrid.sim.trace import Trace

_AGAIN_SECONDS = 2.0


class Operator:
    """Somebody with the rights to set devices.

    Args:
        grid: the grid, over the network.
        process: where the operator's program runs.
    """

    def __init__(self, grid: GridApi, process: Process, trace: Trace) -> None:
        self._grid = grid
        self._process = process
        self._trace = trace
        self._paused: list[DeviceId] = []

    async def pause(self, device: DeviceId) -> None:
        """No work for this device."""
        self._paused.append(device)
        await self._process.spawn(self._set(device, DeviceState.PAUSED))

    async def resume_all(self) -> None:
        """Work for all that were paused."""
        paused, self._paused = self._paused, []
        for device in paused:
            await self._process.spawn(self._set(device, DeviceState.ACTIVE))

    async def _set(self, device: DeviceId, state: DeviceState) -> None:
        """Ask until it is done; a device that is not there, or out, is left alone."""
        while True:
            try:
                await self._grid.set_device(device, state, reason="the operator says so")
            except (UnavailableError, OverloadedError, StoreError):
                await asyncio.sleep(_AGAIN_SECONDS)
            except (ConflictError, NotFoundError):
                return
            else:
                self._trace.note(f"operator sets {device} {state}")
                return
