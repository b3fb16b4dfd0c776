"""What the rules of the house look at: the files that people wrote, not what was made from them."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "corpgrid"
DOCS = ROOT / "docs"
GENERATED = SRC / "wire" / "v1"

_FOLDERS = (".ci", "benchmarks", "deploy", "docs", "examples", "proto", "requirements", "src", "tests")
_PASSED_OVER = {"__pycache__", "corpgrid.egg-info"}


def name(path: Path) -> str:
    """A path as people write it: from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def files() -> list[Path]:
    """Every text file of the tree, generated ones included."""
    below = (path for folder in _FOLDERS for path in (ROOT / folder).rglob("*"))
    candidates = [*ROOT.iterdir(), *below]
    return sorted(path for path in candidates if path.is_file() and _PASSED_OVER.isdisjoint(path.parts) and _text(path))


def modules() -> list[Path]:
    """Every module of the program that people wrote."""
    return [path for path in sorted(SRC.rglob("*.py")) if GENERATED not in path.parents]


def pages() -> list[Path]:
    """Every Markdown page."""
    return [path for path in files() if path.suffix == ".md"]


def docstring(path: Path) -> str:
    """A module's docstring, or empty."""
    return ast.get_docstring(ast.parse(path.read_bytes())) or ""


def _text(path: Path) -> bool:
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
