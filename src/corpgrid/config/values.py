"""One setting's value: from what a file, the environment or the command line says, and back to text.

Rules:

* TOML's own types are taken as they are; text is read by the setting's type, so that every source can say everything.
* Sizes may be written ``64 KiB`` (KiB, MiB, GiB, TiB); lists as ``a, b``; an optional path is unset by an empty text.
* ``parse(text(value)) == value`` for every setting.
* What cannot be read raises ValueError with what it must be, as the end of the sentence "it must be ...".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_WHOLE = re.compile(r"[+-]?\d+(_\d+)*", re.ASCII)
_SIZE = re.compile(r"(\d+) ?(KiB|MiB|GiB|TiB)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a setting accepts.

    Attributes:
        type: ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Path | None`` or ``tuple[str, ...]``.
        low: least number, or None for any; ``high`` likewise.
        choices: the only words; none means any text.
    """

    type: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def parse(said: object, kind: Kind, *, home: Path = Path("~"), base: Path = Path()) -> object:
    """A value of the kind's type; ``home`` is what ``~`` stands for, ``base`` what a relative path is relative to.

    Raises:
        ValueError: with what it must be.
    """
    if kind.type is bool:
        return _boolean(said)
    if kind.type is int:
        return _within(_integer(said), kind)
    if kind.type is float:
        return _within(_real(said), kind)
    if kind.type is str:
        return _word(said, kind)
    if kind.type == tuple[str, ...]:
        return _words(said)
    return _path(said, home=home, base=base, optional=kind.type is not Path)


def text(value: object, kind: Kind, *, is_bytes: bool = False) -> str:
    """The value as it could be written down in the environment."""
    if value is None:
        return ""
    if kind.type is bool:
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if is_bytes and isinstance(value, int) and value > 0:
        return _size_text(value)
    return str(value)


def _size_text(value: int) -> str:
    whole = [(value // unit, name) for name, unit in _UNITS.items() if value % unit == 0]
    number, name = whole[-1] if whole else (value, "")
    return f"{number} {name}".strip()


def _boolean(said: object) -> bool:
    found = _BOOLEANS.get(said.strip().lower()) if isinstance(said, str) else said
    if found is not True and found is not False:
        raise ValueError("true or false")
    return found


def _integer(said: object) -> int:
    if isinstance(said, int) and not isinstance(said, bool):
        return said
    written = said.strip() if isinstance(said, str) else ""
    size = _SIZE.fullmatch(written)
    if size is None and not _WHOLE.fullmatch(written):
        raise ValueError("a whole number")
    return int(size[1]) * _UNITS[size[2]] if size else int(written)


def _real(said: object) -> float:
    number = math.nan
    if isinstance(said, int | float | str) and not isinstance(said, bool):
        try:
            number = float(said)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number")
    return number


def _within(number: float, kind: Kind) -> float:
    low, high = kind.low, kind.high
    if low is not None and high is not None and not low <= number <= high:
        raise ValueError(f"from {_readable(low)} to {_readable(high)}")
    if low is not None and number < low:
        raise ValueError(f"at least {_readable(low)}")
    return number


def _readable(number: float) -> str:
    return f"{int(number) if number == int(number) else number:,}"


def _word(said: object, kind: Kind) -> str:
    if kind.choices and said not in kind.choices:
        raise ValueError(f"one of {', '.join(kind.choices)}")
    if not isinstance(said, str):
        raise ValueError("text")  # noqa: TRY004  # one error for everything that cannot be read
    return said


def _words(said: object) -> tuple[str, ...]:
    parts = said.split(",") if isinstance(said, str) else said
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError("a list of words")
    return tuple(part.strip() for part in parts if part.strip())


def _path(said: object, *, home: Path, base: Path, optional: bool) -> Path | None:
    if optional and said == "":
        return None
    if not isinstance(said, str | Path) or not str(said):
        raise ValueError("a path")
    if str(said) == "~" or str(said).startswith("~/"):
        return home / str(said)[2:]
    return base / said
