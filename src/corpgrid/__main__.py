"""``python -m corpgrid``: the command line."""

import sys

from corpgrid.cli.main import run


def main() -> None:
    """Run the command line."""
    sys.exit(run())


if __name__ == "__main__":
    main()
