"""``./dev``: it tells its verbs, refuses others, and finds its way from any folder and in a path with spaces."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

VERBS = ["demo", "up", "test", "check", "fix", "proto", "docs", "bench", "sim", "storm", "lock", "clean"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="./dev is a shell script")


def dev(*arguments: str, at: Path = ROOT, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a checkout's ``./dev``."""
    return subprocess.run(
        [str(at / "dev"), *arguments],
        cwd=cwd or at,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without an environment, in a path with spaces."""
    root = tmp_path / "a checkout with spaces"
    root.mkdir()
    shutil.copy2(ROOT / "dev", root)
    shutil.copy2(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "requirements", root / "requirements")
    return root


def script(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_alone_it_lists_its_verbs() -> None:
    done = dev()
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z]+) +\S", done.stdout, re.MULTILINE) == VERBS


def test_another_verb_is_refused_with_the_list() -> None:
    done = dev("frobnicate")
    assert done.returncode != 0
    assert "no verb called frobnicate" in done.stderr
    assert "check" in done.stderr


def test_it_is_executable() -> None:
    for path in (ROOT / "dev", ROOT / ".ci" / "run"):
        assert path.stat().st_mode & stat.S_IXUSR


def test_a_python_that_is_too_old_is_named(checkout: Path) -> None:
    old = script(checkout / "python", "echo 'it is Python 3.9.2, and 3.11 or newer is needed'")
    done = dev("test", at=checkout, DEV_PYTHON=str(old))
    assert done.returncode == 1
    assert f"{old}: it is Python 3.9.2" in done.stderr
    assert "DEV_PYTHON" in done.stderr


def test_a_python_without_venv_is_named_with_the_remedy(checkout: Path) -> None:
    without = f'shift; exec "{sys.executable}" -c "import sys; sys.modules[\'ensurepip\'] = None\n$1"'
    done = dev("test", at=checkout, DEV_PYTHON=str(script(checkout / "python", without)))
    assert done.returncode == 1
    assert "sudo apt install python3-venv" in done.stderr


def test_an_environment_that_is_made_is_used_at_once_from_any_folder(checkout: Path, tmp_path: Path) -> None:
    """The stamps are honest: nothing is installed while they hold, and something is once a pin changes."""
    python = script(_bin(checkout) / "python", 'echo "python $*"')
    (checkout / ".venv" / "made-at").write_text(str(checkout))
    for pins in ("demo", "dev"):
        (checkout / ".venv" / f"stamp-{pins}").write_text(_stamp(checkout, pins))
    assert dev("demo", "--json", at=checkout, cwd=tmp_path).stdout == "python -m corpgrid demo --json\n"
    assert dev("up", at=checkout, cwd=tmp_path).stdout == "python -m corpgrid up\n"
    assert dev("test", "-k", "a b", at=checkout, cwd=tmp_path).stdout == "python -m pytest -k a b\n"

    with (checkout / "requirements" / "dev.txt").open("a") as file:
        file.write("# changed\n")
    script(python, 'echo "python $*"; case "$*" in *"pip install"*) exit 1;; esac')
    done = dev("test", at=checkout)
    assert done.returncode == 1
    assert "the packages could not be installed" in done.stderr
    assert dev("demo", at=checkout).returncode == 0


def _bin(checkout: Path) -> Path:
    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    return folder


def _stamp(checkout: Path, pins: str) -> str:
    content = (checkout / "requirements" / f"{pins}.txt").read_bytes() + (checkout / "pyproject.toml").read_bytes()
    return subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode().strip()
