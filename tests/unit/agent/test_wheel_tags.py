"""Which wheels fit which interpreter; compared with the reference where that is installed."""

from __future__ import annotations

from itertools import product

import pytest

from corpgrid.agent.wheel_tags import Interpreter, this_interpreter, wheel_fault

LINUX = Interpreter(minor=11, system="linux", architecture="x86_64", libc=(2, 36))
MAC = Interpreter(minor=12, system="macos", architecture="arm64", libc=(14, 2))
WINDOWS = Interpreter(minor=13, system="windows", architecture="x86_64")


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        ("py3-none-any", [LINUX, MAC, WINDOWS]),
        ("py2.py3-none-any", [LINUX, MAC, WINDOWS]),
        ("py39-none-any", [LINUX, MAC, WINDOWS]),
        ("py312-none-any", [MAC, WINDOWS]),
        ("py2-none-any", []),
        ("cp311-none-any", [LINUX]),
        ("cp311-cp311-linux_x86_64", [LINUX]),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", [LINUX]),
        ("cp311-cp311-manylinux_2_39_x86_64", []),
        ("cp311-cp311-manylinux_2_36_x86_64", [LINUX]),
        ("cp311-cp311-manylinux1_x86_64", [LINUX]),
        ("cp311-cp311-manylinux_2_17_aarch64", []),
        ("cp311-cp311-musllinux_1_2_x86_64", []),
        ("cp312-cp312-manylinux_2_17_x86_64", []),
        ("cp38-abi3-manylinux_2_17_x86_64", [LINUX]),
        ("cp312-abi3-manylinux_2_17_x86_64", []),
        ("cp310-cp310-manylinux_2_17_x86_64", []),
        ("cp311-cp311t-manylinux_2_17_x86_64", []),
        ("pp311-pypy311_pp73-manylinux_2_17_x86_64", []),
        ("cp312-cp312-macosx_11_0_arm64", [MAC]),
        ("cp312-cp312-macosx_10_13_universal2", [MAC]),
        ("cp312-cp312-macosx_15_0_arm64", []),
        ("cp312-cp312-macosx_11_0_x86_64", []),
        ("cp313-cp313-win_amd64", [WINDOWS]),
        ("cp313-cp313-win_arm64", []),
        ("cp310.cp311.cp312-abi3-manylinux_2_28_x86_64.macosx_11_0_arm64", [LINUX, MAC]),
    ],
)
def test_tags(tags: str, fits: list[Interpreter]):
    name = f"some_package-1.0-{tags}.whl"
    assert [each for each in (LINUX, MAC, WINDOWS) if wheel_fault(name, each) == ""] == fits


@pytest.mark.parametrize(
    "name",
    [
        "",
        "numpy",
        "numpy.whl",
        "numpy-1.0.whl",
        "../x-1.0-py3-none-any.whl",
        "x-1.0-py3-none-any.whl\n",
        "x-1.0-py3-none-any.zip",
    ],
)
def test_names_that_are_no_wheels(name: str):
    assert wheel_fault(name, LINUX) == "its name is not a wheel's"


@pytest.mark.parametrize(
    "name", ["x-1.0-1-py3-none-any.whl", "x-1.0+local.1-py3-none-any.whl", "A.b_c-1!2.0rc1-py3-none-any.whl"]
)
def test_names_that_are(name: str):
    assert wheel_fault(name, LINUX) == ""


def test_a_fault_names_wheel_and_device():
    fault = wheel_fault("numpy-2.0-cp312-cp312-macosx_14_0_arm64.whl", LINUX)
    assert fault == (
        "it is for cp312-cp312-macosx_14_0_arm64, and this device runs CPython 3.11 on linux x86_64 with glibc 2.36"
    )


def test_this_interpreter_agrees_with_the_reference():
    tags = pytest.importorskip("packaging.tags")
    here = this_interpreter()
    supported = {str(tag) for tag in tags.sys_tags()}
    for tag in list(supported)[:400]:
        assert wheel_fault(f"x-1.0-{tag}.whl", here) == "", tag
    platforms = ("win_amd64", "manylinux_2_17_x86_64", "manylinux_2_99_x86_64", "macosx_11_0_arm64", "linux_riscv64")
    combinations = product(("cp311", "cp399", "py3", "py2", "pp311"), ("none", "abi3", "cp311"), platforms)
    for tag in map("-".join, combinations):
        assert (wheel_fault(f"x-1.0-{tag}.whl", here) == "") == (tag in supported), tag
