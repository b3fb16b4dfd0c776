"""What is loaded where: in a fresh interpreter, because a test run has long imported everything.

The agent and the runner start on every PC of a company, many times a day: they carry no NumPy, no store and no
scheduler.
The runner's core also starts inside the sandbox, where there is little more than the standard library.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import SRC, modules

HEAVY = (
    "numpy", "sqlite3", "matplotlib", "sklearn", "obstore", "corpgrid.scheduler", "corpgrid.stores", "corpgrid.sdk",
)  # fmt: skip
FOREIGN = ("grpc", "cryptography", "psutil", "click", "rich", "google", "blake3")
"""Packages that are not there inside the sandbox, beyond ``HEAVY``."""


def dotted(path: Path) -> str:
    """``corpgrid.agent.session`` for its file."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> list[str]:
    """All modules of a room, but those that only start a program."""
    found = [dotted(path) for path in modules()]
    return [module for module in found if module.startswith(f"corpgrid.{name}.") and not module.endswith("__main__")]


def loaded_by(names: list[str], unwanted: tuple[str, ...]) -> list[str]:
    """Which of the unwanted packages a fresh interpreter has loaded after importing ``names``."""
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*(name for name in {unwanted!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", ["agent", "runner", "trust", "wire"])
def test_a_room_on_every_device_loads_nothing_heavy(name: str) -> None:
    names = [module for module in room(name) if module != "corpgrid.wire.arrays"]
    assert names
    assert loaded_by(names, HEAVY) == []


def test_the_runners_core_needs_only_what_the_sandbox_has() -> None:
    names = [*room("runner"), "corpgrid.wire.frames", "corpgrid.wire.data", "corpgrid.errors"]
    assert loaded_by(names, (*HEAVY, *FOREIGN)) == []


def test_the_agent_daemon_carries_no_numpy_no_database_and_no_scheduler() -> None:
    assert not loaded_by(["corpgrid.compose.agent"], ("numpy", "sqlite3", "corpgrid.scheduler", "corpgrid.sdk"))
