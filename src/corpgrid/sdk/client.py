"""A grid, as a program holds it.

with corpgrid.connect() as grid:                  # a grid of this machine, for this program
    job = grid.map(evaluate, settings, verify="audit")
    for score in job:
        ...

with corpgrid.connect("unix:/run/corpgrid/grid.sock") as grid:
    ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from weakref import WeakSet

from corpgrid.config import ClientConfig, load_config
from corpgrid.domain import job as rows
from corpgrid.domain.answers import Explanation, GridInfo
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Isolation, Limits, Requirements, TaskState, VerifyMode, VerifyPolicy
from corpgrid.errors import UsageError
from corpgrid.host.clock import SystemClock
from corpgrid.host.keyfiles import read_private_key
from corpgrid.ports.api import GridApi
from corpgrid.sdk.connection import Connection
from corpgrid.sdk.embedded import EmbeddedGrid
from corpgrid.sdk.executor import Arguments, GridExecutor, spread
from corpgrid.sdk.items import encode_items
from corpgrid.sdk.job import Job
from corpgrid.sdk.jobfile import JobFile, read_job_file
from corpgrid.sdk.packages import Packages, fetch_wheels, provided_modules
from corpgrid.sdk.packaging import Package, pack_function, pack_job_file
from corpgrid.sdk.packing import name_of, pack
from corpgrid.sdk.request import Options, Request, as_member, make_request
from corpgrid.sdk.sending import Sender
from corpgrid.trust.keys import PrivateKey

T = TypeVar("T")
_AGENTS_MAX = 64
_PACKAGES_KEPT = 64


def connect(
    address: str | None = None,
    *,
    key: PrivateKey | Path | str | None = None,
    config: ClientConfig | None = None,
    agents: int = 1,
) -> Grid:
    """Open a grid.

    Args:
        address: ``unix:PATH`` or ``HOST:PORT`` of a scheduler, or several with commas between them.  None starts a grid
            on this machine, for this program alone: it ends when the grid is closed, or with the program.
        key: the submitter's private key, or its file.  None takes the embedded grid's own, or the configured file when
            something is submitted.
        config: settings that were read before; None reads the configuration file and the environment.
        agents: (without an address) how many agents to start, 1 to 64; each holds one task for each core.

    Raises:
        UnavailableError: nobody answers there, or the embedded grid did not start.
        SandboxError: the embedded grid's agents have no sandbox here.
        TrustError: the key file cannot be used.
        ConfigError: the address or a setting is wrong.
    """
    if not 1 <= agents <= _AGENTS_MAX or (address is not None and agents > 1):
        raise UsageError(
            f"agents is {agents}, which it cannot be",
            remedy=f"Without an address it can be 1 to {_AGENTS_MAX}; a grid that has an address has its agents.",
        )
    if address is not None:
        return Grid(address, _private_key(key), config=config or load_config(environ=os.environ).client)
    settings = load_config(environ=os.environ)
    embedded = EmbeddedGrid(agents=agents, start_seconds=settings.grid.start_seconds)
    try:
        key = _private_key(key or embedded.ready.key)
        return Grid(embedded.ready.address, key, config=config or settings.client, embedded=embedded)
    except BaseException:
        embedded.close()
        raise


def _private_key(key: PrivateKey | Path | str | None) -> PrivateKey | None:
    return read_private_key(Path(key)) if isinstance(key, Path | str) else key


class Grid:
    """A connection to a grid.  Made by ``connect``; close it, or use it in a ``with`` statement.

    Its methods may be called from any thread.

    Attributes:
        address: where its scheduler listens.
    """

    def __init__(
        self, address: str, key: PrivateKey | None, *, config: ClientConfig, embedded: EmbeddedGrid | None = None
    ) -> None:
        self.address = address
        self._key = key
        self._config = config
        self._embedded = embedded
        self._connection = (
            Connection(address, config) if embedded is None else Connection(address, config, hopeless=embedded.failure)
        )
        self._sender = Sender(self._connection.api, SystemClock())
        self._packages: dict[object, Package] = {}
        self._request: Request | None = None
        self._executors: WeakSet[GridExecutor] = WeakSet()

    def __enter__(self) -> Self:
        """The grid itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the connection, and end an embedded grid with all its jobs; a second call does nothing."""
        try:
            for executor in list(self._executors):
                executor.shutdown(wait=False)
            self._connection.close()
        finally:
            if self._embedded is not None:
                self._embedded.close()

    # -- work

    def map(  # noqa: PLR0913 - by keyword, all that can be asked for
        self,
        function: Callable[[Any], T],
        items: Iterable[Any],
        *,
        name: str = "",
        packages: Packages | None = None,
        inputs: Mapping[str, Path | str] | None = None,
        verify: VerifyPolicy | VerifyMode | str = VerifyMode.AUDIT,
        requirements: Requirements | None = None,
        limits: Limits | None = None,
        isolation: Isolation | str = Isolation.JOB,
        priority: int = 50,
    ) -> Job[T]:
        """Call a function once for each item, on the grid's devices.

        Args:
            function: any Python function of one argument.  It travels in a signed bundle, as it is now, with all that
                it refers to in modules that are not installed.
            items: the arguments: data (numbers, texts, lists, dicts, NumPy arrays) or anything that can be pickled, at
                most 48 MiB each.  All of them are read before the first is sent.
            name: for people, 1 to 200 characters; the function's name if empty.
            packages: what the function imports beyond Python's own modules: the path of a requirements file, or a list
                such as ``["numpy==2.1.0"]``.
            inputs: files that every task finds under ``/in`` by these names.
            verify: how results come to be believed: a policy, or a mode's name.
            requirements: what a device must have.
            limits: what one task may take.
            isolation: ``job`` (one warm runner for many tasks) or ``task`` (a fresh one for each).
            priority: 0 to 100; higher goes first.

        Returns:
            The job, as soon as the grid has it for good; iterate over it for the results, in order.

        Raises:
            UsageError: the function, an item, a package or an option cannot be.
            GridError: the grid refused it.
            TrustError: the grid does not trust the key.
        """
        options = Options(
            name=name,
            packages=packages,
            inputs=inputs,
            verify=verify,
            requirements=requirements,
            limits=limits,
            isolation=isolation,
            priority=priority,
        )
        return self._map(function, items, options, called=name_of(function))

    def submit(self, function: Callable[..., T], /, *args: Any, **options: Unpack[Options]) -> Job[T]:
        """One call of a function as a job of one task: ``grid.submit(pow, 2, 10).result()``.

        Args:
            function: as for ``map``.
            args: its positional arguments.
            options: those of ``map``.
        """
        return self._map(spread(function), [(args, {})], options, called=name_of(function))

    def executor(self, **options: Unpack[Options]) -> GridExecutor:
        """A ``concurrent.futures.Executor`` on this grid; ``options`` are those of ``map``."""

        def send(called: Callable[..., Any], calls: Sequence[Arguments]) -> Job[Any]:
            return self._map(spread(called), calls, options, called=name_of(called))

        executor = GridExecutor(self._connection, send)
        self._executors.add(executor)
        return executor

    def submit_file(self, path: Path | str) -> Job[Any]:
        """Submit a job file.

        Raises:
            JobFileError: a field is wrong.
            UsageError: a file or a package is not there, or too large.
            GridError: the grid refused it.
        """
        return self.submit_job_file(read_job_file(Path(path)))

    def submit_job_file(self, file: JobFile) -> Job[Any]:
        """Submit a job file that was read before."""
        request = file.request(self._config)
        key = self._signing_key()
        package = pack_job_file(file, cache=self._config.cache_folder, key=key)
        return self._send(package, encode_items(file.items, provided=package.modules), request, key)

    def job(self, job: str) -> Job[Any]:
        """A job that was submitted before, by anybody.

        Raises:
            NotFoundError: there is none.
        """
        return Job(self._connection, self.call(self.api.job(JobId(job))).id)

    def jobs(self, *, limit: int = 100) -> Sequence[rows.Job]:
        """The rows of the newest jobs, newest first."""
        return self.call(self.api.jobs(limit=limit))

    def tasks(self, job: str, *, states: Sequence[TaskState] = (), limit: int = 1_000) -> Sequence[rows.Task]:
        """Tasks of a job, by index; only those in these states, if any are named."""
        return self.call(self.api.tasks(JobId(job), states=states, limit=limit))

    # -- devices

    def devices(self) -> Sequence[Device]:
        """All devices, by id."""
        return self.call(self.api.devices())

    def device(self, device: str) -> Device:
        """One device.

        Raises:
            NotFoundError: there is none.
        """
        return self.call(self.api.device(DeviceId(device)))

    def set_device(self, device: str, state: DeviceState | str, reason: str = "") -> Device:
        """Set a device's state: ``paused``, ``active``, ``draining``, ``quarantined`` or ``revoked``.

        Raises:
            NotFoundError: there is no such device.
            ConflictError: its state forbids that.
        """
        wanted = as_member("state", state, DeviceState)
        return self.call(self.api.set_device(DeviceId(device), wanted, reason=reason))

    def why_device(self, device: str) -> Explanation:
        """Why a device has no work: one sentence, and what stands in the way."""
        return self.call(self.api.explain_device(DeviceId(device)))

    def info(self) -> GridInfo:
        """The scheduler that answers here: its version, limits and counters."""
        return self.call(self.api.info())

    # -- closer to the wire

    @property
    def api(self) -> GridApi:
        """Everything that a scheduler can be asked, asynchronously: ``grid.call(grid.api.attempts(job.id, 0))``."""
        return self._connection.api

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one asynchronous call of ``api`` to its end."""
        return self._connection.call(work)

    # -- inside

    def _map(self, function: Callable[..., T], items: Iterable[Any], options: Options, *, called: str) -> Job[T]:
        request = self._request = make_request(options, self._config, name=called, known=self._request)
        key = self._signing_key()
        package = self._pack(function, called, options.get("packages"), request.requirements, key)
        return self._send(package, encode_items(items, provided=package.modules), request, key)

    def _pack(
        self,
        function: Callable[..., Any],
        called: str,
        packages: Packages | None,
        requirements: Requirements,
        key: PrivateKey,
    ) -> Package:
        """The function's package; signed once for the same bytes."""
        wheels = fetch_wheels(packages, cache=self._config.cache_folder) if packages else []
        content = pack(function, what=called, provided=provided_modules(wheels))
        mark = (content, tuple(wheels), requirements)
        package = self._packages.get(mark)
        if package is None:
            package = pack_function(content, wheels=wheels, requirements=requirements, key=key)
            self._packages[mark] = package
            while len(self._packages) > _PACKAGES_KEPT:
                self._packages.pop(next(iter(self._packages)))
        return package

    def _send(self, package: Package, items: list[bytes], request: Request, key: PrivateKey) -> Job[Any]:
        if not items:
            raise UsageError("a job needs at least one item", remedy="Give at least one item.")
        row = self.call(self._sender.send(package, items, request, key))
        return Job(self._connection, row.id)

    def _signing_key(self) -> PrivateKey:
        if self._key is None:
            self._key = read_private_key(self._config.key_file)
        return self._key
