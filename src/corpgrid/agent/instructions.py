"""What the session tells the supervisor to do: instructions that say all that there is to know, and do nothing."""

from __future__ import annotations

from dataclasses import dataclass

from corpgrid.domain.ids import Epoch, JobId
from corpgrid.domain.messages import AgentStatus, Item


@dataclass(frozen=True, slots=True)
class Register:
    """Introduce this agent; these epochs are still worked on."""

    held: tuple[Epoch, ...]


Batches = dict[JobId, list[Item]]


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask for work, bring results."""

    status: AgentStatus
    wanted: int
    wait_seconds: float
    batches: Batches


@dataclass(frozen=True, slots=True)
class Submit:
    """Bring results."""

    status: AgentStatus
    batches: Batches


@dataclass(frozen=True, slots=True)
class Beat:
    """Renew what is held."""

    status: AgentStatus


@dataclass(frozen=True, slots=True)
class LearnSpecs:
    """Keep these signed specifications, and the small blobs that came with them."""

    specs: dict[JobId, bytes]
    blobs: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop every runner where it stands."""


@dataclass(frozen=True, slots=True)
class Thaw:
    """Let every runner go on."""


@dataclass(frozen=True, slots=True)
class StopRunners:
    """End runners: those of these jobs, or all."""

    jobs: frozenset[JobId] | None = None


Instruction = Register | Poll | Submit | Beat | LearnSpecs | Freeze | Thaw | StopRunners
