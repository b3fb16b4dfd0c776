"""``corpgrid bundle`` and ``corpgrid key``: what is signed, and with what."""

from __future__ import annotations

from pathlib import Path

import click

from corpgrid.cli.context import Context, grid_options, output_options
from corpgrid.cli.render import Renderer
from corpgrid.domain.ids import digest_text
from corpgrid.errors import BundleError, ConflictError, TrustError, UsageError
from corpgrid.host.keyfiles import load_keyring, read_private_key, write_private_key, write_public_key
from corpgrid.sdk.jobfile import read_job_file
from corpgrid.sdk.packaging import pack_job_file
from corpgrid.trust.bundle import entry_fields, verify_bundle
from corpgrid.trust.keys import Keyring, PrivateKey


@click.group("bundle")
def bundle_group() -> None:
    """Build and verify signed bundles."""


@bundle_group.command("build")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Where to write the bundle.")
@grid_options
def build(context: Context, file: Path, *, output: Path) -> None:
    """Build and sign the bundle of a job FILE."""
    key = context.key()
    job = read_job_file(file)
    package = pack_job_file(job, cache=context.config.client.cache_folder, key=key)
    try:
        output.write_bytes(package.content)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}", remedy="Name another file.") from error
    context.renderer.facts(
        {
            "digest": digest_text(package.digest),
            "file": str(output),
            "size_bytes": len(package.content),
            "engine": package.requirements.engine,
            "wheels": [path.name for path in package.wheels.values()],
            "signer": key.public.key_id,
        },
        name="digest",
    )


@bundle_group.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trusted", type=click.Path(path_type=Path), default=None, help="Folder of trusted public keys.")
@grid_options
def verify(context: Context, file: Path, *, trusted: Path | None) -> None:
    """Verify a bundle FILE: every byte, and who signed it.  Exit 3 if anything does not hold.

    Trusted are the keys in the folder --trusted, or without it the submitter's own.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error.strerror}", remedy="Name a bundle that exists.") from error
    keyring = load_keyring(trusted) if trusted is not None else Keyring([context.key().public])
    try:
        bundle = verify_bundle(content, expected=None, keyring=keyring)
    except BundleError as error:
        raise TrustError(f"{file} does not hold: {error}", remedy="Fetch it again, or build it again.") from error
    manifest = bundle.manifest
    context.renderer.facts(
        {
            "digest": digest_text(bundle.digest),
            "signer": bundle.signer,
            "engine": manifest.engine,
            "entry": entry_fields(manifest.entry),
            "python": manifest.python,
            "files": [entry.name for entry in manifest.files],
            "wheels": [wheel.name for wheel in manifest.environment],
            "network": manifest.network,
            "gpus": manifest.gpus,
        },
        name="digest",
    )


@click.group("key")
def key_group() -> None:
    """Make keys."""


@key_group.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@output_options
def new(renderer: Renderer, file: Path) -> None:
    """Make a private key FILE (mode 0600) and its public half beside it, to put into trusted_keys."""
    public = file.with_name(f"{file.stem}.pub.pem")
    for path in (file, public):
        if path.exists():
            raise ConflictError(f"{path} exists already", remedy="Name another file; a key is never overwritten.")
    key = PrivateKey.generate()
    write_private_key(file, key)
    write_public_key(public, key.public)
    renderer.facts({"id": key.public.key_id, "private": str(file), "public": str(public)})


@key_group.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@output_options
def show(renderer: Renderer, file: Path) -> None:
    """Show the id of a private key FILE."""
    key = read_private_key(file)
    renderer.facts({"id": key.public.key_id, "device": key.public.device_id, "private": str(file)})
