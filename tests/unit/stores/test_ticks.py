"""A tick that changed anything is written."""

from __future__ import annotations

from dataclasses import fields

import pytest

from corpgrid.domain.effects import Effects
from corpgrid.stores.ticks import IDLE_SECONDS, worth_writing

CHANGES = [field.name for field in fields(Effects) if field.name != "replies"]


@pytest.mark.parametrize("name", CHANGES)
def test_any_change_is_worth_a_write(name: str) -> None:
    changed = Effects(**{name: 1.0 if name == "extend_leases_seconds" else (object(),)})  # type: ignore[arg-type]
    assert worth_writing(changed, now=10.0, last_tick=10.0)


def test_replies_alone_are_not() -> None:
    assert not worth_writing(Effects(replies={1: object()}), now=10.0, last_tick=10.0)


@pytest.mark.parametrize("last_tick", [10.0 - IDLE_SECONDS, 9.0, 0.0, 11.0])
def test_an_old_sign_of_life_is_renewed(last_tick: float) -> None:
    """Also one from the future, where a clock was set back."""
    assert worth_writing(Effects(), now=10.0, last_tick=last_tick)
