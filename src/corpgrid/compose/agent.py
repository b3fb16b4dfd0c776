"""An agent daemon: probes, sandbox, runners, session and the connection to its scheduler."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from corpgrid import __version__
from corpgrid.agent.bytecode import precompiler
from corpgrid.agent.engine_check import engine_faults
from corpgrid.agent.environment import Environments
from corpgrid.agent.host_watch import HostWatch
from corpgrid.agent.jobs import Jobs
from corpgrid.agent.removal import remove_tree
from corpgrid.agent.requests import Identity, Requests
from corpgrid.agent.runner_spec import RunnerPlace
from corpgrid.agent.runners import Interpreter, RunnerPool
from corpgrid.agent.runtime import lay_out
from corpgrid.agent.session import Session
from corpgrid.agent.slot import Slot, Storage
from corpgrid.agent.supervisor import Supervisor
from corpgrid.agent.wheel_tags import this_interpreter
from corpgrid.compose.adapters import choose_probes, choose_sandbox
from corpgrid.compose.process import spare_the_collector, transport_limits
from corpgrid.config import AgentConfig, Config
from corpgrid.domain.device import Facts
from corpgrid.errors import SandboxError, StoreError
from corpgrid.host.clock import SystemClock
from corpgrid.host.detect import Lent, MachineFacts
from corpgrid.host.gpu_nvml import NvmlGpus
from corpgrid.host.keyfiles import ensure_private_key, load_keyring
from corpgrid.host.sandbox_python import RunnerPython, runner_python
from corpgrid.host.sandbox_user import choose_job_user
from corpgrid.host.thermal_none import NoThermal
from corpgrid.ports.api import SchedulerApi
from corpgrid.ports.sandbox import Sandbox
from corpgrid.stores.lockfile import LockFile
from corpgrid.transport.address import parse_all
from corpgrid.transport.grpc_client import connect_scheduler
from corpgrid.trust.keys import Keyring, PrivateKey

log = logging.getLogger(__name__)

Wrap = Callable[[SchedulerApi, PrivateKey], SchedulerApi]
_SCRATCH = ("jobs", "runners", "staging")
_OPEN_FOLDER = 0o711
_READABLE_FOLDER = 0o755


async def run_agent(config: Config, *, stop: asyncio.Event, wrap: Wrap = lambda api, _: api) -> None:
    """Work until ``stop`` is set.

    Args:
        config: all settings.
        stop: ends it.
        wrap: puts something between the agent and its scheduler.

    Raises:
        SandboxError: the sandbox's self-test failed; nothing was run.
        StoreError: another agent works in its folder, or the folder cannot be written.
        TrustError: the key file cannot be used.
    """
    settings = config.agent
    lock = _locked(settings.folder)
    try:
        folders = _folders(settings.folder)
        try:
            await _run(config, folders, stop=stop, wrap=wrap)
        finally:
            for name in _SCRATCH:
                remove_tree(folders[name])
    finally:
        lock.release()


async def _run(config: Config, folders: dict[str, Path], *, stop: asyncio.Event, wrap: Wrap) -> None:
    settings = config.agent
    sandbox = choose_sandbox(settings.sandbox)
    await _require_gates(sandbox)
    key = ensure_private_key(settings.folder / "device.pem")
    api = wrap(
        connect_scheduler(parse_all(settings.address), limits=transport_limits(config), rng=random.Random()),  # noqa: S311 - jitter, no secret
        key,
    )
    spare_the_collector()
    try:
        supervisor = await _supervisor(config, folders, sandbox, key, api)
        stopping = asyncio.create_task(_stop_with(stop, supervisor))
        try:
            await supervisor.run()
        finally:
            stopping.cancel()
    finally:
        await api.close()


async def _stop_with(stop: asyncio.Event, supervisor: Supervisor) -> None:
    await stop.wait()
    supervisor.stop()


async def _require_gates(sandbox: Sandbox) -> None:
    """Fail closed: without a sandbox that holds, no jobs."""
    failed = [gate for gate in await sandbox.self_test() if not gate.passed]
    if failed:
        story = "; ".join(f"{gate.name}: {gate.detail}" for gate in failed)
        raise SandboxError(f"the {sandbox.name} sandbox does not hold ({story})", remedy=failed[0].remedy)


def _locked(root: Path) -> LockFile:
    """One agent a folder: two would delete each other's work."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            root.chmod(_OPEN_FOLDER)
    except OSError as error:
        raise _unwritable(root, error) from error
    return LockFile(
        root / "agent.lock",
        what=f"the agent's folder {root}",
        remedy="Stop the other agent, or give this one a folder of its own with agent.folder.",
    )


