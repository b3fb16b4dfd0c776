from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from corpgrid.errors import ConfigError, ConflictError, RefusedError
from corpgrid.transport.address import Address, parse, prepare


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:8470", "127.0.0.1:8470"),
        ("127.9.9.9:0", "127.9.9.9:0"),
        ("[::1]:8470", "[::1]:8470"),
        ("localhost:8470", "127.0.0.1:8470"),
        ("unix:/run/corpgrid/grid.sock", "unix:/run/corpgrid/grid.sock"),
        ("unix:///run/corpgrid/grid.sock", "unix:/run/corpgrid/grid.sock"),
    ],
)
def test_local_addresses_are_taken(text: str, target: str) -> None:
    assert parse(text).target == target


@pytest.mark.parametrize(
    "text", ["0.0.0.0:8470", "[::]:8470", "192.168.1.4:8470", "grid.example.org:443", "10.0.0.1:1", "dns:grid:1"]
)
def test_what_other_machines_could_reach_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="other machines") as refusal:
        parse(text)
    assert "unix:" in refusal.value.remedy


@pytest.mark.parametrize("text", ["", "8470", "127.0.0.1", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:65536", ":8470"])
def test_what_is_no_address_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        parse(text)


@pytest.mark.parametrize("text", ["unix:grid.sock", "unix:", "unix:./a"])
def test_a_sockets_path_is_absolute(text: str) -> None:
    with pytest.raises(ConfigError, match="absolute"):
        parse(text)


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="103 bytes"):
        parse("unix:/" + "a" * 103)


def test_the_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    address = parse(f"unix:{tmp_path}/new/grid.sock")
    prepare(address)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(RefusedError, match="other users"):
        prepare(parse(f"unix:{tmp_path}/grid.sock"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_what_a_dead_scheduler_left_is_removed(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(folder / "grid.sock"))
    prepare(parse(f"unix:{folder}/grid.sock"))
    assert list(folder.iterdir()) == []


def test_a_living_scheduler_is_not_pushed_aside(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(os.fspath(folder / "grid.sock"))
        living.listen()
        with pytest.raises(ConflictError, match="already"):
            prepare(parse(f"unix:{folder}/grid.sock"))


def test_a_port_needs_no_preparing() -> None:
    prepare(Address("127.0.0.1:0"))
