"""Whether the demo showed what it promises: a pure function over its summary.

A promise that could not be put to the test is broken, too: a laptop that was never unplugged proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from corpgrid.errors import CorpGridError

YIELD_SECONDS = 1.0
"""How soon nothing of the grid runs on a laptop whose plug was pulled."""


class BrokenPromise(NamedTuple):
    """What was promised and did not hold, and whose log tells more."""

    story: str
    process: str


def broken_promises(summary: Mapping[str, Any]) -> list[BrokenPromise]:
    """Every promise that ``summary`` shows broken; none, if the demo is a proof."""
    tasks, wrong, lost = summary["tasks"], summary["wrong_accepted"], summary["lost_tasks"]
    yielded_seconds = summary["yielded_within_s"]
    found = []
    if wrong > 0:
        found.append(BrokenPromise(f"wrong results accepted: {wrong} of {summary['accepted']}", "scheduler"))
    if lost > 0:
        found.append(BrokenPromise(f"tasks without a result: {lost} of {tasks}", "scheduler"))
    if not summary["liar_quarantined"]:
        found.append(BrokenPromise("the liar was not quarantined", "liar"))
    if yielded_seconds < 0:
        found.append(BrokenPromise("the laptop was never unplugged while it worked", "laptop"))
    elif yielded_seconds >= YIELD_SECONDS:
        late = f"work was gone from the laptop {yielded_seconds:.2f} s after its plug was pulled"
        found.append(BrokenPromise(f"{late}, where less than {YIELD_SECONDS:g} s is promised", "laptop"))
    return found


def verdict(summary: Mapping[str, Any], folder: Path) -> CorpGridError | None:
    """The error to end with if a promise was broken, with the logs in ``folder`` that tell why."""
    broken = broken_promises(summary)
    if not broken:
        return None
    logs = dict.fromkeys(str(folder / f"{promise.process}.log") for promise in broken)
    return CorpGridError(
        f"the demo broke its promise: {'; '.join(promise.story for promise in broken)}",
        remedy=f"Look at {' and '.join(logs)}.",
    )
