"""Join tokens: they come back, and nothing that is not one is taken for one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpgrid.errors import MalformedDataError, UntrustedKeyError
from corpgrid.trust import canonical
from corpgrid.trust.join import MAX_ADDRESSES, PREFIX, JoinToken, require_secret

WORDS = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
ADDRESSES = st.lists(st.from_regex(r"[a-z0-9.-]{1,40}:[0-9]{1,5}", fullmatch=True), min_size=1, max_size=MAX_ADDRESSES)
EXACTLY_32 = st.binary(min_size=32, max_size=32)
TOKENS = st.builds(JoinToken, grid=WORDS, addresses=ADDRESSES.map(tuple), pin=EXACTLY_32, id=WORDS, secret=EXACTLY_32)
TOKEN = JoinToken("grid_1", ("grid.example:8471", "10.0.0.7:8471"), bytes(range(32)), "tok_1", bytes(32))


@given(TOKENS)
def test_a_token_comes_back(token: JoinToken) -> None:
    assert JoinToken.decode(f"  {token.encode()}\n") == token
    assert token.encode().isascii()
    assert not any(letter.isspace() for letter in token.encode())


@given(TOKENS, st.data())
def test_a_token_with_a_letter_changed_or_lost_is_another_or_none(token: JoinToken, data: st.DataObject) -> None:
    """A letter may turn one name into another, which the grid then does not know; no letter is passed over."""
    text = token.encode()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(["", "A", "z", "-", "_", "=", "+", " ", "é"]))
    changed = text[:place] + letter + text[place + 1 :]
    try:
        assert (JoinToken.decode(changed) == token) == (changed.strip() == text)
    except MalformedDataError as error:
        assert changed != text
        assert "token" in str(error)  # noqa: PT017 - either of two outcomes is right
        assert "Copy the whole token" in error.explain()  # noqa: PT017 - as above


@given(st.text(max_size=200) | st.text(max_size=200).map(lambda text: PREFIX + text))
@example(PREFIX)
@example(PREFIX + "A" * 10_000)
@example("\ud800")
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(MalformedDataError, match="no join token"):
        JoinToken.decode(text)


@pytest.mark.parametrize(
    "change",
    [
        {"grid": ""},
        {"grid": "a b"},
        {"grid": 7},
        {"id": "a/b"},
        {"addresses": []},
        {"addresses": "host:1"},
        {"addresses": ["host:1"] * (MAX_ADDRESSES + 1)},
        {"addresses": [7]},
        {"addresses": ["a\nb"]},
        {"pin": "00"},
        {"pin": 7},
        {"secret": "zz" * 32},
        {"secret": ("ab" * 32).upper()},
        {"more": 1},
    ],
)
def test_each_field_is_what_it_has_to_be(change: dict[str, object]) -> None:
    fields = {
        "grid": TOKEN.grid,
        "addresses": list(TOKEN.addresses),
        "pin": TOKEN.pin.hex(),
        "id": TOKEN.id,
        "secret": TOKEN.secret.hex(),
    }

    def written(content: dict[str, object]) -> str:
        return PREFIX + base64.urlsafe_b64encode(canonical.encode(content)).decode().rstrip("=")

    assert JoinToken.decode(written(dict(fields))) == TOKEN
    with pytest.raises(MalformedDataError, match="no join token"):
        JoinToken.decode(written({**fields, **change}))


@given(EXACTLY_32, st.binary(max_size=64))
def test_only_the_secret_is_the_secret(secret: bytes, other: bytes) -> None:
    token = TOKEN._replace(secret=secret)
    require_secret(secret, token.secret_digest)
    if other != secret:
        with pytest.raises(UntrustedKeyError):
            require_secret(other, token.secret_digest)
    with pytest.raises(UntrustedKeyError):  # what is kept does not open
        require_secret(token.secret_digest, token.secret_digest)
