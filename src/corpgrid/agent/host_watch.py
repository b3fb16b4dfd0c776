"""Looks at the host a few times a second, and says when work is no longer allowed, or allowed again.

Each look has a thread of its own, one at a time, so that a slow probe delays no reply, and the session hears of a
change within one look.  Who cannot look must not work: a probe that fails, or gives no answer for ``SILENT_SECONDS``,
blocks work until it answers again.  One that never answers does not keep the agent from ending: nobody waits for its
thread.

An owner pauses their machine by a file ``paused`` in the agent's folder: empty for until it is removed, or with the
moment (seconds since the epoch) until which it counts.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from corpgrid.agent.session import Host
from corpgrid.domain.availability import HostState, Look, Memory, OwnerPolicy, look
from corpgrid.ports.host import Clock, PowerProbe, PresenceProbe, ThermalProbe

log = logging.getLogger(__name__)

SILENT_SECONDS = 2.0
_BLIND = "probes_silent"
_DISK_STEP_BYTES = 64 << 20
_HEADROOM_DIGITS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The adapters of this operating system."""

    power: PowerProbe
    presence: PresenceProbe
    thermal: ThermalProbe
    disk_free_bytes: Callable[[Path], int]


class HostWatch:
    """Tells ``changed`` whenever what the session must know of the host is different."""

    def __init__(
        self, probes: Probes, policy: OwnerPolicy, clock: Clock, *, folder: Path, period_seconds: float
    ) -> None:
        self._probes = probes
        self._policy = policy
        self._clock = clock
        self._folder = folder
        self._period_seconds = period_seconds
        self._memory = Memory()
        self._looking: asyncio.Future[Host] | None = None
        self._blind_because = ""
        self.last: Look | None = None

    async def first(self) -> Host:
        """One look, before any work."""
        return await self._see()

    async def run(self, changed: Callable[[Host], None]) -> None:
        """Look until cancelled."""
        before: Host | None = None
        try:
            while True:
                seen = await self._see()
                if seen != before:
                    changed(seen)
                before = seen
                await asyncio.sleep(self._period_seconds)
        finally:
            if self._looking is not None:
                self._looking.cancel()

    async def _see(self) -> Host:
        """What the host says now; a look that does not end in time is waited for by the next one."""
        if self._looking is None:
            self._looking = self._begin_look()
        await asyncio.wait({self._looking}, timeout=SILENT_SECONDS)
        if not self._looking.done():
            return self._blind(f"the probes have not answered for {SILENT_SECONDS:g} s")
        looking, self._looking = self._looking, None
        if (error := looking.exception()) is not None:
            return self._blind(f"the probes failed: {type(error).__name__}: {error}")
        self._blind_because = ""
        return looking.result()

    def _blind(self, reason: str) -> Host:
        if reason != self._blind_because:
            log.error("no work while nobody can tell whether it is allowed: %s", reason)
        self._blind_because = reason
        return Host(blockers=(_BLIND,))

    def _begin_look(self) -> asyncio.Future[Host]:
        """Look in a daemon thread; a pool's threads would be waited for when the program ends."""
        found: Future[Host] = Future()
        found.set_running_or_notify_cancel()

        def answer() -> None:
            try:
                found.set_result(self._look())
            except Exception as error:  # noqa: BLE001 - whoever waits for the look is told
                found.set_exception(error)

        threading.Thread(target=answer, name="corpgrid-host", daemon=True).start()
        return asyncio.wrap_future(found)

    def _look(self) -> Host:
        now = self._clock.now()
        local = time.localtime(now)
        power = self._probes.power.read()
        headroom = self._probes.thermal.headroom()
        state = HostState(
            now=now,
            power=power,
            idle_seconds=self._probes.presence.idle_seconds(),
            weekday=local.tm_wday,
            minute=local.tm_hour * 60 + local.tm_min,
            thermal_headroom=headroom,
            paused_until=self._paused_until(),
        )
        self.last = look(self._policy, state, self._memory)
        self._memory = self.last.memory
        return Host(
            power=power,
            blockers=tuple(blocker.name.value for blocker in self.last.blockers),
            # Rounded, so that a breath of warm air or a written log line is no news.
            thermal_headroom=round(headroom, _HEADROOM_DIGITS),
            disk_free_bytes=self._probes.disk_free_bytes(self._folder) // _DISK_STEP_BYTES * _DISK_STEP_BYTES,
        )

    def _paused_until(self) -> float:
        try:
            text = (self._folder / "paused").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return 0.0
        except (OSError, UnicodeDecodeError):
            return math.inf
        try:
            return float(text) if text else math.inf
        except ValueError:
            return math.inf
