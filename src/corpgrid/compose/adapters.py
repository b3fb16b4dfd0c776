"""Which adapter of the host's: by operating system and setting, never silently a weaker one."""

from __future__ import annotations

import os
import sys

from corpgrid.agent.host_watch import Probes
from corpgrid.config import AgentConfig
from corpgrid.errors import SandboxError
from corpgrid.host.detect import disk_free_bytes
from corpgrid.ports.host import PowerProbe, PresenceProbe, ThermalProbe
from corpgrid.ports.sandbox import Sandbox


def choose_sandbox(name: str) -> Sandbox:
    """The sandbox of this platform, or the one that was asked for.

    Raises:
        SandboxError: there is none here.
    """
    if sys.platform == "linux" and name in {"auto", "bubblewrap"}:
        from corpgrid.host.sandbox_linux import LinuxSandbox  # noqa: PLC0415 - exists on Linux only

        return LinuxSandbox()
    raise SandboxError(
        f"there is no sandbox {name!r} on {sys.platform}",
        remedy="Run the agent on Linux; jobs never run without a sandbox.",
    )


def choose_probes(settings: AgentConfig) -> Probes:
    """What watches this host."""
    return Probes(
        power=_power(settings),
        presence=_presence(settings),
        thermal=_thermal(settings),
        disk_free_bytes=disk_free_bytes,
    )


def _power(settings: AgentConfig) -> PowerProbe:
    if sys.platform == "darwin":
        from corpgrid.host.power_macos import MacPower  # noqa: PLC0415 - this system's alone

        return MacPower()
    if sys.platform == "win32":
        from corpgrid.host.power_windows import WindowsPower  # noqa: PLC0415 - this system's alone

        return WindowsPower()
    from corpgrid.host.power_linux import LinuxPower  # noqa: PLC0415 - this system's alone

    return LinuxPower(settings.power_root) if settings.power_root is not None else LinuxPower()


def _presence(settings: AgentConfig) -> PresenceProbe:
    if settings.presence_file is not None:
        from corpgrid.host.presence_file import FilePresence  # noqa: PLC0415 - asked for

        return FilePresence(settings.presence_file)
    if sys.platform == "darwin":
        from corpgrid.host.presence_macos import MacPresence  # noqa: PLC0415 - this system's alone

        return MacPresence()
    if sys.platform == "win32":
        from corpgrid.host.presence_windows import WindowsPresence  # noqa: PLC0415 - this system's alone

        return WindowsPresence()
    from corpgrid.host.clock import SystemClock  # noqa: PLC0415 - needed here alone
    from corpgrid.host.presence_linux import LinuxPresence  # noqa: PLC0415 - this system's alone

    return LinuxPresence(clock=SystemClock(), environ=os.environ)


def _thermal(settings: AgentConfig) -> ThermalProbe:
    if sys.platform != "linux":
        from corpgrid.host.thermal_none import NoThermal  # noqa: PLC0415 - other systems'

        return NoThermal()
    from corpgrid.host.thermal_linux import LinuxThermal  # noqa: PLC0415 - this system's alone

    return LinuxThermal(settings.thermal_root) if settings.thermal_root is not None else LinuxThermal()
