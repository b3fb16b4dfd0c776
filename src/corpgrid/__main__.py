"""``python -m corpgrid``: the command line."""

from corpgrid.cli.main import cli


def main() -> None:
    """Run the command line."""
    cli(prog_name="corpgrid")


if __name__ == "__main__":
    main()
