"""Python objects into bytes that mean the same on a device: functions, and arguments that are not data.

* What is the caller's own travels *by value* (cloudpickle): the function, and all that it refers to in modules that are
  not installed.  What runs on a device is what stands here, as it is now.  A module to which it refers travels whole;
  if that cannot be, then as much of it as the names in the code ask for.
* What is installed, or is in one of the job's packages, travels *by name*, and must be in one of them: a device has
  Python's own modules and nothing else.  A name that no device could find is an error here, not on a hundred devices.
* The bytes are inside what the submitter signs, and are opened inside the sandbox alone: results come back as data.
"""

from __future__ import annotations

import functools
import io
import pickle
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from types import CodeType, FunctionType, ModuleType
from typing import Any, NewType

import cloudpickle

from corpgrid.errors import BundleError, CorpGridError

_ON_EVERY_DEVICE = frozenset(
    {*sys.stdlib_module_names, "__main__", "__mp_main__", "cloudpickle", "corpgrid", "msgpack"}
)
_OWN_PROGRAM = frozenset({"__main__", "__mp_main__"})
_INSTALLED = ("site-packages", "dist-packages")
_OF_THE_LOADER = frozenset({"__builtins__", "__cached__", "__file__", "__loader__", "__path__", "__spec__"})
_OF_EVERY_MODULE = frozenset({"__doc__", "__name__", "__package__"})
_REGISTRY = threading.RLock()
"""What cloudpickle takes by value is one setting for the whole process."""


def python_minor() -> str:
    """This interpreter's minor version, such as ``3.11``; what is pickled needs the same."""
    return ".".join(platform.python_version_tuple()[:2])


def name_of(function: Callable[..., Any]) -> str:
    """What people call it; a partial or an instance has the name of its class."""
    return str(getattr(function, "__name__", type(function).__name__))[:200]


def pack(value: Any, *, what: str, provided: frozenset[str] = frozenset()) -> bytes:
    """An object as bytes.

    Args:
        value: any object that can be pickled by value.
        what: how an error calls it.
        provided: the installed packages that devices will have, by the name under which they are imported.

    Raises:
        BundleError: it refers to something that cannot travel, such as an open file or a lock, or to a package that
            devices will not have.
    """
    with local_by_value(apart=provided):
        try:
            content, _, lacking = _packed(value, what, provided, only=None)
        except BundleError:
            lacking = {what}
        if lacking:
            content, lacking = _pack_narrow(value, what, provided)
    if lacking:
        raise _not_provided(what, lacking)
    return content


def _pack_narrow(value: Any, what: str, provided: frozenset[str]) -> tuple[bytes, set[str]]:
    """The same, but of modules only what some name in the code could mean: whole, one of them cannot travel."""
    only: frozenset[str] = frozenset()
    while True:
        content, names, lacking = _packed(value, what, provided, only=only)
        if names <= only:
            return content, lacking
        only |= names


