"""Who somebody of a grid is: one URI, ``corpgrid://GRID/ROLE/NAME``, which stands in a certificate and nowhere else."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from corpgrid.errors import MalformedDataError

_PART = re.compile(r"[A-Za-z0-9_.@-]{1,128}", re.ASCII)
_SCHEME = "corpgrid://"


class Role(StrEnum):
    """What a certificate is for."""

    DEVICE = "device"
    SCHEDULER = "scheduler"
    PERSON = "person"


class Identity(NamedTuple):
    """Who somebody is.

    Attributes:
        grid: the id of the grid that it belongs to.
        name: a device's id, a scheduler's name, a person's.
    """

    grid: str
    role: Role
    name: str

    @property
    def uri(self) -> str:
        """As it stands in a certificate."""
        return f"{_SCHEME}{self.grid}/{self.role}/{self.name}"

    @classmethod
    def parse(cls, uri: str) -> Identity:
        """Read what ``uri`` wrote.

        Raises:
            MalformedDataError: it did not write this.
        """
        grid, _, rest = uri.removeprefix(_SCHEME).partition("/")
        role, _, name = rest.partition("/")
        known = role in {*Role} and _PART.fullmatch(grid) and _PART.fullmatch(name)
        if not known or uri != f"{_SCHEME}{grid}/{role}/{name}":
            raise MalformedDataError(f"{uri[:200]!r} names nobody of a grid: {_SCHEME}GRID/ROLE/NAME is wanted")
        return cls(grid, Role(role), name)
