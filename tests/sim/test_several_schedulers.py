"""Several schedulers over one store: who hears what, who leads, and whole grids in which they are killed and frozen."""

from __future__ import annotations

from random import Random

import pytest

from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.effects import Effects, Need
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, OwnerId, SiteId
from corpgrid.errors import StoreError
from corpgrid.sim.clocks import SimClock
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.scenarios import scenario
from corpgrid.sim.storage import SimStore
from corpgrid.sim.world import World
from corpgrid.stores.settings import StoreSettings

PC = Device(id=DeviceId("dev_pc"), public_key=b"k" * 32, owner=OwnerId("o"), site=SiteId("s"))


class Pair:
    """Two connections to one store, and what each hears."""

    def __init__(self) -> None:
        self.loop = SimLoop()
        settings = StoreSettings(
            clock=SimClock(self.loop), item_payload=lambda *_: b"", batch_blobs=lambda _: (), seen_within_seconds=60.0
        )
        self.store = SimStore(settings, Random(1), lambda *_: None, commit_seconds=0.002)
        self.processes = [Process(self.loop, name) for name in ("one", "two")]
        self.one, self.two = (self.store.connect(process, self.loop, shared=True) for process in self.processes)
        self.heard: dict[str, list[Hint]] = {"one": [], "two": []}

    def run(self, story):
        return self.loop.run_until_complete(story)

    async def listen(self) -> None:
        self.one.listen(self.heard["one"].append)
        self.two.listen(self.heard["two"].append)
        await self.sleep(1.0)
        for heard in self.heard.values():
            assert heard.pop() == Hint(work=True), "whoever begins to listen may have missed anything"

    async def commit(self, connection, device: Device) -> None:
        await connection.transact(Need(devices=frozenset({device.id})), lambda _view: Effects(devices=(device,)))
        await self.sleep(1.0)

    async def sleep(self, seconds: float) -> None:
        future = self.loop.create_future()
        self.loop.call_later(seconds, future.set_result, None)
        await future


def test_a_commit_is_heard_by_all_but_its_own_scheduler():
    pair = Pair()

    async def story():
        await pair.listen()
        await pair.commit(pair.one, PC)

    pair.run(story())
    assert pair.heard == {"one": [], "two": [Hint(devices=frozenset({PC.id}))]}


def test_hints_get_lost_and_the_dead_hear_nothing():
    pair = Pair()

    async def story():
        await pair.listen()
        pair.store.weather.lost_hints = 1.0
        await pair.commit(pair.one, PC)
        pair.store.weather.lost_hints = 0.0
        pair.processes[1].kill()
        await pair.commit(pair.one, PC)

    pair.run(story())
    assert pair.heard == {"one": [], "two": []}


def test_the_lead_passes_on_from_the_dead_at_once_and_from_the_silent_after_a_while():
    pair = Pair()

    async def story():
        assert await pair.one.lead()
        assert not await pair.two.lead()
        await pair.sleep(4.0)
        assert await pair.one.lead()
        await pair.sleep(4.0)
        assert not await pair.two.lead()
        await pair.sleep(2.0)
        assert await pair.two.lead(), "six seconds of silence are too many"
        assert not await pair.one.lead()
        pair.processes[1].kill()
        assert await pair.one.lead()

    pair.run(story())


def test_who_lost_the_lead_is_told_so_when_it_sweeps():
    pair, leads = Pair(), []

    def look(view):
        leads.append(view.leads)
        return Effects()

    async def story():
        assert await pair.one.lead()
        await pair.one.transact(Need(sweep=True), look)
        await pair.sleep(6.0)
        assert await pair.two.lead()
        await pair.one.transact(Need(sweep=True), look)
        await pair.two.transact(Need(sweep=True), look)

    pair.run(story())
    assert leads == [True, False, True]


def test_whoever_is_cut_off_cannot_read_or_write():
    pair = Pair()

    async def story():
        pair.one.cut = True
        with pytest.raises(StoreError, match="lost"):
            await pair.one.transact(Need(), lambda _view: Effects())
        with pytest.raises(StoreError, match="lost"):
            await pair.one.lead()
        with pytest.raises(StoreError, match="lost"):
            await pair.one.devices()
        await pair.commit(pair.two, PC)
        pair.one.cut = False
        return await pair.one.devices()

    assert pair.run(story()) == [PC]


@pytest.mark.parametrize("seed", [1, 2])
def test_they_share_the_work_and_nobody_notices_which_of_them_dies(seed):
    world = World(scenario("storm", hours=0.3, devices=8, tasks=150), seed)
    busy: set[int] = set()

    def look() -> None:
        running = [one for one in world.headquarters.stations if one.scheduler is not None]
        busy.update(one.number for one in running if one.scheduler.counters.ticks > 20)

    for minute in range(1, 15):
        world.loop.call_later(60.0 * minute, look)
    world.run()
    assert world.violations == [], "\n".join([*world.trace.last(), *world.violations])
    assert busy == {1, 2, 3}
    assert world.headquarters.starts > 3, "some of them were killed"
    assert all(device.state is DeviceState.ACTIVE for device in world.jury.invariants.devices.values())


def test_a_scheduler_that_stands_still_holds_up_nobody():
    """Its callers move on after seconds, and what it had under way it does when it wakes."""
    world = World(scenario("calm", hours=0.1, devices=6, tasks=200, schedulers=2), 3)
    first, second = world.headquarters.stations
    world.loop.call_later(20.0, first.freeze)
    world.loop.call_later(200.0, first.thaw)
    world.run()
    assert world.violations == []
    (outcome,) = [person.outcome for person in world.people]
    assert outcome.accepted == 200
    assert outcome.ended_at < 120.0, "long before it woke"
    assert second.starts == 1
