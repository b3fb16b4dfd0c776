"""Key files: made at once and for their owner alone; anything laxer is refused."""

import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from corpgrid.errors import ConflictError, NotFoundError, TrustError
from corpgrid.host import keyfiles
from corpgrid.host.keyfiles import (
    KeyFolder,
    ensure_private_key,
    load_keyring,
    read_private_key,
    read_public_key,
    write_private_key,
    write_public_key,
)
from corpgrid.trust.keys import PrivateKey

KEY = PrivateKey.from_raw(bytes(32))
unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_come_back(tmp_path):
    write_private_key(tmp_path / "device.key", KEY)
    write_public_key(tmp_path / "device.pem", KEY.public)
    assert read_private_key(tmp_path / "device.key").public == KEY.public
    assert read_public_key(tmp_path / "device.pem") == KEY.public
    assert sorted(path.name for path in tmp_path.iterdir()) == ["device.key", "device.pem"]


@unix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_the_umask_does_not_matter(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_private_key(tmp_path / "key", KEY)
        write_public_key(tmp_path / "pem", KEY.public)
    finally:
        os.umask(before)
    assert mode(tmp_path / "key") == 0o600
    assert mode(tmp_path / "pem") == 0o644


@unix
def test_a_private_key_is_never_seen_with_another_mode_or_in_half(tmp_path, monkeypatch):
    seen = []

    def link(source, target):
        seen.append((mode(source), PrivateKey.from_pem(source.read_bytes()).public))
        source.rename(target)

    monkeypatch.setattr(keyfiles.os, "link", link)
    write_private_key(tmp_path / "key", KEY)
    assert seen == [(0o600, KEY.public)]


@unix
def test_a_key_and_its_name_are_durable(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(keyfiles.os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    write_private_key(tmp_path / "key", KEY)
    assert synced == [(tmp_path / "key").stat().st_ino, tmp_path.stat().st_ino]


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "key"
    write_private_key(path, KEY)
    with pytest.raises(ConflictError, match="exists already"):
        write_private_key(path, PrivateKey.generate())
    assert read_private_key(path).public == KEY.public
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keyfiles.os, "fsync", full)
    with pytest.raises(TrustError, match="No space left"):
        write_private_key(tmp_path / "key", KEY)
    assert list(tmp_path.iterdir()) == []


@unix
@pytest.mark.parametrize("lax", [0o640, 0o604, 0o660, 0o610, 0o601, 0o602])
def test_a_private_key_that_others_can_touch_is_refused(tmp_path, lax):
    path = tmp_path / "key"
    write_private_key(path, KEY)
    path.chmod(lax)
    with pytest.raises(TrustError, match=f"mode {lax:04o}") as caught:
        read_private_key(path)
    assert "chmod 0600" in caught.value.remedy
    path.chmod(0o400)
    assert read_private_key(path).public == KEY.public


@unix
def test_a_private_key_of_somebody_else_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "key"
    write_private_key(path, KEY)
    someone = path.stat().st_uid + 1
    monkeypatch.setattr(keyfiles.os, "geteuid", lambda: someone)
    with pytest.raises(TrustError, match="belongs to user"):
        read_private_key(path)


@unix
def test_a_public_key_that_others_can_write_is_refused(tmp_path):
    path = tmp_path / "key.pem"
    write_public_key(path, KEY.public)
    path.chmod(0o646)
    with pytest.raises(TrustError, match="mode 0646"):
        read_public_key(path)


@unix
def test_only_regular_files_hold_keys(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(TrustError, match="no regular file"):
            read_private_key(tmp_path / name)


def test_a_file_without_a_key_is_named(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"hello")
    path.chmod(0o600)
    with pytest.raises(TrustError, match=str(path)):
        read_private_key(path)
    path.write_bytes(bytes(keyfiles.MAX_KEY_FILE_BYTES))
    with pytest.raises(TrustError, match="no unencrypted private key"):
        read_private_key(path)
    path.write_bytes(bytes(keyfiles.MAX_KEY_FILE_BYTES + 1))
    with pytest.raises(TrustError, match="MAX_KEY_FILE_BYTES"):
        read_private_key(path)
    with pytest.raises(NotFoundError, match="no key file"):
        read_private_key(tmp_path / "absent")


def test_all_who_ensure_a_key_at_once_get_the_same(tmp_path):
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        keys = {key.public for key in pool.map(ensure_private_key, [path] * 16)}
    assert keys == {read_private_key(path).public}


def test_a_keyring_is_a_folder_of_public_keys(tmp_path):
    keys = [PrivateKey.generate().public for _ in range(3)]
    for place, key in enumerate(keys):
        write_public_key(tmp_path / f"{place}.pem", key)
    (tmp_path / "README").write_text("not a key")
    assert set(load_keyring(tmp_path).values()) == set(keys)


def test_a_keyring_is_whole_or_refused(tmp_path):
    with pytest.raises(NotFoundError, match="no folder"):
        load_keyring(tmp_path / "absent")
    write_public_key(tmp_path / "good.pem", KEY.public)
    (tmp_path / "bad.pem").write_text("not a key")
    (tmp_path / "bad.pem").chmod(0o644)
    with pytest.raises(TrustError, match=r"bad\.pem"):
        load_keyring(tmp_path)


def test_a_key_folder_is_what_it_is_now(tmp_path):
    first, second = PrivateKey.generate().public, PrivateKey.generate().public
    later = tmp_path.stat().st_ctime + 3_600.0
    folder = KeyFolder(tmp_path, lambda: later)
    assert not set(folder())
    write_public_key(tmp_path / "first.pem", first)
    assert set(folder().values()) == {first}
    write_public_key(tmp_path / "second.pem", second)
    assert set(folder().values()) == {first, second}
    (tmp_path / "first.pem").unlink()
    assert set(folder().values()) == {second}
    (tmp_path / "second.pem").write_bytes(first.to_pem())
    assert set(folder().values()) == {first}


def test_a_key_folder_is_read_once_while_nothing_changes(tmp_path, monkeypatch):
    write_public_key(tmp_path / "key.pem", KEY.public)
    now = tmp_path.stat().st_ctime
    loads = []
    monkeypatch.setattr(keyfiles, "load_keyring", lambda folder: loads.append(folder) or load_keyring(folder))
    folder = KeyFolder(tmp_path, lambda: now)
    folder(), folder()
    assert len(loads) == 2, "a change of this very moment may hide another"
    now += 60.0
    folder(), folder(), folder()
    assert len(loads) == 3


def test_a_key_folder_that_goes_bad_is_refused_at_once(tmp_path):
    write_public_key(tmp_path / "key.pem", KEY.public)
    later = tmp_path.stat().st_ctime + 3_600.0
    folder = KeyFolder(tmp_path, lambda: later)
    folder()
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(TrustError):
        folder()
    (tmp_path / "key.pem").unlink()
    tmp_path.rmdir()
    with pytest.raises(NotFoundError):
        folder()


@unix
def test_a_keyring_that_others_can_add_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(TrustError, match="mode 0777"):
        load_keyring(tmp_path)
