"""NVIDIA GPUs, as their driver describes them through NVML.

Rules:

* The Python binding (``nvidia-ml-py``) and the driver's library are both optional: without either there are no GPUs.
* A GPU that does not answer (fallen off the bus, no permission) is left out; it cannot take work.
* A GPU split by MIG is left out: what could be granted is an instance, and instances have no number of their own.
* GPUs come in the order of their device nodes, and ``minors`` gives the number N of each one's ``/dev/nvidiaN``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from corpgrid.domain.device import Gpu

_MIG_ENABLED = 1


class NumberedGpu(NamedTuple):
    """A GPU and the number of its device node."""

    minor: int
    gpu: Gpu


class NvmlGpus:
    """The ``GpuProbe`` for NVIDIA GPUs.

    Args:
        load: gives the ``pynvml`` module, or raises ImportError where it is not installed.
    """

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        self._load = load

    def gpus(self) -> tuple[Gpu, ...]:
        """All that the driver answers for."""
        return tuple(numbered.gpu for numbered in self._numbered())

    def minors(self) -> tuple[int, ...]:
        """N of ``/dev/nvidiaN`` for each of ``gpus``."""
        return tuple(numbered.minor for numbered in self._numbered())

    def _numbered(self) -> list[NumberedGpu]:
        with _session(self._load) as nvml:
            return [] if nvml is None else sorted(_all(nvml), key=lambda numbered: numbered.minor)


@contextmanager
def _session(load: Callable[[], Any]) -> Iterator[Any]:
    """NVML, ready to be asked, or None where there is no binding, no driver or no GPU."""
    try:
        nvml = load()
        nvml.nvmlInit()
    except ImportError:
        yield None
        return
    except nvml.NVMLError:
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def _all(nvml: Any) -> Iterator[NumberedGpu]:
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            if not _split(nvml, handle):
                yield _describe(nvml, handle, driver)
        except nvml.NVMLError:
            continue  # this one does not answer; the others may


def _split(nvml: Any, handle: Any) -> bool:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError_NotSupported:
        return False
    return bool(current == _MIG_ENABLED)


def _describe(nvml: Any, handle: Any, driver: str) -> NumberedGpu:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    gpu = Gpu(
        backend="cuda",
        name=_text(nvml.nvmlDeviceGetName(handle)),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        vram_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        driver=driver,
        compute=f"{major}.{minor}",
    )
    return NumberedGpu(minor=int(nvml.nvmlDeviceGetMinorNumber(handle)), gpu=gpu)


def _text(answer: str | bytes) -> str:
    """Older bindings answer in bytes."""
    return answer.decode() if isinstance(answer, bytes) else answer
