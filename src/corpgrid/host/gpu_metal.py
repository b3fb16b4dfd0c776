"""Apple GPUs, as Metal describes them.

Rules:

* The Python binding (``pyobjc-framework-Metal``) is optional: without it there are no GPUs.
* Memory is what Metal recommends to work with at most: on Apple silicon it is shared with the processor.
* Metal has no driver version of its own; the release of macOS stands for it, because the driver comes with it.
* ``describe`` is tested over recorded answers; the call has not been run on a Mac.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable
from typing import Any

from corpgrid.domain.device import Gpu


class MetalGpus:
    """The ``GpuProbe`` for Apple GPUs."""

    def gpus(self) -> tuple[Gpu, ...]:
        """All that Metal answers for."""
        try:
            metal = importlib.import_module("Metal")
        except ImportError:
            return ()
        return describe(metal.MTLCopyAllDevices() or (), macos=platform.mac_ver()[0])


def describe(devices: Iterable[Any], *, macos: str) -> tuple[Gpu, ...]:
    """Metal's devices, in our words."""
    return tuple(
        Gpu(
            backend="metal",
            name=str(device.name()),
            uuid=f"metal-{device.registryID():016x}",
            vram_bytes=int(device.recommendedMaxWorkingSetSize()),
            driver=f"macos-{macos}",
        )
        for device in devices
    )
