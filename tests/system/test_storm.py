"""A short real storm from one seed; and what judges it: every kind of damage is found."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from benchmarks.storm import journal
from benchmarks.storm.journal import Book
from benchmarks.storm.judge import Judge
from benchmarks.storm.plan import PROCESS_KINDS, Fleet, Kind, make_plan
from benchmarks.storm.proxy import SLOW_SECONDS, Proxy
from benchmarks.storm.work import JobKind

from corpgrid.blobs.local import LocalBlobs
from corpgrid.host.clock import SystemClock
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.trust.keys import Keyring
from corpgrid.wire.convert import batch_blobs, item_payload
from tests.house.tree import ROOT
from tests.system.company import Company, open_folder, wait_until

pytestmark = [pytest.mark.system, pytest.mark.sandbox, pytest.mark.timeout(300)]
AGENTS = ("one", "two")
CLIENT = "client"
SEED = 33378
"""Under which a client gives each kind of job early."""


def test_nothing_that_was_acknowledged_is_lost_in_a_storm():
    """Schedulers, PostgreSQL, agents and clients are killed, frozen and cut off as the plan of a seed says."""
    argv = [sys.executable, "-m", "benchmarks.storm", "--seed", "7", "--seconds", "25", "--gap", "1", "--agents", "4"]
    done = subprocess.run([*argv, "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-20_000:]}"
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["violations"] == []
    assert (facts["lost"], facts["doubled"], facts["wrong"]) == (0, 0, 0)
    assert facts["jobs"] >= facts["acknowledged"] > 0
    assert facts["results_seen"] >= facts["acknowledged"]
    assert sum(facts["kills"].values()) >= 5


# -- the plan


def test_one_seed_is_one_plan():
    fleet = Fleet.of(3, 8, 2)
    plans = [make_plan(seed, seconds=60, gap_seconds=1.0, fleet=fleet) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    assert {event.kind for event in plans[0]} == set(Kind)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_struck_who_lies_on_the_ground(seed):
    until: dict[str, float] = {}
    for event in make_plan(seed, seconds=120, gap_seconds=0.5, fleet=Fleet.of(3, 4, 2)):
        assert event.at + event.seconds <= 120.002
        for target in event.targets if event.kind in PROCESS_KINDS else ():
            assert event.at >= until.get(target, 0.0)
            until[target] = event.at + event.seconds


# -- the lines


@contextmanager
def echo(folder: Path) -> Iterator[Path]:
    """A socket that gives back what it is given."""
    path = folder / "echo.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve(plug: socket.socket) -> None:
            with plug:
                while piece := plug.recv(1_000):
                    plug.sendall(piece)

        def accept() -> None:
            while True:
                try:
                    plug, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(plug,), daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


@pytest.fixture
def lines(tmp_path) -> Iterator[tuple[Proxy, Callable[[str], socket.socket]]]:
    """Two lines, ``a>one`` and ``b>one``, and how to call."""
    with echo(tmp_path) as far, Proxy() as proxy:
        ports = {near: proxy.add(f"{near}>one", far) for near in ("a", "b")}

        def call(near: str) -> socket.socket:
            return socket.create_connection(("127.0.0.1", ports[near]), timeout=5.0)

        yield proxy, call


def asked(plug: socket.socket, word: bytes = b"word") -> bytes:
    plug.sendall(word)
    return plug.recv(1_000)


def asked_anew(call: Callable[[str], socket.socket]) -> bytes:
    with closing(call("a")) as plug:
        return asked(plug)


def silent(plug: socket.socket) -> bool:
    plug.settimeout(0.2)
    try:
        plug.recv(1_000)
    except TimeoutError:
        return True
    finally:
        plug.settimeout(5.0)
    return False


def test_a_cut_line_resets_and_refuses_and_leaves_others_alone(lines):
    proxy, call = lines
    with closing(call("a")) as a, closing(call("b")) as b:
        assert asked(a) == asked(b) == b"word"
        proxy.trouble(Kind.CUT, "a>*")
        with pytest.raises(ConnectionResetError):
            a.recv(1)
        with pytest.raises(ConnectionResetError):
            asked_anew(call)
        assert asked(b) == b"word"
        proxy.relieve(Kind.CUT, "a>*")
        assert asked_anew(call) == b"word"


def test_what_is_held_comes_later(lines):
    proxy, call = lines
    with closing(call("a")) as a:
        proxy.trouble(Kind.HOLD, "*>one")
        proxy.trouble(Kind.HOLD, "a>one")
        a.sendall(b"word")
        assert silent(a)
        proxy.relieve(Kind.HOLD, "*>one")
        assert silent(a)
        proxy.heal()
        assert a.recv(1_000) == b"word"


@pytest.mark.parametrize("kind", [Kind.DEAF, Kind.MUTE])
def test_what_went_one_way_is_lost(lines, kind):
    proxy, call = lines
    with closing(call("a")) as a:
        assert asked(a) == b"word"
        proxy.trouble(kind, "a>one")
        a.sendall(b"lost")
        assert silent(a)
        proxy.relieve(kind, "a>one")
        with pytest.raises(ConnectionResetError):
            a.recv(1_000)
    assert asked_anew(call) == b"word"


def test_a_slow_line_is_late(lines):
    proxy, call = lines
    with closing(call("a")) as a:
        proxy.trouble(Kind.SLOW, "*>one")
        started = time.monotonic()
        assert asked(a) == b"word"
        assert time.monotonic() - started >= 2 * SLOW_SECONDS


# -- the verdict


class Past(NamedTuple):
    """A grid that has ended: its folder, and what its client and its agents wrote down."""

    folder: Path
    keyring: Keyring
    clients: list[Book]
    agents: list[Book]

    def copied(self, folder: Path) -> Past:
        """The same in another folder, to be damaged."""
        shutil.copytree(self.folder, folder)
        return self._replace(folder=folder, clients=[list(book) for book in self.clients])


class Calm(Company):
    """A grid on SQLite with agents that write down what they are told."""

    def program(self, name: str) -> Sequence[str]:
        config = str(self.folder / f"{name}.toml")
        room = "scheduler" if name in self.schedulers else "agent"
        return ("-m", "benchmarks.storm.programs", room, config, str(self.folder / f"{name}.journal"))


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    """A few jobs of every kind on a calm day."""
    with open_folder() as folder:
        computers: dict[str, dict[str, Any]] = {name: {} for name in AGENTS}
        with Calm(folder, computers=computers) as company:
            book, stop = folder / f"{CLIENT}.journal", folder / "stop"
            options = {"name": CLIENT, "address": company.address, "key": folder / "submitter.pem"}
            options |= {"journal": book, "stop": stop, "seed": SEED}
            argv = [f"--{name}={value}" for name, value in options.items()]
            client = subprocess.Popen([sys.executable, "-m", "benchmarks.storm.client", *argv], cwd=ROOT)
            try:
                wait_until(lambda: kinds(journal.read(book)) >= {*JobKind} - {"single", "unchecked"}, "some of each")
                stop.touch()
                assert client.wait(60) == 0
            finally:
                client.kill()
                client.wait()
            keyring = Keyring([company.submitter.public])
        agents = [journal.read(folder / f"{name}.journal") for name in AGENTS]
        yield Past(folder / "scheduler", keyring, [journal.read(book)], agents)


def kinds(book: Book) -> set[str]:
    """Of the jobs that have ended."""
    ended = {line["job"] for line in book if line["what"] == journal.ENDED}
    names = {line["name"] for line in book if line["what"] == journal.SUBMITTED and line["job"] in ended}
    return {line["kind"] for line in book if line["what"] == journal.SUBMITTING and line["name"] in names}


def judged(past: Past) -> Judge:
    async def judging() -> Judge:
        settings = StoreSettings(clock=SystemClock(), item_payload=item_payload, batch_blobs=batch_blobs)
        store = await SqliteStore.open(past.folder / "grid.db", settings)
        judge = Judge()
        try:
            blobs = await LocalBlobs.at(past.folder / "blobs")
            await judge.everything(store, blobs, past.keyring, clients=past.clients, agents=past.agents)
        finally:
            await store.close()
        return judge

    return asyncio.run(judging())


def test_a_calm_day_breaks_nothing(past, tmp_path):
    judge = judged(past.copied(tmp_path / "copy"))
    assert judge.violations == []
    assert sum(line["what"] == journal.TOLD and line["received"] for book in past.agents for line in book) > 0


ONE_RUN = "(SELECT min(last_attempt) FROM job_attempts WHERE state = 4)"
DAMAGE = {
    "a job is gone": ("DELETE FROM jobs WHERE number = (SELECT min(number) FROM jobs)", "I1: the job"),
    "a specification is another's": (
        "UPDATE job_specs SET envelope = (SELECT envelope FROM job_specs ORDER BY job DESC LIMIT 1)",
        "I4: job",
    ),
    "a task runs for ever": (
        "UPDATE job_shards SET state = 1 WHERE last_task = (SELECT min(last_task) FROM job_shards)",
        "L1:",
    ),
    "a job counts wrongly": ("UPDATE jobs SET final = final - 1, failed = failed + 1 WHERE final > 0", "I2: job"),
    "a result is another": (
        f"UPDATE job_attempts SET digests = zeroblob(length(digests)) WHERE last_attempt = {ONE_RUN}",
        "C1: task",
    ),
    "evidence is gone": ("DELETE FROM result_batches WHERE number = (SELECT max(number) FROM result_batches)", "I4:"),
    "evidence is forged": (
        "UPDATE result_batches SET content = CAST(substr(content, 1, length(content) - 1) || 'x' AS BLOB)",
        "I4: batch",
    ),
    "an epoch is given out twice": ("UPDATE job_attempts SET epoch = 1", "I5: epoch 1 was given out"),
    "an owner has two copies": ("UPDATE job_attempts SET owner = 'ann', purpose = 0", "I6: attempt"),
    "an attempt is gone": (f"DELETE FROM job_attempts WHERE last_attempt = {ONE_RUN}", "I"),
    "a lease is left": ("INSERT INTO leases SELECT 9999, number, 1, 0, 0, 1 FROM devices LIMIT 1", "L3: lease 9999"),
    "the log has a gap": ("DELETE FROM audit_log WHERE kind = 'job.closed'", "I8: the log"),
    "an honest device is out": ("UPDATE devices SET state = 'quarantined'", "V7:"),
}


@pytest.mark.parametrize(("statement", "rule"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_the_rows_is_found(past, tmp_path, statement, rule):
    copy = past.copied(tmp_path / "copy")
    with closing(sqlite3.connect(copy.folder / "grid.db")) as database, database:
        database.execute("DROP TRIGGER audit_log_keeps")  # who holds the file can do that, too
        assert database.execute(statement).rowcount > 0
    found = judged(copy).violations
    assert any(violation.startswith(rule) for violation in found), found


def test_a_blob_that_is_gone_or_damaged_is_found(past, tmp_path):
    copy = past.copied(tmp_path / "copy")
    results = [path for path in (copy.folder / "blobs").glob("??/??/*") if 96 << 10 <= path.stat().st_size < 100 << 10]
    gone, damaged, *_ = sorted(results)
    gone.unlink()
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    found = [violation for violation in judged(copy).violations if violation.startswith("I11:")]
    assert len(found) == 2


Lie = Callable[[dict[str, Any]], list[dict[str, Any]]]
LIES: dict[str, tuple[str, Lie, str, str]] = {
    "a value is another": (journal.RESULT, lambda line: [{**line, "value": 1, "state": "final"}], "wrong", "C1:"),
    "a result comes twice": (journal.RESULT, lambda line: [line, line], "doubled", "I3:"),
    "a result never came": (journal.RESULT, lambda _: [], "lost", "I4: of"),
    "a job that is not there": (journal.SUBMITTED, lambda line: [line, {**line, "job": "job_x"}], "lost", "I1:"),
    "an end that is none": (journal.ENDED, lambda line: [{**line, "state": "running"}], "wrong", "I2:"),
    "an end that never came": (journal.ENDED, lambda _: [], "lost", "L1:"),
}


@pytest.mark.parametrize(("what", "lie", "kind", "rule"), LIES.values(), ids=LIES.keys())
def test_what_a_client_was_told_must_be_so(past, what, lie, kind, rule):
    book = list(past.clients[0])
    place = next(place for place, line in enumerate(book) if line["what"] == what and line.get("value", 0) != "")
    judge = judged(past._replace(clients=[[*book[:place], *lie(dict(book[place])), *book[place + 1 :]]]))
    assert judge.counts[kind] >= 1
    assert any(violation.startswith(rule) for violation in judge.violations), judge.violations


def test_one_order_is_one_job_and_somebody_gave_it(past):
    names = [line["name"] for line in past.clients[0] if line["what"] == journal.SUBMITTED]

    def renamed(line: Any) -> Any:
        return {**line, "name": names[0]} if line.get("name") == names[1] else line

    judge = judged(past._replace(clients=[list(map(renamed, past.clients[0]))]))
    assert any("nobody ordered" in violation for violation in judge.violations)


def test_what_a_device_was_told_must_be_so(past):
    book = [dict(line) for line in past.agents[0]]
    line = next(line for line in book if line["received"])
    line["items"] = [(index, attempt, epoch + 1) for index, attempt, epoch in line["items"]]
    judge = judged(past._replace(agents=[book]))
    assert judge.counts["lost"] == 1
    assert "I4: dev_" in judge.violations[0]


def test_an_exception_in_a_log_is_found_and_a_library_that_grumbles_is_not():
    trace = "Traceback (most recent call last):\n  File ...\nValueError: no\n"
    judge = Judge()
    judge.log("one", f"2026-01-01 00:00:00,000 WARNING asyncpg.pool Failed\n{trace}")
    judge.log("one", f"Exception in callback PollerCompletionQueue._handle_events\n{trace}")
    assert judge.violations == []
    judge.log("two", f"2026-01-01 00:00:00,000 ERROR corpgrid.x failed\n{trace}")
    judge.log("three", trace)
    assert [violation.split()[1] for violation in judge.violations] == ["two", "three"]
