"""What travels by value, what by name, and what is refused; pickles are opened by an interpreter that knows nothing."""

from __future__ import annotations

import base64
import importlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NewType

import cloudpickle
import numpy as np
import pytest

from corpgrid.errors import BundleError
from corpgrid.sdk.packing import is_local, local_by_value, name_of, pack, python_minor

Meters = NewType("Meters", float)
FACTOR = 2
OPENER = """
import base64, pickle, sys
function, arguments = (pickle.loads(base64.b64decode(text)) for text in sys.argv[1:])
print(repr(function(*arguments)))
"""


def elsewhere(function: Callable[..., Any], *arguments: Any) -> str:
    """What it returns in a process that has none of these modules, as text."""
    packed = [base64.b64encode(pack(value, what="it")) for value in (function, arguments)]
    done = subprocess.run(
        [sys.executable, "-c", OPENER, *packed], capture_output=True, text=True, cwd="/", timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package of the caller's, whose modules refer to each other in circles."""
    folder = tmp_path / "project"
    folder.mkdir()
    sources = {
        "__init__.py": "",
        "shapes.py": "import project.areas\nfrom functools import cache\nSIDES = 4\n\n"
        "class Square:\n    def __init__(self, side):\n        self.side = side\n\n"
        "    def area(self):\n        return project.areas.square(self.side)\n\n"
        "@cache\ndef sides(_):\n    return SIDES\n",
        "areas.py": "from project import shapes\n\ndef square(side):\n    return side * side\n\n"
        "def of(shape):\n    return isinstance(shape, shapes.Square), shape.area()\n",
        "locked.py": "import threading\nimport pytest\nLOCK = threading.Lock()\n\ndef two():\n    return 2\n",
    }
    for name, text in sources.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("areas", "shapes", "locked"):
        importlib.import_module(f"project.{name}")
    yield sys.modules["project"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "project"]:
        del sys.modules[name]


def test_a_function_with_what_it_refers_to() -> None:
    offset = 3
    assert elsewhere(lambda value: value * FACTOR + offset, 5) == "13"


def test_a_function_that_calls_itself() -> None:
    def factorial(number: int) -> int:
        return 1 if number < 2 else number * factorial(number - 1)

    assert elsewhere(factorial, 5) == "120"


@cache
def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def test_a_cached_function_that_calls_itself() -> None:
    assert elsewhere(fibonacci, 30) == "832040"


def convert(feet: float) -> Meters:
    return Meters(feet * 0.3048)


def test_a_function_annotated_with_a_type_of_ones_own() -> None:
    assert elsewhere(convert, 10.0) == "3.048"


@dataclass
class Point:
    x: int

    def moved(self, by: int) -> Point:
        return Point(self.x + by)


def test_a_class_an_instance_and_a_method() -> None:
    assert elsewhere(Point, 1) == "Point(x=1)"
    assert elsewhere(Point(1).moved, 2) == "Point(x=3)"
    assert elsewhere(lambda point: isinstance(point, Point), Point(1)) == "True"


def test_a_partial_and_a_builtin() -> None:
    assert elsewhere(partial(pow, 2), 10) == "1024"
    assert elsewhere(sorted, [2, 1]) == "[1, 2]"


def test_modules_of_ones_own_that_refer_to_each_other(project: Any) -> None:
    assert elsewhere(project.areas.of, project.shapes.Square(3)) == "(True, 9)"
    assert elsewhere(lambda side: 1 + project.areas.square(side), 4) == "17"
    assert elsewhere(project.shapes.sides, 0) == "4"


def test_what_is_packed_is_what_stands_here_now(project: Any) -> None:
    first = pack(project.shapes.sides, what="it")
    project.shapes.SIDES = 5
    project.shapes.sides.cache_clear()
    assert first != pack(project.shapes.sides, what="it")
    assert elsewhere(project.shapes.sides, 0) == "5"


def test_the_same_function_is_the_same_bytes() -> None:
    assert pack(convert, what="it") == pack(convert, what="it")


@pytest.mark.parametrize(
    ("value", "module"),
    [
        (lambda: np.sqrt(2.0), "numpy"),
        (np.sqrt, "numpy"),
        (np.zeros(2), "numpy"),
        (pytest.raises, "_pytest"),
        (lambda: pytest.fail("it"), "pytest"),
    ],
)
def test_an_installed_package_must_be_provided(value: Any, module: str) -> None:
    assert pack(value, what="it", provided=frozenset({module}))
    with pytest.raises(BundleError, match=rf"^it refers to {module}, which is in none of the job's packages"):
        pack(value, what="it")


@pytest.mark.parametrize("value", [cloudpickle.dumps, sorted, Point(1), threading.current_thread])
def test_what_every_device_has_need_not_be_provided(value: Any) -> None:
    assert pack(value, what="it")


def test_a_missing_package_is_named_by_its_distribution() -> None:
    sklearn = pytest.importorskip("sklearn.svm")
    with pytest.raises(BundleError, match="refers to numpy, sklearn") as caught:
        pack(lambda: sklearn.SVC(C=np.sqrt(2.0)), what="fit")
    assert "packages=['numpy', 'scikit-learn']" in caught.value.remedy


def test_of_a_module_that_cannot_travel_whole_what_the_code_names_does(project: Any) -> None:
    """The package holds a module with a lock and one that imports pytest: nobody asks for either."""
    project.locked.LOCK.acquire()
    assert elsewhere(lambda: 1 + project.locked.two()) == "3"
    assert elsewhere(lambda name: getattr(project.locked, "two")() if name else 0, 1) == "2"  # noqa: B009 - as text
    with pytest.raises(BundleError, match="lock"):
        pack(lambda: project.locked.LOCK, what="it")


def test_a_package_of_ones_own_that_the_job_brings_goes_by_name(project: Any) -> None:
    content = pack(project.areas.of, what="it", provided=frozenset({"project"}))
    assert b"project.areas" in content
    assert len(content) < 100
    with pytest.raises(ModuleNotFoundError), unloaded("project"):
        pickle.loads(content)


@contextmanager
def unloaded(package: str) -> Iterator[None]:
    """As on a device: the package is not there."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}
    path, sys.path[:] = sys.path[:], [folder for folder in sys.path if not Path(folder, package).is_dir()]
    try:
        yield
    finally:
        sys.modules.update(kept)
        sys.path[:] = path


def test_what_cannot_travel_is_refused_with_its_name() -> None:
    lock = threading.Lock()
    with pytest.raises(BundleError, match=r"^wait cannot travel: cannot pickle '_thread.lock' object") as caught:
        pack(lambda: lock, what="wait")
    assert "inside the function" in caught.value.remedy


def test_a_compiled_module_of_ones_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its functions have no source, and no device has it."""
    built = type(sys)("mine")
    built.__file__ = "/somewhere/mine.so"
    monkeypatch.setitem(sys.modules, "mine", built)
    assert not is_local(built)
    with pytest.raises(BundleError, match="refers to mine"):
        pack(lambda: built, what="it")


def test_what_another_thread_packs_does_not_disturb(project: Any) -> None:
    packed: list[bytes] = []

    def work() -> None:
        packed.extend(pack(project.areas.of, what="it") for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(packed) == 200
    assert len(set(packed)) == 1


def test_the_registry_is_left_as_it_was(project: Any) -> None:
    cloudpickle.register_pickle_by_value(project.areas)
    try:
        before = cloudpickle.list_registry_pickle_by_value()
        with local_by_value():
            assert {"project.areas", "project.shapes"} <= cloudpickle.list_registry_pickle_by_value()
        assert cloudpickle.list_registry_pickle_by_value() == before
    finally:
        cloudpickle.unregister_pickle_by_value(project.areas)


def test_what_is_local(project: Any) -> None:
    assert is_local(project.areas)
    assert is_local(sys.modules[__name__])
    for module in (np, pytest, threading, sys.modules["corpgrid.errors"], importlib):
        assert not is_local(module)


def test_names_for_people() -> None:
    assert name_of(convert) == "convert"
    assert name_of(partial(pow, 2)) == "partial"
    assert name_of(Point) == "Point"
    assert python_minor() == f"{sys.version_info[0]}.{sys.version_info[1]}"
