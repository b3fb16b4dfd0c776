"""Python objects into bytes that mean the same on a device: functions, and arguments that are not data.

* What is the caller's own travels *by value* (cloudpickle): the function, and all that it refers to in modules that are
  not installed.  What runs on a device is what stands here, as it is now.
* What is installed travels *by name*, and must be in one of the job's packages: a device has Python's own modules and
  nothing else.  A name that no device could find is an error here, and not on a hundred devices.
* The bytes are inside what the submitter signs, and are opened inside the sandbox alone: results come back as data.
"""

from __future__ import annotations

import io
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

from corpgrid.errors import BundleError, CorpGridError

_ON_EVERY_DEVICE = frozenset({*sys.stdlib_module_names, "__main__", "__mp_main__", "cloudpickle", "corpgrid", "msgpack"})
_INSTALLED = ("site-packages", "dist-packages")
_REGISTRY = threading.RLock()
"""What cloudpickle takes by value is one setting for the whole process."""


class Packed(NamedTuple):
    """An object as bytes.

    Attributes:
        modules: the installed packages to which it refers by name.
    """

    content: bytes
    modules: frozenset[str] = frozenset()


def python_minor() -> str:
    """This interpreter's minor version, such as ``3.11``; what is pickled needs the same."""
    return ".".join(platform.python_version_tuple()[:2])


def pack(value: Any, *, what: str) -> Packed:
    """An object as bytes.

    Args:
        value: any object that can be pickled by value.
        what: how an error calls it.

    Raises:
        BundleError: it refers to something that cannot travel, such as an open file or a lock.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    with local_by_value():
        try:
            pickler.dump(value)
        except RecursionError as error:
            raise BundleError(
                f"{what} cannot travel: it refers to itself in too deep a circle",
                remedy="Import what it needs inside the function, or send the modules as files with a job file.",
            ) from error
        except CorpGridError:
            raise
        except Exception as error:
            deep = "recursion" in str(error)
            raise BundleError(f"{what} cannot travel: {error}", remedy=_CIRCLE if deep else _OPEN) from error
    return Packed(buffer.getvalue(), frozenset(pickler.modules))


_OPEN = "Open files, locks and connections inside the function, not outside of it."
_CIRCLE = "Let the function refer to functions instead of modules, or send the modules as files with a job file."


def require_packages(what: str, modules: frozenset[str], provided: frozenset[str]) -> None:
    """See that devices will find the packages to which something refers.

    Args:
        what: how an error calls it.
        modules: the packages, by the name under which they are imported.
        provided: those that the job brings.

    Raises:
        BundleError: one is missing.
    """
    missing = sorted(modules - provided)
    if not missing:
        return
    owners = metadata.packages_distributions()
    names = sorted({owner for module in missing for owner in owners.get(module, [module])[:1]})
    raise BundleError(
        f"{what} refers to {', '.join(missing)}, which is in none of the job's packages",
        remedy=f"Give packages={names!r}, or a requirements file; a device has Python's own modules and nothing else.",
    )


class _Pickler(cloudpickle.Pickler):
    """Notes which installed packages the pickle will import."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Called for every object but the plainest."""
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented:  # it goes by name, if it has one
            name = obj.__name__ if isinstance(obj, ModuleType) else getattr(obj, "__module__", None)
            named = isinstance(obj, ModuleType | type) or callable(obj)
            if named and isinstance(name, str):
                self._note(name)
        return reduced

    def _note(self, name: str) -> None:
        top = name.partition(".")[0]
        module = sys.modules.get(name)
        if top not in _ON_EVERY_DEVICE and module is not None and not is_local(module):
            self.modules.add(top)


@contextmanager
def local_by_value() -> Iterator[None]:
    """Within it, cloudpickle takes the caller's own modules by value."""
    with _REGISTRY:
        known = cloudpickle.list_registry_pickle_by_value()
        registered = [module for module in list(sys.modules.values()) if is_local(module)]
        registered = [module for module in registered if module.__name__ not in known]
        for module in registered:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)


def is_local(module: ModuleType) -> bool:
    """Whether a module is the caller's own code: Python source that is not installed, nor Python's, nor CorpGrid's."""
    origin, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not isinstance(origin, str) or not isinstance(name, str) or name.partition(".")[0] in _ON_EVERY_DEVICE:
        return False
    if name not in sys.modules or not origin.endswith((".py", ".pyc")):
        return False
    return not any(folder in origin for folder in _INSTALLED)
