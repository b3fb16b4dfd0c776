"""Which control groups this agent can use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from corpgrid.errors import SandboxError
from corpgrid.host.cgroup import Cgroups
from corpgrid.host.cgroup_mounts import own_groups
from corpgrid.host.cgroup_v1 import CONTROLLERS, CgroupsV1
from corpgrid.host.cgroup_v2 import AGENT_LEAF, CgroupsV2

SELF = Path("/proc/self")


def find_cgroups(proc: Path = SELF) -> Cgroups | None:
    """Version 2 if memory is delegated to this process, else what of version 1 can be written, else None."""
    try:
        own = own_groups((proc / "mountinfo").read_text(), (proc / "cgroup").read_text())
    except OSError:
        return None
    return _version_2(own.get("unified")) or _version_1(own)


def _version_2(own: Path | None) -> Cgroups | None:
    if own is None:
        return None
    parent = own.parent if own.name == AGENT_LEAF else own
    if not os.access(parent / "cgroup.procs", os.W_OK) or not os.access(parent, os.W_OK):
        return None
    try:
        groups = CgroupsV2(parent)
    except (SandboxError, OSError):
        return None
    return groups if groups.accounts_memory else None


def _version_1(own: Mapping[str, Path]) -> Cgroups | None:
    usable = {name: own[name] for name in CONTROLLERS if name in own and os.access(own[name], os.W_OK)}
    return CgroupsV1(usable) if usable else None
