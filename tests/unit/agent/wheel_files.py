"""Wheels for tests: honest ones, and any other kind of zip archive."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from corpgrid.agent.wheels import Wheel
from corpgrid.trust.digest import digest

Files = Mapping[str | zipfile.ZipInfo, bytes]


def metadata(project: str = "greeting") -> dict[str, bytes]:
    info = f"{project}-1.0.dist-info"
    return {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }


def with_record(files: Mapping[str, bytes], project: str = "greeting") -> dict[str, bytes]:
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}"
        for name, content in files.items()
    ]
    record = f"{project}-1.0.dist-info/RECORD"
    return {**files, record: "\n".join([*lines, f"{record},,"]).encode()}


def write_wheel(
    folder: Path, files: Files, *, name: str = "greeting-1.0-py3-none-any.whl", deflate: bool = True
) -> Wheel:
    """An archive of exactly these files, kept under a name that says nothing, as a cache of blobs does."""
    path = folder / f"blob-{len(list(folder.iterdir()))}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
    return Wheel(name, digest(path.read_bytes()), path)


def honest_wheel(folder: Path, project: str = "greeting", source: bytes = b"def hello(): return 'hello'\n") -> Wheel:
    files = with_record({f"{project}.py": source, **metadata(project)}, project)
    return write_wheel(folder, files, name=f"{project}-1.0-py3-none-any.whl")
