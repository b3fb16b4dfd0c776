"""The log's tree against published roots, notes against one that another program signed, checkpoints line by line."""

from __future__ import annotations

import base64

import pytest

from corpgrid.errors import DigestError, MalformedDataError, SignatureError, UntrustedKeyError
from corpgrid.trust.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from corpgrid.trust.keys import PrivateKey, PublicKey
from corpgrid.trust.log_tree import EMPTY_ROOT, Frontier, check_consistency, check_inclusion, leaf_hash
from corpgrid.trust.note import NOTE_BYTES, NoteKey, open_note, sign_note

# The entries and roots by which implementations of Certificate Transparency are tested.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# From the documentation of the Go package that such notes come from.
SIGNER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SAYING = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
ORIGIN = "corpgrid.example/log"
KEY = PrivateKey.generate()
OURS = NoteKey(ORIGIN, KEY.public)
ROOT = Frontier().extend(ENTRIES).root()


def signer() -> NoteKey:
    name, _, key = SIGNER.split("+", 2)
    return NoteKey(name, PublicKey(base64.b64decode(key)[1:]))


@pytest.mark.parametrize("size", range(1, len(ROOTS) + 1))
def test_roots_are_the_published_ones(size: int) -> None:
    assert Frontier().extend(ENTRIES[:size]).root().hex() == ROOTS[size - 1]


def test_the_empty_log_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("content", [b"", b"\0" * 7, bytes(8) + b"x", (3).to_bytes(8, "big") + bytes(63), b"\xff" * 40])
def test_what_is_no_frontier_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedDataError, match="frontier"):
        Frontier.decode(content)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_an_entry_outside_of_the_log_is_refused(index: int, size: int) -> None:
    with pytest.raises(DigestError, match="cannot stand"):
        check_inclusion(ROOT, leaf_hash(b""), (), index=index, size=size)


@pytest.mark.parametrize(("earlier", "size"), [(9, 8), (-1, 8)])
def test_no_log_begins_with_a_longer_one(earlier: int, size: int) -> None:
    with pytest.raises(DigestError, match="does not begin"):
        check_consistency(ROOT, ROOT, (), earlier=earlier, size=size)


def test_a_note_of_another_program_is_read() -> None:
    text, keys = open_note(SAYING, [signer()])
    assert text.encode() + SAYING.rpartition(b"\n\n")[2] == SAYING.replace(b".\n\n", b".\n")
    assert [str(key) for key in keys] == [SIGNER]


def test_a_note_comes_back_with_its_signer() -> None:
    text = "first\n\nlast\n"
    assert open_note(sign_note(text, ORIGIN, KEY), [signer(), OURS]) == (text, (OURS,))


def test_signatures_of_others_are_passed_over() -> None:
    note = sign_note("text\n", ORIGIN, KEY) + SAYING.rpartition(b"\n\n")[2]
    assert open_note(note, [OURS]) == ("text\n", (OURS,))
    with pytest.raises(SignatureError):  # but one of a key that is known must fit
        open_note(note, [OURS, signer()])


def test_a_note_that_nobody_known_signed_is_refused() -> None:
    with pytest.raises(UntrustedKeyError, match="PeterNeumann"):
        open_note(SAYING, [OURS])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno signature\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAAA",
        b"te\x00xt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"\xff\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 na+me AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA!\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",
        b"x" * NOTE_BYTES + b"\n\n\xe2\x80\x94 name AAAAAAAA\n",
    ],
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(MalformedDataError, match="note"):
        open_note(note, [OURS])


def test_a_short_signature_of_a_known_key_is_refused() -> None:
    short = base64.b64encode(OURS.id + bytes(63)).decode()
    with pytest.raises(SignatureError, match="63 bytes"):
        open_note(f"text\n\n\u2014 {ORIGIN} {short}\n".encode(), [OURS])


def test_a_checkpoint_comes_back() -> None:
    checkpoint = Checkpoint(ORIGIN, 8, ROOT)
    note = sign_checkpoint(checkpoint, KEY)
    assert note.decode().split("\n")[:3] == [ORIGIN, "8", base64.b64encode(ROOT).decode()]
    assert open_checkpoint(note, ORIGIN, [OURS]) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n8\n",
        f"{ORIGIN}\n08\n{base64.b64encode(ROOT).decode()}\n",
        f"{ORIGIN}\n-8\n{base64.b64encode(ROOT).decode()}\n",
        f"{ORIGIN}\n8\n{base64.b64encode(ROOT[:-1]).decode()}\n",
        f"{ORIGIN}\n8\nnot base64\n",
        f"{ORIGIN}\n8\n{base64.b64encode(ROOT).decode()}\nmore\n",
        f"other\n8\n{base64.b64encode(ROOT).decode()}\n",
    ],
)
def test_a_signed_note_that_is_no_checkpoint_of_this_log_is_refused(text: str) -> None:
    with pytest.raises(MalformedDataError):
        open_checkpoint(sign_note(text, ORIGIN, KEY), ORIGIN, [OURS])
