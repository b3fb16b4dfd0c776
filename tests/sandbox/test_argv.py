"""The command line, as a pure function of the specification."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_argv import WAIT_FOR_GO, Plumbing, bwrap_argv
from corpgrid.ports.sandbox import SandboxLimits, SandboxSpec

LIMITS = SandboxLimits(memory_bytes=1 << 30, processes=8, work_bytes=1 << 30, work_files=100, tmp_bytes=12345)
SPEC = SandboxSpec(argv=("python3", "start.py"), work=Path("/var/lib/corpgrid/work"), limits=LIMITS)
PLUMBING = Plumbing(bwrap=Path("/usr/bin/bwrap"), seccomp=10, status=11)

MUST = (
    "--unshare-all --unshare-user --disable-userns --assert-userns-disabled",
    "--uid 65534 --gid 65534 --cap-drop ALL",
    "--new-session --die-with-parent --clearenv --hostname job",
    "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64",
    "--proc /proc --dev /dev",
    "--size 12345 --tmpfs /tmp",
    "--size 12345 --tmpfs /dev/shm",
    "--bind /var/lib/corpgrid/work /work --chdir /work",
    "--remount-ro /",
    "--seccomp 10",
    "--json-status-fd 11",
)
NEVER = ("/etc", "/home", "/run", "/sys", "/root", "/var", "/")
ODD = ("job", "/job/../etc", "/job/", "//job")
TAKEN = ("/", "/usr", "/work", "/work/x", "/proc/1", "/dev", "/tmp/x", "/sys")
PAIRS = {"--ro-bind", "--ro-bind-try", "--bind", "--dev-bind", "--dev-bind-try"}

folders = st.sampled_from(["/job", "/in", "/env", "/runtime", "/runtime/deep", "/opt/python"])
specs = st.builds(
    lambda shown, network, gpus: replace(
        SPEC,
        read_only={Path(f"/agent/{n}"): inside for n, inside in enumerate(shown)},
        network=network,
        gpus=tuple(gpus),
    ),
    st.lists(folders, unique=True),
    st.booleans(),
    st.lists(st.integers(0, 7), unique=True),
)


def _binds(argv: list[str]) -> list[tuple[str, str, str]]:
    return [(argv[n], argv[n + 1], argv[n + 2]) for n in range(len(argv)) if argv[n] in PAIRS]


@pytest.mark.parametrize("words", MUST)
@given(spec=specs)
@settings(database=None)
def test_every_core_flag_stands_in_every_command_line(words: str, spec: SandboxSpec) -> None:
    assert f" {words} " in " ".join([*bwrap_argv(spec, PLUMBING), ""])


@given(spec=specs)
@settings(database=None)
def test_no_folder_of_the_hosts_own_is_shown(spec: SandboxSpec) -> None:
    binds = _binds(bwrap_argv(spec, PLUMBING))
    assert not [source for _, source, _ in binds if source in NEVER]
    writable = [inside for flag, _, inside in binds if flag == "--bind"]
    assert writable == ["/work"]


@given(spec=specs)
@settings(database=None)
def test_what_is_granted_decides_what_is_there(spec: SandboxSpec) -> None:
    argv = bwrap_argv(spec, PLUMBING)
    devices = {source for flag, source, _ in _binds(argv) if flag == "--dev-bind-try"}
    assert ("--share-net" in argv) == spec.network
    assert ("/etc/resolv.conf" in argv) == spec.network
    assert {f"/dev/nvidia{index}" for index in range(8)} & devices == {f"/dev/nvidia{index}" for index in spec.gpus}
    assert ("/dev/nvidia-uvm" in devices) == bool(spec.gpus)


@given(spec=specs)
@settings(database=None)
def test_outer_folders_are_mounted_before_inner_ones(spec: SandboxSpec) -> None:
    shown = [inside for flag, source, inside in _binds(bwrap_argv(spec, PLUMBING)) if source.startswith("/agent/")]
    for position, inside in enumerate(shown):
        assert not any(inside.startswith(f"{later}/") for later in shown[position:])


def test_the_command_comes_last_and_waits() -> None:
    argv = bwrap_argv(SPEC, PLUMBING)
    assert argv[argv.index("--") + 1 :] == [*WAIT_FOR_GO, "python3", "start.py"]


def test_the_environment_is_set_word_by_word() -> None:
    argv = bwrap_argv(replace(SPEC, env={"A": "1 --share-net", "B": ""}), PLUMBING)
    at = argv.index("--setenv")
    assert argv[at : at + 6] == ["--setenv", "A", "1 --share-net", "--setenv", "B", ""]


def test_a_gpu_gives_the_drivers_nodes_and_files() -> None:
    plumbing = replace(PLUMBING, driver_folders=(Path("/opt/driver/lib"),))
    binds = _binds(bwrap_argv(replace(SPEC, gpus=(1,)), plumbing))
    nodes = {source for flag, source, _ in binds if flag == "--dev-bind-try"}
    files = {source for flag, source, _ in binds if flag == "--ro-bind-try"}
    assert nodes == {
        *("/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"),
        *("/dev/nvidia-modeset", "/dev/nvidia-caps"),
    }
    assert {"/proc/driver/nvidia", "/etc/ld.so.cache", "/opt/driver/lib"} <= files
    assert all(source == inside for flag, source, inside in binds if flag.endswith("-try"))


@pytest.mark.parametrize("inside", [*ODD, *TAKEN])
def test_a_place_that_is_taken_or_not_plain_is_refused(inside: str) -> None:
    with pytest.raises(SandboxError, match="nothing can be shown at"):
        bwrap_argv(replace(SPEC, read_only={Path("/agent"): inside}), PLUMBING)
