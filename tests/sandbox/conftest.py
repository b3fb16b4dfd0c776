"""The prober, and what must hold after each test: the host is as it was, nothing runs on, the next task is fine."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]
else:
    from corpgrid.host.cgroup_detect import find_cgroups
    from corpgrid.host.cgroup_mounts import own_groups
    from corpgrid.host.sandbox_linux import LinuxSandbox
    from corpgrid.host.sandbox_python import runner_python
    from tests.contracts.sandbox import open_folder
    from tests.sandbox.probing import Prober

HOST_SETTINGS = ("kernel/core_pattern", "kernel/hostname", "kernel/sysrq", "user/max_user_namespaces")


@pytest.fixture(scope="session")
def linux_sandbox() -> LinuxSandbox:
    return LinuxSandbox()


@pytest.fixture
def folder() -> Iterator[Path]:
    yield from open_folder()


@pytest.fixture
async def prober(linux_sandbox: LinuxSandbox, folder: Path) -> AsyncIterator[Prober]:
    """Probes the real sandbox; afterwards nothing of the host has changed."""
    prober = Prober(linux_sandbox, runner_python(linux_sandbox.user).path, folder)
    before = _host()
    yield prober
    assert _host() == before
    assert (await prober.run("print('fine')")).out == b"fine\n"
    assert _groups_left() == []


def _host() -> dict[str, object]:
    """What a job that broke out would most likely have changed."""
    paths = [path for name in HOST_SETTINGS if (path := Path("/proc/sys", name)).exists()]
    settings: dict[str, object] = {str(path): path.read_text() for path in paths}
    settings |= {folder: sorted(os.listdir(folder)) for folder in ("/", "/usr", "/usr/bin", "/dev")}  # noqa: PTH208 - names are compared, not paths
    return settings | {"descriptors": len(os.listdir("/proc/self/fd"))}  # noqa: PTH208 - names are compared, not paths


def _groups_left() -> list[Path]:
    if find_cgroups() is None:
        return []
    own = own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    return [left for folder in own.values() for left in folder.glob(f"corpgrid.{os.getpid()}.*")]
