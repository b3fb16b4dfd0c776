"""What a store promises of devices, owners, standings and the audit log."""

from __future__ import annotations

from dataclasses import replace

from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.effects import AuditEntry, Effects, OwnerPresence, Standing
from corpgrid.domain.ids import DeviceId, OwnerId, SiteId
from corpgrid.domain.reputation import Beta
from corpgrid.ports.store import Store
from tests.contracts.store_rows import START, FakeClock, device, named, need, new_job, tick

FULL = Device(
    id=DeviceId("dev_full"),
    public_key=bytes(range(32)),
    owner=OwnerId("ann"),
    site=SiteId("north"),
    state=DeviceState.PAUSED,
    reason="holiday",
    trusted=True,
    name="Ann's workstation",
    facts=Facts(
        hostname="ws-7",
        operating_system="macos",
        architecture="arm64",
        python="3.11",
        engines=("python", "metal"),
        sandbox="seatbelt",
        cpus=12,
        memory_bytes=1 << 40,
        disk_free_bytes=1 << 41,
        gpus=(
            Gpu(backend="metal", name="M4", uuid="u1", vram_bytes=1 << 36, driver="1.2", compute="apple9"),
            Gpu(backend="cuda", name="H100"),
        ),
        labels=("lab", 'quote " and \\ and \u2603'),
        thermal_headroom=0.1 + 0.2,
        agent_version="0.1.0",
    ),
    power=PowerStatus(on_ac_power=False, battery_percent=33.3),
    blockers=("battery", "presence"),
    capacity=8,
    leased=3,
    session=named("session"),
    boot="boot-1",
    registered_at=START - 0.1,
    last_seen=START + 0.7,
    completed=12_345,
    correctness=Beta(1.1, 2.2, START + 0.3),
    availability=Beta(3.3, 4.4, START + 0.6),
)


class Devices:
    """Devices and owners."""

    async def test_a_device_is_read_as_it_was_written(self, store: Store) -> None:
        await tick(store, effects=Effects(devices=(FULL, device("dev_a"))))
        assert await store.device(FULL.id) == FULL
        assert await store.device(DeviceId("dev_x")) is None
        assert await store.devices() == [device("dev_a"), FULL]
        assert (await tick(store, need(devices=["dev_full"]))).devices == {FULL.id: FULL}

    async def test_a_devices_row_is_replaced_whole(self, store: Store) -> None:
        await tick(store, effects=Effects(devices=(FULL,)))
        for gpus in ((Gpu(backend="vulkan", name="Arc"),), (), FULL.facts.gpus):
            changed = replace(device("dev_full", owner="bob"), facts=replace(FULL.facts, gpus=gpus))
            await tick(store, need(devices=["dev_full"]), Effects(devices=(changed,)))
            assert await store.device(FULL.id) == changed

    async def test_owners_who_could_take_work(self, store: Store, clock: FakeClock) -> None:
        rows = (
            device("dev_1"),
            replace(device("dev_2"), trusted=True),
            replace(device("dev_3"), blockers=("battery",)),
            replace(device("dev_4"), state=DeviceState.PAUSED),
            device("dev_5", owner="bob", seen=START - 60.0),
            device("dev_6", owner="eve", seen=START - 60.1),
        )
        await tick(store, effects=Effects(devices=rows))
        assert (await tick(store)).owners == {"ann": OwnerPresence(2, 1), "bob": OwnerPresence(1, 0)}
        clock.time += 0.1
        assert (await tick(store)).owners == {"ann": OwnerPresence(2, 1)}
        await tick(store, effects=Effects(devices=(replace(rows[2], blockers=()),)))
        assert (await tick(store)).owners == {"ann": OwnerPresence(3, 1)}

    async def test_the_newest_shape_of_a_device_is_its_standing(self, store: Store) -> None:
        mine, other = named("bundle"), named("another bundle")
        await tick(store, effects=Effects(devices=(device("dev_a"), device("dev_b")), new_jobs=(new_job("job_a", 1),)))
        old = Standing(DeviceId("dev_a"), mine, named("old"), 7, 3)
        new = Standing(DeviceId("dev_a"), mine, named("new"), 1, 0)
        elsewhere = Standing(DeviceId("dev_a"), other, named("new"), 5, 5)
        theirs = Standing(DeviceId("dev_b"), mine, named("new"), 2, 1)
        await tick(store, effects=Effects(standings=(old, new, elsewhere, theirs)))
        wanted = need(devices=["dev_a"], jobs=["job_a"])
        assert (await tick(store, wanted)).standings == {(new.device, mine): new}
        for row in (old._replace(returned=8), new._replace(returned=9), new._replace(passed=4)):
            await tick(store, effects=Effects(standings=(row,)))
            assert (await tick(store, wanted)).standings == {(new.device, mine): row}
        assert (await tick(store, need(devices=["dev_a"]))).standings == {}
        both = await tick(store, need(devices=["dev_a", "dev_b"], jobs=["job_a"]))
        assert both.standings.keys() == {(new.device, mine), (theirs.device, mine)}


class AuditLog:
    """The audit log."""

    async def test_lines_are_numbered_in_the_order_of_their_ticks(self, store: Store) -> None:
        entries = [AuditEntry(START + i, f"kind.{i}", f"subject_{i % 2}", "scheduler", f"d{i}") for i in range(6)]
        for start in (0, 2, 4):
            await tick(store, effects=Effects(audit=tuple(entries[start : start + 2])))
        lines = await store.audit_log()
        assert [entry for _, entry in lines] == entries
        numbers = [number for number, _ in lines]
        assert numbers == sorted(set(numbers))
        assert await store.audit_log(after=numbers[3]) == lines[4:]
        assert await store.audit_log(limit=2) == lines[:2]
        assert await store.audit_log(subject="subject_1") == lines[1::2]
        assert await store.audit_log(subject="subject_1", after=numbers[1], limit=1) == [lines[3]]
        assert await store.audit_log(subject="nobody") == []
