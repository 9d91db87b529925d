"""What looks mean for a wait: whose publication they show, when it ends, and what a user is told."""

from __future__ import annotations

import json
import statistics
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkArgumentError,
    OctosparkAuthError,
    OctosparkError,
    OctosparkNetworkError,
    OctosparkNotFoundError,
    OctosparkPermissionError,
    OctosparkRateLimitError,
    OctosparkServerError,
)
from airflow_provider_octospark.outcomes import DETAILS, classify, outcome_of
from airflow_provider_octospark.parameters.defaults import HIDDEN_TIMEOUT, PUBLISH_TIMEOUT
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.polling.kept_responses import keep_responses, kept_responses
from airflow_provider_octospark.polling.occurrences import is_next_occurrence
from airflow_provider_octospark.polling.wait import Wait, same_targets
from airflow_provider_octospark.polling.watch import NOT_FOUND_GRACE
from tests.polling.things import NOON, TEAM, answer_with, new_id, pending, scheduled_json, seconds

POST = new_id()
KEY = (TEAM, POST)
MINE = scheduled_json(POST)


def mine(**fields: Any) -> dict[str, Any]:
    """The submission that is waited for, as it stands."""
    return {**MINE, **fields}


def waiting(**options: Any) -> Wait:
    """A wait for one submission, begun at noon."""
    return Wait.start([pending(POST, MINE)], started_at=NOON, **options)


def other(**fields: Any) -> dict[str, Any]:
    """A newer submission of the same post."""
    return scheduled_json(POST, status="published", **fields)


# What a status means


@pytest.mark.parametrize(
    ("status", "live", "expected"),
    [
        ("published", None, ("published", None)),
        ("published", "17", ("published", None)),
        ("failed", None, ("failed", None)),
        ("failed", "17", ("unknown", "in_doubt")),
        ("cancelled", None, ("failed", "cancelled")),
        ("draft", None, ("failed", "cancelled")),
        ("scheduled", None, ("pending", None)),
        ("publishing", "17", ("pending", None)),
        ("archived by aliens", None, ("pending", None)),
        ("Published", None, ("pending", None)),
    ],
)
@pytest.mark.parametrize("place", ["post", "state"])
def test_only_named_ends_are_believed(status: str, live: str | None, expected: tuple[str, str], place: str) -> None:
    where = {"platformPostId": live} if place == "post" else {"providerPublishState": {"platformPostId": live}}
    assert classify(ScheduledPost.model_validate(mine(status=status, **where))) == expected


@given(st.text(max_size=200))
def test_no_text_of_the_service_ends_a_wait_but_five_words(status: str) -> None:
    end, _ = classify(ScheduledPost.model_validate(mine(status=status)))
    assert (end == "pending") == (status not in {"published", "failed", "cancelled", "draft"})


def test_what_is_on_its_way_is_not_to_come_whatever_the_service_s_clock_says() -> None:
    wait = waiting()
    ahead = mine(status="publishing", scheduledAt=format_instant(NOON + timedelta(days=8)))
    wait.record_response(KEY, answer_with(POST, ahead), NOON)
    assert wait.next_poll(NOON) <= NOON + timedelta(seconds=5)


def test_text_of_the_service_is_made_harmless() -> None:
    latest = ScheduledPost.model_validate(
        mine(status="failed", errorMessage="a\nINFO forged\x1b[2J\u202e", errorCode="E\r1", provider="x\n")
    )
    outcome = outcome_of(latest, TEAM, POST)
    assert (outcome.error_message, outcome.error_code, outcome.provider) == ("a INFO forged [2J", "E 1", "x")
    wait = waiting()
    lines = wait.record_response(KEY, answer_with(POST, mine(status="pub\nlishing")), NOON)
    assert all("\n" not in line for line in lines)


# Whose publication it is


def test_another_submission_of_the_post_is_never_taken_for_the_one_waited_for() -> None:
    wait = waiting()
    wait.record_response(KEY, answer_with(POST, other()), NOON)
    [outcome] = wait.outcomes
    assert (outcome.state, outcome.scheduled_post_id) == ("pending", MINE["id"])


def test_ids_are_compared_without_regard_to_case() -> None:
    wait = Wait.start([pending(POST, mine(id=MINE["id"].upper()))], started_at=NOON)
    wait.record_response(KEY, answer_with(POST, mine(status="published")), NOON)
    assert wait.outcomes[0].state == "published"


