from __future__ import annotations

import random

from corpgrid.transport.backoff import Backoff


def test_pauses_grow_to_a_limit_and_never_shrink_to_nothing() -> None:
    pauses = Backoff(random.Random(1), first_seconds=0.1, longest_seconds=1.0)
    seconds = [pauses.next_seconds() for _ in range(50)]
    assert 0.05 <= seconds[0] <= 0.1
    assert all(0.5 <= pause <= 1.0 for pause in seconds[5:])


def test_two_who_wait_do_not_come_back_as_one() -> None:
    one, other = (Backoff(random.Random(seed)) for seed in (1, 2))
    assert [one.next_seconds() for _ in range(5)] != [other.next_seconds() for _ in range(5)]
