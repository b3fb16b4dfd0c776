"""The names that users may rely on are a list in a file: changing the promise is changing that file, on purpose."""

from __future__ import annotations

import subprocess
import sys
import types

import corpgrid
from tests.house.tree import ROOT

PROMISE = ROOT / "tests" / "golden" / "public_api.txt"


def promised() -> list[str]:
    """The names in the file; lines that begin with # explain."""
    lines = PROMISE.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_the_public_names_are_the_promised_ones() -> None:
    assert sorted(corpgrid.__all__) == promised()


def test_every_promised_name_is_there() -> None:
    for public in promised():
        value = getattr(corpgrid, public)
        assert not isinstance(value, types.ModuleType), f"{public} is a module; promise what is in it"
        assert public == "__version__" or value.__doc__, f"{public} has no docstring"


def test_dir_shows_them() -> None:
    assert set(promised()) <= set(dir(corpgrid))


def test_importing_the_root_imports_nothing_else() -> None:
    """``import corpgrid`` costs next to nothing; names are resolved on first use."""
    program = "import sys, corpgrid; print(*sorted(name for name in sys.modules if name.startswith('corpgrid')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["corpgrid"]
