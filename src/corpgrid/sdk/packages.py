"""The packages that a job's code imports, as wheels that travel with it.

The submitter's machine fetches the wheels once, by its own ``pip`` and from wherever that is set up to look; the
bundle's manifest binds each wheel by digest, and a device installs them without asking any registry.  Wheels are kept
in a cache folder by what was asked for and for which Python, so that a second submission asks nobody.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from corpgrid.errors import BundleError
from corpgrid.sdk.packing import python_minor

_PIP_SECONDS = 600


def fetch_wheels(packages: Path | Sequence[str], *, cache: Path) -> list[Path]:
    """The wheels of a locked requirements file, or of package names.

    Args:
        packages: a requirements file (hashes in it are enforced), or names such as ``numpy==2.1.0``.
        cache: folder for fetched wheels.

    Returns:
        Paths of the wheels, by file name.

    Raises:
        BundleError: a package cannot be found as a wheel for this Python.
    """
    lines = _requirement_lines(packages)
    asked = json.dumps([lines, python_minor(), sys.platform, platform.machine()])
    kept = cache / "wheels" / hashlib.sha256(asked.encode()).hexdigest()[:32]
    if not kept.is_dir():
        _download(lines, kept)
    return sorted(kept.glob("*.whl"))


def is_platform_bound(wheels: Sequence[Path]) -> bool:
    """Whether any of the wheels runs on one operating system and architecture only."""
    return any(not wheel.stem.endswith("-any") for wheel in wheels)


def _requirement_lines(packages: Path | Sequence[str]) -> list[str]:
    if not isinstance(packages, Path):
        return sorted(packages)
    try:
        return packages.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BundleError(
            f"packages: cannot read {packages}: {error.strerror}", remedy="Name a requirements file that exists."
        ) from error


def _download(lines: Sequence[str], kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=kept.parent, prefix="fetching-"))
    try:
        requirements = work / "requirements.txt"
        requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--dest", str(work / "out"), "--requirement", str(requirements)]
        done = subprocess.run(  # waits for pip, which has its own time-outs
            command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False, env=os.environ.copy()
        )
        if done.returncode != 0:
            raise BundleError(
                f"packages: pip could not fetch the wheels: {_last_error(done.stderr)}",
                remedy="Try `pip download --only-binary=:all:` with the same names; it needs a wheel for each.",
            )
        (work / "out").rename(kept)
    except FileExistsError:
        return
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _last_error(text: str) -> str:
    errors = [line for line in text.splitlines() if line.startswith("ERROR")]
    return (errors or text.strip().splitlines() or ["no output"])[-1]
