"""Which file names may cross between machines."""

import re

import pytest

from corpgrid.trust.paths import clash, path_fault

GOOD = [
    "a",
    "a/b/c.txt",
    ".hidden",
    "a..b",
    "...a",
    "com10",
    "console.log",
    "ümläut/日本.txt",
    "a b",
    "x" * 255,
    "a/" * 510 + "1234",
    "-rf",
    "~",
]
BAD = {
    "": "component ''",
    "/etc/passwd": "component ''",
    "a//b": "component ''",
    "a/": "component ''",
    ".": "component '.'",
    "./a": "component '.'",
    "..": "component '..'",
    "../a": "component '..'",
    "a/../../b": "component '..'",
    "C:/a": "':'",
    "C:a": "':'",
    "a:stream": "':'",
    "\\\\server\\share": r"'\\\\'",
    "a\\..\\b": r"'\\\\'",
    "a\0b": r"'\\x00'",
    "a\nb": r"'\\n'",
    "a\x1b[31m": r"'\\x1b'",
    "a\x7f": r"'\\x7f'",
    "a\x9b": r"'\\x9b'",
    "a*": r"'\*'",
    "a?": r"'\?'",
    "a<b": "'<'",
    'a"b': "'\"'",
    "a|b": r"'\|'",
    "CON": "reserves",
    "con": "reserves",
    "a/nul.txt": "reserves",
    "aux .c": "reserves",
    "COM1": "reserves",
    "lpt9.tar.gz": "reserves",
    "com¹": "reserves",
    "conin$": "reserves",
    "a.": "ends in a dot or space",
    "a ": "ends in a dot or space",
    "a./b": "ends in a dot or space",
    "...": "ends in a dot or space",
    "x" * 256: "MAX_COMPONENT_BYTES, 255",
    "ü" * 128: "MAX_COMPONENT_BYTES, 255",
    "a/" * 510 + "12345": "MAX_PATH_BYTES allows 1024",
    "u\u0308": "normal form C",
    "\ud800": "not Unicode",
}


@pytest.mark.parametrize("path", GOOD)
def test_names_that_mean_the_same_everywhere(path):
    assert path_fault(path) == ""


@pytest.mark.parametrize(("path", "why"), BAD.items(), ids=map(repr, BAD))
def test_names_that_do_not(path, why):
    assert re.search(why, path_fault(path))


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["a", "A"], "differ only in case"),
        (["a/x", "A/y"], "differ only in case"),
        (["straße", "STRASSE"], "differ only in case"),
        (["a", "a/b"], "both a file and a folder"),
        (["a/b", "a"], "both a file and a folder"),
        (["a/b/c", "x", "a/b"], "both a file and a folder"),
        (["a", "b", "a"], "stands twice"),
    ],
)
def test_names_that_clash(paths, why):
    assert why in clash(paths)


def test_names_that_stand_together():
    assert clash([]) == ""
    assert clash(["a", "b", "a.b", "c/a", "c/b", "d/c/a", "c.d/a"]) == ""
