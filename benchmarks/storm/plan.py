"""What will happen and when, drawn from a seed alone before anything starts.

* One seed is one plan; what the grid makes of it hangs on the machine, and must be right whatever that is.
* Cards are dealt from shuffled decks, so that a short storm has some of everything.
* Nobody is killed or frozen who is dead or frozen already.  Connections may be troubled twice at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

DATABASE = "postgres"
ALL = "*"
_SETTLE_SECONDS = 2.0


class Kind(StrEnum):
    """What can happen."""

    KILL = "kill"
    """``kill -9``, and started again later."""
    FREEZE = "freeze"
    """SIGSTOP, and SIGCONT later."""
    CUT = "cut"
    """Connections are reset, and new ones refused."""
    SLOW = "slow"
    """Whatever passes comes late."""
    HOLD = "hold"
    """Nothing passes either way; later it all does."""
    DEAF = "deaf"
    """Nothing reaches the far end; what was on its way is lost."""
    MUTE = "mute"
    """Nothing comes back from the far end: what was asked happens, and the answer is lost."""
    SWALLOW = "swallow"
    """The next commit never reaches the far end, and connections are reset."""
    HUSH = "hush"
    """The next commit is made, its answer is lost, and connections are reset."""


PROCESS_KINDS = frozenset({Kind.KILL, Kind.FREEZE})


class Event(NamedTuple):
    """One blow.

    Attributes:
        at: seconds after the storm's beginning.
        targets: processes by name, or one line as ``near>far``; ``*`` is everybody.
        seconds: how long it lasts.
    """

    at: float
    kind: Kind
    targets: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(self.targets)} for {self.seconds:.2f} s"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who is there, by name."""

    schedulers: tuple[str, ...]
    agents: tuple[str, ...]
    clients: tuple[str, ...]

    @classmethod
    def of(cls, schedulers: int, agents: int, clients: int) -> Fleet:
        """So many of each."""
        return cls(
            tuple(f"scheduler-{number}" for number in range(1, schedulers + 1)),
            tuple(f"agent-{number}" for number in range(1, agents + 1)),
            tuple(f"client-{number}" for number in range(1, clients + 1)),
        )


class _Card(NamedTuple):
    kind: Kind
    whom: str
    least_seconds: float
    most_seconds: float


_DECK = (
    _Card(Kind.KILL, "scheduler", 0.2, 3.0),
    _Card(Kind.KILL, "scheduler", 0.2, 3.0),
    _Card(Kind.KILL, "schedulers", 0.2, 2.0),
    _Card(Kind.KILL, "agent", 0.2, 3.0),
    _Card(Kind.KILL, "agent", 0.2, 8.0),
    _Card(Kind.KILL, "client", 0.2, 2.0),
    _Card(Kind.KILL, "database", 0.1, 2.0),
    _Card(Kind.FREEZE, "scheduler", 0.5, 8.0),
    _Card(Kind.FREEZE, "scheduler", 0.5, 3.0),
    _Card(Kind.FREEZE, "agent", 0.5, 8.0),
    _Card(Kind.FREEZE, "database", 0.5, 6.0),
    _Card(Kind.CUT, "*>scheduler", 0.1, 4.0),
    _Card(Kind.CUT, "agent>*", 0.1, 8.0),
    _Card(Kind.CUT, "scheduler>database", 0.1, 4.0),
    _Card(Kind.SLOW, "*>scheduler", 2.0, 8.0),
    _Card(Kind.SLOW, "scheduler>database", 2.0, 6.0),
    _Card(Kind.HOLD, "*>scheduler", 0.5, 6.0),
    _Card(Kind.HOLD, "scheduler>database", 0.5, 6.0),
    _Card(Kind.DEAF, "agent>*", 0.5, 6.0),
    _Card(Kind.DEAF, "*>scheduler", 0.5, 4.0),
    _Card(Kind.DEAF, "scheduler>database", 0.1, 3.0),
    _Card(Kind.DEAF, "*>database", 0.1, 2.0),
    _Card(Kind.MUTE, "*>scheduler", 0.2, 4.0),
    _Card(Kind.MUTE, "client>*", 0.2, 4.0),
    _Card(Kind.MUTE, "scheduler>database", 0.1, 3.0),
    _Card(Kind.MUTE, "*>database", 0.1, 2.0),
    *[_Card(Kind.SWALLOW, "scheduler>database", 1.0, 3.0)] * 2,
    *[_Card(Kind.HUSH, "scheduler>database", 1.0, 3.0)] * 2,
)


def make_plan(seed: int, *, seconds: float, gap_seconds: float, fleet: Fleet) -> tuple[Event, ...]:
    """The whole storm, in order of time."""
    rng = Random(f"storm/{seed}")
    busy: dict[str, float] = {}
    return tuple(_events(rng, busy, seconds, gap_seconds, fleet))


def _events(rng: Random, busy: dict[str, float], seconds: float, gap_seconds: float, fleet: Fleet) -> Iterator[Event]:
    at, deck = gap_seconds, list[_Card]()
    while at < seconds:
        if not deck:
            deck = rng.sample(_DECK, len(_DECK))
        card = deck.pop()
        lasts = min(rng.uniform(card.least_seconds, card.most_seconds), seconds - at)
        targets = _targets(card, rng, fleet, [name for name, until in busy.items() if until > at])
        if targets:
            if card.kind in PROCESS_KINDS:
                busy.update(dict.fromkeys(targets, at + lasts + _SETTLE_SECONDS))
            yield Event(round(at, 3), card.kind, targets, round(lasts, 3))
        at += gap_seconds * rng.uniform(0.4, 1.6)


def _targets(card: _Card, rng: Random, fleet: Fleet, busy: list[str]) -> tuple[str, ...]:
    if ">" in card.whom:
        near, _, far = card.whom.partition(">")
        return (f"{_end(near, rng, fleet)}>{_end(far, rng, fleet)}",)
    if card.whom == "schedulers":
        return () if set(fleet.schedulers) & set(busy) else fleet.schedulers
    free = [name for name in _members(card.whom, fleet) if name not in busy]
    return (rng.choice(free),) if free else ()


def _end(word: str, rng: Random, fleet: Fleet) -> str:
    return word if word == ALL else rng.choice(_members(word, fleet))


def _members(word: str, fleet: Fleet) -> tuple[str, ...]:
    members = {
        "scheduler": fleet.schedulers,
        "agent": fleet.agents,
        "client": fleet.clients,
        "database": (DATABASE,),
    }
    return members[word]