@pytest.mark.parametrize("reason", ["superseded", "not_observable"])
def test_what_is_hidden_ends_after_its_own_time(reason: str) -> None:
    account = MINE["socialAccountId"] if reason == "superseded" else new_id()
    wait = waiting()
    hiding = other(socialAccountId=account)
    wait.record_response(KEY, answer_with(POST, hiding), NOON)
    end = NOON + HIDDEN_TIMEOUT
    assert wait.next_poll(end - seconds(1)) <= end
    wait.record_response(KEY, answer_with(POST, hiding), end - seconds(1))
    assert not wait.done
    [line] = wait.record_response(KEY, answer_with(POST, hiding), end)
    [outcome] = wait.outcomes
    assert (outcome.state, outcome.reason) == ("unknown", reason)
    assert hiding["id"] in str(outcome.error_message)
    assert hiding["id"] in line


def hidden_until_its_end(hiding: dict[str, Any]) -> Wait:
    """A wait that has ended because another submission hides what is waited for."""
    wait = waiting()
    for moment in (NOON, NOON + HIDDEN_TIMEOUT):
        wait.record_response(KEY, answer_with(POST, hiding), moment)
    return wait


def performance_of(scheduled_post_id: str | None) -> Response[Performance]:
    """What the service measures."""
    return Response(Performance(scheduled_post_id=scheduled_post_id), NOON)


def test_the_performance_of_a_post_is_a_second_witness() -> None:
    wait = hidden_until_its_end(other(socialAccountId=new_id()))
    assert wait.unconfirmed() == [KEY]
    [line] = wait.record_performance(KEY, performance_of(MINE["id"].upper()))
    assert "the post's performance measures it" in line
    [outcome] = wait.outcomes
    assert (outcome.state, outcome.reason, outcome.error_message) == ("published", None, None)
    assert outcome.scheduled_post_id == MINE["id"]
    assert wait.unconfirmed() == []


@pytest.mark.parametrize("found", ["another", "nothing", "an error"])
def test_what_the_performance_does_not_name_stays_unknown(found: str) -> None:
    wait = hidden_until_its_end(other(socialAccountId=new_id()))
    responses: dict[str, Response[Performance] | OctosparkError] = {
        "another": performance_of(new_id()),
        "nothing": performance_of(None),
        "an error": OctosparkNotFoundError("404", status=404),
    }
    assert wait.record_performance(KEY, responses[found]) == []
    assert (wait.outcomes[0].state, wait.outcomes[0].reason) == ("unknown", "not_observable")
    assert wait.unconfirmed() == []


def test_a_post_without_any_submission_has_no_witness() -> None:
    wait = waiting()
    for moment in (NOON, NOON + HIDDEN_TIMEOUT):
        wait.record_response(KEY, answer_with(POST, None), moment)
    assert wait.done
    assert wait.unconfirmed() == []


@pytest.mark.parametrize(
    ("planned", "due", "timezone", "expected"),
    [
        ("2026-11-22T12:00:00Z", "2026-11-29T12:00:00Z", None, True),
        # The clocks in Berlin change on 25 October 2026.
        ("2026-10-24T09:00:00Z", "2026-10-25T10:00:00Z", "Europe/Berlin", True),
        ("2026-10-24T09:00:00Z", "2026-10-25T09:00:00Z", "Europe/Berlin", True),
        ("2026-10-24T09:00:00Z", "2026-10-25T10:00:00Z", None, False),
        ("2026-11-22T12:00:00Z", "2026-11-29T12:00:01Z", None, False),
        ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z", None, False),
        ("2026-11-22T12:00:00Z", "2026-11-21T12:00:00Z", None, False),
        ("2026-11-22T12:00:00Z", "2027-11-22T12:00:00Z", "Mars/Olympus", True),
        ("2026-11-22T12:00:00Z", "2027-11-23T12:00:00Z", None, False),
        ("2026-11-22T12:00:00Z", "soon", None, False),
    ],
)
def test_the_next_occurrence_is_due_whole_days_later(
    planned: str, due: str, timezone: str | None, expected: bool
) -> None:
    latest = ScheduledPost.model_validate(mine(id=new_id(), scheduledAt=due, timezone=timezone))
    assert is_next_occurrence(latest, pending(POST, mine(scheduledAt=planned))) is expected
    stranger = latest.model_copy(update={"social_account_id": new_id()})
    assert not is_next_occurrence(stranger, pending(POST, mine(scheduledAt=planned)))


