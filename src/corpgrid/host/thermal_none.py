"""Where no sensor tells how warm the machine is: macOS and Windows name no temperature to programs."""

from __future__ import annotations


class NoThermal:
    """The ``ThermalProbe`` that has no sensor."""

    def headroom(self) -> float:
        """Always 1: nothing is known against it."""
        return 1.0
