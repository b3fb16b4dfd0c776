"""29, 30, 31, 33, 34: no core files, no devices, no screen, no way to be started again later."""

from __future__ import annotations

from tests.sandbox.probing import PRELUDE, REFUSED, Prober

DEVICES = """
for path in ['/dev/mem', '/dev/kmsg', '/dev/port', '/dev/sda', '/dev/vda', '/dev/loop0', '/dev/input', '/dev/video0',
             '/dev/snd', '/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/uinput', '/dev/dri', '/dev/nvidia0',
             '/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/vhost-net', '/dev/userfaultfd', '/dev/console']:
    attempt(path, lambda: os.close(os.open(path, os.O_RDWR)))
found['listed'] = sorted(os.listdir('/dev'))
found['devices'] = [name for name in os.listdir('/dev') if os.lstat('/dev/' + name).st_mode & 0o170000 == 0o020000]
"""
LATER = """
def put(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, 'w').close()
home = sys.argv[1]
for path in ['/etc/cron.d/job', '/var/spool/cron/crontabs/job', home + '/.config/systemd/user/job.service',
             home + '/.config/autostart/job.desktop', home + '/.bashrc', '/etc/systemd/system/job.service',
             '/usr/lib/systemd/user/job.service', '/run/user/0/job']:
    attempt(path, lambda: put(path))
for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'XDG_RUNTIME_DIR', 'DBUS_SESSION_BUS_ADDRESS', 'SSH_AUTH_SOCK'):
    found[name] = os.environ.get(name, 'ENOENT')
"""
CRASH = """
import resource
found['limit'] = list(resource.getrlimit(resource.RLIMIT_CORE))
report()
os.abort()
"""


async def test_only_harmless_devices_are_there(prober: Prober) -> None:
    found = await prober.probe(DEVICES)
    devices = found.pop("devices")
    found.pop("listed")
    assert set(devices) <= {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}  # type: ignore[call-overload]
    assert set(found.values()) == {"ENOENT"}


async def test_nothing_is_left_to_start_later(prober: Prober) -> None:
    found = await prober.probe(LATER, "/home/someone")
    assert set(found.values()) <= REFUSED


async def test_a_crash_leaves_no_core(prober: Prober) -> None:
    outcome = await prober.run(PRELUDE + CRASH)
    assert b'"limit": [0, 0]' in outcome.out
    assert outcome.exit.code == -6
    assert list(prober.work.iterdir()) == []