def test_what_the_next_occurrence_hides_has_recurred() -> None:
    following = mine(id=new_id(), status="scheduled", scheduledAt=format_instant(NOON + timedelta(days=7)))
    [outcome] = hidden_until_its_end(following).outcomes
    assert (outcome.state, outcome.reason) == ("unknown", "recurred")
    assert str(outcome.error_message).startswith(f"the next occurrence hides it: {following['id']}, due 2026-11-29")


def test_what_is_hidden_before_it_is_due_may_be_seen_again_until_some_time_after() -> None:
    due = NOON + timedelta(hours=6)
    wait = Wait.start([pending(POST, mine(scheduledAt=format_instant(due)))], started_at=NOON)
    wait.record_response(KEY, answer_with(POST, other()), NOON)
    wait.record_response(KEY, answer_with(POST, None), due)
    assert not wait.done
    assert wait.poll_at(KEY, due) <= due + HIDDEN_TIMEOUT
    wait.record_response(KEY, answer_with(POST, mine(status="published")), due + seconds(60))
    assert wait.outcomes[0].state == "published"


def test_a_submission_that_vanished_is_not_observable() -> None:
    wait = waiting()
    wait.record_response(KEY, answer_with(POST, None), NOON)
    wait.record_response(KEY, answer_with(POST, None), NOON + HIDDEN_TIMEOUT)
    assert wait.outcomes[0].reason == "not_observable"


def test_without_a_submission_only_one_made_since_counts() -> None:
    wait = Wait.start([pending(POST)], started_at=NOON, since=NOON)
    last_week = scheduled_json(POST, status="published", createdAt=format_instant(NOON - timedelta(days=7)))
    wait.record_response(KEY, answer_with(POST, None), NOON)
    wait.record_response(KEY, answer_with(POST, last_week), NOON)
    assert not wait.done
    assert wait.outcomes[0].scheduled_post_id is None
    fresh = scheduled_json(POST, createdAt=format_instant(NOON + seconds(1)))
    wait.record_response(KEY, answer_with(POST, fresh), NOON)
    assert wait.outcomes[0].scheduled_post_id == fresh["id"]
    wait.record_response(KEY, answer_with(POST, other(createdAt=format_instant(NOON + seconds(2)))), NOON)
    assert not wait.done, "once known, it is that one and no other"


def test_since_is_read_on_the_clock_of_the_service() -> None:
    slow = NOON - timedelta(minutes=10)
    wait = Wait.start([pending(POST)], started_at=NOON, since=NOON)
    made = scheduled_json(POST, status="published", createdAt=format_instant(slow + seconds(5)))
    wait.record_response(KEY, answer_with(POST, made, service_time=slow + seconds(10)), NOON + seconds(10))
    assert wait.done


def test_without_a_submission_only_the_account_given_counts() -> None:
    account = new_id()
    wait = Wait.start([pending(POST, social_account_id=account)], started_at=NOON, since=NOON)
    wait.record_response(KEY, answer_with(POST, other()), NOON)
    assert not wait.done
    wait.record_response(KEY, answer_with(POST, other(socialAccountId=account.upper())), NOON)
    assert wait.done


def test_several_submissions_of_one_post_need_one_look_and_are_told_apart() -> None:
    first, second = scheduled_json(POST), scheduled_json(POST)
    wait = Wait.start([pending(POST, first), pending(POST, second)], started_at=NOON)
    assert wait.posts_due(NOON) == [KEY]
    wait.record_response(KEY, answer_with(POST, {**second, "status": "published"}), NOON)
    assert [outcome.state for outcome in wait.outcomes] == ["pending", "published"]


# What of a list is believed


def test_a_list_counts_if_it_shows_what_is_waited_for_as_pending_or_published() -> None:
    wait = waiting()

    def believed(scheduled: dict[str, Any] | None) -> bool:
        return wait.is_shown_by(KEY, answer_with(POST, scheduled), NOON)

    assert believed(mine())
    assert believed(mine(status="published"))
    assert not believed(None)
    assert not believed(other())
    for status in ("failed", "cancelled", "draft"):
        assert not believed(mine(status=status)), "it may be behind; a failure lets a task submit again"


