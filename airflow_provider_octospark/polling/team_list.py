"""Whether one list of a team's posts is worth more than reads of single posts: a pure decision from what came back.

How many posts the service lists, and in which order, is not documented. So it is found out: a list that shows as
many posts as were asked for may show more if asked for more; a list that answers too few of those who wait is not
asked for again for some time.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPANY = 8
"""From so many waiting posts of a team on, a list is considered."""

POSTS_PER_READ = 50
"""Showing so many posts in a list costs about as much as answering one read: us a third of it (measured), the service some
more."""

FIRST_LIMIT = 100
"""What is asked for at first: the highest limit that lists of this kind commonly allow."""

HIGHEST_LIMIT = 5000
"""More posts than this would not fit into the longest answer that is read."""

GROWTH = 4
"""By which factor more is asked for when a list was full and did not show enough."""

SHORTEST_REST, LONGEST_REST = 5.0, 3600.0
"""For how many seconds a list that did not pay is not asked for again; doubles each time."""


RECONSIDERED = 60.0
"""After so many seconds without a list, a shorter one is tried: it may do for the fewer who still wait."""


@dataclass
class ListStrategy:
    """What is known of the lists of one team.

    :param limit: how many posts to ask for.
    :param size: how many came when so many were asked for.
    :param listed_at: when that was.
    :param ceiling: the service does not show more, or does not take a higher limit.
    :param rests_until: time until which no list is asked for.
    :param rest: for how long it rests the next time.
    """

    limit: int = FIRST_LIMIT
    size: int = 0
    listed_at: float = 0.0
    ceiling: int = HIGHEST_LIMIT
    rests_until: float = 0.0
    rest: float = SHORTEST_REST

    def is_resting(self, now: float) -> bool:
        """Whether single reads are known to be better."""
        return now < self.rests_until

    def is_worth_it(self, posts: int, now: float) -> bool:
        """Whether a list should be asked for on behalf of so many waiting posts."""
        if posts < COMPANY or self.is_resting(now):
            return False
        # A part of the list would be no cheaper: the posts that wait may all be in its other part.
        return self.size <= posts * POSTS_PER_READ or now >= self.listed_at + RECONSIDERED

    def take_rest(self, now: float) -> None:
        """Ask for no list for some time, each time longer."""
        self.limit, self.size = min(FIRST_LIMIT, self.ceiling), 0
        self.rests_until = now + self.rest
        self.rest = min(LONGEST_REST, self.rest * 2)


class ListAttempt:
    """The lists that are asked for on one occasion, one after the other, until no more of them pays.

    :param list_strategy: what is known of the lists; learns from the round.
    :param missing: how many posts wait to be shown.
    :param now: a clock's time in seconds, the same clock for all rounds.
    """

    def __init__(self, list_strategy: ListStrategy, missing: int, now: float) -> None:
        self._list_strategy = list_strategy
        self._missing = missing
        self._now = now
        self._shown = self._answered = 0
        self._before: tuple[int, int] | None = None
        self.limit: int | None = None
        """What to ask for next; None if the round is over."""
        if list_strategy.is_worth_it(missing, now):
            too_large = list_strategy.size > missing * POSTS_PER_READ
            self.limit = min(FIRST_LIMIT, list_strategy.ceiling) if too_large else list_strategy.limit

    def showed(self, shown: int, missing: int) -> None:
        """Take in a response.

        :param shown: how many posts came.
        :param missing: how many of those that wait have still not been shown.
        """
        asked = self.limit or 0
        self._shown += shown
        self._answered += self._missing - missing
        self._missing = missing
        if self._before is not None and shown <= self._before[1]:
            # Asking for more brought no more.
            asked, shown = self._before
            self._list_strategy.ceiling = asked
        self._before = asked, shown
        self.limit = self._larger(asked, shown)
        if self.limit is None:
            self._judge(asked, shown)

    def refused(self) -> None:
        """Take in that the service does not take the limit: a smaller one may do."""
        asked = self.limit or 0
        smaller = FIRST_LIMIT if asked > FIRST_LIMIT else asked // 2
        if smaller < COMPANY:
            self.failed()
            return
        self._list_strategy.ceiling = self._list_strategy.limit = smaller
        if self._before is None:
            self.limit = smaller
        else:
            self.limit = None
            self._judge(*self._before)

    def failed(self, *, unreadable: bool = False) -> None:
        """Take in that lists are of no use for now.

        :param unreadable: the response could not be read, perhaps because it was too long.
        """
        if unreadable:
            self._list_strategy.ceiling = max(FIRST_LIMIT, (self.limit or 0) // 2)
        self.limit = None
        self._list_strategy.take_rest(self._now)

    def _larger(self, asked: int, shown: int) -> int | None:
        if shown < asked or self._missing < COMPANY:
            return None
        limit = min(asked * GROWTH, self._list_strategy.ceiling, self._missing * POSTS_PER_READ)
        return limit if limit > asked else None

    def _judge(self, asked: int, shown: int) -> None:
        list_strategy = self._list_strategy
        if self._answered < 2 or self._answered * POSTS_PER_READ < self._shown:
            list_strategy.take_rest(self._now)
            return
        list_strategy.limit, list_strategy.size, list_strategy.listed_at = asked, shown, self._now
        list_strategy.rest = SHORTEST_REST
