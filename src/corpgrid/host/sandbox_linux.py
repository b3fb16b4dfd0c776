"""The Linux sandbox: bubblewrap's namespaces, a system call filter, limits, and a user that owns nothing.

How a sandbox starts, so that no code of a job runs before everything is in place:

1. bubblewrap is started as the sandbox's user, with nothing of the agent's environment and no descriptor but its own;
2. it builds the job's world, then waits for its system call filter, which the agent holds back;
3. the agent sees the world built, moves its first process into a control group and sets its limits;
4. the filter is sent, and the command let go once the sandbox is tied to the agent's life.

The sandbox ends with the *thread* that started it (``PR_SET_PDEATHSIG``): start sandboxes from the thread of an event
loop that lives as long as they do.

    sandbox = LinuxSandbox()
    process = await sandbox.start(spec)
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path

from corpgrid.errors import SandboxError
from corpgrid.host.cgroup import Cgroup, CgroupLimits, Cgroups
from corpgrid.host.cgroup_detect import find_cgroups
from corpgrid.host.sandbox_argv import Plumbing, bwrap_argv
from corpgrid.host.sandbox_bwrap import find_bwrap
from corpgrid.host.sandbox_held import spawn
from corpgrid.host.sandbox_limits import (
    FIRST_PROCESS,
    apply_resource_limits,
    counts_processes_per_namespace,
    resource_limits,
)
from corpgrid.host.sandbox_orphans import end_orphans
from corpgrid.host.sandbox_process import LinuxProcess, Parts
from corpgrid.host.sandbox_selftest import probe_gates
from corpgrid.host.sandbox_tree import ProcessTree
from corpgrid.host.sandbox_user import JobUser, choose_job_user, require_readable
from corpgrid.host.sandbox_watch import Watch
from corpgrid.host.seccomp import filter_program
from corpgrid.ports.sandbox import Gate, SandboxSpec

OOM_SCORE_ADJ = "1000"
"""Where the whole machine runs out of memory, a job goes first, never a program of the owner."""


class LinuxSandbox:
    """The `Sandbox` of Linux.

    Args:
        job_user: to whom a root agent drops; None for the default number.  An ordinary user's sandboxes are its own.
        bwrap: the bubblewrap program; None to look for it.
        use_cgroups: whether to use control groups where they can be had.
        driver_folders: host folders outside ``/usr`` that hold a GPU driver's libraries.
        scratch: a folder that the job user can reach, for the self-test; None for the system's temporary one.

    Raises:
        SandboxError: there is no bubblewrap, or the job user cannot be one.
    """

    name = "bubblewrap"

    def __init__(
        self,
        *,
        job_user: JobUser | None = None,
        bwrap: Path | None = None,
        use_cgroups: bool = True,
        driver_folders: tuple[Path, ...] = (),
        scratch: Path | None = None,
    ) -> None:
        self.user = choose_job_user(job_user)
        self._bwrap = bwrap or find_bwrap(self.user)
        self._driver_folders = driver_folders
        self._scratch = scratch
        self.cgroups: Cgroups | None = find_cgroups() if use_cgroups else None
        end_orphans()
        if self.cgroups is not None:
            self.cgroups.sweep()
        self._memory_accounted = self.cgroups is not None and self.cgroups.accounts_memory
        self._tasks_counted = self.cgroups is not None and self.cgroups.counts_tasks

    async def self_test(self) -> list[Gate]:
        """Canary probes through the real sandbox; the agent takes no jobs unless all pass."""
        return await probe_gates(self, self.user, self._scratch)

    async def start(self, spec: SandboxSpec) -> LinuxProcess:
        """Start a command.

        Raises:
            SandboxError: a folder cannot be shown, or the host does not let the sandbox be built.
        """
        self._check(spec)
        program = filter_program(network=spec.network, memory_accounted=self._memory_accounted)
        with ExitStack() as undo:
            held = spawn(lambda seccomp, status: bwrap_argv(spec, self._plumbing(seccomp, status)), self.user)
            undo.callback(held.abandon)
            tree = await held.world()
            undo.callback(tree.close)
            cgroup = self._confine(tree, spec, undo)
            parts = Parts(
                outer=held.outer,
                outer_handle=os.pidfd_open(held.outer.pid),
                tree=tree,
                status=held.status,
                stdin=held.stdin,
                stdout=held.stdout,
                log=held.log,
                watch=self._watch(tree, spec),
                cgroup=cgroup,
            )
            undo.callback(os.close, parts.outer_handle)
            await held.release(program, tree)
            undo.pop_all()
        return LinuxProcess(parts)

    def _plumbing(self, seccomp: int, status: int) -> Plumbing:
        return Plumbing(bwrap=self._bwrap, seccomp=seccomp, status=status, driver_folders=self._driver_folders)

    def _check(self, spec: SandboxSpec) -> None:
        """Whether everything that ``spec`` names can be shown; the work folder is given to the job user."""
        if not spec.argv:
            raise SandboxError("the sandbox was given no command")
        for source, inside in spec.read_only.items():
            require_readable(source, self.user, what=f"what a job sees at {inside},")
        if self.user is not None:
            try:
                os.chown(spec.work, *self.user)
            except OSError as error:
                raise SandboxError(f"the work folder cannot be given to the job user: {error}") from error
        require_readable(spec.work, self.user, what="the work folder")

    def _confine(self, tree: ProcessTree, spec: SandboxSpec, undo: ExitStack) -> Cgroup | None:
        """Set every limit on the sandbox's first process, from which all others inherit them."""
        cgroup = None
        if self.cgroups is not None:
            limits = CgroupLimits(spec.limits.memory_bytes, spec.limits.processes + FIRST_PROCESS)
            cgroup = self.cgroups.create(limits)
            undo.callback(cgroup.remove)
            undo.callback(tree.kill)
            cgroup.add(tree.pid)
        chosen = resource_limits(
            spec.limits,
            gpus=bool(spec.gpus),
            memory_accounted=self._memory_accounted,
            counts_per_namespace=counts_processes_per_namespace(),
        )
        apply_resource_limits(tree.pid, chosen, self.user)
        with suppress(OSError):
            Path(f"/proc/{tree.pid}/oom_score_adj").write_text(OOM_SCORE_ADJ)
        return cgroup

    def _watch(self, tree: ProcessTree, spec: SandboxSpec) -> Watch:
        return Watch(
            tree,
            spec.work,
            spec.limits,
            memory=not self._memory_accounted,
            tasks=not self._tasks_counted and not counts_processes_per_namespace(),
        )
