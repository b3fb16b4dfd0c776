"""How gRPC is imported: in a process of its own, for it happens once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
before = dict(os.environ)
from corpgrid.transport.rpc import grpc
assert dict(os.environ) == before
grpc.insecure_channel("unix:/nowhere").close()
"""


@pytest.mark.parametrize("chosen", [{}, {"GRPC_EXPERIMENTS": "", "GRPC_ENABLE_FORK_SUPPORT": "1"}])
def test_its_switches_are_known_to_it_and_put_back(chosen: dict[str, str]):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **chosen}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_switch_that_it_does_not_know_would_be_seen():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "GRPC_EXPERIMENTS": "-no_such_switch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no_such_switch" in done.stderr
