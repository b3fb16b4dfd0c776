"""Who a sandboxed process is on the host.

An ordinary user's sandbox runs as that user.  Root's does not: bubblewrap renames root inside, but the kernel still
opens root's files for it.  So a root agent's sandboxes run as the *job user*, a numeric user that owns nothing and need
not exist in any database, and everything shown to a job must be readable for it:

* every folder on the way to a bind source needs the x bit for others (mode 0711 is enough);
* a shown folder needs r and x, its files r (modes 0755 and 0644);
* the work folder is given to the job user when the sandbox starts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from corpgrid.errors import SandboxError

DEFAULT_JOB_UID = 64_000
LOWEST_JOB_UID = 100


class JobUser(NamedTuple):
    """The numeric user and group of a root agent's sandboxes; no supplementary groups."""

    uid: int = DEFAULT_JOB_UID
    gid: int = DEFAULT_JOB_UID


def choose_job_user(wanted: JobUser | None = None) -> JobUser | None:
    """The user to drop to, or None where this process is an ordinary user already.

    Raises:
        SandboxError: ``wanted`` is root or another user that owns files of the system.
    """
    if os.geteuid() != 0:
        return None
    user = wanted or JobUser()
    if min(user) < LOWEST_JOB_UID:
        raise SandboxError(
            f"user {user.uid}, group {user.gid} cannot be the job user: it belongs to the system",
            remedy=f"Set job_uid and job_gid to a free number, such as {DEFAULT_JOB_UID}.",
        )
    return user


def require_readable(path: Path, user: JobUser | None, *, what: str) -> Path:
    """``path`` with links resolved, once it is sure that the sandbox's user can read it.

    Args:
        path: a file or folder of the host.
        user: the job user; None for this process's own.
        what: its name in the error, such as ``the bundle folder``.

    Raises:
        SandboxError: it is not there, or a folder on the way is closed; the remedy names that folder.
    """
    try:
        real = path.resolve(strict=True)
        closed = _closed(real, user)
    except (OSError, RuntimeError) as error:
        raise SandboxError(f"{what} {path} cannot be shown to a job: {error}") from error
    if closed is None:
        return real
    whom = f"user {os.geteuid()}" if user is None else f"the job user {user.uid}"
    mode = stat.S_IMODE(closed.stat().st_mode)
    raise SandboxError(
        f"{what} {path} cannot be shown to a job: {whom} cannot enter or read {closed} (mode {mode:04o})",
        remedy=f"`chmod o+{'rx' if closed == real else 'x'} {closed}`, or keep the agent's folder below an open one, "
        "such as /var/lib/corpgrid.",
    )


def readable(path: Path, user: JobUser | None) -> bool:
    """Whether the sandbox's user can read ``path``."""
    try:
        return _closed(path.resolve(strict=True), user) is None
    except (OSError, RuntimeError):
        return False


def _closed(path: Path, user: JobUser | None) -> Path | None:
    """The first of ``path`` and the folders above it that keeps the user out, from the root down."""
    for folder in reversed(path.parents):
        if not _may(folder, user, enter=True, read=False):
            return folder
    return None if _may(path, user, enter=path.is_dir(), read=True) else path


def _may(path: Path, user: JobUser | None, *, enter: bool, read: bool) -> bool:
    if user is None:
        return os.access(path, (os.X_OK if enter else 0) | (os.R_OK if read else 0))
    status = path.stat()
    shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
    needed = (stat.S_IXOTH if enter else 0) | (stat.S_IROTH if read else 0)
    return (status.st_mode >> shift) & needed == needed
