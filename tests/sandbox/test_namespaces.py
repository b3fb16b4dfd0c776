"""10, 11, 37: no new namespace, no mount, no way out of the root, no control group."""

from __future__ import annotations

import pytest

from tests.sandbox.probing import Prober, needs_x86_64, without_filter

NAMESPACES = """
flags = {'user': 0x10000000, 'mount': 0x20000, 'pid': 0x20000000, 'net': 0x40000000, 'ipc': 0x8000000,
         'uts': 0x4000000, 'cgroup': 0x2000000, 'time': 0x80}
for name, flag in flags.items(): call('unshare ' + name, 272, flag)
for name in ('user', 'pid', 'net'): call('clone ' + name, 56, flags[name] | signal.SIGCHLD, 0, 0, 0, 0)
call('clone user with thread bits', 56, flags['user'] | 0x100 | signal.SIGCHLD, 0, 0, 0, 0)
call('clone3', 435, ctypes.create_string_buffer(88), 0)
namespace = os.open('/proc/self/ns/user', os.O_RDONLY)
call('setns', 308, namespace, 0)
"""
MOUNTS = """
none, tmpfs, work = b'none', b'tmpfs', b'/work'
call('mount', 165, none, work, tmpfs, 0, 0)
call('bind', 165, b'/usr', work, 0, 4096, 0)
call('remount', 165, none, b'/', 0, 32, 0)
call('umount', 166, b'/usr', 2)
call('pivot_root', 155, work, work)
call('chroot', 161, work)
call('fsopen', 430, tmpfs, 0)
call('fsmount', 432, 0, 0, 0)
call('open_tree', 428, -100, b'/usr', 1)
call('open_tree_attr', 467, -100, b'/usr', 1, 0, 0)
call('move_mount', 429, -100, b'/usr', -100, work, 0)
call('mount_setattr', 442, -100, b'/', 0, 0, 0)
attempt('climb', lambda: '/etc' if os.path.exists('/..' * 40 + '/etc') else None)
attempt('fuse', lambda: os.open('/dev/fuse', os.O_RDWR))
"""
CGROUPS = """
attempt('cgroupfs', lambda: os.listdir('/sys/fs/cgroup'))
call('mount v1', 165, b'none', b'/work', b'cgroup', 0, b'memory')
call('mount v2', 165, b'none', b'/work', b'cgroup2', 0, 0)
attempt('release agent', lambda: open('/sys/fs/cgroup/release_agent', 'w').close())
"""


@needs_x86_64
async def test_no_namespace_can_be_made_or_entered(prober: Prober) -> None:
    found = await prober.probe(NAMESPACES)
    assert found.pop("clone3") == "ENOSYS"
    assert set(found.values()) == {"EPERM"}


@needs_x86_64
async def test_bubblewrap_refuses_user_namespaces_without_the_filter_too(
    prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(NAMESPACES)
    assert found["unshare user"] == "ENOSPC"  # none are left to be made: user.max_user_namespaces
    assert {found["unshare mount"], found["unshare net"]} == {"EPERM"}  # no capability to make them with
    assert found["clone3"] != "ENOSYS"


@needs_x86_64
async def test_nothing_can_be_mounted_and_the_root_is_not_left(prober: Prober) -> None:
    found = await prober.probe(MOUNTS)
    assert found.pop("climb") == "ok"
    assert found.pop("fuse") == "ENOENT"
    absent = {"fsopen", "fsmount", "open_tree", "open_tree_attr", "move_mount", "mount_setattr"}
    assert {found.pop(name) for name in absent} == {"ENOSYS"}
    assert set(found.values()) == {"EPERM"}


@needs_x86_64
async def test_the_filter_is_what_refuses_the_new_mount_calls(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(MOUNTS)
    assert found["fsopen"] == "EPERM"
    assert found["mount"] == "EPERM"


@needs_x86_64
async def test_control_groups_are_out_of_reach(prober: Prober) -> None:
    found = await prober.probe(CGROUPS)
    assert set(found.values()) <= {"ENOENT", "EPERM"}
