"""The same no-op map through other systems, on this machine, in the same run, with as many workers.

* Each peer is a program of its own (``peer_dask``, ``peer_ray``): what it starts and keeps burdens nobody after it.
* It is warmed up as our grid is, timed as our grid is, from the client's call to the last value, and prints one line.
* None of them is durable, signs, or checks a result: the ratio compares what a user waits for, not what a user gets.
* A peer that is not installed is told with its remedy, and the rest goes on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import psutil

from corpgrid.cli.bench.facts import latency_facts
from corpgrid.errors import UsageError

_TIMEOUT_SECONDS = 600.0
_SAID_CHARACTERS = 400
_WORKERS = 2


class Peer(NamedTuple):
    """One way to run one system."""

    name: str
    package: str
    program: tuple[str, ...]


PEERS: Mapping[str, tuple[Peer, ...]] = {
    "dask": (
        Peer("dask", "distributed", ("corpgrid.cli.bench.peer_dask",)),
        Peer("dask, worker-saturation=inf", "distributed", ("corpgrid.cli.bench.peer_dask", "--saturation=inf")),
    ),
    "ray": (Peer("ray", "ray", ("corpgrid.cli.bench.peer_ray",)),),
}


class Figures(NamedTuple):
    """What came of one peer: its rates and the seconds of its single tasks, or why there is none."""

    rates: tuple[float, ...] = ()
    singles: tuple[float, ...] = ()
    missing: str = ""


def require_peers(names: Sequence[str]) -> None:
    """Raise before anything is measured.

    Raises:
        UsageError: a peer is none of ``PEERS``.
    """
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UsageError(
            f"there is no peer called {unknown[0]}", remedy=f"Name some of these: --peers {','.join(PEERS)}"
        )


def measure_peers(names: Sequence[str], *, tasks: int, singles: int, runs: int) -> dict[str, Figures]:
    """Each peer in its turn."""
    sizes = (f"--tasks={tasks}", f"--singles={singles}", f"--runs={runs}", f"--workers={_WORKERS}")
    return {peer.name: _measure(peer, sizes) for name in names for peer in PEERS[name]}


def against(peers: Mapping[str, Figures], *, tasks_per_s: float) -> dict[str, Any]:
    """What the report says of the peers; nothing if none was asked for."""
    if not peers:
        return {}
    rates = {name: round(max(peer.rates)) for name, peer in peers.items() if peer.rates}
    return {
        "peers": rates,
        "peers_missing": {name: peer.missing for name, peer in peers.items() if peer.missing},
        "peers_all": {name: [round(rate) for rate in peer.rates] for name, peer in peers.items() if peer.rates},
        "peer_workers": _WORKERS,
        "ratio_to_best_peer": round(tasks_per_s / max(rates.values()), 2) if rates else None,
    }


def peers_latency(peers: Mapping[str, Figures]) -> dict[str, Any]:
    """The percentiles of their single tasks; nothing if none was asked for."""
    told = {name: latency_facts(peer.singles) for name, peer in peers.items() if peer.singles}
    return {"peers_latency": told} if peers else {}


def singles_per_s(peers: Mapping[str, Figures]) -> dict[str, Figures]:
    """The same figures with single tasks a second in place of the map's rate."""
    return {
        name: peer._replace(rates=(1 / fmean(peer.singles),)) if peer.singles else peer for name, peer in peers.items()
    }


def _measure(peer: Peer, sizes: Sequence[str]) -> Figures:
    if importlib.util.find_spec(peer.package) is None:
        return Figures(missing=_remedy(peer))
    its_input, alive = os.pipe()  # it ends when this end of the pipe does, however this process ends
    process = subprocess.Popen(
        [sys.executable, "-m", *peer.program, *sizes],
        stdin=its_input,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(its_input)
    try:
        said, complained = process.communicate(timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return Figures(missing=f"it did not finish within {_TIMEOUT_SECONDS:g} s")
    finally:
        _end(process)
        os.close(alive)
    if process.returncode:
        return Figures(missing=f"it failed: {complained[-_SAID_CHARACTERS:]}")
    figures = json.loads(said.splitlines()[-1])
    return Figures(tuple(figures["rates"]), tuple(figures["singles"]))


def _end(process: subprocess.Popen[str]) -> None:
    """End a peer that still runs, with all that it started."""
    if process.poll() is not None:
        return
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    for child in started:
        if child.is_running():
            child.kill()


def _remedy(peer: Peer) -> str:
    python = ".".join(map(str, sys.version_info[:2]))
    return (
        f"{peer.package} is not installed: call ./dev bench, which brings it, or pip install {peer.package}; "
        f"if that finds nothing, {peer.package} has no release for Python {python} on this machine"
    )
