"""CorpGrid: the computers a company already owns, as one batch grid whose answers can be trusted.

Everything a user needs is a name in this module; all other modules are ours to change.  Names are
resolved on first use, so that ``import corpgrid`` costs next to nothing:

    import corpgrid

    with corpgrid.connect() as grid:
        print(sum(grid.map(square, range(100))))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corpgrid.domain.job import (
        Comparator,
        ComparatorKind,
        Isolation,
        Limits,
        Requirements,
        VerifyMode,
        VerifyPolicy,
    )
    from corpgrid.errors import (
        BundleError,
        ConfigError,
        CorpGridError,
        DataError,
        GridError,
        JobCancelledError,
        JobError,
        JobFailedError,
        JobFileError,
        LimitError,
        NotDataError,
        NotFoundError,
        OverloadedError,
        RefusedError,
        SandboxError,
        TaskFailedError,
        TrustError,
        UnavailableError,
        UsageError,
    )
    from corpgrid.sdk.client import Grid, connect
    from corpgrid.sdk.executor import GridExecutor
    from corpgrid.sdk.job import Completed, Job
    from corpgrid.trust.keys import PrivateKey

__version__ = "0.1.0"

_ROOMS = {
    "corpgrid.domain.job": (
        "Comparator",
        "ComparatorKind",
        "Isolation",
        "Limits",
        "Requirements",
        "VerifyMode",
        "VerifyPolicy",
    ),
    "corpgrid.errors": (
        "BundleError",
        "ConfigError",
        "CorpGridError",
        "DataError",
        "GridError",
        "JobCancelledError",
        "JobError",
        "JobFailedError",
        "JobFileError",
        "LimitError",
        "NotDataError",
        "NotFoundError",
        "OverloadedError",
        "RefusedError",
        "SandboxError",
        "TaskFailedError",
        "TrustError",
        "UnavailableError",
        "UsageError",
    ),
    "corpgrid.sdk.client": (
        "Grid",
        "connect",
    ),
    "corpgrid.sdk.executor": ("GridExecutor",),
    "corpgrid.sdk.job": (
        "Completed",
        "Job",
    ),
    "corpgrid.trust.keys": ("PrivateKey",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "BundleError",
    "Comparator",
    "ComparatorKind",
    "Completed",
    "ConfigError",
    "CorpGridError",
    "DataError",
    "Grid",
    "GridError",
    "GridExecutor",
    "Isolation",
    "Job",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobFileError",
    "LimitError",
    "Limits",
    "NotDataError",
    "NotFoundError",
    "OverloadedError",
    "PrivateKey",
    "RefusedError",
    "Requirements",
    "SandboxError",
    "TaskFailedError",
    "TrustError",
    "UnavailableError",
    "UsageError",
    "VerifyMode",
    "VerifyPolicy",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    """Resolve a public name on its first use."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'corpgrid' has no attribute {name!r}")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
