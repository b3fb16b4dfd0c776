"""Text that came from a device, made harmless for a terminal: no control character of it gets through.

>>> printable("red: \\x1b[31m")
'red: \\\\x1b[31m'
"""

from __future__ import annotations


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Text with every character that is not printable made visible, but for those of ``keep``."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if ord(letter) > 0x7F else f"\\x{ord(letter):02x}"  # noqa: PLR2004 - the end of ASCII
