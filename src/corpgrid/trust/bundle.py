"""Bundles: a job's code, signed, in one canonical archive.

* The archive (``trust.archive``) holds ``manifest.json`` first, ``manifest.sig`` second, then ``files/...`` in order of
  their names.  The manifest is canonical JSON and names every file with size, digest and mode; ``manifest.sig`` is the
  envelope over it, with one signature.
* One content has one spelling: any flipped bit is refused, also where nobody compares the bundle's own digest.
* File names obey ``trust.paths``: what is unpacked on one system is the same on another, and stays in its folder.

>>> from corpgrid.trust.keys import Keyring, PrivateKey
>>> key = PrivateKey.generate()
>>> content = build_bundle(
...     {"search.py": BundleFile(b"def f(x): return x")}, engine="python", entry=ModuleEntry("search", "f"), key=key
... )
>>> bundle = verify_bundle(content, expected=None, keyring=Keyring([key.public]))
>>> bundle.manifest.entry, list(bundle.files)
(ModuleEntry(module='search', name='f'), ['search.py'])
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from corpgrid.domain.ids import Digest, KeyId
from corpgrid.errors import BundleError, MalformedDataError, SignatureError
from corpgrid.trust import canonical, limits
from corpgrid.trust.archive import Member, read_archive, write_archive
from corpgrid.trust.digest import digest, require
from corpgrid.trust.envelope import check_envelope, read_envelope, seal
from corpgrid.trust.fields import FLAG, HASH, Where, argument, choice, many, pattern, plain, record, union, whole
from corpgrid.trust.job_fields import ENGINE, PYTHON_MINOR
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.trust.paths import clash, path_fault

FORMAT = "corpgrid.bundle/1"
MANIFEST_TYPE = "application/vnd.corpgrid.bundle.v1+json"
_MANIFEST_NAME = "manifest.json"
_SIGNATURE_NAME = "manifest.sig"
_FOLDER = "files/"


class BundleFile(NamedTuple):
    """A file as the job sees it under ``/job``."""

    content: bytes
    executable: bool = False


class FunctionEntry(NamedTuple):
    """A pickled function in a file of the bundle; it is unpickled only inside the sandbox."""

    file: str


class ModuleEntry(NamedTuple):
    """A function of a module, by name."""

    module: str
    name: str


class CommandEntry(NamedTuple):
    """A command with placeholders: ``{item}``, or ``{lr}`` where the item is a dict."""

    argv: tuple[str, ...]


Entry = FunctionEntry | ModuleEntry | CommandEntry


class Wheel(NamedTuple):
    """A package of the job's environment, stored as a blob."""

    name: str
    digest: Digest
    size_bytes: int


