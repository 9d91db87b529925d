"""Who follows which post, when each wants to look again, and whose looks are gathered for a common one."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Protocol

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.responses import Answer
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.polling.team_list import COMPANY, Listing

GATHERING = 1.0
"""How long a look waits for others of its team, in seconds, where others are to be expected."""

EARLY = 0.25
"""By which part of its pause a look may come early, if a list that is asked for anyway shows its post. So looks that
began apart fall together, and one list serves more of them."""

EARLIEST = 15.0
"""By how many seconds, at most."""


class Follower(Protocol):
    """Whoever looks at a post again and again; the poller calls it in the context in which it began to."""

    @property
    def looks(self) -> int:
        """How many answers it has seen."""

    def pause(self) -> float | None:
        """Return the seconds until its next look, 0 or less if that is due; None if there is nothing more to look at."""

    def is_shown_by(self, answer: Answer[Post]) -> bool:
        """Whether a list's answer is enough for it; if not, the post is read by itself."""

    def see(self, answer: Answer[Post]) -> None:
        """Take in the post as the service shows it."""


class Once:
    """A follower that looks once, and at once.

    :param shows: whether a list's answer is enough; by default it is, if it shows any submission.
    """

    def __init__(self, shows: Callable[[Answer[Post]], bool] | None = None) -> None:
        self._shows = shows
        self._answers: list[Answer[Post]] = []

    @property
    def looks(self) -> int:
        """How many answers it has seen."""
        return len(self._answers)

    @property
    def answer(self) -> Answer[Post]:
        """What it has seen."""
        [answer] = self._answers
        return answer

    def pause(self) -> float | None:
        """Now, until it has seen something."""
        return None if self._answers else 0.0

    def is_shown_by(self, answer: Answer[Post]) -> bool:
        """Whether a list's answer is enough."""
        return self._shows(answer) if self._shows else answer.value.latest_scheduled_post is not None

    def see(self, answer: Answer[Post]) -> None:
        """Keep the answer."""
        self._answers.append(answer)


@dataclass(eq=False, slots=True)
class Following:
    """A follower in the poller.

    :param end: done when it has nothing more to look at, or with what went wrong.
    :param context: where it is called.
    :param timer: set while its next look is to come, not while that is due.
    :param planned_at: when the next look was planned, by the event loop's clock.
    :param due_at: for when.
    """

    team_id: str
    post_id: str
    follower: Follower
    end: asyncio.Future[None]
    context: Context = field(default_factory=copy_context)
    timer: asyncio.TimerHandle | None = None
    planned_at: float = 0.0
    due_at: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """Team and post; UUIDs may come in either case."""
        return self.team_id.lower(), self.post_id.lower()

    @property
    def is_over(self) -> bool:
        """Whether it looks no more: it is done, has failed or was cancelled."""
        return self.end.done()

    def pause(self) -> float | None:
        """As its follower's."""
        return self.context.run(self.follower.pause)

    def is_shown_by(self, answer: Answer[Post]) -> bool:
        """As its follower's."""
        return self.context.run(self.follower.is_shown_by, answer)

    def see(self, answer: Answer[Post]) -> None:
        """As its follower's."""
        self.context.run(self.follower.see, answer)

    def may_look_early(self, asked_at: float) -> bool:
        """Whether a list that was asked for then may be its next look. Never its first one, which must not come early."""
        early = min(EARLIEST, EARLY * (self.due_at - self.planned_at))
        return self.follower.looks > 0 and asked_at >= self.due_at - early

    def finish(self) -> None:
        """There is nothing more to look at."""
        if not self.end.done():
            self.end.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Tell what went wrong."""
        if not self.end.done():
            # Each gets one of its own: raising one exception in many tasks piles up their tracebacks in it.
            self.end.set_exception(copy.copy(error) if isinstance(error, OctosparkError) else error)


@dataclass(eq=False, slots=True)
class Wanted:
    """A post that is to be read now, and for whom."""

    team_id: str
    post_id: str
    followings: list[Following] = field(default_factory=list)
    is_asked_for: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Team and post."""
        return self.team_id.lower(), self.post_id.lower()

    def is_wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return any(not following.is_over for following in self.followings)

    def fail(self, error: BaseException) -> None:
        """Tell all of them what went wrong."""
        for following in self.followings:
            following.fail(error)


@dataclass(eq=False)
class Team:
    """The followers of one team's posts.

    :param gathered: whose look is due, by post.
    :param planned: whose look is to come, by post.
    :param since: when the first of those who are gathered came.
    :param timer: ends the gathering.
    """

    team_id: str
    listing: Listing = field(default_factory=Listing)
    gathered: dict[str, Wanted] = field(default_factory=dict)
    planned: dict[str, set[Following]] = field(default_factory=dict)
    since: float = 0.0
    timer: asyncio.Handle | None = None
    _arrivals: float = 0.0
    _arrived_at: float = 0.0

    def arrives(self, now: float) -> None:
        """Count a look that is due, and let those before it fade."""
        self._arrivals = 1.0 + self._arrivals * math.exp((self._arrived_at - now) / GATHERING)
        self._arrived_at = now

    @property
    def expects_company(self) -> bool:
        """Whether, as of late, enough looks come while one waits."""
        return self._arrivals >= COMPANY

    def is_idle_since(self, moment: float) -> bool:
        """Whether nobody follows any of its posts, and nobody has since then."""
        return not self.gathered and not self.planned and self._arrived_at < moment

    def plan(self, following: Following) -> None:
        """Note that a look is to come."""
        self.planned.setdefault(following.post_id.lower(), set()).add(following)

    def unplan(self, following: Following) -> None:
        """Note that it has come, or will not."""
        followings = self.planned.get(following.post_id.lower(), set())
        followings.discard(following)
        if not followings:
            self.planned.pop(following.post_id.lower(), None)

    def early(self, post_key: str, asked_at: float) -> list[Following]:
        """Return whose look at a post a list that was asked for then may be."""
        return [each for each in self.planned.get(post_key, ()) if each.may_look_early(asked_at)]
