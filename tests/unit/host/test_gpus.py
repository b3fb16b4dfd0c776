"""GPUs: what NVML, Metal and DXGI say, in our words.

``Nvml`` answers what NVML answered on an H100 with driver 580; the binding itself is run where it is installed.
"""
# ruff: noqa: N802 - functions are called what NVML calls them

from __future__ import annotations

import ctypes
import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from corpgrid.domain.device import Gpu
from corpgrid.host.gpu_dxgi import Adapter, AdapterDesc, DxgiGpus
from corpgrid.host.gpu_dxgi import describe as describe_dxgi
from corpgrid.host.gpu_metal import MetalGpus, describe
from corpgrid.host.gpu_nvml import NvmlGpus

H100 = Gpu(
    backend="cuda",
    name="NVIDIA H100 80GB HBM3",
    uuid="GPU-0",
    vram_bytes=85_520_809_984,
    driver="580.159.04",
    compute="9.0",
)


class NvmlError(Exception):
    """NVML's error."""


class NotSupportedError(NvmlError):
    """What it raises for a question that a GPU cannot answer."""


class Nvml:
    """NVML with GPUs given by the numbers of their device nodes."""

    NVMLError = NvmlError
    NVMLError_NotSupported = NotSupportedError

    def __init__(
        self, *minors: int, lost: tuple[int, ...] = (), split: tuple[int, ...] = (), old: bool = False
    ) -> None:
        self.minors, self.lost, self.split, self.old = minors, lost, split, old
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.minors)

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        return self.text("580.159.04")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if self.minors[index] in self.lost:
            raise NvmlError("GPU is lost")
        return self.minors[index]

    def nvmlDeviceGetMinorNumber(self, handle: int) -> int:
        return handle

    def nvmlDeviceGetName(self, _handle: int) -> str | bytes:
        return self.text("NVIDIA H100 80GB HBM3")

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return self.text(f"GPU-{handle}")

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=85_520_809_984, free=85_000_000_000, used=520_809_984)

    def nvmlDeviceGetCudaComputeCapability(self, _handle: int) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:
        if self.old:
            raise NotSupportedError
        return int(handle in self.split), 0

    def text(self, text: str) -> str | bytes:
        return text.encode() if self.old else text


def probe(nvml: Any) -> NvmlGpus:
    return NvmlGpus(load=lambda: nvml)


@pytest.mark.parametrize("old", [False, True])
def test_a_gpu_is_described_as_nvml_answers(old: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert probe(Nvml(0, old=old)).gpus() == (H100,)


def test_gpus_come_in_the_order_of_their_device_nodes() -> None:
    gpus = probe(Nvml(2, 0, 1))
    assert [gpu.uuid for gpu in gpus.gpus()] == ["GPU-0", "GPU-1", "GPU-2"]
    assert gpus.minors() == (0, 1, 2)


def test_a_gpu_that_is_lost_or_split_is_left_out_and_its_neighbours_are_not() -> None:
    gpus = probe(Nvml(0, 1, 2, 3, lost=(1,), split=(2,)))
    assert [gpu.uuid for gpu in gpus.gpus()] == ["GPU-0", "GPU-3"]
    assert gpus.minors() == (0, 3)


def test_nvml_is_let_go_whatever_happens() -> None:
    nvml = Nvml(0, 1, lost=(0, 1))
    assert probe(nvml).gpus() == ()
    assert nvml.open == 0


def test_without_a_binding_there_are_no_gpus() -> None:
    def absent() -> Any:
        raise ModuleNotFoundError("No module named 'pynvml'")

    assert NvmlGpus(load=absent).gpus() == ()
    assert NvmlGpus(load=absent).minors() == ()


def test_without_a_driver_there_are_no_gpus() -> None:
    class Driverless(Nvml):
        def nvmlInit(self) -> None:
            raise NvmlError("Library not found")

    assert probe(Driverless()).gpus() == ()


@pytest.mark.skipif(importlib.util.find_spec("pynvml") is None, reason="nvidia-ml-py is not installed")
def test_the_real_binding_answers_here_with_or_without_a_driver() -> None:
    real = NvmlGpus()
    for gpu in real.gpus():
        assert gpu.backend == "cuda"
        assert gpu.vram_bytes > 0
        assert gpu.uuid.startswith("GPU-")
    assert len(real.minors()) == len(real.gpus())


def test_a_mac_gpu_is_described_as_metal_answers() -> None:
    device = SimpleNamespace(
        name=lambda: "Apple M2 Pro",
        registryID=lambda: 0x100000444,
        recommendedMaxWorkingSetSize=lambda: 22_906_503_168,
    )
    assert describe([device], macos="15.1") == (
        Gpu(
            backend="metal",
            name="Apple M2 Pro",
            uuid="metal-0000000100000444",
            vram_bytes=22_906_503_168,
            driver="macos-15.1",
        ),
    )


@pytest.mark.skipif(importlib.util.find_spec("Metal") is not None, reason="Metal answers here")
def test_without_metal_there_are_no_gpus() -> None:
    assert MetalGpus().gpus() == ()


def adapter(name: str, *, vendor: int, flags: int = 0, driver: int = 0) -> Adapter:
    """An entry of DXGI's list."""
    desc = AdapterDesc(vendor=vendor, device=0x06CD, dedicated_video_bytes=25_275_924_480, flags=flags)
    encoded = name.encode("utf-16-le") + b"\0\0left over"
    ctypes.memmove(desc.description, encoded, len(encoded))
    return Adapter(desc, driver)


def test_dxgis_adapters_are_described_by_maker_and_software_is_left_out() -> None:
    listed = [
        adapter("Microsoft Basic Render Driver", vendor=0x1414, flags=2),
        adapter("NVIDIA GeForce GTX 470", vendor=0x10DE, driver=0x001A_0015_000D_23AF),
        adapter("AMD Radeon", vendor=0x1002),
    ]
    nvidia, amd = describe_dxgi(listed)
    assert nvidia == Gpu(
        backend="cuda",
        name="NVIDIA GeForce GTX 470",
        uuid="dxgi-10de-06cd-00000000-0",
        vram_bytes=25_275_924_480,
        driver="26.21.13.9135",
    )
    assert (amd.backend, amd.name, amd.driver) == ("vulkan", "AMD Radeon", "")
    assert amd.uuid.endswith("-1")


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="the layout is that of a 64-bit process")
def test_dxgis_structure_is_as_large_as_windows_has_it() -> None:
    assert ctypes.sizeof(AdapterDesc) == 312
    assert AdapterDesc.dedicated_video_bytes.offset == 272


@pytest.mark.skipif(sys.platform == "win32", reason="DXGI answers there")
def test_without_dxgi_there_are_no_gpus() -> None:
    assert DxgiGpus().gpus() == ()