def test_a_list_counts_only_if_it_shows_all_that_is_waited_for_at_a_post() -> None:
    first, second = scheduled_json(POST), scheduled_json(POST)
    wait = Wait.start([pending(POST, first), pending(POST, second)], started_at=NOON)
    assert not wait.is_shown_by(KEY, answer_with(POST, second), NOON)
    wait.record_response(KEY, answer_with(POST, {**second, "status": "published"}), NOON)
    assert wait.is_shown_by(KEY, answer_with(POST, first), NOON)


# Deadlines


def test_the_deadline_counts_from_the_scheduled_time_if_that_is_later() -> None:
    ahead = format_instant(NOON + timedelta(days=7))
    assert waiting().deadline == NOON + PUBLISH_TIMEOUT
    assert Wait.start([pending(POST, mine(scheduledAt=ahead))], started_at=NOON).deadline == NOON + timedelta(days=8)
    past = format_instant(NOON - timedelta(days=7))
    assert Wait.start([pending(POST, mine(scheduledAt=past))], started_at=NOON).deadline == NOON + PUBLISH_TIMEOUT


def test_at_its_deadline_a_wait_ends_as_unknown_after_a_last_look() -> None:
    wait = waiting(publish_timeout=timedelta(minutes=1))
    end = NOON + timedelta(minutes=1)
    wait.record_response(KEY, answer_with(POST, mine()), end - seconds(0.5))
    assert wait.next_poll(end - seconds(0.5)) == end
    assert wait.expire(KEY, end) == []
    wait.record_response(KEY, answer_with(POST, mine(status="published")), end)
    assert wait.outcomes[0].state == "published", "the last poll is believed"
    late = waiting(publish_timeout=timedelta(minutes=1))
    late.record_response(KEY, answer_with(POST, mine(providerPublishState={"pollingReason": "in review"})), end)
    [outcome] = late.outcomes
    assert (outcome.state, outcome.reason) == ("unknown", "deadline")
    assert "in review" in str(outcome.error_message)


def test_a_scheduled_time_that_the_first_look_shows_puts_the_deadline_off() -> None:
    due = NOON + timedelta(days=7)
    shown = answer_with(POST, mine(scheduledAt=format_instant(due), status="scheduled"))
    wait = Wait.start([pending(POST)], started_at=NOON)
    wait.record_response(KEY, shown, NOON)
    assert wait.deadline == due + PUBLISH_TIMEOUT

    bound = Wait.start([pending(POST)], started_at=NOON, latest=NOON + timedelta(hours=1))
    bound.record_response(KEY, shown, NOON)
    assert bound.deadline == NOON + timedelta(hours=1)

    handed_over = Wait.from_json(Wait.start([pending(POST)], started_at=NOON).as_json())
    handed_over.record_response(KEY, shown, NOON)
    assert handed_over.deadline == NOON + PUBLISH_TIMEOUT, "Airflow's own time-out was set by then"

    second = Wait.start([pending(POST)], started_at=NOON)
    second.record_response(KEY, answer_with(POST, None), NOON)
    second.record_response(KEY, shown, NOON)
    assert second.deadline == NOON + PUBLISH_TIMEOUT


def test_a_post_that_a_person_moves_is_looked_at_by_its_new_time() -> None:
    wait = Wait.start([pending(POST, mine(scheduledAt=format_instant(NOON + timedelta(hours=2))))], started_at=NOON)
    wait.record_response(
        KEY, answer_with(POST, mine(status="scheduled", scheduledAt=format_instant(NOON + timedelta(hours=20)))), NOON
    )
    assert wait.next_poll(NOON) >= NOON + timedelta(hours=10)


def test_the_end_of_the_calendar_does_no_harm() -> None:
    wait = waiting()
    wait.record_response(KEY, answer_with(POST, mine(scheduledAt="9999-12-31T23:59:59Z")), NOON)
    wait.record_response(KEY, answer_with(POST, other()), NOON)
    assert NOON < wait.next_poll(NOON) <= wait.deadline
    assert Wait.start([pending(POST, mine(scheduledAt="9999-12-31T23:59:59Z"))], started_at=NOON).deadline > NOON


# Errors


