"""Which grid a scheduler serves: what its settings say, or else what its folder remembers.

* A grid's id stands in its database, in its bucket, and in a file of each scheduler's folder.  Whatever is another
  grid's is refused: two grids on one database would run each other's jobs, and on one bucket delete each other's blobs.
* ``scheduler.grid`` is an id that the operator chose, so that also a scheduler with an empty folder knows it.
* The embedded store is its folder's, and so has the folder's id.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from corpgrid.config import SchedulerConfig
from corpgrid.errors import ConfigError

_FILE = "grid.id"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def remembered(settings: SchedulerConfig) -> str:
    """The id of the grid to which the folder belongs; empty if it is new.

    Raises:
        ConfigError: ``scheduler.grid`` names another, or cannot be a name.
    """
    if settings.grid and not _NAME.fullmatch(settings.grid):
        raise ConfigError(
            f"scheduler.grid is {settings.grid!r}",
            remedy="Write 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit.",
        )
    file = settings.folder / _FILE
    found = file.read_text(encoding="ascii", errors="replace").strip() if file.exists() else ""
    if found and settings.grid and settings.grid != found:
        raise ConfigError(
            f"{settings.folder} belongs to the grid {found}, and scheduler.grid names the grid {settings.grid}",
            remedy="Correct scheduler.grid, or give the other grid a scheduler.folder of its own.",
        )
    return found


def remember(folder: Path, grid: str) -> None:
    """Let the folder belong to a grid."""
    (folder / _FILE).write_text(f"{grid}\n", encoding="ascii")


def of_folder(settings: SchedulerConfig) -> str:
    """The id of the grid whose state stands in the folder itself; made once.

    Raises:
        ConfigError: ``scheduler.grid`` names another, or cannot be a name.
    """
    grid = remembered(settings)
    if not grid:
        grid = settings.grid or uuid.uuid4().hex
        remember(settings.folder, grid)
    return grid
