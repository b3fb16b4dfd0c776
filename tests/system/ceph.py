"""A real object store for tests: Ceph's S3 gateway over one monitor and one storage daemon that keeps all in memory.

It comes from the distribution's packages (Debian and Ubuntu: ``radosgw ceph-mon ceph-osd``).  Where this is root with
apt at hand, as in CI, they are installed; ``missing`` says what to do elsewhere.  All listens on loopback, and nothing
is left: the daemons end with the block, and their folder with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.contracts.s3 import S3Server

PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")
PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw-admin")
_START_SECONDS = 40.0
_PATIENCE_SECONDS = 30.0
_INSTALL_SECONDS = 600
_CONFIG = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon_port}
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
ms bind ipv4 = true
public network = 127.0.0.0/8
run dir = {folder}
admin socket = {folder}/$name.asok
pid file =
log file = {folder}/$name.log
crash dir = {folder}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = 2147483648
mon allow pool size one = true
mon data = {folder}/mon
mon data avail crit = 0
mon data avail warn = 0
osd data = {folder}/osd
osd max object size = 134217728
keyring = {folder}/keyring
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{rgw_port}
rgw data = {folder}/rgw
rgw gc obj min wait = 60
"""


def missing() -> str:
    """Why there is no Ceph here, and what to do; empty when there is."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent and _may_install():
        _install()
        absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not absent:
        return ""
    return f"{', '.join(absent)} not found; as root on Debian or Ubuntu: apt-get install {' '.join(PACKAGES)}"


def _may_install() -> bool:
    """Only where the machine is this run's alone."""
    return bool(os.environ.get("CI")) and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
        if done.returncode:
            sys.stderr.write(f"{' '.join(argv)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}\n")
            return


@contextlib.contextmanager
def ceph_server() -> Iterator[S3Server]:
    """A gateway that checks signatures, and a user's key to it."""
    with tempfile.TemporaryDirectory(prefix="corpgrid-ceph-", dir="/tmp") as name:
        cluster = _Cluster(Path(name))
        try:
            yield cluster.start()
        except BaseException:
            print(cluster.story())  # noqa: T201 - pytest shows it if the test fails
            raise
        finally:
            cluster.stop()


class _Cluster:
    """The daemons in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._config = folder / "ceph.conf"
        self._fsid = str(uuid.uuid4())
        self._mon_port, self._rgw_port = _free_port(), _free_port()

    def start(self) -> S3Server:
        for name in ("mon", "osd", "rgw"):
            (self._folder / name).mkdir()
        self._config.write_text(
            _CONFIG.format(fsid=self._fsid, folder=self._folder, mon_port=self._mon_port, rgw_port=self._rgw_port)
        )
        self._start_mon()
        self._start_osd()
        user = json.loads(self._run("radosgw-admin", "user", "create", "--uid=grid", "--display-name=grid"))
        self._daemon("radosgw", "-n", "client.rgw")
        self._wait(self._answers)
        key = user["keys"][0]
        return S3Server(f"http://127.0.0.1:{self._rgw_port}", key["access_key"], key["secret_key"])

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.kill()
        for daemon in self._daemons:
            daemon.wait()

    def story(self) -> str:
        """What the daemons said last."""
        return "".join(f"---- {path.name}\n{path.read_text()[-3000:]}" for path in self._folder.glob("*.log"))

    def _start_mon(self) -> None:
        monmap = str(self._folder / "monmap")
        place = f"[v1:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", place, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a")

    def _start_osd(self) -> None:
        made = str(uuid.uuid4())
        self._ask("osd", "new", made, "0")
        # A daemon that does this itself may ask before it knows which cluster it is in, and then it ends.
        self._ask("osd", "crush", "add", "osd.0", "1.0", "root=default")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", made)
        self._daemon("ceph-osd", "-i", "0")

    def _daemon(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("ab") as log:
            self._daemons.append(
                subprocess.Popen(
                    [program, "-f", "-c", str(self._config), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _ask(self, *arguments: str) -> None:
        """Have the monitor do what may be done twice: one that has just started refuses now and then."""
        started = time.monotonic()
        while True:
            try:
                self._run("ceph", *arguments)
            except AssertionError:
                if time.monotonic() - started > _PATIENCE_SECONDS:
                    raise
                time.sleep(0.5)
            else:
                return

    def _run(self, program: str, *arguments: str) -> bytes:
        done = subprocess.run(
            [program, "-c", str(self._config), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr.decode(errors='replace')[-2000:]}"
        return done.stdout

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._rgw_port}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _wait(self, met) -> None:
        started = time.monotonic()
        while not met():
            ended = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            assert not ended, f"ended by itself: {ended}\n{self.story()}"
            assert time.monotonic() - started < _START_SECONDS, self.story()
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