def _folders(root: Path) -> dict[str, Path]:
    """The agent's folders; the job user may walk through, and read what runners are shown."""
    folders = {name: root / name for name in (*_SCRATCH, "environments", "runtime")}
    try:
        for name in _SCRATCH:
            # What a killed agent left behind.
            remove_tree(folders[name])
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
            folder.chmod(_READABLE_FOLDER)
    except OSError as error:
        raise _unwritable(root, error) from error
    return folders


def _unwritable(root: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the agent's folder {root} cannot be used: {error.strerror or error}",
        remedy="Make room on its disk and let the agent write there, or name another with agent.folder.",
    )


async def _supervisor(
    config: Config, folders: dict[str, Path], sandbox: Sandbox, key: PrivateKey, api: SchedulerApi
) -> Supervisor:
    settings, clock = config.agent, SystemClock()
    python = runner_python(choose_job_user())
    probes = choose_probes(settings)
    runtime = await asyncio.to_thread(lay_out, folders["runtime"])
    engines = await _engines(sandbox, python, runtime, folders["runners"])
    facts = _facts(settings, python, sandbox, engines)
    slots = settings.capacity or facts().cpus
    session = Session(slots=slots, yield_grace_seconds=settings.yield_grace_seconds, rng=random.Random())  # noqa: S311 - jitter, no secret
    environments = Environments(
        folders["environments"],
        interpreter=this_interpreter(),
        cache_bytes=settings.cache_bytes,
        precompile=precompiler(sandbox, python.path, also=python.read_only) if settings.precompile else None,
    )
    await environments.sweep()
    jobs = Jobs(
        api=api,
        keyring=load_keyring(settings.trusted_keys) if settings.trusted_keys.is_dir() else Keyring(),
        environments=environments,
        clock=clock,
        folder=folders["jobs"],
        allow_network=settings.allow_network,
    )
    runners = RunnerPool(
        sandbox,
        jobs,
        Interpreter(path=python.path, read_only=python.read_only, runtime=runtime),
        folder=folders["runners"],
        spares=settings.spare_runners,
        memory_bytes=settings.memory_bytes,
    )
    storage = Storage(put=api.put_blob, put_file=api.put_blob_file, staging=folders["staging"])
    places = [
        Slot(number, session, runners, storage, idle_seconds=settings.runner_idle_seconds) for number in range(slots)
    ]
    identity = Identity(
        key=key,
        owner=settings.owner,
        site=settings.site,
        name=settings.name or facts().hostname,
        boot=secrets.token_hex(8),
        facts=facts,
    )
    watch = HostWatch(probes, settings.policy(), clock, folder=settings.folder, period_seconds=settings.probe_seconds)
    log.info("agent starts device=%s owner=%s slots=%d python=%s", identity.device, settings.owner, slots, python.minor)
    return Supervisor(
        session=session,
        requests=Requests(api, session, identity, clock),
        runners=runners,
        watch=watch,
        slots=places,
        clock=clock,
    )


async def _engines(sandbox: Sandbox, python: RunnerPython, runtime: Path, folder: Path) -> tuple[str, ...]:
    """The engines that work in this sandbox."""
    place = folder / "engine-check"
    for part in ("work", "job"):
        (place / part).mkdir(parents=True)
    for made in (place, place / "work", place / "job"):
        made.chmod(_READABLE_FOLDER)
    found = RunnerPlace(
        python=python.path, runtime=runtime, work=place / "work", job=place / "job", also=python.read_only
    )
    faults = await engine_faults(sandbox, found)
    await asyncio.to_thread(remove_tree, place)
    for engine, fault in faults.items():
        if fault:
            log.warning("engine does not work here engine=%s fault=%s", engine, fault)
    return tuple(engine for engine, fault in faults.items() if not fault)


def _facts(
    settings: AgentConfig, python: RunnerPython, sandbox: Sandbox, engines: tuple[str, ...]
) -> Callable[[], Facts]:
    lent = Lent(
        folder=settings.folder,
        cpus=settings.cpus,
        memory_bytes=settings.memory_bytes,
        disk_bytes=settings.disk_bytes,
    )
    return MachineFacts(
        lent=lent,
        python=python.minor,
        engines=engines,
        sandbox=sandbox.name,
        gpus=NvmlGpus(),
        # The watch tells how warm it is: a sensor that hangs is to stop the work, and not the agent.
        thermal=NoThermal(),
        agent_version=f"{__version__} {sys.implementation.cache_tag}",
        labels=settings.labels,
    ).facts
