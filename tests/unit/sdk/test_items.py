"""Arguments on their way: data as data, anything else as a pickle, and pages that fit."""

from __future__ import annotations

import itertools
import threading
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.errors import BundleError, LimitError
from corpgrid.runner.execution import read_item
from corpgrid.sdk import items
from corpgrid.sdk.items import PAGE_BYTES, PAGE_TASKS_MAX, encode_item, encode_items, page_tasks
from corpgrid.trust.jobspec import make_pages, page_items
from corpgrid.trust.limits import MAX_PAGE_BYTES


class Reading:
    """Not data."""

    def __init__(self, volts: float) -> None:
        self.volts = volts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reading) and other.volts == self.volts

    def __hash__(self) -> int:
        return hash(self.volts)


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (17, b"d"),
        ({"lr": 0.5, "layers": [1, 2]}, b"d"),
        ((1, (2, 3)), b"d"),
        (None, b"d"),
        (date(2024, 2, 29), b"p"),
        ({1, 2}, b"p"),
        (Reading(1.5), b"p"),
    ],
)
def test_what_the_task_gets_is_what_was_given(value: Any, tag: bytes) -> None:
    item = encode_item(value)
    assert item[:1] == tag
    assert read_item(item) == value


def test_an_array_is_data() -> None:
    item = encode_item(np.arange(6.0).reshape(2, 3))
    assert item[:1] == b"d"
    assert np.array_equal(read_item(item), np.arange(6.0).reshape(2, 3))


def test_an_item_that_cannot_travel_is_named_by_its_place() -> None:
    with pytest.raises(BundleError, match=r"^item 2 cannot travel: cannot pickle '_thread.lock' object"):
        encode_items([1, 2, threading.Lock()])


def test_an_item_of_an_installed_package_needs_that_package() -> None:
    generator = np.random.default_rng(1)
    with pytest.raises(BundleError, match=r"^item 0 refers to numpy, which is in none of the job's packages"):
        encode_items([generator])
    assert encode_items([generator], provided=frozenset({"numpy"}))


@pytest.mark.parametrize("value", [b"x" * 2_000, Reading(float("9" * 20)), [Reading(i) for i in range(200)]])
def test_an_item_that_is_too_large_says_what_to_do(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MAX_ITEM_BYTES", 100)
    with pytest.raises(LimitError, match=r"^item 1 is [\d,]+ where MAX_ITEM_BYTES allows 100") as caught:
        encode_items([1, value])
    assert "inputs=" in caught.value.remedy


def test_items_without_end_are_refused_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MAX_TASKS", 1_000)
    counter = itertools.count()
    with pytest.raises(LimitError, match="the number of items is 1,001 where MAX_TASKS allows 1,000"):
        encode_items(counter)
    assert next(counter) == 1_001, "no further than it must"


def test_a_generator_that_raises_is_heard() -> None:
    def broken() -> Any:
        yield 1
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="the database is gone"):
        encode_items(broken())


@given(st.lists(st.binary(min_size=1, max_size=60).map(lambda part: part * 500), min_size=1, max_size=200))
def test_pages_hold_all_items_in_order(values: list[bytes]) -> None:
    count = page_tasks(values)
    pages, _, arguments = make_pages(values, count)
    assert 1 <= count <= PAGE_TASKS_MAX
    assert arguments.tasks == len(values)
    assert [item for page in pages for item in page_items(page)] == values
    mean = sum(map(len, values)) // len(values)
    assert count == 1 or count * mean <= PAGE_BYTES


def test_one_large_item_does_not_make_a_page_of_each_small_one() -> None:
    values = [b"x"] * 100_000 + [b"x" * (8 << 20)]
    assert page_tasks(values) == PAGE_TASKS_MAX


def test_large_items_do_not_make_a_page_too_large() -> None:
    # The sizes are what matters; one buffer stands for all of the large ones.
    large = b"x" * (20 << 20)
    values = [b"x"] * 3_000 + [large] * 4
    pages, _, _ = make_pages(values, page_tasks(values))
    assert max(map(len, pages)) <= MAX_PAGE_BYTES
    assert len(pages) < 3_000
