"""The grid as a ``concurrent.futures.Executor``, for programs that know only that."""

from concurrent.futures import Executor, as_completed

import corpgrid


def collatz(number: int) -> int:
    """How many steps it takes to reach 1."""
    steps = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


def longest(pool: Executor, numbers: range) -> tuple[int, int]:
    """Knows nothing of grids."""
    futures = {pool.submit(collatz, number): number for number in numbers}
    return max((future.result(), futures[future]) for future in as_completed(futures))


def main() -> None:
    with corpgrid.connect() as grid, grid.executor(name="collatz", verify="none") as pool:
        steps, number = longest(pool, range(1, 1_000))
        print(f"{number} takes {steps} steps")


if __name__ == "__main__":
    main()
