"""Decide whether a list of a team's posts is cheaper than reads of single posts. Pure decisions.

Neither the number nor the order of listed posts is documented, so both are learnt. A full list may show more posts with a
higher limit. A list that serves too few subscribers is not requested again for some time. If the service pages, further
pages are read as long as each serves enough of them.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPANY = 8
"""The number of waiting posts of a team from which a list is considered."""

POSTS_PER_READ = 50
"""A list of this many posts costs about as much as one read: a third of that for us (measured), more for the service."""

FIRST_LIMIT = 100
"""The first limit: a common maximum of such APIs."""

HIGHEST_LIMIT = 5000
"""More posts than this exceed the maximum size of a response."""

GROWTH = 4
"""The growth of the limit after a list that was full and did not show enough."""

SHORTEST_REST, LONGEST_REST = 5.0, 3600.0
"""How long a list that did not help is not requested again, in seconds; doubles each time."""


RECONSIDERED = 60.0
"""After this many seconds without a list, a shorter one is tried, because fewer subscribers may wait."""


@dataclass
class ListStrategy:
    """What is known about the lists of one team.

    :param limit: the limit of the next list.
    :param size: the number of posts of the latest list.
    :param listed_at: when that list was read.
    :param ceiling: the maximum that the service shows or accepts in one page.
    :param pages: whether further pages are read; not after the service has refused one.
    :param rests_until: until when no list is requested.
    :param rest: the length of the next rest.
    """

    limit: int = FIRST_LIMIT
    size: int = 0
    listed_at: float = 0.0
    ceiling: int = HIGHEST_LIMIT
    pages: bool = True
    rests_until: float = 0.0
    rest: float = SHORTEST_REST

    def is_resting(self, now: float) -> bool:
        """Whether single reads are known to be cheaper."""
        return now < self.rests_until

    def is_worth_it(self, posts: int, now: float) -> bool:
        """Whether to request a list for this number of waiting posts."""
        if posts < COMPANY or self.is_resting(now):
            return False
        # A part of the list is no cheaper: all waiting posts may be in the other part.
        return self.size <= posts * POSTS_PER_READ or now >= self.listed_at + RECONSIDERED

    def take_rest(self, now: float) -> None:
        """Request no list for some time, longer each time."""
        self.limit, self.size = min(FIRST_LIMIT, self.ceiling), 0
        self.rests_until = now + self.rest
        self.rest = min(LONGEST_REST, self.rest * 2)


class ListAttempt:
    """Consecutive lists for one batch, until another one does not help.

    :param list_strategy: what is known about the lists; learns from the results.
    :param missing: the number of waiting posts.
    :param now: time in seconds, by the same clock for all attempts.
    """

    def __init__(self, list_strategy: ListStrategy, missing: int, now: float) -> None:
        self._list_strategy = list_strategy
        self._missing = missing
        self._now = now
        self._shown = self._answered = 0
        self._before: tuple[int, int] | None = None
        self.limit: int | None = None
        """The limit of the next list; None if no other list helps."""
        self.cursor: str | None = None
        """The page of the next list; None for the first one."""
        if list_strategy.is_worth_it(missing, now):
            too_large = list_strategy.size > missing * POSTS_PER_READ
            self.limit = min(FIRST_LIMIT, list_strategy.ceiling) if too_large else list_strategy.limit

    def showed(self, shown: int, missing: int, next_cursor: str | None = None) -> None:
        """Learn from a response.

        :param shown: the number of posts in the list.
        :param missing: the number of waiting posts that are not in it.
        :param next_cursor: the next page; None (default) if there is none.
        """
        asked = self.limit or 0
        served = self._missing - missing
        self._shown += shown
        self._answered += served
        self._missing = missing
        if self.cursor is not None and self._before is not None:
            asked, before = self._before
            self._before = asked, before + shown
            self._follow(next_cursor if served * POSTS_PER_READ >= max(shown, 1) else None)
            return
        if self._before is not None and shown <= self._before[1]:
            # A higher limit did not show more.
            asked, shown = self._before
            self._list_strategy.ceiling = asked
        self._before = asked, shown
        self.limit = self._larger(asked, shown)
        if self.limit is None:
            # The first page may be full of what others are about, so it does not count.
            self._follow(next_cursor)

    def _follow(self, next_cursor: str | None) -> None:
        """Read the next page, if enough posts are missing; else end the attempt."""
        asked, shown = self._before or (0, 0)
        most = min(HIGHEST_LIMIT, shown + self._missing * POSTS_PER_READ)
        is_worth_it = self._missing >= COMPANY and shown + asked <= most
        self.cursor = next_cursor if is_worth_it and self._list_strategy.pages else None
        self.limit = None if self.cursor is None else asked
        if self.limit is None:
            self._judge(asked, shown)

    def refused(self) -> None:
        """Learn that the service refuses the limit, of which a smaller one may be accepted, or the page."""
        if self.cursor is not None:
            self._list_strategy.pages = False
            self._follow(None)
            return
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
        """Learn that lists do not help for now.

        :param unreadable: the response was invalid, perhaps too long.
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
