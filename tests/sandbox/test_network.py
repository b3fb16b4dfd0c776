"""3 to 6: no network, no socket of the host, no other family."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.sandbox.probing import Prober, without_filter, without_flags

REACH = """
port, path, abstract = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def tcp(host, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s: s.settimeout(0.5); s.connect((host, port))
def udp(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.sendto(b'x', (host, port))
def unix(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s: s.connect(address)
attempt('loopback', lambda: tcp('127.0.0.1', port))
attempt('loopback6', lambda: tcp('::1', port, socket.AF_INET6))
attempt('metadata', lambda: tcp('169.254.169.254', 80))
attempt('udp', lambda: udp('127.0.0.1', port))
attempt('dns', lambda: socket.getaddrinfo('example.com', 80) and None)
attempt('path', lambda: unix(path))
attempt('abstract', lambda: unix('\\0' + abstract))
for place in ['/run/dbus/system_bus_socket', '/var/run/docker.sock', '/tmp/.X11-unix/X0']:
    attempt(place, lambda: unix(place))
attempt('interfaces', lambda: ','.join(line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]))
"""
FAMILIES = """
def make(family, kind=socket.SOCK_STREAM, protocol=0): socket.socket(family, kind, protocol).close()
for name, family in {'AF_VSOCK': 40, 'AF_ALG': 38, 'AF_NETLINK': 16, 'AF_PACKET': 17, 'AF_INET': 2, 'AF_INET6': 10,
                     'AF_BLUETOOTH': 31, 'AF_CAN': 29, 'AF_TIPC': 30, 'AF_KEY': 15, 'AF_XDP': 44}.items():
    attempt(name, lambda: make(family, socket.SOCK_RAW if family in (16, 17, 15, 44, 29) else socket.SOCK_STREAM))
attempt('raw', lambda: make(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt('AF_UNIX', lambda: make(socket.AF_UNIX))
attempt('pair', lambda: [end.close() for end in socket.socketpair()] and None)
high = 1 << 32
if os.uname().machine == 'x86_64':
    call('AF_INET with a high bit', 41, 2 | high, 1, 0)
    call('AF_NETLINK with a high bit', 41, 16 | high, 3, 0)
"""


class Host:
    """Listeners on the host: TCP on both loopbacks, a path, an abstract name."""

    def __init__(self, stack: ExitStack, path: str) -> None:
        self.path = path
        self.tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.abstract = f"corpgrid-test-{self.port}"
        for address in (path, "\0" + self.abstract):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()

    @property
    def port(self) -> int:
        return int(self.tcp.getsockname()[1])

    @property
    def arguments(self) -> tuple[str, str, str]:
        return str(self.port), self.path, self.abstract

    def was_reached(self) -> bool:
        self.tcp.setblocking(False)
        try:
            self.tcp.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def host(prober: Prober) -> Iterator[Host]:
    with ExitStack() as stack:
        yield Host(stack, str(prober.folder / "service.sock"))


async def test_nothing_is_reached(prober: Prober, host: Host) -> None:
    found = await prober.probe(REACH, *host.arguments)
    assert found.pop("interfaces") == "lo"
    assert found.pop("dns") == "gaierror" or found["metadata"] == "EPERM"
    assert {found[name] for name in ("loopback", "loopback6", "metadata", "udp")} == {"EPERM"}
    assert found["abstract"] == "ECONNREFUSED"
    assert all(outcome == "ENOENT" for name, outcome in found.items() if name.startswith("/") or name == "path")
    assert not host.was_reached()


async def test_the_network_namespace_holds_without_the_filter(
    prober: Prober, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(REACH, *host.arguments)
    assert found["loopback"] == "ECONNREFUSED"
    assert found["metadata"] == "ENETUNREACH"
    assert found["abstract"] == "ECONNREFUSED"
    assert not host.was_reached()


async def test_the_filter_holds_without_the_network_namespace(
    prober: Prober, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_flags(monkeypatch, added=("--share-net",)):
        found = await prober.probe(REACH, *host.arguments)
    assert {found[name] for name in ("loopback", "loopback6", "metadata", "udp")} == {"EPERM"}
    assert found["abstract"] == "ok"  # what hides abstract sockets is the namespace alone
    assert not host.was_reached()


async def test_without_both_the_host_is_reached(prober: Prober, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch), without_flags(monkeypatch, added=("--share-net",)):
        found = await prober.probe(REACH, *host.arguments)
    assert found["loopback"] == "ok"
    assert host.was_reached()


async def test_a_network_grant_gives_the_internet_and_no_socket_of_the_host(prober: Prober, host: Host) -> None:
    found = await prober.probe(REACH + FAMILIES, *host.arguments, network=True)
    assert found["loopback"] == "ok"
    assert host.was_reached()
    assert (found["abstract"], found["path"]) == ("EPERM", "EPERM")
    assert {found[name] for name in ("AF_VSOCK", "AF_ALG", "AF_NETLINK", "AF_PACKET", "AF_UNIX", "raw")} == {"EPERM"}
    assert (found["AF_INET"], found["pair"]) == ("ok", "ok")


async def test_only_unix_sockets_can_be_made(prober: Prober) -> None:
    found = await prober.probe(FAMILIES)
    assert {name for name, outcome in found.items() if outcome == "ok"} == {"AF_UNIX", "pair"}
    assert {outcome for outcome in found.values() if outcome != "ok"} == {"EPERM"}


async def test_the_filter_is_what_refuses_families(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_filter(monkeypatch):
        found = await prober.probe(FAMILIES)
    assert (found["AF_NETLINK"], found["AF_INET"]) == ("ok", "ok")
