"""The runtime folder holds what a runner needs, and nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corpgrid.agent import runtime
from corpgrid.agent.runtime import lay_out
from corpgrid.errors import ConfigError


def test_it_is_made_once_and_then_found(tmp_path: Path):
    made = lay_out(tmp_path / "cache" / "runtime")
    inode = made.stat().st_ino
    assert lay_out(tmp_path / "cache" / "runtime") == made
    assert made.stat().st_ino == inode
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_two_places_get_the_same_folder(tmp_path: Path):
    one, two = lay_out(tmp_path / "one"), lay_out(tmp_path / "two")
    assert one.name == two.name
    files = [{path.relative_to(each): path.read_bytes() for path in each.rglob("*.py*")} for each in (one, two)]
    assert files[0] == files[1]


@pytest.mark.parametrize("damage", ["cut", "gone", "added"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str):
    made = lay_out(tmp_path)
    file = made / "corpgrid" / "errors.py"
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    else:
        (made / "evil.py").touch()
    assert lay_out(tmp_path) == made
    assert file.read_bytes() == whole
    assert not (made / "evil.py").exists()
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_everybody_may_read_whatever_the_umask_says(tmp_path: Path):
    before = os.umask(0o077)
    try:
        made = lay_out(tmp_path / "root")
    finally:
        os.umask(before)
    for path in (made.parent, made, *made.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_the_runner_starts_from_it_alone(tmp_path: Path):
    made = lay_out(tmp_path)
    code = """
import sys
sys.path[:] = [sys.argv[1], *sys.path]
import cloudpickle
import corpgrid.runner.__main__, corpgrid.runner.engines.python, corpgrid.runner.engines.command
ours = {n: m for n, m in sys.modules.items() if n.split('.')[0] in ('corpgrid', 'msgpack', 'cloudpickle')}
assert all(m.__file__.startswith(sys.argv[1]) for m in ours.values()), ours
print(len(ours))
"""
    argv = [sys.executable, "-I", "-S", "-c", code, str(made)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15


def test_bytecode_is_ready(tmp_path: Path):
    made = lay_out(tmp_path)
    tag = sys.implementation.cache_tag
    for source in made.rglob("*.py"):
        assert (source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc").exists(), source


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime, "_OTHER_PACKAGES", ("no_such_package",))
    with pytest.raises(ConfigError, match="no_such_package"):
        lay_out(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_agents_may_make_it_at_once(tmp_path: Path):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lay_out, [tmp_path] * 4))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [made[0].name]
