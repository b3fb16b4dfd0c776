"""A weaker sandbox of Linux, by firejail: chosen by a person who names it, never by the program.

It is for hosts where bubblewrap cannot be had.  What it does not promise, and bubblewrap does:

* the host's system folders are seen as far as the user may read them (the home folder, ``/etc``, ``/tmp``, ``/sys`` and
  ``/boot`` are not);
* folders are seen at their own paths, so a specification must show each at the path it has on the host, and the work
  folder is the home folder inside; there is no ``/work`` and no ``/job``;
* it serves ordinary users: a root agent could not drop to a job user that is in no database;
* there are no control groups: memory and processes are watched; a GPU cannot be granted;
* a job is not tied to the agent's life: what runs when the agent is killed goes on until it ends by itself.

Its self-test probes the gates that it does promise, and fails closed on those.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_argv import WAIT_FOR_GO
from corpgrid.host.sandbox_held import GO, LOG_BYTES, LOOK_SECONDS, OUTPUT_BYTES, SETUP_SECONDS
from corpgrid.host.sandbox_limits import apply_resource_limits, resource_limits
from corpgrid.host.sandbox_pipes import PipeReader, PipeWriter, pipe
from corpgrid.host.sandbox_process import LinuxProcess, Parts
from corpgrid.host.sandbox_selftest import REMEDIES, probe_gates
from corpgrid.host.sandbox_tree import ProcessTree, children, open_tree
from corpgrid.host.sandbox_watch import Watch
from corpgrid.ports.sandbox import Gate, SandboxSpec

PROMISED = frozenset(REMEDIES) - {"host_files", "writes", "environment", "job_user"}
MORE_REFUSED = ("io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "keyctl")
FLAGS = (
    *("--quiet", "--noprofile", "--caps.drop=all", "--nonewprivs", "--nogroups", "--restrict-namespaces"),
    f"--seccomp={','.join(MORE_REFUSED)}",
    *("--private-dev", "--private-tmp", "--private-etc=none", "--disable-mnt", "--blacklist=/boot", "--blacklist=/sys"),
)


def firejail_argv(spec: SandboxSpec, firejail: Path) -> list[str]:
    """Firejail's whole command line for ``spec``.

    Raises:
        SandboxError: it asks for what firejail cannot do.
    """
    for source, inside in spec.read_only.items():
        if str(source) != inside:
            raise SandboxError(
                f"firejail cannot show {source} at {inside}", remedy="Use bubblewrap, or show it at its own path."
            )
    if spec.gpus:
        raise SandboxError("firejail cannot be granted a GPU here", remedy="Use bubblewrap.")
    return [
        str(firejail),
        *FLAGS,
        *(() if spec.network else ("--net=none", "--protocol=unix")),
        f"--private={spec.work}",
        *(f"--read-only={inside}" for inside in spec.read_only.values()),
        "--",
        *WAIT_FOR_GO,
        *spec.argv,
    ]


class FirejailSandbox:
    """A `Sandbox` that promises less.

    Args:
        firejail: the program; None to look for it.

    Raises:
        SandboxError: it is not installed, or this process is root.
    """

    name = "firejail"

    def __init__(self, firejail: Path | None = None) -> None:
        if os.geteuid() == 0:
            raise SandboxError("firejail cannot drop root to a job user", remedy="Run the agent as an ordinary user.")
        found = firejail or shutil.which("firejail")
        if found is None:
            raise SandboxError("firejail is not installed", remedy="Install it: apt install firejail.")
        self._firejail = Path(found)

    async def self_test(self) -> list[Gate]:
        """The gates that firejail promises."""
        return await probe_gates(self, None, promised=PROMISED)

    async def start(self, spec: SandboxSpec) -> LinuxProcess:
        """Start a command.

        Raises:
            SandboxError: firejail cannot do what is asked, or cannot be started.
        """
        argv = firejail_argv(spec, self._firejail)
        with ExitStack() as undo:
            outer, stdin, stdout, log = _spawn(argv, spec)
            undo.callback(outer.wait)
            undo.callback(outer.kill)
            for end in (stdin, stdout, log):
                undo.callback(end.finish)
            tree = await _world(outer, log)
            undo.callback(tree.close)
            chosen = resource_limits(spec.limits, gpus=False, memory_accounted=False, counts_per_namespace=False)
            apply_resource_limits(tree.pid, chosen, None)
            parts = Parts(
                outer=outer,
                outer_handle=os.pidfd_open(outer.pid),
                tree=tree,
                status=None,
                stdin=stdin,
                stdout=stdout,
                log=log,
                watch=Watch(tree, spec.work, spec.limits, memory=True, tasks=True),
                cgroup=None,
            )
            undo.pop_all()
        await stdin.write(GO)
        return LinuxProcess(parts)


def _spawn(argv: list[str], spec: SandboxSpec) -> tuple[subprocess.Popen[bytes], PipeWriter, PipeReader, PipeReader]:
    home = pwd.getpwuid(os.geteuid()).pw_dir
    stdin_read, stdin = pipe(size_bytes=OUTPUT_BYTES, owner=None)
    stdout, stdout_write = pipe(size_bytes=OUTPUT_BYTES, owner=None)
    log, log_write = pipe(size_bytes=LOG_BYTES, owner=None)
    ends = PipeWriter(stdin), PipeReader(stdout, chunk_bytes=OUTPUT_BYTES), PipeReader(log, chunk_bytes=LOG_BYTES)
    try:
        outer = subprocess.Popen(
            argv,
            stdin=stdin_read,
            stdout=stdout_write,
            stderr=log_write,
            env={**spec.env, "HOME": home},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        for end in ends:
            end.finish()
        raise SandboxError(f"firejail cannot be started: {error}") from error
    finally:
        for descriptor in (stdin_read, stdout_write, log_write):
            os.close(descriptor)
    return outer, *ends


async def _world(outer: subprocess.Popen[bytes], log: PipeReader) -> ProcessTree:
    """The processes below firejail's first one, once its command waits in it."""
    deadline = time.monotonic() + SETUP_SECONDS
    while time.monotonic() < deadline and outer.poll() is None:
        tree = _look(outer.pid)
        if tree is not None:
            return tree
        await asyncio.sleep(LOOK_SECONDS)
    outer.kill()
    outer.wait()
    log.finish()
    complaint = log.rest().decode("utf-8", "replace").strip() or "it did not come up"
    raise SandboxError(f"firejail cannot set the sandbox up: {complaint}")


def _look(outer: int) -> ProcessTree | None:
    # Firejail's own processes cannot be looked into (they were setuid); the command below them can.
    for first in children(outer):
        for command in children(first):
            handle = -1
            try:
                handle = os.pidfd_open(first)
                tree = open_tree(command, handle)
            except (OSError, ProcessLookupError):
                tree = None
            if tree is not None:
                return tree
            if handle >= 0:
                os.close(handle)
    return None
