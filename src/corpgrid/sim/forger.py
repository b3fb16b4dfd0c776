"""An agent that signs what is not so: its results name leases that it never had.

Its runners are honest; only its messages are not.  A grid that checks epochs takes nothing of it.
"""

from __future__ import annotations

from dataclasses import replace

from corpgrid.domain.ids import Epoch
from corpgrid.domain.messages import Batch, PollReply, PollRequest, Reply, SubmitRequest
from corpgrid.transport.remote import RemoteScheduler, Wire
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import sign_batch


class ForgingScheduler(RemoteScheduler):
    """``SchedulerApi`` that moves every result to the next lease."""

    def __init__(self, wire: Wire, key: PrivateKey) -> None:
        super().__init__(wire)
        self._key = key

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs."""
        return await super().poll(replace(request, batches=tuple(map(self._forged, request.batches))))

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult."""
        return await super().submit(replace(request, batches=tuple(map(self._forged, request.batches))))

    def _forged(self, batch: Batch) -> Batch:
        items = tuple(item._replace(epoch=Epoch(item.epoch + 1)) for item in batch.items)
        return sign_batch(Batch(batch.job, batch.device, items), self._key)
