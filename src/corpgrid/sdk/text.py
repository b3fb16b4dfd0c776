r"""Text that came from a device, made harmless for a terminal: no control character of it gets through.

>>> printable("red: \x1b[31m")
'red: \\x1b[31m'
"""

from __future__ import annotations

_LAST_OF_A_BYTE = 0xFF


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Text with every character that is not printable made visible, but for those of ``keep``."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code <= _LAST_OF_A_BYTE else letter.encode("ascii", "backslashreplace").decode()