@pytest.mark.parametrize(
    "kind", [OctosparkNetworkError, OctosparkServerError, OctosparkRateLimitError, OctosparkAnswerError]
)
def test_what_passes_by_itself_does_not_end_a_wait(kind: type[OctosparkError]) -> None:
    wait = waiting()
    now = NOON
    lines: list[str] = []
    while now < wait.deadline - seconds(200):
        lines += wait.record_error(KEY, kind("the wind blows"), now)
        assert not wait.done
        assert wait.next_poll(now) > now
        now = wait.next_poll(now)
    assert len(lines) == 1, "one line, not one for each poll"
    assert "the wind blows" in lines[0]
    assert wait.record_response(KEY, answer_with(POST, mine()), now)[0].endswith("can be read again.")
    wait.record_error(KEY, kind("the wind blows"), wait.deadline)
    assert wait.outcomes[0].reason == "deadline"


@pytest.mark.parametrize("kind", [OctosparkAuthError, OctosparkPermissionError, OctosparkArgumentError])
def test_what_does_not_pass_ends_it_as_unknown(kind: type[OctosparkError]) -> None:
    wait = waiting()
    wait.record_error(KEY, kind("go away"), NOON)
    [outcome] = wait.outcomes
    assert (outcome.state, outcome.reason, outcome.error_message) == ("unknown", "access_lost", "go away")


@pytest.mark.parametrize("begin", [NOON, NOON + timedelta(hours=3)])
def test_a_404_has_to_last_before_it_is_believed(begin: datetime) -> None:
    wait = waiting()
    gone = OctosparkNotFoundError("no such post")
    wait.record_error(KEY, gone, begin)
    wait.record_error(KEY, gone, begin + NOT_FOUND_GRACE - seconds(1))
    assert not wait.done
    wait.record_response(KEY, answer_with(POST, mine()), begin + NOT_FOUND_GRACE)
    wait.record_error(KEY, gone, begin + NOT_FOUND_GRACE)
    assert not wait.done, "it was there in between"
    wait.record_error(KEY, gone, begin + 2 * NOT_FOUND_GRACE)
    assert wait.outcomes[0].reason == "not_observable"


@given(st.floats(0.0, 3600.0), st.integers(0, 50))
def test_a_wait_never_comes_back_before_retry_after(retry_after: float, failures: int) -> None:
    wait = waiting()
    for _ in range(failures):
        wait.record_error(KEY, OctosparkServerError("busy"), NOON)
    wait.record_error(KEY, OctosparkRateLimitError("slow down", retry_after=retry_after), NOON)
    assert wait.next_poll(NOON) >= NOON + seconds(retry_after)


def test_a_deadline_before_retry_after_ends_the_wait_without_a_look() -> None:
    wait = waiting(publish_timeout=timedelta(minutes=1))
    wait.record_error(KEY, OctosparkRateLimitError("slow down", retry_after=600.0), NOON)
    end = NOON + timedelta(minutes=1)
    assert wait.next_poll(NOON) == end
    assert wait.expire(KEY, end - seconds(1)) == []
    [line] = wait.expire(KEY, end)
    assert "deadline" in line
    assert wait.done


@pytest.mark.parametrize("down_for", [timedelta(minutes=5), timedelta(hours=1), timedelta(hours=3)])
def test_after_an_outage_waits_do_not_come_back_at_once(down_for: timedelta) -> None:
    back: list[float] = []
    for _ in range(300):
        wait = waiting()
        now = NOON
        while now < NOON + down_for:
            wait.record_error(KEY, OctosparkServerError("down"), now)
            now = wait.next_poll(now)
        back.append((now - NOON - down_for).total_seconds())
    busiest = max(sum(1 for at in back if second <= at < second + 1) for second in range(120))
    assert max(back) <= 90.0
    assert busiest <= 25, "no storm"
    assert statistics.mean(back) <= 50.0


def test_waits_that_a_retry_after_holds_together_come_back_apart() -> None:
    back: list[float] = []
    for _ in range(1000):
        wait = waiting()
        wait.record_error(KEY, OctosparkRateLimitError("slow down", retry_after=30.0), NOON)
        back.append((wait.next_poll(NOON) - NOON).total_seconds())
    assert min(back) >= 30.0
    assert max(back) - min(back) > 10.0


# What a user is told


def uploading(fraction: float) -> dict[str, Any]:
    """The submission while a file is handed to the platform."""
    progress = {"nextByteStart": int(fraction * 1000), "uploadSize": 1000}
    return mine(providerPublishState={"providerStatus": "UPLOADING", "uploadProgress": progress})


