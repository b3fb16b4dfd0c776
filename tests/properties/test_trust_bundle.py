"""Bundles of any content: what is built is verified, and any flipped bit is refused."""

import functools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from corpgrid.errors import BundleError, CorpGridError, TrustError
from corpgrid.trust.archive import read_archive, write_archive
from corpgrid.trust.bundle import BundleFile, CommandEntry, ModuleEntry, build_bundle, verify_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.keys import Keyring, PrivateKey
from corpgrid.trust.paths import clash, path_fault

KEY = PrivateKey.from_raw(bytes(32))
OTHER = PrivateKey.from_raw(bytes([1]) * 32)
RING = Keyring([KEY.public])
NAMES = st.text(st.sampled_from("abcABCé日/. -"), min_size=1, max_size=12).filter(lambda name: not path_fault(name))
FILES = st.dictionaries(NAMES, st.builds(BundleFile, st.binary(max_size=1_200), st.booleans()), max_size=6).filter(
    lambda files: not clash(files)
)
ENTRY = ModuleEntry("a", "f")


@functools.cache
def sample() -> bytes:
    files = {
        "a.py": BundleFile(b"def f(x): return x\n"),
        "d/run.sh": BundleFile(b"x" * 600, executable=True),
        "e": BundleFile(b""),
    }
    return build_bundle(files, engine="python", entry=ENTRY, key=KEY)


def flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def refused(content: bytes) -> bool:
    try:
        verify_bundle(content, expected=None, keyring=RING)
    except (BundleError, TrustError):
        return True
    return False


@given(FILES, st.integers(0, 2))
def test_what_is_built_is_verified(files, gpus):
    entry = CommandEntry(("sh", "{item}"))
    content = build_bundle(files, engine="command", entry=entry, gpus=gpus, key=KEY)
    found = verify_bundle(content, expected=digest(content), keyring=RING)
    assert found.files == files
    assert (found.manifest.gpus, found.manifest.entry, found.signer) == (gpus, entry, KEY.public.key_id)
    assert build_bundle(dict(reversed(files.items())), engine="command", entry=entry, gpus=gpus, key=KEY) == content


@given(FILES, st.data())
def test_any_flipped_bit_is_refused(files, data):
    content = build_bundle(files, engine="python", entry=ENTRY, key=KEY)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    assert refused(flip(content, bit))


def test_every_byte_counts():
    """All of them, so that no padding and no field of a header is left to luck."""
    content = sample()
    passed = [place for place in range(len(content)) if not refused(flip(content, 8 * place + place % 8))]
    assert passed == []


def test_every_bit_of_the_signature_counts():
    """Base64 has loose bits, JSON has loose layout: none of them here."""
    content = sample()
    start = content.index(b'{"payload":')
    size_bytes = len(read_archive(content, max_members=10)[1].content)
    passed = [bit for bit in range(8 * start, 8 * (start + size_bytes)) if not refused(flip(content, bit))]
    assert passed == []


@given(st.data())
@settings(max_examples=200)
def test_a_cut_or_filled_bundle_is_refused(data):
    content = sample()
    start, end = sorted(data.draw(st.integers(0, len(content))) for _ in range(2))
    more = data.draw(st.binary(max_size=600) | st.integers(0, 3).map(lambda blocks: bytes(512 * blocks)))
    changed = content[:start] + more + content[end:]
    assume(changed != content)
    assert refused(changed)


@given(st.permutations(range(5)))
def test_another_order_is_refused(order):
    members = read_archive(sample(), max_members=10)
    assert len(members) == 5
    assert refused(write_archive([members[place] for place in order])) == (order != [0, 1, 2, 3, 4])


@given(st.binary(max_size=2_000))
def test_any_bytes_are_refused(content):
    with pytest.raises(CorpGridError):
        verify_bundle(content, expected=None, keyring=RING)


def test_anothers_bundle_is_refused():
    assert refused(build_bundle({}, engine="python", entry=ENTRY, key=OTHER))
