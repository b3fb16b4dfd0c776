"""Who a sandbox is on the host, what that user can reach, and which interpreter serves it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_python import runner_python
from corpgrid.host.sandbox_user import JobUser, choose_job_user, readable, require_readable
from tests.sandbox.probing import Prober, needs_root

STRANGER = JobUser(64_123, 64_123)


@pytest.mark.parametrize(("closed", "mode"), [("top", 0o700), ("top/inner", 0o750), ("top/inner/file", 0o600)])
def test_a_closed_folder_on_the_way_is_named_with_its_remedy(folder: Path, closed: str, mode: int) -> None:
    (folder / "top" / "inner").mkdir(parents=True)
    path = folder / "top" / "inner" / "file"
    path.touch(mode=0o644)
    assert require_readable(path, STRANGER, what="it") == path.resolve()
    (folder / closed).chmod(mode)
    assert not readable(path, STRANGER)
    with pytest.raises(SandboxError, match=str(folder / closed)) as caught:
        require_readable(path, STRANGER, what="the bundle")
    assert f"chmod o+{'rx' if closed.endswith('file') else 'x'} {folder / closed}" in caught.value.remedy


def test_the_remedy_works(folder: Path) -> None:
    (folder / "top").mkdir(mode=0o700)
    (folder / "top" / "shown").mkdir(mode=0o755)
    (folder / "top").chmod(0o711)  # passing through is enough
    assert readable(folder / "top" / "shown", STRANGER)


def test_owner_and_group_have_their_own_bits(folder: Path) -> None:
    path = folder / "mine"
    path.touch(mode=0o600)
    me = JobUser(os.getuid(), os.getgid())
    assert readable(path, me)
    path.chmod(0o060)
    assert readable(path, JobUser(64_123, os.getgid()))
    assert not readable(path, me)  # the owner's bits count alone, even where others' say more


def test_what_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(SandboxError, match="nothing"):
        require_readable(folder / "nothing", STRANGER, what="it")
    assert not readable(folder / "nothing", None)


def test_a_link_is_judged_by_where_it_leads(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    (folder / "link").symlink_to(folder / "closed")
    assert not readable(folder / "link", STRANGER)


@needs_root
@pytest.mark.parametrize("user", [JobUser(0, 0), JobUser(64_000, 0), JobUser(5, 60)])
def test_the_job_user_is_no_user_of_the_system(user: JobUser) -> None:
    with pytest.raises(SandboxError, match="cannot be the job user"):
        choose_job_user(user)


def test_only_root_has_a_job_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_job_user() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert choose_job_user() == JobUser(64_000, 64_000)
    assert choose_job_user(STRANGER) == STRANGER


# -- the interpreter ---------------------------------------------------------------------------------------------------

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def _installation(folder: Path, mode: int = 0o755) -> Path:
    base = folder / "python"
    (base / "bin").mkdir(parents=True)
    (base / "lib" / f"python{MINOR}").mkdir(parents=True)
    (base / "bin" / f"python{MINOR}").touch(mode=0o755)
    base.chmod(mode)
    return base


def test_the_running_interpreters_installation_is_shown_where_it_lies(folder: Path) -> None:
    base = _installation(folder)
    found = runner_python(STRANGER, base=base)
    assert found == (str(base / "bin" / f"python{MINOR}"), MINOR, {base: str(base)})


def test_a_closed_installation_gives_way_to_the_systems(folder: Path) -> None:
    base = _installation(folder, mode=0o700)
    system = folder / "system"
    system.mkdir(mode=0o755)
    (system / f"python{MINOR}").touch(mode=0o755)
    found = runner_python(STRANGER, base=base, system=(system,))
    assert found == (str(system / f"python{MINOR}"), MINOR, {})


def test_no_interpreter_of_this_minor_version_is_an_error(folder: Path) -> None:
    with pytest.raises(SandboxError, match=f"no Python {MINOR}") as caught:
        runner_python(STRANGER, base=_installation(folder, mode=0o700), system=(folder / "none",))
    assert caught.value.remedy


async def test_the_interpreter_runs_inside(prober: Prober) -> None:
    found = runner_python(prober.sandbox.user)
    outcome = await prober.run("import sys; print(*sys.version_info[:2], sep='.')", read_only=found.read_only)
    assert outcome.out.decode().strip() == found.minor == MINOR


# -- root and the others -----------------------------------------------------------------------------------------------

SELF_TEST = """
import asyncio, json
from corpgrid.host.sandbox_linux import LinuxSandbox
print(json.dumps([gate for gate in asyncio.run(LinuxSandbox().self_test()) if not gate.passed]))
"""


@needs_root
def test_the_self_test_passes_for_an_ordinary_user_too(folder: Path) -> None:
    folder.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-B", "-c", SELF_TEST],
        user=65_534,
        group=65_534,
        extra_groups=[],
        env={"HOME": str(folder), "TMPDIR": str(folder)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


async def test_a_work_folder_below_a_closed_one_is_refused_with_a_remedy(prober: Prober) -> None:
    if prober.sandbox.user is None:
        pytest.skip("an ordinary user enters its own folders")
    (prober.folder / "closed" / "work").mkdir(parents=True)
    (prober.folder / "closed").chmod(0o700)
    with pytest.raises(SandboxError, match="the work folder") as caught:
        await prober.start("pass", work=prober.folder / "closed" / "work")
    assert "chmod o+x" in caught.value.remedy
