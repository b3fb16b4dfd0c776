"""Blocks of epochs and batch numbers, texts as they are sent, and what is said where the driver is absent."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.effects import Effects
from corpgrid.stores.postgres.numbers import BLOCK, MOST_A_TICK, Numbers
from corpgrid.stores.postgres.rows import received, sent
from tests.contracts.store_rows import batch, device, lease

ON = device("dev_a")


def used(epochs: int = 0, batches: int = 0, *, first: tuple[int, int] = (1, 1)) -> Effects:
    return Effects(
        leases=tuple(lease(first[0] + n, on=ON, job="job_a", until=1.0, remaining=1) for n in range(epochs)),
        batches=tuple(batch(first[1] + n, "job_a", ON) for n in range(batches)),
    )


@given(
    ticks=st.lists(st.tuples(st.integers(0, MOST_A_TICK), st.integers(0, 3), st.booleans(), st.booleans()), max_size=12)
)
def test_numbers_rise_and_are_given_once(ticks: list[tuple[int, int, bool, bool]]) -> None:
    """Whatever ticks use and others take; a tick that is undone used nothing."""
    numbers, newest, highest = Numbers(), 0, (0, 0)
    for epochs, batches, taken_by_other, committed in ticks:
        newest += taken_by_other
        if numbers.wanted != newest:
            newest += 1
        first = numbers.use(newest)
        last = (first[0] + epochs - 1, first[1] + batches - 1)
        assert {(first[0] - 1) // BLOCK, (first[1] - 1) // BLOCK} == {newest}
        assert max(last) <= (newest + 1) * BLOCK
        assert first[0] > highest[0]
        assert first[1] > highest[1]
        if committed:
            numbers.keep(used(min(epochs, 3), batches, first=(last[0] - min(epochs, 3) + 1, first[1])))
            highest = (max(highest[0], last[0] if epochs else 0), max(highest[1], last[1] if batches else 0))


def test_a_tick_that_uses_more_than_it_may_is_a_bug() -> None:
    numbers = Numbers()
    first = numbers.use(7)
    numbers.keep(used(1, first=(first[0] + MOST_A_TICK - 1, 1)))
    assert numbers.wanted == -1, "what is left is less than a tick may use"
    with pytest.raises(AssertionError, match="numbers"):
        numbers.keep(used(1, first=(first[0] + 2 * MOST_A_TICK, 1)))


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["\0", "\ue000", "\ue0000"])))
def test_a_text_comes_back_as_it_was_sent(texts: list[str]) -> None:
    stored = sent(texts)
    assert "\0" not in "".join(stored)
    assert received(stored) == tuple(texts)
    assert [received([sent(text)])[0] for text in texts] == texts


def test_without_the_driver_the_reader_is_told_what_to_install() -> None:
    code = """
import sys
sys.modules["asyncpg"] = None
from corpgrid.errors import ConfigError
try:
    import corpgrid.stores.postgres.store
except ConfigError as error:
    print(error.explain())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'corpgrid[postgres]'" in done.stdout
