"""A grid, as a program holds it.

with corpgrid.connect() as grid:                  # a grid of this machine, for this program
    job = grid.map(evaluate, settings, verify="audit")
    for score in job:
        ...

with corpgrid.connect("unix:/run/corpgrid/grid.sock") as grid:
    ...
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from corpgrid.config import ClientConfig
from corpgrid.domain import job as rows
from corpgrid.domain.answers import Explanation, GridInfo
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Isolation, Limits, Requirements, TaskState, VerifyMode, VerifyPolicy
from corpgrid.errors import UsageError
from corpgrid.host.clock import SystemClock
from corpgrid.host.keyfiles import read_private_key
from corpgrid.ports import GridApi
from corpgrid.sdk.background import BackgroundLoop
from corpgrid.sdk.embedded import EmbeddedGrid
from corpgrid.sdk.executor import GridExecutor
from corpgrid.sdk.items import encode_items
from corpgrid.sdk.job import Job
from corpgrid.sdk.jobfile import JobFile, read_job_file
from corpgrid.sdk.packaging import Package, pack_function, pack_job_file
from corpgrid.sdk.sending import Request, Sender
from corpgrid.transport.address import parse
from corpgrid.transport.grpc_client import connect_grid
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.keys import PrivateKey

T = TypeVar("T")


def connect(
    address: str | None = None,
    *,
    key: PrivateKey | Path | None = None,
    config: ClientConfig | None = None,
    agents: int = 1,
) -> Grid:
    """Open a grid.

    Args:
        address: ``unix:PATH`` or ``HOST:PORT`` of a scheduler; None starts a grid on this machine that ends with this
        one. key: the submitter's key or its file; None takes the configured one, or the embedded grid's own.
        config: client settings; None for the defaults.
        agents: (embedded) how many agents to start.

    Raises:
        UnavailableError: nobody answers there, or the embedded grid did not start.
        TrustError: the key file cannot be used.
    """
    settings = config or ClientConfig()
    if address is not None:
        return Grid(address, _private_key(key or settings.key_file), config=settings)
    embedded = EmbeddedGrid(agents=agents)
    try:
        return Grid(embedded.ready.address, _private_key(key or embedded.ready.key), config=settings, embedded=embedded)
    except BaseException:
        embedded.close()
        raise


def _private_key(key: PrivateKey | Path) -> PrivateKey:
    return key if isinstance(key, PrivateKey) else read_private_key(key)


class Grid:
    """A connection to a grid.  Made by ``connect``; close it, or use it in a ``with`` statement."""

    def __init__(
        self, address: str, key: PrivateKey, *, config: ClientConfig, embedded: EmbeddedGrid | None = None
    ) -> None:
        self.address = address
        self._key = key
        self._config = config
        self._embedded = embedded
        self._loop = BackgroundLoop()
        self._packages: dict[object, Package] = {}
        self._spread: dict[Callable[..., Any], Callable[[Sequence[Any]], Any]] = {}
        self.api: GridApi = self._loop.run(_open(address, config))
        self._sender = Sender(self.api, key, SystemClock())

    def __enter__(self) -> Self:
        """The grid itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the connection, and end an embedded grid."""
        try:
            self.call(self.api.close())
        finally:
            self._loop.close()
            if self._embedded is not None:
                self._embedded.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one asynchronous call of ``api`` to its end."""
        return self._loop.run(work)

    # -- work

    def map(
        self,
        function: Callable[[Any], T],
        items: Iterable[Any],
        *,
        name: str = "",
        packages: Path | Sequence[str] | None = None,
        inputs: Mapping[str, Path] | None = None,
        verify: VerifyPolicy | VerifyMode | str = VerifyMode.AUDIT,
        requirements: Requirements | None = None,
        limits: Limits | None = None,
        isolation: Isolation | str = Isolation.JOB,
        priority: int = 50,
    ) -> Job[T]:
        """Call a function once for each item, on the grid's devices.

        Args:
            function: any Python function of one argument; it and what it refers to travel in a signed bundle.
            items: arguments; data (numbers, texts, lists, dicts, NumPy arrays) or anything that can be pickled.
            name: for people; the function's name if empty.
            packages: what the function imports: a locked requirements file, or names such as ``numpy``.
            inputs: files that every task finds under ``/in`` by these names.
            verify: how results come to be believed: a policy, or a mode's name.
            requirements: what a device must have.
            limits: what one task may take.
            isolation: ``job`` (one warm runner for many tasks) or ``task`` (a fresh one for each).
            priority: 0 to 100; higher goes first.

        Returns:
            The job; iterate over it for the results, in order.

        Raises:
            UsageError: the function, an item or a limit cannot be.
            GridError: the grid refused it.
        """
        request = Request(
            name=name or getattr(function, "__name__", "function"),
            inputs=inputs or {},
            verify=as_policy(verify),
            requirements=requirements or Requirements(),
            limits=limits or Limits(),
            isolation=Isolation(isolation),
            priority=priority,
        )
        package = self._pack(function, packages)
        return self._submit(package, list(encode_items(items)), request)

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Any) -> Job[T]:
        """One call of a function as a job of one task; ``options`` are those of ``map``."""
        options.setdefault("name", getattr(function, "__name__", ""))
        spread = self._spread.setdefault(function, _spread(function))
        return self.map(spread, [args], **options)

    def executor(self, **options: Any) -> GridExecutor:
        """A ``concurrent.futures.Executor`` on this grid; ``options`` are those of ``map``."""
        return GridExecutor(self, options)

    def submit_file(self, path: Path) -> Job[Any]:
        """Submit a job file.

        Raises:
            JobFileError: a field is wrong.
            GridError: the grid refused it.
        """
        return self.submit_job_file(read_job_file(path))

    def submit_job_file(self, file: JobFile) -> Job[Any]:
        """Submit a job file that was read before."""
        package = pack_job_file(file, cache=self._config.cache_folder, key=self._key)
        request = Request(
            name=file.name,
            inputs=file.inputs,
            verify=file.verify,
            requirements=file.requirements,
            limits=file.limits,
            isolation=file.isolation,
            priority=file.priority,
            tenant=file.tenant,
            expires_seconds=file.expires_seconds,
        )
        return self._submit(package, list(encode_items(file.items)), request)

    def job(self, job: str) -> Job[Any]:
        """A job that was submitted before.

        Raises:
            NotFoundError: there is none.
        """
        row = self.call(self.api.job(JobId(job)))
        return Job(self, row.id)

    def jobs(self, *, limit: int = 100) -> Sequence[rows.Job]:
        """The newest jobs."""
        return self.call(self.api.jobs(limit=limit))

    def tasks(self, job: str, *, states: Sequence[TaskState] = (), limit: int = 1_000) -> Sequence[rows.Task]:
        """Tasks of a job, by index; only those in these states, if any are named."""
        return self.call(self.api.tasks(JobId(job), states=states, limit=limit))

    # -- devices

    def devices(self) -> Sequence[Device]:
        """All devices, by id."""
        return self.call(self.api.devices())

    def device(self, device: str) -> Device:
        """One device."""
        return self.call(self.api.device(DeviceId(device)))

    def set_device(self, device: str, state: DeviceState, reason: str = "") -> Device:
        """Pause, resume, drain, quarantine or revoke a device."""
        return self.call(self.api.set_device(DeviceId(device), state, reason=reason))

    def why_device(self, device: str) -> Explanation:
        """Why a device has no work."""
        return self.call(self.api.explain_device(DeviceId(device)))

    def info(self) -> GridInfo:
        """The scheduler that answers here."""
        return self.call(self.api.info())

    # -- inside

    def _pack(self, function: Callable[..., Any], packages: Path | Sequence[str] | None) -> Package:
        """Pack the same function once; what it refers to is taken as it is at the first time."""
        mark = (function, packages if packages is None or isinstance(packages, Path) else tuple(packages))
        found = self._packages.get(mark)
        if found is None:
            found = pack_function(function, packages=packages, cache=self._config.cache_folder, key=self._key)
            self._packages[mark] = found
        return found

    def _submit(self, package: Package, items: list[bytes], request: Request) -> Job[Any]:
        if not items:
            raise UsageError("a job needs at least one item", remedy="Give at least one item.")
        row = self.call(self._sender.send(package, items, request))
        return Job(self, row.id)


async def _open(address: str, config: ClientConfig) -> GridApi:
    """A connection that answers, or the error that says why not."""
    limits = TransportLimits(call_seconds=config.timeout_seconds)
    api = connect_grid(parse(address), limits=limits, rng=random.Random())
    try:
        await api.info()
    except BaseException:
        await api.close()
        raise
    return api


def as_policy(verify: VerifyPolicy | VerifyMode | str) -> VerifyPolicy:
    """A policy from a policy, a mode, or a mode's name."""
    if isinstance(verify, VerifyPolicy):
        return verify
    try:
        return VerifyPolicy(mode=VerifyMode(verify))
    except ValueError:
        modes = ", ".join(VerifyMode)
        raise UsageError(f"there is no verify mode {verify!r}", remedy=f"The modes are {modes}.") from None


def _spread(function: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    # A nested function travels by value, so that a device needs nothing of this module.
    def spread(args: Sequence[Any]) -> Any:
        return function(*args)

    return spread
