"""The smallest program: a grid of this machine, one function, ten calls."""

import corpgrid


def greet(number: int) -> str:
    """Runs in a sandbox on some device of the grid."""
    return f"hello from task {number}"


def main() -> None:
    with corpgrid.connect() as grid:  # no address: the grid starts here, and ends with this block
        for greeting in grid.map(greet, range(10)):
            print(greeting)


if __name__ == "__main__":
    main()