class FileEntry(NamedTuple):
    """What the manifest says of one file."""

    name: str
    digest: Digest
    size_bytes: int
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle is.

    Attributes:
        engine: what runs it.
        entry: where it begins.
        python: minor version that its pickled code needs, or empty.
        environment: wheels to install, by name.
        network: whether it asks for the network.
        gpus: how many GPUs one task asks for.
        files: all files, by name.
    """

    engine: str
    entry: Entry
    python: str = ""
    environment: tuple[Wheel, ...] = ()
    network: bool = False
    gpus: int = 0
    files: tuple[FileEntry, ...] = ()
    format: str = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBundle:
    """A bundle whose every byte is as a trusted key signed it."""

    digest: Digest
    manifest: Manifest
    files: Mapping[str, BundleFile]
    signer: KeyId


def build_bundle(  # noqa: PLR0913 - the fields of a manifest, by keyword
    files: Mapping[str, BundleFile],
    *,
    engine: str,
    entry: Entry,
    key: PrivateKey,
    python: str = "",
    environment: Sequence[Wheel] = (),
    network: bool = False,
    gpus: int = 0,
) -> bytes:
    """The signed bundle of these files; the same files and key always give the same bytes.

    Raises:
        BundleError: a name may not be used, a field does not fit, or something is larger than a limit allows.
    """
    _check_size(sum(len(file.content) for file in files.values()), "its files have")
    ordered = sorted(files.items())
    manifest = Manifest(
        engine=engine,
        entry=entry,
        python=python,
        environment=tuple(sorted(environment)),
        network=network,
        gpus=gpus,
        files=tuple(
            FileEntry(name, digest(content), len(content), executable) for name, (content, executable) in ordered
        ),
    )
    payload = canonical.encode(_MANIFEST.write(manifest, Where(BundleError, "manifest")))
    _check_size(len(payload), "its manifest has", limit_name="MAX_JSON_BYTES", limit_bytes=limits.MAX_JSON_BYTES)
    members = [Member(_MANIFEST_NAME, payload), Member(_SIGNATURE_NAME, seal(MANIFEST_TYPE, payload, key))]
    bundle = write_archive([*members, *(Member(_FOLDER + name, *file) for name, file in ordered)])
    _check_size(len(bundle), "it has")
    return bundle


def verify_bundle(content: bytes, *, expected: Digest | None, keyring: Keyring) -> VerifiedBundle:
    """Check a bundle, whole.

    Args:
        content: its bytes.
        expected: the digest under which it was asked for, if it was.
        keyring: whose signature is believed.

    Raises:
        DigestError: it is not the bundle that was asked for, or a file is not the one that was signed.
        SignatureError: its signature is missing or wrong.
        UntrustedKeyError: its signer is not trusted here.
        BundleError: the bytes are no bundle in canonical form, or are beyond a limit.
    """
    _check_size(len(content), "it has")
    if expected is not None:
        require(expected, content, what="the bundle")
    members = read_archive(content, max_members=limits.MAX_BUNDLE_FILES + 2)
    if [member.name for member in members[:2]] != [_MANIFEST_NAME, _SIGNATURE_NAME]:
        raise BundleError(f"a bundle begins with {_MANIFEST_NAME} and {_SIGNATURE_NAME}, and this does not")
    payload = members[0].content
    signer = _check_signature(payload, members[1].content, keyring)
    manifest = _read_manifest(payload)
    if any(member.executable for member in members[:2]):
        raise BundleError("the bundle's manifest and signature are no programs")
    return VerifiedBundle(
        digest=digest(content), manifest=manifest, files=_check_files(manifest, members[2:]), signer=signer
    )


def environment_digest(manifest: Manifest) -> Digest:
    """The name of the environment that a manifest asks for: same wheels, same Python, same name."""
    wheels = _WHEELS.write(manifest.environment, Where(BundleError, "environment"))
    return digest(canonical.encode({"python": manifest.python, "wheels": wheels}))


def entry_fields(entry: Entry) -> dict[str, Any]:
    """An entry as plain data for the runner: ``{"kind": "module", "module": "search", "name": "evaluate"}``."""
    fields: dict[str, Any] = _ENTRY.write(entry, Where(BundleError, "entry"))
    return fields


def _check_size(
    size_bytes: int, subject: str, *, limit_name: str = "MAX_BUNDLE_BYTES", limit_bytes: int = limits.MAX_BUNDLE_BYTES
) -> None:
    if size_bytes > limit_bytes:
        raise BundleError(
            f"the bundle is too large: {subject} {size_bytes:,} bytes where {limit_name} allows {limit_bytes:,}",
            remedy="Pass large files as inputs of the job instead: they are stored once, and cached.",
        )


def _check_signature(payload: bytes, signature: bytes, keyring: Keyring) -> KeyId:
    envelope = read_envelope(signature)
    if len(envelope.signatures) != 1:  # a second one could be changed without anybody's notice
        raise SignatureError(f"a bundle has one signature, and this has {len(envelope.signatures)}")
    if envelope.payload != payload:
        raise SignatureError("the bundle's signature is over another manifest")
    return check_envelope(envelope, payload_type=MANIFEST_TYPE, keyring=keyring)


def _read_manifest(payload: bytes) -> Manifest:
    try:
        fields = canonical.decode(payload)
    except MalformedDataError as cause:
        raise BundleError(f"the bundle's manifest cannot be read: {cause}") from None
    manifest = _MANIFEST.read(fields, Where(BundleError, "manifest"))
    assert isinstance(manifest, Manifest)
    return manifest


def _check_files(manifest: Manifest, members: Sequence[Member]) -> dict[str, BundleFile]:
    if [member.name for member in members] != [_FOLDER + entry.name for entry in manifest.files]:
        raise BundleError("the bundle's files are not those of its manifest")
    for entry, member in zip(manifest.files, members, strict=True):
        if (entry.size_bytes, entry.executable) != (len(member.content), member.executable):
            raise BundleError(f"{entry.name!r} has another size or mode than the bundle's manifest says")
        require(entry.digest, member.content, what=repr(entry.name))
    return {
        entry.name: BundleFile(member.content, member.executable)
        for entry, member in zip(manifest.files, members, strict=True)
    }


def _fault_of_manifest(manifest: Manifest) -> str:
    names = [entry.name for entry in manifest.files]
    wheels = [wheel.name for wheel in manifest.environment]
    if names != sorted(names) or wheels != sorted(set(wheels)):
        return "files and environment must be in order of their names, and no wheel may stand twice"
    for name in names:
        if fault := path_fault(name):
            return f"files has {name!r}, which may not be in a bundle: {fault}"
    if fault := clash(names):
        return f"files may not stand in one bundle: {fault}"
    if isinstance(manifest.entry, FunctionEntry) and manifest.entry.file not in names:
        return f"entry.file is {manifest.entry.file!r}, which is not in the bundle"
    return ""


_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_DOTTED = plain(
    lambda value: isinstance(value, str) and len(value) <= 1_000 and _MODULE.fullmatch(value) is not None,
    "a Python name such as 'search' or 'package.search'",
)
_FILE_NAME = plain(lambda value: isinstance(value, str), "a file's name")
_ENTRY = union(
    {
        "function": (FunctionEntry, record(FunctionEntry, {"file": _FILE_NAME})),
        "module": (ModuleEntry, record(ModuleEntry, {"module": _DOTTED, "name": _DOTTED})),
        "command": (
            CommandEntry,
            record(CommandEntry, {"argv": many(argument(limits.MAX_ARGUMENT_CHARACTERS), limits.MAX_ARGV, least=1)}),
        ),
    }
)
_SIZE = whole(0, limits.MAX_WHOLE)
_WHEEL_NAME = pattern(r"[A-Za-z0-9_.]+(-[A-Za-z0-9_.+!]+){4,5}\.whl", "a wheel's file name")
_WHEELS = many(record(Wheel, {"name": _WHEEL_NAME, "digest": HASH, "size_bytes": _SIZE}), limits.MAX_WHEELS)
_FILES = many(
    record(FileEntry, {"name": _FILE_NAME, "digest": HASH, "size_bytes": _SIZE, "executable": FLAG}),
    limits.MAX_BUNDLE_FILES,
)
_MANIFEST = record(
    Manifest,
    {
        "format": choice(FORMAT),
        "engine": ENGINE,
        "entry": _ENTRY,
        "python": PYTHON_MINOR,
        "environment": _WHEELS,
        "network": FLAG,
        "gpus": whole(0, limits.MAX_GPUS),
        "files": _FILES,
    },
    rule=_fault_of_manifest,
)
