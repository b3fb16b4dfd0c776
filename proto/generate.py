"""Make the protobuf code from ``proto/`` and put it under ``src/corpgrid/wire/v1``.

Rules:
* The generated code is committed and never edited.  ``python proto/generate.py --check`` says, by its exit status,
  whether it is what this script would make now; the house's checks run that.
* The compiler comes from ``grpcio-tools``.  Only messages are generated: ``corpgrid.wire.methods`` lists the calls, and
  a test holds that list against the services in the schema.
"""

# ruff: noqa: INP001 -- a script, not part of a package

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
SCHEMA = Path("corpgrid/v1/scheduler.proto")
TARGET = ROOT.parent / "src/corpgrid/wire/v1"
INIT = '"""Generated from ``proto/`` by ``proto/generate.py``; do not edit."""\n'


def generate() -> dict[str, str]:
    """The files as they shall be, by name."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi")]
        status = protoc.main(["protoc", f"-I{ROOT}", *outputs, str(SCHEMA)])
        if status:
            raise SystemExit(status)
        made = Path(folder, SCHEMA.parent)
        files = {path.name: path.read_text() for path in sorted(made.iterdir())}
    # The module stands under wire/, and its classes shall say so (for pickling and for error messages).
    files = {
        name: text.replace("'corpgrid.v1.scheduler_pb2'", "'corpgrid.wire.v1.scheduler_pb2'")
        for name, text in files.items()
    }
    return {"__init__.py": INIT, **files}


def stale(files: dict[str, str]) -> list[str]:
    """Names of files that are missing, different, or should not be there."""
    there = {path.name: path.read_text() for path in TARGET.glob("*.py*") if path.is_file()}
    return sorted(name for name in {*files, *there} if files.get(name) != there.get(name))


def main() -> int:
    """Generate, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    files, options = generate(), parser.parse_args()
    changed = stale(files)
    if options.check:
        for name in changed:
            sys.stderr.write(f"{TARGET / name} is stale: run python proto/generate.py\n")
        return 1 if changed else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in changed:
        path = TARGET / name
        if name in files:
            path.write_text(files[name])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
