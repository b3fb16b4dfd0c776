"""The sandboxes of this platform against the contract."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("bubblewrap is Linux's", allow_module_level=True)

from corpgrid.host.sandbox_linux import LinuxSandbox
from corpgrid.host.sandbox_python import runner_python
from tests.contracts.sandbox import SandboxContract

pytestmark = [pytest.mark.linux, pytest.mark.sandbox]


@pytest.fixture(scope="module", params=[True, False], ids=["cgroups", "bare"])
def sandbox(request: pytest.FixtureRequest) -> LinuxSandbox:
    """With control groups where this machine has them, and with none."""
    sandbox = LinuxSandbox(use_cgroups=request.param)
    if request.param and sandbox.cgroups is None:
        pytest.skip("no control group can be written here")
    return sandbox


@pytest.fixture(scope="module")
def command(sandbox: LinuxSandbox) -> tuple[str, ...]:
    return (runner_python(sandbox.user).path, "-I", "-S", "-c")


class TestLinuxSandbox(SandboxContract):
    """Bubblewrap."""
