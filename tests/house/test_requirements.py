"""The pinned requirements: exact, with the hashes of every platform's artefacts, and silent about where from."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.house.tree import ROOT

SETS = ("core", "demo", "dev", "bench", "lock")
_PIN = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)(?: ; (?P<marker>[^\\\n]+?))? \\\n(?P<hashes>(?:    --hash=.+\n)+)",
    re.MULTILINE,
)
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")

BINARY = {"blake3": 20, "cryptography": 20, "grpcio": 20, "msgpack": 20, "numpy": 10, "psutil": 10}
"""Packages with a wheel for each platform, and the least number of hashes that only all platforms together have."""


def text(pins: str) -> str:
    """One pinned file."""
    return (ROOT / "requirements" / f"{pins}.txt").read_text(encoding="utf-8")


def pinned(pins: str) -> dict[str, set[str]]:
    """Name to (version with its marker), as pinned."""
    found: dict[str, set[str]] = {}
    for match in _PIN.finditer(text(pins)):
        found.setdefault(match["name"], set()).add(f"{match['version']} {match['marker']}")
    return found


def canonical(requirement: str) -> str:
    """The bare name in a requirement."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def asked_for(pins: str) -> set[str]:
    """What the sources of a pinned file ask for by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if pins == "lock":
        return _listed("lock")
    wanted = list(project["dependencies"])
    if pins in {"demo", "dev"}:
        wanted += project["optional-dependencies"]["demo"]
    return (
        {canonical(item) for item in wanted} | _listed("build") | (_listed(pins) if pins in {"dev", "bench"} else set())
    )


def _listed(source: str) -> set[str]:
    lines = (ROOT / "requirements" / f"{source}.in").read_text(encoding="utf-8").splitlines()
    return {canonical(line) for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("pins", SETS)
def test_every_line_is_a_pin_or_its_hash(pins: str) -> None:
    rest = _PIN.sub("", text(pins))
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("# ")] == []
    hashes = [line for line in text(pins).splitlines() if "--hash" in line]
    assert all(_HASH.match(line) for line in hashes)


@pytest.mark.parametrize("pins", SETS)
def test_what_is_asked_for_is_pinned(pins: str) -> None:
    missing = asked_for(pins) - set(pinned(pins))
    assert not missing, f"run ./dev lock: {sorted(missing)}"


@pytest.mark.parametrize("pins", SETS)
def test_it_names_no_address_and_no_path(pins: str) -> None:
    assert not re.search(r"://|file:|^-|(?<![\w.])/[a-z]+/|@", text(pins), re.MULTILINE)


def test_every_platform_has_its_artefacts() -> None:
    counts = {match["name"]: match["hashes"].count("--hash") for match in _PIN.finditer(text("core"))}
    assert {name: counts[name] for name, least in BINARY.items() if counts[name] < least} == {}


def test_one_version_everywhere() -> None:
    dev = pinned("dev")
    assert pinned("core").items() <= pinned("demo").items() <= dev.items()


def test_the_peers_change_no_version_of_the_program() -> None:
    bench, dev = (
        {name: {pin.split()[0] for pin in pins} for name, pins in pinned(which).items()} for which in ("bench", "dev")
    )
    assert {name: bench[name] for name in bench.keys() & dev.keys() if not bench[name] <= dev[name]} == {}