def test_a_line_is_written_when_something_changes_and_not_for_each_look() -> None:
    wait = waiting()
    lines: list[str] = []
    shown = [mine(status="scheduled"), mine(), *(uploading(percent / 100) for percent in range(100)), mine()]
    shown += [mine(providerPublishState={"pollingReason": "in review"})] * 50 + [mine(status="published")]
    for number, each in enumerate(shown):
        lines += wait.record_response(KEY, answer_with(POST, each), NOON + seconds(number))
    assert all(line.endswith(".") for line in lines)
    told = [line.split(": ", 1)[1][:-1] for line in lines]
    uploads = [f"publishing, UPLOADING, upload {percent} %" for percent in range(0, 100, 10)]
    assert told == ["scheduled", "publishing", *uploads, "publishing", "publishing, in review", "published"]


def test_a_long_upload_is_looked_at_less_often_and_a_stalled_one_at_least_every_minute() -> None:
    wait = waiting()
    wait.record_response(KEY, answer_with(POST, uploading(0.0)), NOON)
    assert wait.next_poll(NOON) - NOON < seconds(5)
    now = NOON + seconds(10)
    wait.record_response(KEY, answer_with(POST, uploading(0.1)), now)
    assert seconds(45) <= wait.next_poll(now) - now <= seconds(50), "90 s remain; half of that passes"
    now = NOON + timedelta(minutes=10)
    wait.record_response(KEY, answer_with(POST, uploading(0.1)), now)
    assert seconds(60) <= wait.next_poll(now) - now <= seconds(66)
    wait.record_response(KEY, answer_with(POST, mine()), now)
    assert wait.next_poll(now) - now < seconds(25)


# The wait as a record


def in_some_state(steps: list[tuple[int, int]], count: int, interval: float) -> Wait:
    """A wait for so many posts after some looks: (which post, what came of it)."""
    shown = [scheduled_json(new_id(), scheduledAt=format_instant(NOON + timedelta(hours=i))) for i in range(count)]
    outcomes = [pending(each["contentItemId"], each if number % 3 else None) for number, each in enumerate(shown)]
    wait = Wait.start(outcomes, started_at=NOON, since=NOON, interval=interval)
    for index, what in steps:
        each = shown[index % count]
        key, now = (TEAM, each["contentItemId"]), NOON + seconds(index)
        if not wait.is_open(key):
            continue
        if what == 0:
            wait.record_error(key, OctosparkServerError("down", retry_after=3.0), now)
        elif what == 1:
            wait.record_error(key, OctosparkPermissionError("no"), now)
        else:
            status = ("scheduled", "publishing", "published", "failed")[what - 2]
            wait.record_response(key, answer_with(key[1], {**each, "status": status}), now)
    return wait


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 5)), max_size=30),
    st.integers(1, 5),
    st.floats(0.1, 600.0),
)
def test_a_wait_survives_being_written_down(steps: list[tuple[int, int]], count: int, interval: float) -> None:
    wait = in_some_state(steps, count, interval)
    text = json.dumps(wait.as_json(), allow_nan=False)
    again = Wait.from_json(json.loads(text))
    assert [each.as_stored() for each in again.outcomes] == [each.as_stored() for each in wait.outcomes]
    assert again.as_json() == wait.as_json()
    assert again.done == wait.done
    now = NOON + timedelta(minutes=20)
    for post in wait.posts():
        assert abs(again.poll_at(post, now) - wait.poll_at(post, now)) <= timedelta(milliseconds=1)
    assert [watch.deadline for watch in again.watches] == [watch.deadline for watch in wait.watches]
    assert same_targets(again.outcomes, wait.outcomes)


def test_what_is_written_down_of_a_wait_omits_the_details_but_those_that_no_poll_reads_again() -> None:
    other = new_id()
    wait = Wait.start([pending(POST), pending(other)], started_at=NOON)
    for post, status in ((POST, "published"), (other, "publishing")):
        state = {"providerStatus": "SENT", "uploadProgress": {"nextByteStart": 5, "uploadSize": 10}}
        shown = scheduled_json(post, status=status, workflowId="flow", timezone="UTC", providerPublishState=state)
        wait.record_response((TEAM, post), answer_with(post, shown), NOON)
    details = (format_instant(NOON), format_instant(NOON), "flow", "UTC", "SENT", 0.5)
    assert [[each.as_json()[name] for name in DETAILS] for each in wait.outcomes] == [list(details)] * 2
    arguments = wait.as_json()
    assert all(not entry["outcome"].keys() & set(DETAILS) for entry in arguments["watches"])
    assert all("keeps_response" not in entry for entry in arguments["watches"])
    kept = Wait.from_json(json.loads(json.dumps(wait.as_json(with_details=True))))
    assert [outcome.workflow_id for outcome in kept.outcomes] == ["flow", None]


