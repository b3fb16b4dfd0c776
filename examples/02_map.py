"""Results in order, and as they are completed; and what a failed task looks like."""

import math
import time

import corpgrid

STEPS = 200_000


def pi_until(terms: int) -> float:
    """Leibniz's series; what it refers to in this file, like STEPS, travels with it."""
    time.sleep(terms / STEPS / 10)
    return 4 * sum((1 - k % 2 * 2) / (2 * k + 1) for k in range(terms))


def picky(number: int) -> float:
    if number < 0:
        raise ValueError(f"{number} has no real square root")
    return math.sqrt(number)


def main() -> None:
    with corpgrid.connect() as grid:
        job = grid.map(pi_until, [STEPS, 20, 2_000], name="pi")
        for done in job.as_completed():
            print(f"task {done.index} took {done.seconds:.3f} s: {done.value:.6f}")
        for value in job:  # again, this time in order
            print(f"{value:.6f} is off by {abs(value - math.pi):.1e}")

        job = grid.map(picky, [4, -1, 9], limits=corpgrid.Limits(max_attempts=1))
        for outcome in job.results(errors="return"):
            print(outcome)


if __name__ == "__main__":
    main()
