"""The runners of this device: jobs prepared, workers started, spares kept warm, all of them frozen or ended at a word.

* A *spare* is a runner that was started before its job was known: it has the default limits and no environment, and
  sees an empty folder as ``/job`` that is filled when a job comes.  It makes the first task of a small job as fast as
  the next.
* Freezing and killing reach every worker that was ever started and is not yet gone, also those still on their way up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from corpgrid.agent.jobs import Jobs, PreparedJob, write_files
from corpgrid.agent.removal import remove_tree
from corpgrid.agent.runner_spec import RunnerPlace, runner_spec, sandbox_limits
from corpgrid.agent.worker import Worker
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import Limits
from corpgrid.errors import CorpGridError, LimitError, StoreError
from corpgrid.ports.sandbox import Sandbox

log = logging.getLogger(__name__)

_FOLDER_MODE = 0o755
_SPARE_RETRY_SECONDS = 5.0
_LONGEST_SPARE_RETRY_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python that runners use: its path inside, and what must be shown for it."""

    path: str
    read_only: Mapping[Path, str]
    runtime: Path


@dataclass(slots=True)
class _Kept:
    """What is known of a worker.

    Attributes:
        folder: its own.
        made_for: the job whose files it sees; None for a spare.
        serves: the job whose tasks it has; None for a spare.
    """

    folder: Path
    made_for: JobId | None
    serves: JobId | None


