"""Files that tasks left, onto this machine's disk: their names come from devices, and lead nowhere but into the folder.

A name that ``trust.paths`` refuses, two names that differ only in case, and a link that stands in the way are errors,
and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from corpgrid.domain.messages import OutputFile
from corpgrid.errors import TrustError, UsageError
from corpgrid.trust.paths import clash, path_fault

Fetch = Callable[[OutputFile, Path], None]


def save_outputs(outputs: Sequence[OutputFile], folder: Path, fetch: Fetch) -> list[Path]:
    """Write files below a folder, which is made if it is not there; what stood there under their names is replaced.

    Args:
        outputs: the files.
        folder: where they go.
        fetch: writes one of them to a path.

    Returns:
        Their paths, in order.

    Raises:
        TrustError: a name leads out of the folder, or is none.
        UsageError: something cannot be written.
    """
    _check(outputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        targets = [_place(folder, output.name) for output in outputs]
        for output, target in zip(outputs, targets, strict=True):
            fetch(output, target)
    except OSError as error:
        raise UsageError(
            f"the outputs cannot be written to {folder}: {error.strerror or error}",
            remedy="Name a folder in which this user can write, with room for them.",
        ) from error
    return targets


def _check(outputs: Sequence[OutputFile]) -> None:
    faults = (
        f"an output is called {output.name!r}: {fault}" for output in outputs if (fault := path_fault(output.name))
    )
    fault = next(faults, "") or clash(output.name for output in outputs)
    if fault:
        raise TrustError(f"the task's outputs cannot be saved: {fault}", remedy="Look at the device that sent them.")


def _place(folder: Path, name: str) -> Path:
    """The path of an output, its folders made; no step of it is a link."""
    *above, file = name.split("/")
    for part in above:
        folder /= part
        if folder.is_symlink():
            raise UsageError(
                f"{folder} is a link, and outputs are not written through links", remedy="Name an empty folder."
            )
        folder.mkdir(exist_ok=True)
    return folder / file
