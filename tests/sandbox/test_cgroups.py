"""Where control groups are found, what is written to them, and that they are gone afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.errors import SandboxError
from corpgrid.host import cgroup, cgroup_v1, cgroup_v2
from corpgrid.host.cgroup import CgroupLimits, is_stale, new_name
from corpgrid.host.cgroup_detect import find_cgroups
from corpgrid.host.cgroup_mounts import own_groups
from corpgrid.host.cgroup_v1 import CgroupsV1
from corpgrid.host.cgroup_v2 import CgroupsV2

LIMITS = CgroupLimits(memory_bytes=1 << 30, tasks=9)

V1_MOUNTS = """\
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
35 30 0:31 / /sys/fs/cgroup/with\\040blank rw - cgroup cgroup rw,freezer
36 22 0:32 / /proc rw - proc proc rw
"""
V1_MEMBERSHIP = """\
9:memory:/system.slice/agent.service
8:cpu,cpuacct:/
7:pids:/docker/abc/inner
6:freezer:/
5:blkio:/nowhere
0::/user.slice
"""
V2_MOUNTS = "30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_own_groups_of_version_1_are_found_by_controller() -> None:
    assert own_groups(V1_MOUNTS, V1_MEMBERSHIP) == {
        "memory": Path("/sys/fs/cgroup/memory/system.slice/agent.service"),
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "pids": Path("/sys/fs/cgroup/pids/inner"),
        "freezer": Path("/sys/fs/cgroup/with blank"),
        "unified": Path("/sys/fs/cgroup/unified/user.slice"),
    }


def test_the_own_group_of_version_2_is_found() -> None:
    found = own_groups(V2_MOUNTS, "0::/user.slice/user-1000.slice/agent.scope\n")
    assert found == {"unified": Path("/sys/fs/cgroup/user.slice/user-1000.slice/agent.scope")}


def test_no_cgroups_without_proc(tmp_path: Path) -> None:
    assert find_cgroups(tmp_path) is None


def test_a_name_is_stale_once_its_process_is_gone() -> None:
    assert not is_stale(new_name())
    child = subprocess.Popen(["/usr/bin/true"])
    child.wait()
    assert is_stale(f"corpgrid.{child.pid}.1.1")
    assert is_stale(f"corpgrid.{os.getpid()}.1.1")  # the number came again, the start did not
    assert not is_stale("corpgrid.not.a.group")
    assert not is_stale("user.slice")


# -- version 2, over a folder that stands in for the file system: the files are written, the kernel does nothing -------


@pytest.fixture
def delegated(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    (tmp_path / "cgroup.subtree_control").write_text("")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    return tmp_path


def test_the_agent_moves_into_a_leaf_and_shares_its_controllers_out(delegated: Path) -> None:
    groups = CgroupsV2(delegated)
    assert (delegated / "corpgrid-agent" / "cgroup.procs").read_text() == str(os.getpid())
    assert (delegated / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert groups.accounts_memory
    assert groups.counts_tasks


def test_an_agent_that_is_not_alone_leaves_its_group_as_it_is(delegated: Path) -> None:
    (delegated / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    with pytest.raises(SandboxError, match="shares its control group") as caught:
        CgroupsV2(delegated)
    assert "Delegate=yes" in caught.value.remedy
    assert not (delegated / "corpgrid-agent").exists()


def test_a_group_of_version_2_has_its_limits(delegated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = CgroupsV2(delegated).create(LIMITS)
    folder = next(delegated.glob("corpgrid.*"))
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written == {"memory.max": "1073741824", "memory.swap.max": "0", "pids.max": "9", "cpu.weight": "25"}
    group.add(4242)
    assert (folder / "cgroup.procs").read_text() == "4242"
    monkeypatch.setattr(cgroup, "REMOVE_SECONDS", 0.01)
    group.remove()  # plain files keep the stand-in's folder; what matters is that it gives up in time


@pytest.mark.parametrize(("events", "expected"), [("low 0\noom 2\noom_kill 1\n", True), ("oom 2\noom_kill 0\n", False)])
def test_version_2_tells_of_memory(delegated: Path, events: str, expected: bool) -> None:  # noqa: FBT001 - pytest passes it
    group = CgroupsV2(delegated).create(LIMITS)
    assert not group.out_of_memory()
    (next(delegated.glob("corpgrid.*")) / "memory.events").write_text(events)
    assert group.out_of_memory() is expected


def test_version_2_is_held_while_the_block_runs_and_let_go_after(delegated: Path) -> None:
    group = CgroupsV2(delegated).create(LIMITS)
    folder = next(delegated.glob("corpgrid.*"))
    (folder / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    with group.frozen(seconds=0.1) as held:
        assert held
        assert (folder / "cgroup.freeze").read_text() == "1"
    assert (folder / "cgroup.freeze").read_text() == "0"
    (folder / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with group.frozen(seconds=0.01) as held:
        assert not held


# -- the real thing, where this machine lets one ----------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[cgroup.Cgroup]:
    groups = find_cgroups()
    if groups is None:
        pytest.skip("no control group can be written here")
    group = groups.create(LIMITS)
    yield group
    group.remove()


def test_a_member_is_held_and_let_go(group: cgroup.Cgroup) -> None:
    child = subprocess.Popen(["/usr/bin/sleep", "60"])
    try:
        group.add(child.pid)
        with group.frozen(seconds=1.0) as held:
            assert held
    finally:
        child.kill()
        child.wait()
    assert not group.out_of_memory()


def test_a_group_that_is_removed_is_gone() -> None:
    groups = find_cgroups()
    if not isinstance(groups, CgroupsV1):
        pytest.skip("no control group of version 1 can be written here")
    group = groups.create(LIMITS)
    folders = [folder for parent in groups._own.values() for folder in parent.glob(f"corpgrid.{os.getpid()}.*")]
    assert len(folders) == len(groups._own)
    group.remove()
    assert not any(folder.exists() for folder in folders)


def test_a_group_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = find_cgroups()
    if not isinstance(groups, CgroupsV1) or "memory" not in groups._own:
        pytest.skip("no control group of version 1 can be written here")
    with pytest.raises(SandboxError, match="did not take"):
        groups.create(CgroupLimits(memory_bytes=-7, tasks=9))
    assert not [left for parent in groups._own.values() for left in parent.glob(f"corpgrid.{os.getpid()}.*")]


def test_versions_share_the_share_of_the_processor() -> None:
    assert cgroup_v1.CPU_SHARES * 4 == 1024
    assert cgroup_v2.CPU_WEIGHT * 4 == 100


def test_a_real_group_of_version_2_freezes() -> None:
    mounts = own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    own = mounts.get("unified")
    if own is None or not os.access(own, os.W_OK):
        pytest.skip("no control group of version 2 can be written here")
    folder = own / cgroup.new_name()
    folder.mkdir()
    child = subprocess.Popen(["/usr/bin/sleep", "60"])
    group = cgroup_v2.CgroupV2(folder)
    try:
        group.add(child.pid)
        with group.frozen(seconds=1.0) as held:
            assert held
            assert (folder / "cgroup.freeze").read_text() == "1\n"
    finally:
        child.kill()
        child.wait()
        group.remove()
    assert not folder.exists()
