"""``./dev storm``: a real grid through a storm of faults, and a verdict on what is left.

Plain lines say what happens; with ``--json`` one object comes last, and the lines go to standard error.  The exit
status is 1 if anything that must hold did not; then the seed, the last events and the command that plays the plan again
follow, and logs, journals and the database are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from benchmarks.storm.storm import Options, Storm


def main() -> int:
    """Play one storm; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev storm", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="one seed is one plan")
    parser.add_argument("--seconds", type=float, default=180.0, help="for how long there is trouble")
    parser.add_argument("--gap", type=float, default=1.5, help="seconds between two blows, on average")
    parser.add_argument("--schedulers", type=int, default=3)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=None, help="save logs, journals and the database here")
    parser.add_argument("--plan", action="store_true", help="only print what would happen")
    parser.add_argument("--json", action="store_true", help="print one JSON object, last")
    given = parser.parse_args()
    options = Options(
        seed=given.seed,
        seconds=given.seconds,
        gap_seconds=given.gap,
        schedulers=given.schedulers,
        agents=given.agents,
        clients=given.clients,
        keep=given.keep,
    )
    if given.plan:
        print("\n".join(f"{event.at:7.2f} s  {event}" for event in options.plan))
        return 0
    say = partial(print, file=sys.stderr if given.json else sys.stdout, flush=True)
    storm = Storm(options, say)
    facts = storm.run()
    if facts["violations"]:
        story = [f"seed {options.seed}; the last events:", *storm.last()]
        story += [f"violation: {violation}" for violation in facts["violations"]]
        print("\n".join([*story, f"play it again: {options.command}"]), file=sys.stderr)
    print(json.dumps(facts) if given.json else json.dumps(facts, indent=2))
    return 1 if facts["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