def _packed(
    value: Any, what: str, provided: frozenset[str], *, only: frozenset[str] | None
) -> tuple[bytes, set[str], set[str]]:
    """An object as bytes, all names in its code, and the packages that it needs and nobody provides."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, what, provided, only)
    try:
        pickler.dump(value)
    except CorpGridError:
        raise
    except Exception as error:  # whatever the reduction of some object raises
        raise BundleError(
            f"{what} cannot travel: {error}",
            remedy="Open files, locks and connections inside the function, not outside of it.",
        ) from error
    return buffer.getvalue(), pickler.names, pickler.lacking


def _not_provided(what: str, modules: set[str]) -> BundleError:
    owners = metadata.packages_distributions()
    names = sorted({owner for module in modules for owner in owners.get(module, [module])[:1]})
    return BundleError(
        f"{what} refers to {', '.join(sorted(modules))}, which is in none of the job's packages",
        remedy=f"Give packages={names!r}, or a requirements file; a device has Python's own modules and nothing else.",
    )


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Takes a few more things by value than cloudpickle.

    Args:
        file: where the bytes go.
        what: how an error calls the object.
        provided: packages that go by name, although they may be the caller's own.
        only: of the caller's modules take what has one of these names; None for everything.

    Attributes:
        lacking: the packages that the pickle will import, and that nobody provides.
        names: every name in the code that the pickle holds.
    """

    def __init__(self, file: io.BytesIO, what: str, provided: frozenset[str], only: frozenset[str] | None) -> None:
        super().__init__(file)
        self.lacking: set[str] = set()
        self.names: set[str] = set()
        self._what = what
        self._by_name = provided | _ON_EVERY_DEVICE
        self._only = only

    def reducer_override(self, obj: Any) -> Any:
        """Called for every object but the plainest."""
        if isinstance(obj, ModuleType) and self._is_own(obj.__name__):
            # In two steps, the empty module first: modules refer to each other in circles.
            return ModuleType, (obj.__name__,), {k: v for k, v in vars(obj).items() if self._wants(k)}
        if isinstance(obj, functools._lru_cache_wrapper) and self._is_own(obj.__module__):  # noqa: SLF001 - its only name
            return _CACHED, (obj.__wrapped__, obj.cache_parameters())
        if isinstance(obj, NewType) and self._is_own(obj.__module__):
            return NewType, (obj.__name__, obj.__supertype__)
        reduced = super().reducer_override(obj)
        if reduced is not NotImplemented:
            if isinstance(obj, FunctionType):
                self.names.update(_names_in(obj.__code__))
        elif isinstance(obj, ModuleType | type | FunctionType) or self._reduces_to_a_name(obj):
            self._goes_by_name(obj)
        return reduced

    def _reduces_to_a_name(self, obj: Any) -> bool:
        """Whether it is something like a compiled function."""
        if not hasattr(obj, "__qualname__") and not hasattr(obj, "__name__"):
            return False
        reducer = self.dispatch_table.get(type(obj))
        return isinstance(obj.__reduce_ex__(pickle.DEFAULT_PROTOCOL) if reducer is None else reducer(obj), str)

    def _wants(self, name: str) -> bool:
        if name in _OF_THE_LOADER:
            return False
        return self._only is None or name in self._only or name in _OF_EVERY_MODULE

    def _goes_by_name(self, obj: Any) -> None:
        name = obj.__name__ if isinstance(obj, ModuleType) else getattr(obj, "__module__", None)
        if not isinstance(name, str):
            return
        if self._is_own(name):
            raise BundleError(
                f"{self._what} refers to {name}.{getattr(obj, '__qualname__', '')}, which cannot travel: "
                f"it is a {type(obj).__name__}, neither Python source nor installed",
                remedy="Define it inside the function, or put its module into a package and name that in packages=.",
            )
        if (top := name.partition(".")[0]) not in self._by_name:
            self.lacking.add(top)

    def _is_own(self, name: str | None) -> bool:
        """Whether a module of this name is the caller's, and goes by value."""
        if name is None or name in _OWN_PROGRAM:
            return name is not None
        module = sys.modules.get(name)
        return module is not None and name.partition(".")[0] not in self._by_name and is_local(module)


def _names_in(code: CodeType) -> Iterator[str]:
    """Every name that it uses, and every text that might be one."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
        elif isinstance(constant, str):
            yield constant


def _rebuilder() -> Callable[[Any, dict[str, Any]], Any]:
    # A nested function travels by value, so that a device needs nothing of this module.
    def rebuild(function: Any, parameters: dict[str, Any]) -> Any:
        return functools.lru_cache(**parameters)(function)

    return rebuild


_CACHED = _rebuilder()


@contextmanager
def local_by_value(*, apart: frozenset[str] = frozenset()) -> Iterator[None]:
    """Within it, cloudpickle takes the caller's own modules by value, but for those in the packages ``apart``."""
    with _REGISTRY:
        known = cloudpickle.list_registry_pickle_by_value()
        names = [name for name in _local_names(tuple(sys.modules)) if name.partition(".")[0] not in apart]
        registered = [sys.modules[name] for name in names if name not in known]
        for module in registered:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)


@functools.lru_cache(maxsize=1)
def _local_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the loaded modules that are the caller's own; looked at again when another was loaded."""
    return tuple(name for name in names if is_local(sys.modules[name]) and sys.modules[name].__name__ == name)


def is_local(module: ModuleType) -> bool:
    """Whether a module is the caller's own code: Python source that is not installed, nor Python's, nor CorpGrid's."""
    origin, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not isinstance(origin, str) or not isinstance(name, str) or name.partition(".")[0] in _ON_EVERY_DEVICE:
        return False
    return origin.endswith((".py", ".pyc")) and not any(folder in origin for folder in _INSTALLED)
