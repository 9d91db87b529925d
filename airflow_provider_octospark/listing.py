"""Whether one list of a team's posts is worth more than reads of single posts: a pure decision from what came back.

How many posts the service lists, and in which order, is not documented. So it is found out: a list that shows as
many posts as were asked for may show more if asked for more; a list that answers too few of those who wait is not
asked for again for some time.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPANY = 8
"""From so many waiting posts of a team on, a list is considered."""

POSTS_PER_READ = 25
"""Showing so many posts in a list costs us and the service about as much as answering one read."""

FIRST_LIMIT = 100
"""What is asked for at first: the highest limit that lists of this kind commonly allow."""

HIGHEST_LIMIT = 5000
"""More posts than this would not fit into the longest answer that is read."""

GROWTH = 4
"""By which factor more is asked for when a list was full and did not show enough."""

SHORTEST_REST, LONGEST_REST = 15.0, 3600.0
"""For how many seconds a list that did not pay is not asked for again; doubles each time."""


@dataclass
class Listing:
    """What is known of the lists of one team.

    :param limit: how many posts to ask for.
    :param ceiling: the service does not show more, or does not take a higher limit.
    :param rests_until: time until which no list is asked for.
    :param rest: for how long it rests the next time.
    """

    limit: int = FIRST_LIMIT
    ceiling: int = HIGHEST_LIMIT
    rests_until: float = 0.0
    rest: float = SHORTEST_REST

    def is_resting(self, now: float) -> bool:
        """Whether single reads are known to be better."""
        return now < self.rests_until

    def limit_for(self, posts: int, now: float) -> int | None:
        """Return the limit to ask for on behalf of so many waiting posts, or None if they should be read singly."""
        if posts < COMPANY or self.is_resting(now):
            return None
        return min(self.limit, posts * POSTS_PER_READ)

    def take_rest(self, now: float) -> None:
        """Ask for no list for some time, each time longer."""
        self.rests_until = now + self.rest
        self.rest = min(LONGEST_REST, self.rest * 2)


class Round:
    """The lists that are asked for on one occasion, one after the other, until no more of them pays.

    :param listing: what is known of the lists; learns from the round.
    :param missing: how many posts wait to be shown.
    :param now: a clock's time in seconds, the same clock for all rounds.
    """

    def __init__(self, listing: Listing, missing: int, now: float) -> None:
        self._listing = listing
        self._missing = missing
        self._now = now
        self._shown = self._answered = 0
        self._before: tuple[int, int] | None = None
        self.limit = listing.limit_for(missing, now)
        """What to ask for next; None if the round is over."""

    def showed(self, shown: int, missing: int) -> None:
        """Take in an answer.

        :param shown: how many posts came.
        :param missing: how many of those that wait have still not been shown.
        """
        asked = self.limit or 0
        self._shown += shown
        self._answered += self._missing - missing
        self._missing = missing
        self._learn(asked, shown)
        self._before = asked, shown
        self.limit = self._larger(asked, shown)
        if self.limit is None:
            self._judge()

    def refused(self) -> None:
        """Take in that the service does not take the limit: a smaller one may do."""
        asked = self.limit or 0
        smaller = FIRST_LIMIT if asked > FIRST_LIMIT else asked // 2
        if smaller < COMPANY:
            self.failed()
            return
        self._listing.ceiling = self._listing.limit = smaller
        if self._before is None:
            self.limit = smaller
        else:
            self.limit = None
            self._judge()

    def failed(self, *, unreadable: bool = False) -> None:
        """Take in that lists are of no use for now.

        :param unreadable: the answer could not be read, perhaps because it was too long.
        """
        if unreadable:
            self._listing.ceiling = self._listing.limit = max(FIRST_LIMIT, (self.limit or 0) // 2)
        self.limit = None
        self._listing.take_rest(self._now)

    def _learn(self, asked: int, shown: int) -> None:
        if self._before is None:
            return
        asked_before, shown_before = self._before
        if shown > shown_before:
            self._listing.limit = asked
        else:
            self._listing.ceiling = self._listing.limit = asked_before

    def _larger(self, asked: int, shown: int) -> int | None:
        if shown < asked or self._missing < COMPANY:
            return None
        limit = min(asked * GROWTH, self._listing.ceiling, self._missing * POSTS_PER_READ)
        return limit if limit > asked else None

    def _judge(self) -> None:
        if self._answered > 1 and self._answered * POSTS_PER_READ >= self._shown:
            self._listing.rest = SHORTEST_REST
        else:
            self._listing.take_rest(self._now)
