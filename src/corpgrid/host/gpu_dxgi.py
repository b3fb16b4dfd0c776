"""GPUs of a Windows machine, as DXGI lists them: for cards whose maker offers no better way (``gpu_nvml`` is one).

Rules:

* NVIDIA's cards (vendor 10DE) run CUDA, all others Vulkan.  Software adapters are no GPUs.
* DXGI numbers adapters anew at every start, so that a GPU's name here is its model, maker and place in the list.
* The driver is the version of its user-mode part, as DXGI tells it.
* ``describe`` decides, ``_adapters`` calls.  ``_adapters`` was run with a Windows build of Python under Wine, not on a
  Windows machine.
"""

from __future__ import annotations

import ctypes
import sys
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from corpgrid.domain.device import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable

_NVIDIA = 0x10DE
_SOFTWARE = 2
_FACTORY = uuid.UUID("770aae78-f26f-4dba-a829-253c83d1b387")
_DEVICE = uuid.UUID("54ec77fa-1377-44e6-8c32-88fd5f44c84c")
_RELEASE, _CHECK_INTERFACE_SUPPORT, _GET_DESC1, _ENUM_ADAPTERS1 = 2, 9, 10, 12
_ADAPTERS_MAX = 64


class AdapterDesc(ctypes.Structure):
    """DXGI's ``DXGI_ADAPTER_DESC1``: 312 bytes in a 64-bit process."""

    _fields_ = (
        ("description", ctypes.c_uint16 * 128),
        ("vendor", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("subsystem", ctypes.c_uint32),
        ("revision", ctypes.c_uint32),
        ("dedicated_video_bytes", ctypes.c_size_t),
        ("dedicated_system_bytes", ctypes.c_size_t),
        ("shared_system_bytes", ctypes.c_size_t),
        ("luid", ctypes.c_uint32 * 2),
        ("flags", ctypes.c_uint32),
    )


class Adapter(NamedTuple):
    """One entry of DXGI's list; ``driver`` is a 64-bit version, 0 where DXGI does not tell."""

    desc: AdapterDesc
    driver: int


class DxgiGpus:
    """The ``GpuProbe`` of Windows for GPUs of every maker."""

    def gpus(self) -> tuple[Gpu, ...]:
        """All that DXGI lists."""
        return describe(_adapters())


def describe(adapters: Iterable[Adapter]) -> tuple[Gpu, ...]:
    """DXGI's list, in our words."""
    hardware = [adapter for adapter in adapters if not adapter.desc.flags & _SOFTWARE]
    return tuple(_gpu(place, adapter) for place, adapter in enumerate(hardware))


def _gpu(place: int, adapter: Adapter) -> Gpu:
    desc = adapter.desc
    return Gpu(
        backend="cuda" if desc.vendor == _NVIDIA else "vulkan",
        name=bytes(desc.description).decode("utf-16-le", errors="replace").partition("\0")[0],
        uuid=f"dxgi-{desc.vendor:04x}-{desc.device:04x}-{desc.subsystem:08x}-{place}",
        vram_bytes=int(desc.dedicated_video_bytes),
        driver=_version(adapter.driver),
    )


def _version(packed: int) -> str:
    """Four numbers of 16 bits each, as Windows shows them."""
    return ".".join(str(packed >> shift & 0xFFFF) for shift in (48, 32, 16, 0)) if packed else ""


def _adapters() -> list[Adapter]:  # pragma: no cover - needs Windows
    """DXGI's list; empty without DXGI or without a display."""
    found: list[Adapter] = []
    if sys.platform == "win32":
        factory = ctypes.c_void_p()
        create = ctypes.WinDLL("dxgi").CreateDXGIFactory1
        if create(_guid(_FACTORY), ctypes.byref(factory)) < 0:
            return found
        for place in range(_ADAPTERS_MAX):
            adapter = ctypes.c_void_p()
            if _call(factory, _ENUM_ADAPTERS1, ctypes.c_uint32(place), ctypes.byref(adapter)) < 0:
                break
            found += _described(adapter)
            _call(adapter, _RELEASE)
        _call(factory, _RELEASE)
    return found


def _described(adapter: ctypes.c_void_p) -> list[Adapter]:  # pragma: no cover - needs Windows
    desc, driver = AdapterDesc(), ctypes.c_int64()
    if _call(adapter, _GET_DESC1, ctypes.byref(desc)) < 0:
        return []
    told = _call(adapter, _CHECK_INTERFACE_SUPPORT, _guid(_DEVICE), ctypes.byref(driver)) >= 0
    return [Adapter(desc, driver.value if told else 0)]


def _guid(value: uuid.UUID) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(value.bytes_le, 16)


def _call(this: ctypes.c_void_p, slot: int, *arguments: Any) -> int:  # pragma: no cover - needs Windows
    """Call a COM method by its place in the object's table."""
    table = ctypes.cast(this, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    address = table[slot]
    method: Callable[..., int] = ctypes.CFUNCTYPE(ctypes.c_int32)(address or 0)
    return method(this, *arguments)
