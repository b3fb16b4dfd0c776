"""What the machine says: the time, its power, who sits at it, how warm it is, what it has."""

from __future__ import annotations

from typing import Protocol

from corpgrid.domain.device import Facts, Gpu, PowerStatus


class Clock(Protocol):
    """The only way to know the time."""

    def now(self) -> float:
        """Seconds since the epoch; may step."""

    def monotonic(self) -> float:
        """Seconds since some start; never steps back."""


class PowerProbe(Protocol):
    """Whether mains power feeds the machine."""

    def read(self) -> PowerStatus:
        """Now; at most a millisecond."""


class PresenceProbe(Protocol):
    """Whether the owner is there."""

    def idle_seconds(self) -> float | None:
        """Seconds since the last input, or None where no one can ever sit (a server)."""


class ThermalProbe(Protocol):
    """How warm the machine is."""

    def headroom(self) -> float:
        """0 (at its limit) to 1 (cold); 1 where no sensor tells."""


class GpuProbe(Protocol):
    """Which GPUs there are."""

    def gpus(self) -> tuple[Gpu, ...]:
        """All that a driver answers for; empty without a driver."""


class FactsProbe(Protocol):
    """What the device is."""

    def facts(self) -> Facts:
        """Now."""
