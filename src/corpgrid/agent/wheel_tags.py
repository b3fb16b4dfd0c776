"""Whether a wheel fits the interpreter that runs jobs on this device, by the tags in its name.

A wheel's name ends in ``python-abi-platform``, each of them possibly several joined by dots.  It fits if one
combination does: pure Python for this or an older minor version, or an extension for exactly this interpreter, or for
its stable ABI (``abi3``) since an older one; for any platform or one that this device is.

>>> linux = Interpreter(minor=11, system="linux", architecture="x86_64", libc=(2, 36))
>>> wheel_fault("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", linux)
''
>>> wheel_fault("numpy-2.4.6-cp312-cp312-macosx_14_0_arm64.whl", linux)
'it is for cp312-cp312-macosx_14_0_arm64, and this device runs CPython 3.11 on linux x86_64 with glibc 2.36'
"""

from __future__ import annotations

import platform
import re
import sys
from itertools import product
from typing import NamedTuple

_NAME = re.compile(
    r"[A-Za-z0-9][\w.]*-[\w.!+]+(?:-\d\w*)?-(?P<python>[\w.]+)-(?P<abi>[\w.]+)-(?P<platform>[\w.]+)\.whl"
)
_LEGACY_MANYLINUX = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_LINUX_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
_MAC_MACHINES = {
    "x86_64": {"x86_64", "intel", "universal", "universal2"},
    "arm64": {"arm64", "universal2"},
}
_WINDOWS = {"x86_64": "win_amd64", "arm64": "win_arm64"}
_ARCHITECTURES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


class Interpreter(NamedTuple):
    """What a wheel must fit.

    Attributes:
        minor: 11 for CPython 3.11.
        system: ``linux``, ``macos`` or ``windows``.
        architecture: ``x86_64`` or ``arm64``.
        libc: version of glibc on Linux, of the system on macOS; (0, 0) where there is none.
    """

    minor: int
    system: str
    architecture: str
    libc: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        """For people."""
        kind = {"linux": "glibc", "macos": "macOS"}.get(self.system)
        version = f" with {kind} {self.libc[0]}.{self.libc[1]}" if kind else ""
        return f"CPython 3.{self.minor} on {self.system} {self.architecture}{version}"


def this_interpreter() -> Interpreter:
    """The one that runs this process; runners have the same minor version and the same system."""
    system = _SYSTEMS.get(sys.platform, sys.platform)
    version = platform.mac_ver()[0] if system == "macos" else platform.libc_ver()[1]
    numbers = [int(number) for number in re.findall(r"\d+", version)] + [0, 0]
    machine = platform.machine().lower()
    return Interpreter(
        minor=sys.version_info.minor,
        system=system,
        architecture=_ARCHITECTURES.get(machine, machine),
        libc=(numbers[0], numbers[1]),
    )


def wheel_fault(name: str, interpreter: Interpreter) -> str:
    """Why a wheel does not fit, as the end of a sentence; empty if it does."""
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        return "its name is not a wheel's"
    pythons, abis, platforms = (parsed[part].split(".") for part in ("python", "abi", "platform"))
    fits_python = any(_fits_python(python, abi, interpreter.minor) for python, abi in product(pythons, abis))
    if fits_python and any(_fits_platform(tag, interpreter) for tag in platforms):
        return ""
    return f"it is for {parsed['python']}-{parsed['abi']}-{parsed['platform']}, and this device runs {interpreter}"


def _fits_python(python: str, abi: str, minor: int) -> bool:
    found = re.fullmatch(r"(py|cp)3(\d*)", python)
    if found is None:
        return False
    kind, since = found[1], int(found[2] or 0)
    if kind == "py":
        return abi == "none" and since <= minor
    if abi == "abi3":
        return since <= minor
    return since == minor and abi in ("none", f"cp3{minor}")


def _fits_platform(tag: str, interpreter: Interpreter) -> bool:
    if tag == "any":
        return True
    match interpreter.system:
        case "linux":
            return _fits_linux(tag, interpreter)
        case "macos":
            found = re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", tag)
            machines = _MAC_MACHINES.get(interpreter.architecture, set())
            return found is not None and (int(found[1]), int(found[2])) <= interpreter.libc and found[3] in machines
        case _:
            return tag == _WINDOWS.get(interpreter.architecture)


def _fits_linux(tag: str, interpreter: Interpreter) -> bool:
    machine = _LINUX_MACHINES.get(interpreter.architecture, interpreter.architecture)
    if tag == f"linux_{machine}":
        return True
    found = re.fullmatch(rf"(manylinux(?:1|2010|2014|_2_(\d+)))_{re.escape(machine)}", tag)
    if found is None:
        return False
    least = int(found[2]) if found[2] else _LEGACY_MANYLINUX[found[1]]
    return (2, least) <= interpreter.libc
