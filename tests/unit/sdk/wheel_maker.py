"""Wheels made for tests, as a build tool would make them."""

from __future__ import annotations

import hashlib
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path


def make_wheel(
    folder: Path, name: str, files: Mapping[str, str], *, version: str = "1.0", tag: str = "py3-none-any"
) -> Path:
    """A wheel with these files."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},{_hash(text.encode())},{len(text.encode())}\n" for path, text in contents.items())
    path = folder / f"{name}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in contents.items():
            archive.writestr(member, text)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def installed_wheel(folder: Path, project: str) -> Path:
    """The wheel from which an installed project came, made again from its files: nobody needs to be asked for it."""
    distribution = metadata.distribution(project)
    tags = [line.partition(": ")[2].split("-") for line in _lines(distribution, "WHEEL") if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
    path = folder / f"{project}-{distribution.version}-{tag}.whl"
    left_out = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
    record = []
    with zipfile.ZipFile(path, "w") as archive:
        for file in distribution.files or ():
            if ".." in file.parts or "__pycache__" in file.parts or (file.name in left_out and len(file.parts) == 2):
                continue
            content = file.read_binary()
            archive.writestr(file.as_posix(), content)
            record.append(f"{file.as_posix()},{_hash(content)},{len(content)}\n")
        info = f"{project}-{distribution.version}.dist-info/RECORD"
        archive.writestr(info, "".join([*record, f"{info},,\n"]))
    return path


def _lines(distribution: metadata.Distribution, name: str) -> list[str]:
    return (distribution.read_text(name) or "").splitlines()


def _hash(content: bytes) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={digest}"
