"""Which Python interpreter runs jobs, and what must be shown for it.

The runner speaks pickle and bytecode with the submitter's minor version, so the sandbox's interpreter is the one that
runs the agent, where the sandbox's user can read it, or else a system one of the same minor version.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_user import JobUser, readable

SYSTEM_FOLDERS = (Path("/usr/bin"), Path("/usr/local/bin"))


class RunnerPython(NamedTuple):
    """An interpreter for runners.

    Attributes:
        path: as seen inside the sandbox.
        minor: such as ``3.12``.
        read_only: what a `SandboxSpec` must show for it, beyond ``/usr``.
    """

    path: str
    minor: str
    read_only: dict[Path, str]


def runner_python(
    user: JobUser | None = None, *, base: Path | None = None, system: tuple[Path, ...] = SYSTEM_FOLDERS
) -> RunnerPython:
    """The interpreter that runs jobs.

    Args:
        user: the job user; None for this process's own.
        base: the folder in which the running interpreter is installed.
        system: where else to look.

    Raises:
        SandboxError: there is none that the sandbox's user can read.
    """
    base = base or Path(sys.base_prefix)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = base / "bin" / f"python{minor}"
    if base.is_relative_to("/usr") and readable(own, user):
        return RunnerPython(str(own), minor, {})
    if readable(own, user) and readable(base / "lib" / f"python{minor}", user):
        return RunnerPython(str(own), minor, {base: str(base)})
    for folder in system:
        if readable(folder / f"python{minor}", user):
            return RunnerPython(str(folder / f"python{minor}"), minor, {})
    raise SandboxError(
        f"no Python {minor} can run jobs: the one in {base} is closed to the sandbox's user, "
        f"and there is none in {' or '.join(map(str, system))}",
        remedy=f"Install Python {minor} from the distribution, or CorpGrid into an interpreter that everyone may read.",
    )
