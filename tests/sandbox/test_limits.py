"""Which resource limits are chosen, and that a sandbox really has them."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from corpgrid.errors import SandboxError
from corpgrid.host import sandbox_limits
from corpgrid.host.sandbox_limits import apply_resource_limits, counts_processes_per_namespace, resource_limits
from tests.sandbox.probing import LIMITS, Prober

READ = """
import resource
for name in ('CORE', 'FSIZE', 'NOFILE', 'NPROC', 'NICE', 'RTPRIO', 'MEMLOCK', 'AS'):
    found[name] = list(resource.getrlimit(getattr(resource, 'RLIMIT_' + name)))
"""


def _choose(*, gpus: bool = False, memory_accounted: bool = True, counts_per_namespace: bool = True) -> dict[int, int]:
    return resource_limits(
        LIMITS, gpus=gpus, memory_accounted=memory_accounted, counts_per_namespace=counts_per_namespace
    )


def test_addresses_are_limited_only_without_a_cgroup_and_without_a_gpu() -> None:
    assert resource.RLIMIT_AS in _choose(memory_accounted=False)
    assert resource.RLIMIT_AS not in _choose(memory_accounted=True)
    assert resource.RLIMIT_AS not in _choose(memory_accounted=False, gpus=True)
    assert resource.RLIMIT_MEMLOCK not in _choose(gpus=True)


def test_processes_are_limited_only_where_they_are_counted_in_the_namespace() -> None:
    assert _choose()[resource.RLIMIT_NPROC] == LIMITS.processes + 1
    assert resource.RLIMIT_NPROC not in _choose(counts_per_namespace=False)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.13.0-27-generic", False),
        ("5.14.0", True),
        ("6.1.0-13-amd64", True),
        ("10.0", True),
        ("odd", False),
        ("4", False),
    ],
)
def test_which_kernels_count_in_the_namespace(release: str, expected: bool) -> None:  # noqa: FBT001 - pytest passes it
    assert counts_processes_per_namespace(release) is expected


async def test_a_sandbox_has_its_limits(prober: Prober) -> None:
    found = await prober.probe(READ)
    accounted = prober.sandbox.cgroups is not None and prober.sandbox.cgroups.accounts_memory
    for kind, value in _choose(memory_accounted=accounted).items():
        name = next(name for name in found if getattr(resource, f"RLIMIT_{name}") == kind)
        assert found[name] == [value, value]


async def test_a_job_goes_first_where_memory_runs_out(prober: Prober) -> None:
    assert (await prober.run("print(open('/proc/self/oom_score_adj').read())")).out.strip() == b"1000"


def test_limits_that_cannot_be_set_are_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "prlimit", refuse)
    monkeypatch.setattr(sandbox_limits, "PRLIMIT", "/usr/bin/false")
    with pytest.raises(SandboxError) as caught:
        apply_resource_limits(os.getpid(), {resource.RLIMIT_CORE: 0}, None)
    assert "CAP_SYS_RESOURCE" in caught.value.remedy


def test_the_program_sets_what_the_call_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path(sandbox_limits.PRLIMIT).exists():
        pytest.skip("util-linux is not installed")

    def refuse(*_: object) -> None:
        raise PermissionError

    child = subprocess.Popen(["/usr/bin/sleep", "60"])
    try:
        with monkeypatch.context() as patch:
            patch.setattr(resource, "prlimit", refuse)
            apply_resource_limits(child.pid, {resource.RLIMIT_NOFILE: 77, resource.RLIMIT_CORE: 0}, None)
        text = Path(f"/proc/{child.pid}/limits").read_text()
    finally:
        child.kill()
        child.wait()
    assert [line.split()[3:5] for line in text.splitlines() if line.startswith("Max open files")] == [["77", "77"]]
