"""Environments: made once, whole or not at all, kept while they are held."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from corpgrid.agent import environment
from corpgrid.agent.environment import Environments
from corpgrid.agent.wheel_tags import Interpreter
from corpgrid.agent.wheels import EnvironmentLimits, Unpacked, Wheel, unpack_wheel
from corpgrid.errors import BundleError, LimitError, StoreError
from tests.unit.agent.wheel_files import honest_wheel

LINUX = Interpreter(minor=11, system="linux", architecture="x86_64", libc=(2, 36))


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    made = tmp_path / "blobs"
    made.mkdir()
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "environments"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def environments(root: Path, *, cache_bytes: int = 1 << 30, interpreter: Interpreter = LINUX) -> Environments:
    return Environments(root, interpreter=interpreter, cache_bytes=cache_bytes)


def count_unpacking(monkeypatch: pytest.MonkeyPatch, before: Callable[[Wheel], None] = lambda _: None) -> list[str]:
    """The names of wheels as they are unpacked."""
    unpacked: list[str] = []

    def unpack(wheel: Wheel, target: Path, **rest: object) -> Unpacked:
        before(wheel)
        unpacked.append(wheel.name)
        return unpack_wheel(wheel, target, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(environment, "unpack_wheel", unpack)
    return unpacked


async def test_wheels_are_unpacked_together_and_once(blobs: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    unpacked = count_unpacking(monkeypatch)
    wheels = [honest_wheel(blobs, "one"), honest_wheel(blobs, "two")]
    under_test = environments(root)
    first = await under_test.acquire(wheels)
    second = await under_test.acquire(wheels[::-1])
    third = await environments(root).acquire(wheels)
    assert first.path == second.path == third.path
    assert {"one.py", "two.py"} <= {path.name for path in first.path.iterdir()}
    assert len(unpacked) == 2


async def test_requests_that_come_together_share_one_making(blobs: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    unpacked = count_unpacking(monkeypatch)
    under_test = environments(root)
    wheels = [honest_wheel(blobs)]
    held = await asyncio.gather(*(under_test.acquire(wheels) for _ in range(10)))
    assert len({each.path for each in held}) == 1
    assert len(unpacked) == 1


async def test_one_who_gives_up_does_not_spoil_it_for_the_others(blobs: Path, root: Path):
    under_test = environments(root)
    wheels = [honest_wheel(blobs)]
    impatient = asyncio.create_task(under_test.acquire(wheels))
    patient = asyncio.create_task(under_test.acquire(wheels))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert (await patient).path.is_dir()


async def test_other_wheels_or_another_interpreter_are_another_environment(blobs: Path, root: Path):
    one, two = honest_wheel(blobs, "one"), honest_wheel(blobs, "two")
    sets = [[one], [two], [one, two], [honest_wheel(blobs, "one", b"other = 1")]]
    paths = {(await environments(root).acquire(wheels)).path for wheels in sets}
    paths.add((await environments(root, interpreter=LINUX._replace(minor=12)).acquire([one])).path)
    assert len(paths) == 5


async def test_everybody_may_read_and_nobody_may_write(blobs: Path, root: Path):
    before = os.umask(0o077)
    try:
        held = await environments(root).acquire([honest_wheel(blobs)])
    finally:
        os.umask(before)
    assert (mode(root), mode(held.path.parent)) == (0o755, 0o755)
    for path in (held.path, *held.path.rglob("*")):
        assert mode(path) == (0o555 if path.is_dir() else 0o444), path


async def test_a_wheel_that_is_refused_leaves_nothing(blobs: Path, root: Path):
    under_test = environments(root)
    bad = honest_wheel(blobs)._replace(name="greeting-1.0-cp399-cp399-win_amd64.whl")
    for _ in range(2):
        with pytest.raises(BundleError, match=r"CPython 3\.11 on linux"):
            await under_test.acquire([honest_wheel(blobs, "one"), bad])
    assert names_in(root) == []


async def test_limits_hold_for_all_wheels_together(blobs: Path, root: Path):
    limits = EnvironmentLimits(environment_files=7)
    under_test = Environments(root, interpreter=LINUX, cache_bytes=1 << 30, limits=limits)
    one, two = honest_wheel(blobs, "one"), honest_wheel(blobs, "two")
    (await under_test.acquire([one])).release()
    with pytest.raises(LimitError, match="environment_files"):
        await under_test.acquire([one, two])


async def test_a_full_disk_is_named_and_leaves_nothing(blobs: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: Wheel) -> None:
        raise OSError(28, "No space left on device")

    count_unpacking(monkeypatch, before=full)
    with pytest.raises(StoreError, match="No space left"):
        await environments(root).acquire([honest_wheel(blobs)])
    assert names_in(root) == []


async def test_what_a_crash_left_is_swept_and_made_again(blobs: Path, root: Path):
    wheels = [honest_wheel(blobs)]
    path = (await environments(root).acquire(wheels)).path
    (root / ".making-dead" / "packages").mkdir(parents=True)
    (root / ".removing-dead" / "packages").mkdir(parents=True)
    again = environments(root)
    await again.sweep()
    assert names_in(root) == [path.parent.name]
    assert (await again.acquire(wheels)).path == path


async def test_the_least_recently_used_goes_first_and_what_is_held_stays(blobs: Path, root: Path):
    wheels = {name: [honest_wheel(blobs, name, b"#" * 100_000)] for name in "abcd"}
    roomy = environments(root)
    held = {name: await roomy.acquire(wheels[name]) for name in "abc"}
    size = int((held["a"].path.parent / "size").read_text())
    for age, name in enumerate("cab"):  # c was used longest ago
        os.utime(held[name].path.parent / "size", (1_000_000 + age, 1_000_000 + age))

    tight = environments(root, cache_bytes=int(2.5 * size))
    keep_c = await tight.acquire(wheels["c"])
    os.utime(keep_c.path.parent / "size", (999_999, 999_999))
    (await tight.acquire(wheels["d"])).release()
    left = {name for name in "abc" if held[name].path.exists()}
    assert left == {"c"}
    keep_c.release()
    keep_c.release()
    await tight.acquire(wheels["a"])
    assert not keep_c.path.exists()


async def test_an_environment_that_does_not_fit_the_cache_is_still_made(blobs: Path, root: Path):
    held = await environments(root, cache_bytes=1).acquire([honest_wheel(blobs)])
    assert (held.path / "greeting.py").exists()


async def test_bytecode_is_made_by_somebody_else(blobs: Path, root: Path):
    async def precompile(packages: Path, bytecode: Path) -> None:
        assert (packages / "greeting.py").exists()
        (bytecode / "env").mkdir()
        (bytecode / "env" / "greeting.cpython-311.pyc").write_bytes(b"code")

    under_test = Environments(root, interpreter=LINUX, cache_bytes=1 << 30, precompile=precompile)
    held = await under_test.acquire([honest_wheel(blobs)])
    placed = held.path / "__pycache__" / "greeting.cpython-311.pyc"
    assert placed.read_bytes() == b"code"
    assert (mode(placed), mode(placed.parent)) == (0o444, 0o555)


async def test_what_somebody_else_planted_beside_the_bytecode_is_left_behind(blobs: Path, root: Path):
    victim = blobs / "victim"
    victim.touch(mode=0o600)

    async def precompile(_: Path, bytecode: Path) -> None:
        (bytecode / "env" / "sub").mkdir(parents=True)
        (bytecode / "env" / "greeting.cpython-311.pyc").symlink_to(victim)
        (bytecode / "env" / "link").symlink_to(blobs)
        (bytecode / "env" / "evil.py").touch()
        (bytecode / "env" / "sub" / "evil.cpython-311.pyc").touch()

    under_test = Environments(root, interpreter=LINUX, cache_bytes=1 << 30, precompile=precompile)
    held = await under_test.acquire([honest_wheel(blobs)])
    assert sorted(names_in(held.path)) == ["greeting-1.0.dist-info", "greeting.py"]
    assert mode(victim) == 0o600
    assert names_in(root) == [held.path.parent.name]


async def test_two_agents_may_make_one_environment_at_once(blobs: Path, root: Path):
    wheels = [honest_wheel(blobs)]
    held = await asyncio.gather(*(environments(root).acquire(wheels) for _ in range(4)))
    assert len({each.path for each in held}) == 1
    assert names_in(root) == [held[0].path.parent.name]
