"""CorpGrid: the computers a company already owns, as one batch grid whose answers can be trusted.

Everything a user needs is a name in this module; all other modules are ours to change.  Names are
resolved on first use, so that ``import corpgrid`` costs next to nothing:

    import corpgrid

    with corpgrid.connect() as grid:
        print(sum(grid.map(square, range(100))))
"""

from __future__ import annotations

__version__ = "0.1.0"
