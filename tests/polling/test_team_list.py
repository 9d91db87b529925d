"""Whether a list pays: what is learnt from what comes back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.polling.team_list import (
    COMPANY,
    FIRST_LIMIT,
    GROWTH,
    HIGHEST_LIMIT,
    LONGEST_REST,
    POSTS_PER_READ,
    RECONSIDERED,
    SHORTEST_REST,
    ListAttempt,
    ListStrategy,
)


class Service:
    """Lists of so many posts, of which so many at most are shown, and limits up to so much are taken."""

    def __init__(self, posts: int, shows: int, takes: int) -> None:
        self.posts, self.shows, self.takes = posts, shows, takes
        self.asked: list[int] = []

    def shown(self, limit: int) -> int | None:
        """How many come, or None if the limit is refused."""
        self.asked.append(limit)
        return None if limit > self.takes else min(limit, self.shows, self.posts)


def one_round(list_strategy: ListStrategy, service: Service, pending: set[int], now: float) -> int:
    """Ask as long as it pays; posts are numbers, the newest is 0. Returns how many have to be read singly."""
    missing = set(pending)
    occasion = ListAttempt(list_strategy, len(missing), now)
    while occasion.limit is not None:
        shown = service.shown(occasion.limit)
        if shown is None:
            occasion.refused()
        else:
            missing = {post for post in missing if post >= shown}
            occasion.showed(shown, len(missing))
    return len(missing)


def rounds(list_strategy: ListStrategy, service: Service, waiting: int, company: int, count: int) -> list[int]:
    """So many rounds, a second apart, of some of those who wait; returns the single reads of each."""
    chance = random.Random(5)  # noqa: S311 - a simulation
    everyone = range(waiting)
    return [
        one_round(list_strategy, service, set(chance.sample(everyone, company)), float(now)) for now in range(count)
    ]


def test_few_are_read_singly() -> None:
    assert not ListStrategy().is_worth_it(COMPANY - 1, 0.0)
    assert ListStrategy().is_worth_it(COMPANY, 0.0)
    assert ListAttempt(ListStrategy(), COMPANY - 1, 0.0).limit is None
    assert ListAttempt(ListStrategy(), COMPANY, 0.0).limit == FIRST_LIMIT


def test_a_list_that_shows_everything_is_found_in_the_first_round() -> None:
    service = Service(posts=1000, shows=10_000, takes=10_000)
    assert rounds(ListStrategy(), service, waiting=1000, company=200, count=5) == [0, 0, 0, 0, 0]
    assert service.asked == [100, 400, 1600, 1600, 1600, 1600, 1600]


def test_a_list_of_a_hundred_is_used_for_what_it_shows() -> None:
    service = Service(posts=1000, shows=100, takes=10_000)
    singles = rounds(ListStrategy(), service, waiting=1000, company=200, count=5)
    assert all(150 <= each < 200 for each in singles)
    assert service.asked == [100, 400, 100, 100, 100, 100], "asking for more was of no use, and is not tried again"


@pytest.mark.parametrize(("takes", "asked"), [(100, [100, 400]), (50, [100, 50]), (10, [100, 50, 25, 12])])
def test_a_limit_that_is_refused_is_lowered(takes: int, asked: list[int]) -> None:
    list_strategy = ListStrategy()
    service = Service(posts=1000, shows=10_000, takes=takes)
    one_round(list_strategy, service, set(range(0, 1000, 5)), 0.0)
    assert service.asked == asked
    service.asked.clear()
    one_round(list_strategy, service, set(range(0, 1000, 5)), 1.0)
    assert all(limit <= takes for limit in service.asked), "a limit is refused once only"


def test_no_list_at_all_is_given_up_for_ever_longer() -> None:
    list_strategy, service = ListStrategy(), Service(posts=1000, shows=0, takes=0)
    now, rests = 0.0, []
    for _ in range(12):
        assert one_round(list_strategy, service, set(range(100)), now) == 100
        assert not list_strategy.is_worth_it(100, now)
        rests.append(list_strategy.rests_until - now)
        now = list_strategy.rests_until
    assert rests[0] == SHORTEST_REST
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST


def test_a_list_that_shows_others_is_given_up_and_tried_again_later() -> None:
    list_strategy = ListStrategy()
    service = Service(posts=100_000, shows=100, takes=100)
    old = set(range(50_000, 50_100))
    assert one_round(list_strategy, service, old, 0.0) == 100
    assert list_strategy.is_resting(1.0)
    assert one_round(list_strategy, service, set(range(100)), 1.0) == 100, "it rests, and so do the new ones"
    now = list_strategy.rests_until
    assert one_round(list_strategy, service, set(range(100)), now) == 0
    assert not list_strategy.is_resting(now)


def test_few_who_are_left_of_many_are_not_worth_the_whole_list_nor_an_arbitrary_part_of_it() -> None:
    list_strategy, service = ListStrategy(), Service(posts=1000, shows=10_000, takes=10_000)
    assert one_round(list_strategy, service, set(range(1000)), 0.0) == 0
    service.asked.clear()
    few = set(range(985, 1000))
    assert one_round(list_strategy, service, few, 1.0) == len(few)
    assert not service.asked
    assert not list_strategy.is_resting(2.0)
    assert one_round(list_strategy, service, set(range(0, 1000, 5)), 2.0) == 0, "for many it is still good"
    assert one_round(list_strategy, service, set(range(15)), 3.0 + RECONSIDERED) == 0, "a short list may do for few"
    assert service.asked[-1] == FIRST_LIMIT


def test_an_answer_that_may_be_too_long_is_not_asked_for_again() -> None:
    list_strategy, service = ListStrategy(), Service(posts=3000, shows=10_000, takes=10_000)
    occasion = ListAttempt(list_strategy, 3000, 0.0)
    while occasion.limit is not None:
        if occasion.limit > 1000:
            occasion.failed(unreadable=True)
        else:
            occasion.showed(occasion.limit, 3000 - occasion.limit)
    assert list_strategy.is_resting(1.0)
    one_round(list_strategy, service, set(range(3000)), list_strategy.rests_until)
    assert service.asked == [100, 400, 800]
    ListAttempt(ListStrategy(), 1000, 0.0).failed(unreadable=True)


@given(
    posts=st.integers(0, 20_000),
    shows=st.integers(0, 20_000),
    takes=st.integers(0, 20_000),
    company=st.integers(1, 3000),
    later=st.lists(st.floats(0.0, 10_000.0), min_size=1, max_size=10),
)
def test_a_round_always_ends_and_never_asks_for_more_than_it_may(
    posts: int, shows: int, takes: int, company: int, later: list[float]
) -> None:
    list_strategy, service = ListStrategy(), Service(posts, shows, takes)
    now = 0.0
    for pause in later:
        now += pause
        service.asked.clear()
        one_round(list_strategy, service, set(range(0, company * 3, 3)), now)
        assert len(service.asked) <= 12
        assert all(COMPANY <= limit <= HIGHEST_LIMIT for limit in service.asked)
        if service.asked:
            assert service.asked[0] <= max(FIRST_LIMIT, GROWTH * company * POSTS_PER_READ)
        assert list_strategy.rest <= LONGEST_REST
