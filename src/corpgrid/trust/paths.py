"""Which file names may cross from one machine to another.

A name is a relative path with ``/`` between its components that means the same file on Linux, macOS and Windows.
Refused: ``..`` and ``.``, absolute paths, drive letters and streams (``:``), backslashes, control characters and NUL,
names that Windows reserves (``CON``, ``lpt1.txt``), a component that ends in a dot or space, text that is not Unicode
or not in normal form C, components over 255 bytes, paths over 1,024; and, in one set of paths, two that differ only in
case, or a file that is another's folder.

>>> path_fault("data/values.csv"), path_fault("../etc/passwd")
('', "it has the component '..'")
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from corpgrid.trust.limits import MAX_COMPONENT_BYTES, MAX_PATH_BYTES

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL)


def path_fault(path: str) -> str:
    """Why this path may not cross, as the end of a sentence; empty if it may."""
    try:
        size_bytes = len(path.encode())
    except UnicodeEncodeError:
        return "it is not Unicode"
    if size_bytes > MAX_PATH_BYTES:
        return f"it has {size_bytes} bytes where MAX_PATH_BYTES allows {MAX_PATH_BYTES}"
    found = _FORBIDDEN.search(path)
    if found:
        return f"it has the character {found[0]!r}"
    if unicodedata.normalize("NFC", path) != path:
        return "it is not in Unicode normal form C"
    return next(filter(None, map(_component_fault, path.split("/"))), "")


def clash(paths: Iterable[str]) -> str:
    """Why these paths may not stand in one folder together, as a sentence; empty if they may."""
    spelled: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        *above, file = _prefixes(path)
        for prefix in (*above, file):
            known = spelled.setdefault(_fold(prefix), prefix)
            if known != prefix:
                return f"{prefix!r} and {known!r} differ only in case"
        if file in files:
            return f"{file!r} stands twice"
        files.add(file)
        folders.update(above)
    both = files & folders
    return f"{min(both)!r} is both a file and a folder" if both else ""


def _component_fault(component: str) -> str:
    if component in ("", ".", ".."):
        return f"it has the component {component!r}"
    if component[-1] in ". ":
        return f"its component {component!r} ends in a dot or space"
    if len(component.encode()) > MAX_COMPONENT_BYTES:
        return f"its component {component[:20]!r}... has more bytes than MAX_COMPONENT_BYTES, {MAX_COMPONENT_BYTES}"
    if _RESERVED.fullmatch(component):
        return f"{component!r} is a name that Windows reserves"
    return ""


def _prefixes(path: str) -> list[str]:
    """``a/b/c`` to ``a``, ``a/b``, ``a/b/c``."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _fold(path: str) -> str:
    """What a file system that ignores case takes for the same name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
