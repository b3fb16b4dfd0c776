"""Jobs on this device: nothing of a job is used before this agent has verified it itself.

In this order: the signed specification (its key is trusted, it has not expired, it is the job that was granted), then
the bundle (its digest is the one that was signed, its own signature holds, every file is canonical), the list of
argument pages and each page, the wheels and the inputs (by their digests).  Code is unpacked to a folder that runners
see read-only; pages are kept in memory, a few at a time.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from corpgrid.agent.environment import Environment, Environments
from corpgrid.agent.removal import remove_tree
from corpgrid.agent.wheels import Wheel
from corpgrid.domain.ids import Digest, JobId, KeyId
from corpgrid.domain.job import JobSpec
from corpgrid.errors import ExpiredError, RefusedError, SignatureError, StoreError
from corpgrid.ports.api import SchedulerApi
from corpgrid.ports.host import Clock
from corpgrid.trust.bundle import BundleFile, VerifiedBundle, entry_fields, verify_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import check_page_list, item_place, page_items, verify_job
from corpgrid.trust.keys import Keyring

_KEPT_JOBS = 32
_KEPT_ENVELOPES = 4096
"""More than an agent holds tasks, so that none waits here whose specification is gone."""
_NAMED_JOBS = 64
_KEPT_PAGES = 8
_KEPT_BLOBS = 64
_SPARE_BUNDLE_BYTES = 1 << 20
_FOLDER_MODE = 0o755
_FILE_MODE = 0o444
_PROGRAM_MODE = 0o555


GetBlob = Callable[[Digest], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """A verified bundle, unpacked at ``folder``, with its environment."""

    bundle: VerifiedBundle
    folder: Path
    held: Environment | None


@dataclass(slots=True, kw_only=True)
class PreparedJob:
    """A verified job whose code, environment and inputs are on this device.

    Attributes:
        code: its bundle, unpacked; shared with other jobs of the same bundle.
        folder: what is this job's alone.
        inputs: folder with its inputs, or None.
    """

    job: JobId
    spec: JobSpec
    submitter: KeyId
    code: _Code
    folder: Path
    get_blob: GetBlob
    page_digests: tuple[Digest, ...]
    inputs: Path | None = None
    _pages: OrderedDict[int, list[bytes]] = field(default_factory=OrderedDict)

    @property
    def runner_key(self) -> tuple[object, ...]:
        """Jobs with equal keys share their trust, and so a warm runner: same code, submitter, inputs and limits."""
        inputs = tuple(sorted(self.spec.inputs.items()))
        return (self.spec.bundle, self.submitter, inputs, self.spec.limits, self.spec.requirements.cpus)

    @property
    def environment(self) -> Path | None:
        """Folder with its packages, or None."""
        return self.code.held.path if self.code.held is not None else None

    @property
    def engine(self) -> str:
        """What executes it."""
        return self.code.bundle.manifest.engine

    @property
    def entry(self) -> Mapping[str, Any]:
        """What is called, as the runner is told."""
        return entry_fields(self.code.bundle.manifest.entry)

    @property
    def files(self) -> Mapping[str, BundleFile]:
        """The bundle's files."""
        return self.code.bundle.files

    @property
    def network(self) -> bool:
        """Whether it gets the host's network."""
        return self.code.bundle.manifest.network

    @property
    def fits_a_spare(self) -> bool:
        """Whether a runner that was started before can take it: one core, no network, not much to copy."""
        small = sum(len(file.content) for file in self.files.values()) <= _SPARE_BUNDLE_BYTES
        return small and not self.network and self.spec.requirements.cpus == 1

    async def items(self, indexes: Sequence[int]) -> list[bytes]:
        """The encoded arguments of these tasks, of which there is at least one.

        Raises:
            DigestError: a page is not the one that was signed.
        """
        for index in (min(indexes), max(indexes)):
            item_place(self.spec.arguments, index)  # is one of its tasks
        size = self.spec.arguments.page_tasks
        pages = {number: await self._page(number) for number in {index // size for index in indexes}}
        return [pages[index // size][index % size] for index in indexes]

    async def _page(self, number: int) -> list[bytes]:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = page_items(await self.get_blob(self.page_digests[number]))
            while len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)
        return page


class Jobs:
    """What this agent knows of jobs.

    Args:
        api: where blobs come from.
        keyring: keys whose jobs and bundles may run here.
        environments: of this device.
        folder: where code and inputs are unpacked; the sandbox's user must be able to enter it.
        allow_network: whether a job may have the host's network.
    """

    def __init__(  # noqa: PLR0913 - by keyword, what a job needs
        self,
        *,
        api: SchedulerApi,
        keyring: Keyring,
        environments: Environments,
        clock: Clock,
        folder: Path,
        allow_network: bool,
    ) -> None:
        self._api = api
        self._keyring = keyring
        self._environments = environments
        self._clock = clock
        self._folder = folder
        self._allow_network = allow_network
        self._envelopes: OrderedDict[JobId, bytes] = OrderedDict()
        self._prepared: OrderedDict[JobId, PreparedJob] = OrderedDict()
        self._making: WeakValueDictionary[JobId, asyncio.Lock] = WeakValueDictionary()
        self._codes: OrderedDict[Digest, asyncio.Task[_Code]] = OrderedDict()
        self._blobs: OrderedDict[Digest, bytes] = OrderedDict()

    def learn(self, specs: Mapping[JobId, bytes]) -> None:
        """Keep signed specifications; they are verified when they are used."""
        for job, envelope in specs.items():
            self._envelopes[job] = envelope
            self._envelopes.move_to_end(job)
        while len(self._envelopes) > _KEPT_ENVELOPES:
            self._envelopes.popitem(last=False)

    def learn_blobs(self, blobs: Iterable[bytes]) -> None:
        """Keep small blobs that came with the work until they are used; their digests are their proof."""
        self._blobs.update((digest(content), content) for content in blobs)
        while len(self._blobs) > _KEPT_BLOBS:
            self._blobs.popitem(last=False)

    def known(self) -> tuple[JobId, ...]:
        """The jobs whose specification came or was used last, not all: they are named at each poll."""
        return tuple(islice(reversed(self._envelopes), _NAMED_JOBS))

    async def prepare(self, job: JobId, *, in_use: frozenset[JobId] = frozenset()) -> PreparedJob:
        """Verify and fetch everything of a job, once.

        Args:
            job: which.
            in_use: jobs whose files are not let go of.

        Raises:
            TrustError: something in it does not hold.
            RefusedError: it asks for what this device does not give.
            UnavailableError: a blob could not be fetched.
        """
        # One at a time makes it; what is at hand is made without waiting for anything, nor for a task of its own.
        async with self._making.setdefault(job, asyncio.Lock()):
            prepared = self._prepared.get(job)
            if prepared is None:
                prepared = self._prepared[job] = await self._prepare(job)
        self._prepared.move_to_end(job)
        if job in self._envelopes:
            self._envelopes.move_to_end(job)
        if self._clock.now() > prepared.spec.not_after:
            raise ExpiredError(f"{job} was to be started before its signature ran out")
        await self._forget_old(in_use | {job})
        return prepared

    async def _prepare(self, job: JobId) -> PreparedJob:
        envelope = self._envelopes.get(job)
        if envelope is None:
            raise SignatureError(f"the scheduler granted tasks of {job} without its signed specification")
        verified = verify_job(envelope, keyring=self._keyring, now=self._clock.now())
        if verified.id != job:
            raise SignatureError(f"the scheduler passed {verified.id} off as {job}")
        spec = verified.spec
        folder = self._folder / job
        return PreparedJob(
            job=job,
            spec=spec,
            submitter=verified.submitter,
            code=await self._code(spec.bundle),
            folder=folder,
            get_blob=self._get_blob,
            page_digests=check_page_list(spec.arguments, await self._get_blob(spec.arguments.pages)),
            inputs=await self._inputs(spec, folder / "inputs"),
        )

    async def _code(self, bundle: Digest) -> _Code:
        """The bundle's code, unpacked once for all jobs that name it."""
        making = self._codes.get(bundle)
        if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
            making = self._codes[bundle] = asyncio.ensure_future(self._unpack(bundle))
        self._codes.move_to_end(bundle)
        return await asyncio.shield(making)

    async def _unpack(self, name: Digest) -> _Code:
        bundle = verify_bundle(await self._get_blob(name), expected=name, keyring=self._keyring)
        self._check_grants(bundle)
        folder = self._folder / f"bundle-{name.hex()[:32]}"
        await asyncio.to_thread(remove_tree, folder)
        await asyncio.to_thread(write_files, bundle.files, folder / "files")
        return _Code(bundle=bundle, folder=folder / "files", held=await self._environment(bundle, folder / "wheels"))

    async def _get_blob(self, name: Digest) -> bytes:
        """A small blob: one that came with the work, or from the scheduler; verified either way."""
        content = self._blobs.pop(name, None)
        return content if content is not None else await self._api.get_blob(name)

    def _check_grants(self, bundle: VerifiedBundle) -> None:
        manifest = bundle.manifest
        if manifest.network and not self._allow_network:
            raise RefusedError(
                "the bundle asks for the network, and this device gives jobs none",
                remedy="Send what it needs as inputs, or ask the owner for agent.allow_network.",
            )
        if manifest.gpus:
            raise RefusedError("the bundle asks for a GPU, and this device lends none")

    async def _environment(self, bundle: VerifiedBundle, folder: Path) -> Environment | None:
        named = bundle.manifest.environment
        if not named:
            return None
        wheels = [Wheel(wheel.name, wheel.digest, folder / wheel.name) for wheel in named]
        try:
            if not self._environments.has(wheels):
                await asyncio.to_thread(_make_folder, folder)
                for wheel in wheels:
                    await self._fetch(wheel.digest, wheel.path)
            return await self._environments.acquire(wheels)
        finally:
            await asyncio.to_thread(remove_tree, folder)

    async def _inputs(self, spec: JobSpec, folder: Path) -> Path | None:
        if not spec.inputs:
            return None
        await asyncio.to_thread(_make_folder, folder)
        for name, blob in spec.inputs.items():
            target = folder / name
            await asyncio.to_thread(_make_folder, target.parent)
            await self._fetch(blob, target)
        return folder

    async def _fetch(self, blob: Digest, target: Path) -> None:
        try:
            await self._api.fetch_blob(blob, target)
            await asyncio.to_thread(target.chmod, _FILE_MODE)
        except OSError as error:
            raise _no_room(target.parent, error) from error

    async def _forget_old(self, in_use: frozenset[JobId]) -> None:
        """Let go of the jobs, and of the code, that were used least recently and that no runner sees."""
        spare = [job for job in self._prepared if job not in in_use][: max(len(self._prepared) - _KEPT_JOBS, 0)]
        for prepared in [self._prepared.pop(job) for job in spare]:
            if prepared.inputs is not None:
                await asyncio.to_thread(remove_tree, prepared.folder)
        if len(self._codes) > _KEPT_JOBS:
            await self._forget_old_code()

    async def _forget_old_code(self) -> None:
        seen = {prepared.spec.bundle for prepared in self._prepared.values()}
        unseen = [bundle for bundle, code in self._codes.items() if bundle not in seen and code.done()]
        for unpacking in [self._codes.pop(bundle) for bundle in unseen[: len(self._codes) - _KEPT_JOBS]]:
            if _succeeded(unpacking):
                code = unpacking.result()
                if code.held is not None:
                    code.held.release()
                await asyncio.to_thread(remove_tree, code.folder.parent)


def _succeeded(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def write_files(files: Mapping[str, BundleFile], folder: Path) -> None:
    """Unpack a verified bundle's files so that runners can read them and nobody can change them.

    Raises:
        StoreError: there is no room.
    """
    _make_folder(folder)
    try:
        for name, file in files.items():
            target = folder / name
            _make_folder(target.parent)
            target.write_bytes(file.content)
            target.chmod(_PROGRAM_MODE if file.executable else _FILE_MODE)
    except OSError as error:
        raise _no_room(folder, error) from error


def _make_folder(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    try:
        for part in reversed(missing):
            part.mkdir(exist_ok=True)
            os.chmod(part, _FOLDER_MODE)  # noqa: PTH101 - whatever the umask says, the job user must be able to enter
    except OSError as error:
        raise _no_room(folder, error) from error


def _no_room(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"the job cannot be unpacked: {error}", remedy=f"Make room on the disk of {folder}.")
