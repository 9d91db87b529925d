"""Which publications are news: the decision alone, and the bounds of what it remembers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.triggers.publication_cursor import AWAITED, GIVEN_UP_AFTER, REMEMBERED, Cursor
from tests.polling.things import NOON, TEAM, new_id, post_json, scheduled_json

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def post(status: str, after: timedelta = HOUR, *, of: Post | None = None, **fields: Any) -> Post:
    """A post whose submission was due so long after the watcher's start; or another look at one."""
    due = format_instant(NOON + after)
    post_id = new_id() if of is None else of.id
    given = {"status": status, "scheduledAt": due, "createdAt": due, **fields}
    if of is not None and of.latest_scheduled_post is not None:
        given = {"id": of.latest_scheduled_post.id, **given}
    return Post.model_validate(post_json(post_id, scheduled_json(post_id, **given)))


def take(cursor: Cursor, *posts: Post, at: timedelta = 2 * HOUR) -> list[Outcome]:
    """A poll, so long after the watcher's start."""
    return list(cursor.take(TEAM, posts, None, NOON + at))


def again(cursor: Cursor) -> Cursor:
    """The cursor as a restarted watcher finds it."""
    kept = Cursor.from_json(json.loads(json.dumps(cursor.as_json())))
    assert kept is not None
    return kept


def test_a_publication_is_told_once_whatever_lists_repeat() -> None:
    cursor, seen = Cursor(NOON), post("published")
    [outcome] = take(cursor, seen, seen)
    assert (outcome.state, outcome.team_id, outcome.post_id) == ("published", TEAM, seen.id)
    assert take(cursor, seen) == []
    assert take(again(cursor), seen, post("publishing", of=seen)) == []


def test_what_was_out_before_is_not_told_but_what_was_on_its_way() -> None:
    cursor = Cursor(NOON)
    before = post("publishing", -HOUR)
    assert take(cursor, post("published", -HOUR), post("published", -SECOND), before) == []
    assert take(cursor, post("published", -HOUR, of=before)) != []


def test_only_what_is_published_is_told() -> None:
    cursor = Cursor(NOON)
    for status in ("draft", "scheduled", "publishing", "failed", "cancelled", "archived"):
        assert take(cursor, post(status)) == []
    assert take(cursor, post("failed", platformPostId="1862")) == [], "it may be live, and may be not"


def test_what_failed_and_went_out_after_all_is_told() -> None:
    cursor, failed = Cursor(NOON), post("failed")
    assert take(cursor, failed) == []
    assert len(take(cursor, post("published", of=failed))) == 1


def test_a_later_submission_of_the_same_post_is_another_publication() -> None:
    cursor, first = Cursor(NOON), post("published")
    take(cursor, first)
    second = Post.model_validate(
        post_json(first.id, scheduled_json(first.id, status="published", createdAt=format_instant(NOON + HOUR)))
    )
    assert len(take(cursor, second)) == 1


def test_the_service_s_clock_counts() -> None:
    cursor, early = Cursor(NOON), post("published", -HOUR)
    behind = NOON + HOUR
    # The service's clock is two hours behind ours.
    assert len(list(cursor.take(TEAM, [early], behind - 2 * HOUR, behind))) == 1


def test_texts_of_the_service_are_made_harmless() -> None:
    [outcome] = take(Cursor(NOON), post("published", provider="x\n\x1b[31mERROR", platformPostId="1\u202e2"))
    assert outcome.provider == "x [31mERROR"
    assert outcome.platform_post_id == "1 2"


def test_a_post_that_is_due_and_not_shown_is_missing() -> None:
    cursor = Cursor(NOON)
    soon, later, shown = post("scheduled", HOUR), post("scheduled", 3 * HOUR), post("publishing", HOUR)
    take(cursor, soon, later, shown, at=HOUR / 2)
    assert cursor.missing([shown], NOON + HOUR / 2) == []
    assert cursor.missing([shown], NOON + 2 * HOUR) == [soon.id]
    assert cursor.pause_after(soon.id, NOON + 11 * HOUR) == pytest.approx(3600.0)


def test_what_is_never_heard_of_is_given_up() -> None:
    cursor = Cursor(NOON)
    take(cursor, post("publishing"))
    take(cursor, at=GIVEN_UP_AFTER + 2 * HOUR)
    assert cursor.awaited == {}


def test_it_stays_small_and_what_it_forgets_is_not_told_again() -> None:
    cursor = Cursor(NOON)
    seen: list[Post] = []
    for number in range(3 * REMEMBERED):
        seen.append(post("published", number * SECOND))
        assert len(take(cursor, seen[-1])) == 1
    take(cursor, *(post("scheduled", number * HOUR) for number in range(3 * AWAITED)), at=-HOUR)
    assert (len(cursor.reported), len(cursor.awaited)) == (REMEMBERED, AWAITED)
    assert max(each.due for each in cursor.awaited.values()) < (NOON + AWAITED * HOUR).timestamp()
    assert len(json.dumps(cursor.as_json())) < 65_535
    assert take(again(cursor), *seen) == []


@pytest.mark.parametrize(
    "data",
    [
        None,
        1,
        [],
        {},
        {"format": 2},
        Cursor(NOON).as_json() | {"format": 2},
        Cursor(NOON).as_json() | {"since": "yesterday"},
        Cursor(NOON).as_json() | {"reported": [1]},
        Cursor(NOON).as_json() | {"awaited": {"a": ["b"]}},
    ],
)
def test_what_is_no_cursor_is_none(data: Any) -> None:
    assert Cursor.from_json(data) is None