def test_a_wait_keeps_what_it_reads_only_if_it_is_asked_to() -> None:
    shown = mine(status="publishing", surprise=[1])
    for is_asked in (False, True):
        wait = waiting()
        if is_asked:
            keep_responses(wait)
        wait = Wait.from_json(json.loads(json.dumps(wait.as_json())))
        wait.record_response(KEY, answer_with(POST, shown), NOON)
        assert kept_responses(wait, "octo_live_0123456789") == ([shown] if is_asked else None)
        hides_it = scheduled_json(POST)
        wait.record_response(KEY, answer_with(POST, hides_it), NOON)
        assert kept_responses(wait, "octo_live_0123456789") == ([shown] if is_asked else None)


def test_a_restart_changes_neither_deadline_nor_schedule_nor_what_was_told() -> None:
    due = NOON + timedelta(days=7)
    wait = Wait.start([pending(POST, mine(scheduledAt=format_instant(due), status="scheduled"))], started_at=NOON)
    shown = mine(scheduledAt=format_instant(due), status="scheduled")
    assert wait.record_response(KEY, answer_with(POST, shown), NOON)
    planned = wait.next_poll(NOON)
    arguments = wait.as_json()
    for restarted_at in (NOON + timedelta(hours=1), NOON + timedelta(days=2)):
        again = Wait.from_json(arguments)
        again.hold(restarted_at + seconds(5))
        assert abs(again.next_poll(restarted_at) - planned) <= timedelta(milliseconds=1), "no look that brings no news"
        assert again.deadline == due + PUBLISH_TIMEOUT
        assert again.record_response(KEY, answer_with(POST, shown), restarted_at) == [], "told already"
    late = Wait.from_json(arguments)
    late.hold(due + seconds(5))
    assert late.next_poll(due) == due + seconds(5)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"watches": None},
        {"watches": [{}]},
        {"watches": 1, "started_at": "x"},
        {"started_at": "yesterday"},
        {"hidden_timeout": "x"},
        {"hidden_timeout": 1e300},
        {"interval": 0},
        {"interval": "x"},
        {"backoff": -1},
    ],
)
def test_what_cannot_be_read_is_refused(broken: dict[str, Any]) -> None:
    data = {**waiting().as_json(), **broken} if broken else {}
    with pytest.raises(ValueError):
        Wait.from_json(data)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), "4", None, True])
def test_a_senseless_floor_is_refused(interval: Any) -> None:
    with pytest.raises(OctosparkArgumentError, match="poll_interval"):
        waiting(interval=interval)


@pytest.mark.parametrize("backoff", [-0.1, float("nan"), "1", None, False])
def test_a_senseless_factor_is_refused(backoff: Any) -> None:
    with pytest.raises(OctosparkArgumentError, match="poll_backoff"):
        waiting(backoff=backoff)


def test_same_targets_compares_what_was_known() -> None:
    account, submission = new_id(), new_id()
    known = pending(POST, social_account_id=account, scheduled_post_id=submission)
    assert same_targets([known], [pending(POST)])
    assert same_targets([known], [pending(POST, social_account_id=account.upper())])
    assert not same_targets([known], [pending(POST, social_account_id=new_id())])
    assert not same_targets([known], [pending(POST, scheduled_post_id=new_id())])
    assert not same_targets([pending(POST)], [known])
    assert not same_targets([known], [])
    assert not same_targets([known], [pending(new_id())])


def test_a_wait_for_many_posts_takes_time_in_proportion_to_their_number() -> None:
    posts = [scheduled_json(new_id()) for _ in range(2000)]
    wait = Wait.start([pending(each["contentItemId"], each) for each in posts], started_at=NOON)
    touched = 0

    class Counting(list[Any]):
        def __iter__(self) -> Any:
            nonlocal touched
            touched += len(self)
            return super().__iter__()

    wait.watches = Counting(wait.watches)
    assert len(wait.posts_due(NOON)) == len(posts)
    assert touched <= 10 * len(posts)
