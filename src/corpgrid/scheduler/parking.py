"""Polls that found no work, and when to ask for them again.

Rules:
* A parked poll costs nothing while nothing changes.  ``stir`` says that work may have become ready: every poll that is
  parked then is asked once more, the one that was asked longest ago first, ``take`` by ``take``.
* ``calm`` ends that early: nothing is ready for anybody.
* ``call`` asks again for the polls of one device, whose own row changed.

>>> parked = ParkedPolls()
>>> parked.park(poll)
>>> parked.take(10)
[]
>>> parked.stir()
>>> parked.take(10) == [poll]
True
>>> parked.take(10)
[]
"""

from __future__ import annotations

from dataclasses import replace

from corpgrid.domain.events import Polled
from corpgrid.domain.ids import DeviceId


class ParkedPolls:
    """A queue of polls, by when they were last asked."""

    def __init__(self) -> None:
        # In the order of asking; each with the round in which it was asked last.
        self._polls: dict[int, tuple[int, Polled]] = {}
        self._tickets: dict[DeviceId, set[int]] = {}
        self._called: dict[int, None] = {}
        self._round = 0
        self._stirred = False

    def __len__(self) -> int:
        return len(self._polls)

    def __contains__(self, ticket: int) -> bool:
        return ticket in self._polls

    @property
    def waiting(self) -> bool:
        """Whether ``take`` has something to give."""
        return bool(self._called) or self._next_in_round()

    def park(self, poll: Polled) -> None:
        """Keep a poll that a tick has just looked at; its results were taken then, and are forgotten."""
        asked = replace(poll, first=False, batches=()) if poll.first else poll
        self._polls[poll.ticket] = (self._round, asked)
        self._tickets.setdefault(poll.status.device, set()).add(poll.ticket)

    def remove(self, ticket: int) -> None:
        """It was answered, or nobody waits for it any more."""
        found = self._polls.pop(ticket, None)
        if found is None:
            return
        self._called.pop(ticket, None)
        device = found[1].status.device
        self._tickets[device].discard(ticket)
        if not self._tickets[device]:
            del self._tickets[device]

    def stir(self) -> None:
        """Work may have become ready: begin a new round."""
        self._round += 1
        self._stirred = True

    def calm(self) -> None:
        """Nothing is ready: end the round."""
        self._stirred = False

    def call(self, device: DeviceId) -> None:
        """Something of this device changed."""
        for ticket in self._tickets.get(device, ()):
            self._called[ticket] = None

    def has(self, device: DeviceId) -> bool:
        """Whether a poll of this device is parked."""
        return device in self._tickets

    def take(self, limit: int) -> list[Polled]:
        """At most ``limit`` polls to ask now; they stay parked until they are removed."""
        taken: list[Polled] = []
        while self._called and len(taken) < limit:
            taken.append(self._pass_by(next(iter(self._called))))
        while len(taken) < limit and self._next_in_round():
            taken.append(self._pass_by(next(iter(self._polls))))
        return taken

    def tickets(self) -> list[int]:
        """All that are parked."""
        return list(self._polls)

    def _next_in_round(self) -> bool:
        if not (self._stirred and self._polls):
            return False
        asked, _ = next(iter(self._polls.values()))
        return asked < self._round

    def _pass_by(self, ticket: int) -> Polled:
        """Move a poll to the end, as asked in this round."""
        self._called.pop(ticket, None)
        _, poll = self._polls.pop(ticket)
        self._polls[ticket] = (self._round, poll)
        return poll
