"""What a tick changed for those who wait: told within a scheduler, and between schedulers that share a store.

A hint says where to look again, never what is there.  One that is lost costs time and nothing else: whoever waits also
looks by himself now and then.
"""

from __future__ import annotations

from typing import NamedTuple

from corpgrid.domain.device import Device
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import TERMINAL, TaskState

_WANTING = frozenset({TaskState.READY, TaskState.LEASED, TaskState.PROVISIONAL})


class Hint(NamedTuple):
    """Where something changed.

    Attributes:
        work: whether tasks may want a device.
        ended: jobs that changed their state, or of which tasks ended.
        devices: devices that may now be told something else than before.
    """

    work: bool = False
    ended: frozenset[JobId] = frozenset()
    devices: frozenset[DeviceId] = frozenset()


def hint_of(view: View, effects: Effects) -> Hint:
    """What a committed tick changed."""
    jobs = {task.job for task in effects.tasks if task.state in TERMINAL}
    jobs.update(row.id for row in effects.jobs if row.id in view.jobs and view.jobs[row.id].state is not row.state)
    unplaced = any(new.job.counts.leased < new.job.tasks for new in effects.new_jobs)
    return Hint(
        work=unplaced or any(task.open and task.state in _WANTING for task in effects.tasks),
        ended=frozenset(jobs),
        devices=frozenset(row.id for row in effects.devices if differs(view.devices.get(row.id), row)),
    )


def differs(before: Device | None, after: Device) -> bool:
    """Whether a device may now be told something else than before."""
    return before is None or (
        (before.state, before.power.on_ac_power, before.blockers, before.session)
        != (after.state, after.power.on_ac_power, after.blockers, after.session)
    )
