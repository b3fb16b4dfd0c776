"""The X protocol, spoken to a scripted server, and to a real one where there is one."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.host.presence_linux import LinuxPresence
from corpgrid.host.presence_x11 import X11Idle

COOKIE = bytes(range(16))
ROOT = 0x2A5
EXTENSION = 140
SETUP = (
    struct.pack("<16xHHBB10x", 5, 1000, 1, 1) + b"Vendo" + b"\0" * 3 + b"\0" * 8 + struct.pack("<I", ROOT) + b"\0" * 36
)
ACCEPTED = struct.pack("<BxHHH", 1, 11, 0, len(SETUP) // 4) + SETUP
REFUSED = struct.pack("<BBHHH", 0, 4, 11, 0, 1) + b"no!\0"
MAPPING_NOTIFY = bytes([34]) + b"\0" * 31
ERROR = bytes([0, 1]) + b"\0" * 30


def extension_reply(*, present: bool) -> bytes:
    return struct.pack("<BxHIBBBB20x", 1, 1, 0, present, EXTENSION, 0, 0)


def idle_reply(milliseconds: int, *, extra: bytes = b"") -> bytes:
    return struct.pack("<BBHIIIIIB7x", 1, 0, 2, len(extra) // 4, 0, 0, milliseconds, 0, 0) + extra


@contextmanager
def server(folder: Path, answers: list[bytes]) -> Iterator[list[bytes]]:
    """An X server 7 for one connection that answers each request with the next answer; gives what it was asked."""
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / "X7"))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
        thread.join(timeout=10)
        assert not thread.is_alive(), "the client did not ask everything"
    finally:
        listener.close()


def authority(folder: Path, *entries: tuple[int, bytes, bytes, bytes]) -> Path:
    """A file of cookies: family, display, method, secret."""
    path = folder / "Xauthority"
    content = b""
    for family, display, method, secret in entries:
        content += struct.pack(">H", family)
        for field in (b"host", display, method, secret):
            content += struct.pack(">H", len(field)) + field
    path.write_bytes(content)
    return path


def test_the_cookie_of_this_display_opens_it_and_the_idle_time_is_read(tmp_path: Path) -> None:
    cookies = authority(
        tmp_path,
        (0, b"7", b"MIT-MAGIC-COOKIE-1", b"over the network"),
        (256, b"8", b"MIT-MAGIC-COOKIE-1", b"another display"),
        (256, b"7", b"XDM-AUTHORIZATION-1", b"another method"),
        (256, b"7", b"MIT-MAGIC-COOKIE-1", COOKIE),
    )
    with server(tmp_path, [ACCEPTED, extension_reply(present=True), idle_reply(12_345)]) as asked:
        assert X11Idle(7, authority=cookies, sockets=tmp_path).idle_seconds() == 12.345
    hello, extension, question = asked
    assert hello[:12] == struct.pack("<2sHHHHxx", b"l\0", 11, 0, 18, 16)
    assert hello.endswith(COOKIE)
    assert b"MIT-SCREEN-SAVER" in extension
    assert len(extension) == 4 * struct.unpack_from("<2xH", extension)[0]
    assert question == struct.pack("<BBHI", EXTENSION, 1, 2, ROOT)


def test_events_between_question_and_answer_are_skipped(tmp_path: Path) -> None:
    answers = [
        ACCEPTED,
        MAPPING_NOTIFY + extension_reply(present=True),
        MAPPING_NOTIFY * 2 + idle_reply(500, extra=b"more"),
    ]
    with server(tmp_path, answers):
        assert X11Idle(7, sockets=tmp_path).idle_seconds() == 0.5


@pytest.mark.parametrize(
    "answers",
    [
        [REFUSED],
        [b""],
        [ACCEPTED[:20]],
        [ACCEPTED, extension_reply(present=False)],
        [ACCEPTED, ERROR],
        [ACCEPTED, extension_reply(present=True), ERROR],
        [ACCEPTED, extension_reply(present=True), b"\1"],
    ],
)
def test_a_server_that_does_not_tell_gives_no_answer(tmp_path: Path, answers: list[bytes]) -> None:
    with server(tmp_path, answers):
        assert X11Idle(7, sockets=tmp_path).idle_seconds() is None


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_no_file_of_cookies_and_no_missing_server_breaks_the_probe(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Xauthority"
    path.write_bytes(content)
    assert X11Idle(9, authority=path, sockets=tmp_path).idle_seconds() is None


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({"DISPLAY": ":7"}, True),
        ({"DISPLAY": "unix:7.0"}, True),
        ({"DISPLAY": "localhost:10.0"}, False),
        ({"DISPLAY": "desk.example:0"}, False),
        ({"DISPLAY": ":7", "WAYLAND_DISPLAY": "wayland-0"}, False),
        ({"DISPLAY": ""}, False),
        ({}, False),
    ],
)
def test_only_a_display_of_this_machine_is_asked(tmp_path: Path, environ: dict[str, str], *, asked: bool) -> None:
    found = X11Idle.from_environment(environ, sockets=tmp_path)
    assert (found is not None) == asked


def test_a_display_is_alive_while_somebody_listens(tmp_path: Path) -> None:
    display = X11Idle(7, sockets=tmp_path)
    assert not display.alive()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "X7"))
        listener.listen()
        assert display.alive()
    assert (tmp_path / "X7").exists()
    assert not display.alive()


class SteadyClock:
    """A clock that stands still."""

    def now(self) -> float:
        return 1_800_000_000.0

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def real_display(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real X server on a free display; gives the environment of a program in its session."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("no Xvfb here")
    read, write = socket.socketpair()
    with read, write:
        command = [program, "-displayfd", str(write.fileno()), "-noreset", "-nolisten", "tcp"]
        process = subprocess.Popen(command, pass_fds=[write.fileno()], stderr=subprocess.DEVNULL)
        try:
            read.settimeout(30)
            number = read.recv(16).decode().strip()
            yield {"DISPLAY": f":{number}", "HOME": str(tmp_path)}
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.mark.system
def test_a_real_display_counts_the_seconds_until_somebody_comes_back(
    real_display: dict[str, str], tmp_path: Path
) -> None:
    probe = LinuxPresence(clock=SteadyClock(), environ=real_display, dev=tmp_path, busctl="/no/such/program")
    start = time.monotonic()
    first = probe.idle_seconds()
    assert first is not None
    while (idle := probe.idle_seconds() or 0.0) < 0.2:
        assert time.monotonic() - start < 30
    assert idle >= first
    mover = shutil.which("xdotool")
    if mover is not None:
        subprocess.run([mover, "mousemove", "11", "22"], env=real_display, check=True, timeout=30)
        assert (probe.idle_seconds() or 0.0) < time.monotonic() - start