class RunnerPool:
    """Prepares jobs and starts workers for them.

    Args:
        sandbox: what confines them.
        jobs: what was learned of jobs.
        interpreter: what runs in them.
        folder: for the workers' folders; the sandbox's user must be able to enter it.
        spares: how many to keep.
        memory_bytes: the most that one task may have.
    """

    def __init__(  # noqa: PLR0913 - by keyword, what runners need
        self, sandbox: Sandbox, jobs: Jobs, interpreter: Interpreter, *, folder: Path, spares: int, memory_bytes: int
    ) -> None:
        self._sandbox = sandbox
        self._jobs = jobs
        self._interpreter = interpreter
        self._folder = folder
        self._wanted_spares = spares
        self._memory_bytes = memory_bytes
        self._workers: dict[Worker, _Kept] = {}
        self._spares: list[Worker] = []
        self._spare_taken = asyncio.Event()
        self._frozen = False
        self._kills = 0

    def learn(self, specs: Mapping[JobId, bytes], blobs: Iterable[bytes]) -> None:
        """Keep the signed specifications of new jobs, and the small blobs that came with them."""
        self._jobs.learn(specs)
        self._jobs.learn_blobs(blobs)

    def known_jobs(self) -> tuple[JobId, ...]:
        """Jobs whose specification need not be sent again."""
        return self._jobs.known()

    async def prepare(self, job: JobId) -> PreparedJob:
        """Verify and fetch everything of a job."""
        prepared = await self._jobs.prepare(job, in_use=self._in_use())
        if self._memory_bytes and prepared.spec.limits.memory_bytes > self._memory_bytes:
            raise LimitError(
                "agent.memory_bytes",
                limit=self._memory_bytes,
                got=prepared.spec.limits.memory_bytes,
                what="the memory of one task",
                remedy="Ask for less memory in the job's limits, or let the owner lend more.",
            )
        return prepared

    async def start(self, prepared: PreparedJob) -> Worker:
        """A worker with the job loaded: a spare if one fits, else a new one."""
        worker = await self._take_spare(prepared) or await self._start_for(prepared)
        try:
            await worker.load(engine=prepared.engine, entry=prepared.entry, limits=prepared.spec.limits)
        except BaseException:
            await self.discard(worker)
            raise
        return worker

    def serves(self, worker: Worker, job: JobId) -> None:
        """A worker goes on with tasks of another job that shares its trust."""
        self._workers[worker].serves = job

    async def discard(self, worker: Worker) -> None:
        """Close a worker and delete its folders."""
        await worker.close()
        kept = self._workers.pop(worker, None)
        if worker in self._spares:
            self._spares.remove(worker)
        if kept is not None:
            await asyncio.to_thread(remove_tree, kept.folder)

    def freeze(self) -> None:
        """Stop every runner where it stands."""
        self._frozen = True
        for worker in self._workers:
            if worker.alive:
                worker.freeze()

    def thaw(self) -> None:
        """Let every runner go on."""
        self._frozen = False
        for worker in self._workers:
            if worker.alive:
                worker.thaw()

    def kill(self, jobs: frozenset[JobId] | None) -> None:
        """End the runners of these jobs, or all, spares too."""
        self._kills += jobs is None
        for worker, kept in self._workers.items():
            if jobs is None or kept.serves in jobs:
                worker.kill()

    async def keep_spares(self, may_run: Callable[[], bool]) -> None:
        """Keep the wanted number of spares up, until cancelled."""
        pause_seconds = _SPARE_RETRY_SECONDS
        while True:
            self._spare_taken.clear()
            for spare in [spare for spare in self._spares if not spare.alive]:
                await self.discard(spare)
            try:
                while len(self._spares) < self._wanted_spares and may_run():
                    self._spares.append(await self._start(None, self._spare_place(), Limits()))
                pause_seconds = _SPARE_RETRY_SECONDS
            except CorpGridError as error:
                if may_run():  # else it was ended on its way up
                    log.warning("no spare runner for %.0f s: %s", pause_seconds, error)
                    pause_seconds = min(2 * pause_seconds, _LONGEST_SPARE_RETRY_SECONDS)
            try:
                async with asyncio.timeout(pause_seconds):
                    await self._spare_taken.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """End every runner."""
        self.kill(None)
        for worker in list(self._workers):
            await self.discard(worker)

    async def _take_spare(self, prepared: PreparedJob) -> Worker | None:
        plain = prepared.environment is None and prepared.inputs is None and prepared.fits_a_spare
        if not plain or sandbox_limits(prepared.spec.limits) != sandbox_limits(Limits()):
            return None
        while self._spares:
            spare = self._spares.pop(0)
            self._spare_taken.set()
            if spare.alive:
                await self._fill(spare, prepared)
                return spare
            await self.discard(spare)
        return None

    async def _fill(self, spare: Worker, prepared: PreparedJob) -> None:
        """Give a spare its job."""
        kept = self._workers[spare]
        kept.made_for = kept.serves = prepared.job
        try:
            await asyncio.to_thread(write_files, prepared.files, kept.folder / "job")
        except BaseException:
            await self.discard(spare)
            raise

    async def _start_for(self, prepared: PreparedJob) -> Worker:
        place = self._place(job=prepared.code.folder, environment=prepared.environment, inputs=prepared.inputs)
        return await self._start(prepared, place, prepared.spec.limits)

    async def _start(self, prepared: PreparedJob | None, place: RunnerPlace, limits: Limits) -> Worker:
        cpus = prepared.spec.requirements.cpus if prepared is not None else 1
        network = prepared.network if prepared is not None else False
        spec = runner_spec(place, sandbox_limits(limits), cpus=cpus, network=network)
        kills, folder = self._kills, place.work.parent
        try:
            process = await self._sandbox.start(spec)
        except BaseException:
            await asyncio.to_thread(remove_tree, folder)
            raise
        worker = Worker(process, spec)
        job = prepared.job if prepared is not None else None
        self._workers[worker] = _Kept(folder, made_for=job, serves=job)
        if kills != self._kills:
            worker.kill()
        elif self._frozen:
            worker.freeze()
        try:
            await worker.ready()
        except BaseException:
            await self.discard(worker)
            raise
        return worker

    def _in_use(self) -> frozenset[JobId]:
        """Jobs whose files some runner sees, or whose tasks it has."""
        named = [job for kept in self._workers.values() for job in (kept.made_for, kept.serves)]
        return frozenset(job for job in named if job is not None)

    def _spare_place(self) -> RunnerPlace:
        folder = self._new_folder("job")
        return self._place_in(folder, job=folder / "job", environment=None, inputs=None)

    def _place(self, *, job: Path, environment: Path | None, inputs: Path | None) -> RunnerPlace:
        return self._place_in(self._new_folder(), job=job, environment=environment, inputs=inputs)

    def _place_in(self, folder: Path, *, job: Path, environment: Path | None, inputs: Path | None) -> RunnerPlace:
        return RunnerPlace(
            python=self._interpreter.path,
            runtime=self._interpreter.runtime,
            work=folder / "work",
            job=job,
            environment=environment,
            inputs=inputs,
            also=self._interpreter.read_only,
        )

    def _new_folder(self, *names: str) -> Path:
        """A folder with ``work`` in it, and these."""
        folder = self._folder / secrets.token_hex(6)
        try:
            for made in (folder, *(folder / name for name in ("work", *names))):
                made.mkdir()
                made.chmod(_FOLDER_MODE)  # whatever the umask says, the job user must be able to enter
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StoreError(
                f"no folder for a runner: {error}", remedy=f"Make room on the disk of {folder.parent}."
            ) from error
        return folder
