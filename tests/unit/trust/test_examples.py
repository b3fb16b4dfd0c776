"""The examples in the docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

from corpgrid import trust

MODULES = [f"{trust.__name__}.{module.name}" for module in pkgutil.iter_modules(trust.__path__)]
SHOWN = {"bundle", "canonical", "digest", "envelope", "fields", "jobspec", "keys", "paths"}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
    assert found.attempted > 0 or name.rpartition(".")[2] not in SHOWN
