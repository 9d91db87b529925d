"""The trigger on a virtual clock, with all that it shares with others: hours and days of many waits at once."""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import OctosparkProtocolError, OctosparkSettingsError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling import poller as poller_module
from airflow_provider_octospark.polling import registry
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.triggers import observer as observer_module
from airflow_provider_octospark.triggers import octospark as trigger_module
from airflow_provider_octospark.triggers.octospark import (
    EVENT_FORMAT,
    FIRST_POLL_AFTER,
    OctosparkPostTrigger,
    outcomes_of_event,
)
from airflow_provider_octospark.triggers.settings_cache import FRESH
from tests.polling.simulated_service import SimulatedPost, SimulatedService
from tests.polling.simulation import publishing_time, simulate
from tests.polling.test_schedule import policy
from tests.polling.things import TEAM, answer_with, new_id, pending, post_json, scheduled_json, seconds
from tests.polling.virtual_time import Clock, run
from tests.sampling import IS_COMPLETE

HOUR, DAY = 3600.0, 86_400.0
NEVER = float("inf")


class Triggerer:
    """Triggers in one event loop, with connections that a test can change.

    :param connections: the settings of each connection, or what a poll-up of it raises.
    :param look_ups: how often a connection was looked up.
    """

    def __init__(self, clock: Clock, service: SimulatedService) -> None:
        self.clock = clock
        self.service = service
        self.connections: dict[str, ConnectionSettings | Exception] = {"octospark_default": service.settings()}
        self.look_ups = 0
        self.ended_at: dict[str, float] = {}

    async def look_up(self, conn_id: str) -> ConnectionSettings:
        """As Airflow does it: a round trip."""
        self.look_ups += 1
        await asyncio.sleep(0.05)
        found = self.connections[conn_id]
        if isinstance(found, Exception):
            raise found
        return found

    def trigger(self, posts: Iterable[SimulatedPost], conn_id: str = "octospark_default") -> OctosparkPostTrigger:
        """A trigger as a worker hands it over, after one look."""
        now = self.clock.now()
        outcomes = [pending(post.id, post.scheduled) for post in posts]
        wait = Wait.start(outcomes, started_at=now)
        for post in posts:
            wait.record_response((TEAM, post.id), answer_with(post.id, post.scheduled), now)
        return OctosparkPostTrigger(conn_id, json.loads(json.dumps(wait.as_json())))

    async def fire(self, trigger: OctosparkPostTrigger) -> list[Outcome]:
        """Run a trigger to its event."""
        events = [event async for event in trigger.run()]
        assert len(events) == 1
        assert json.loads(json.dumps(events[0].payload)) == events[0].payload
        outcomes = outcomes_of_event(events[0].payload)
        for outcome in outcomes:
            self.ended_at[outcome.post_id] = self.clock.elapsed
        return outcomes

    async def fire_each(self, posts: Iterable[SimulatedPost], conn_id: str = "octospark_default") -> list[Outcome]:
        """Run a trigger for each post, all at the same time."""
        found = await asyncio.gather(*(self.fire(self.trigger([post], conn_id)) for post in posts))
        return [outcome for outcomes in found for outcome in outcomes]


Scenario = Callable[[Triggerer, SimulatedService, Clock], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Play a scenario on a virtual clock; nothing may be left of it afterwards."""

    def player(scenario: Scenario, *, lists: bool = True) -> None:
        clock = Clock()
        service = SimulatedService(clock, lists=lists)
        triggerer = Triggerer(clock, service)

        async def look_up(hook: OctosparkHook) -> ConnectionSettings:
            return await triggerer.look_up(hook.octospark_conn_id)

        monkeypatch.setattr(trigger_module, "datetime", clock)
        monkeypatch.setattr(observer_module, "datetime", clock)
        monkeypatch.setattr(poller_module, "AsyncOctosparkClient", service.client)
        monkeypatch.setattr(OctosparkHook, "aget_settings", look_up)

        async def main() -> None:
            await scenario(triggerer, service, clock)
            assert service.open_clients == 0, "the last subscriber closes"
            assert asyncio.all_tasks() == {asyncio.current_task()}, "and leaves no task"
            assert not any(registry._pollers.get(asyncio.get_running_loop(), {}))

        run(clock, main())

    return player


# The code does what the simulation says


@pytest.mark.parametrize("lists", [True, False])
def test_calls_and_delay_are_those_of_the_simulation(play: Callable[..., None], lists: bool) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        chance = random.Random(11)  # noqa: S311 - a simulation
        ahead = 6 * HOUR
        # Far enough apart for each to be alone: company makes lists of looks, which are counted elsewhere.
        dues = [ahead + 40.0 * number for number in range(300)]
        posts = [service.add(due=due, out_at=due + publishing_time(chance)) for due in dues]
        outcomes = await triggerer.fire_each(posts)
        assert {outcome.state for outcome in outcomes} == {"published"}
        simulated = simulate(policy(1), seconds(statistics.mean(dues)), posts=3000, first_pause=FIRST_POLL_AFTER)
        delay = statistics.mean(triggerer.ended_at[post.id] - post.out_at for post in posts)
        assert delay <= 4.0
        assert abs(delay - simulated.delay) <= 0.8
        if not lists:
            calls = 1 + statistics.mean(service.polls[post.id] for post in posts)
            assert abs(calls - simulated.calls) <= 0.1 * simulated.calls

    play(scenario, lists=lists)


def test_a_thousand_waits_in_a_team_are_a_handful_of_lists(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        chance = random.Random(12)  # noqa: S311 - a simulation
        posts = [service.add(due=0.0, out_at=publishing_time(chance)) for _ in range(1000)]
        await triggerer.fire_each(posts)
        polls = 1000 * simulate(policy(1), seconds(0.0), posts=500).calls
        assert service.requests() <= polls / 10
        assert statistics.mean(triggerer.ended_at[post.id] - post.out_at for post in posts) <= 4.0
        assert triggerer.look_ups <= 1 + clock.elapsed / FRESH

    play(scenario)


@pytest.mark.parametrize(("pages", "reads"), [(True, 1.0), (False, 5.0)])
def test_two_triggerers_read_a_team_s_posts_by_pages_if_there_are_any(
    play: Callable[..., None], pages: bool, reads: float
) -> None:
    """Each lists for itself, and a list shows 100 of 200 posts."""

    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        service.most_listed, service.pages = 100, pages
        service.tokens.add("octo_test_other")
        triggerer.connections["other"] = service.settings("octo_test_other")
        chance = random.Random(14)  # noqa: S311 - a simulation
        posts = [service.add(due=0.0, out_at=publishing_time(chance)) for _ in range(200)]
        async with asyncio.TaskGroup() as group:
            for conn_id, mine in (("octospark_default", posts[::2]), ("other", posts[1::2])):
                group.create_task(triggerer.fire_each(mine, conn_id))
        assert service.requests(0.0, 60.0) <= reads * len(posts)
        assert statistics.mean(triggerer.ended_at[post.id] - post.out_at for post in posts) <= 4.0

    play(scenario)


# Bad cases


@pytest.mark.parametrize("lists", [True, False])
def test_an_hour_without_the_service_fails_nothing_and_ends_without_a_storm(
    play: Callable[..., None], lists: bool
) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        chance = random.Random(13)  # noqa: S311 - a simulation
        begin, end = 60.0, 60.0 + HOUR
        service.outages = [(begin, end)]
        count = (1000 if IS_COMPLETE else 400) if lists else 200
        posts = [service.add(due=0.0, out_at=chance.uniform(begin, end + 200.0)) for _ in range(count)]
        outcomes = await triggerer.fire_each(posts)
        assert {outcome.state for outcome in outcomes} == {"published"}
        in_outage = service.requests(begin + 120.0, end) / (HOUR - 120.0)
        assert in_outage <= 10.0, "a service that is down is hardly asked"
        busiest = max(service.asked[second] for second in range(int(end), int(end) + 600))
        # Without lists some 3 come in a second, and 12 in the busiest of 600.
        assert busiest <= count / (20 if lists else 10), "and not stormed when it is back"
        late = [triggerer.ended_at[post.id] - max(end, post.out_at) for post in posts]
        assert max(late) <= 100.0

    play(scenario, lists=lists)


def test_a_revoked_key_ends_the_waits_of_its_connection_only(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        service.tokens = {"octo_test_good", "octo_test_doomed"}
        triggerer.connections["doomed"] = service.settings("octo_test_doomed")
        good = [service.add(due=0.0, out_at=900.0) for _ in range(100)]
        doomed = [service.add(due=0.0, out_at=900.0) for _ in range(100)]

        async def revoke() -> None:
            await asyncio.sleep(300.0)
            service.tokens.discard("octo_test_doomed")
            triggerer.look_ups = 0

        _, published, lost = await asyncio.gather(
            revoke(), triggerer.fire_each(good), triggerer.fire_each(doomed, "doomed")
        )
        assert {outcome.state for outcome in published} == {"published"}
        assert {(outcome.state, outcome.reason) for outcome in lost} == {("unknown", "access_lost")}
        assert max(triggerer.ended_at[post.id] for post in doomed) < 400.0
        assert triggerer.look_ups <= 60, "they look it up together, not each for itself"
        assert service.refused <= 2 * (len(doomed) + 30), "each asks once more, and not again"

    play(scenario)


@pytest.mark.parametrize("several", [False, True])
def test_a_rotated_key_is_taken_up_from_the_connection(play: Callable[..., None], several: bool) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        posts = [service.add(due=0.0, out_at=900.0 + number) for number in range(40)]

        async def rotate() -> None:
            for number in range(1, 4):
                await asyncio.sleep(200.0)
                token = f"octo_test_{number}"
                triggerer.connections["octospark_default"] = service.settings(token)
                service.tokens = {token}

        waits = triggerer.fire(triggerer.trigger(posts)) if several else triggerer.fire_each(posts)
        _, outcomes = await asyncio.gather(rotate(), waits)
        assert {outcome.state for outcome in outcomes} == {"published"}

    play(scenario)


@pytest.mark.parametrize("problem", [OSError("the supervisor is busy"), KeyError("x")])
def test_a_look_up_that_breaks_is_made_again(play: Callable[..., None], problem: Exception) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        post = service.add(due=0.0, out_at=30.0)
        good, triggerer.connections["octospark_default"] = triggerer.connections["octospark_default"], problem

        async def mend() -> None:
            await asyncio.sleep(60.0)
            triggerer.connections["octospark_default"] = good

        _, [outcome] = await asyncio.gather(mend(), triggerer.fire_each([post]))
        assert outcome.state == "published"

    play(scenario)


def test_a_connection_that_is_gone_ends_the_wait_as_unknown(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        triggerer.connections["octospark_default"] = OctosparkSettingsError("There is no connection.")
        [outcome] = await triggerer.fire_each([service.add(due=0.0, out_at=30.0)])
        assert (outcome.state, outcome.reason) == ("unknown", "access_lost")
        assert outcome.error_message == "There is no connection."

    play(scenario)


def test_what_never_ends_is_given_up_at_its_deadline(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        post = service.add(due=0.0, out_at=NEVER)
        [outcome] = await triggerer.fire_each([post])
        assert (outcome.state, outcome.reason) == ("unknown", "deadline")
        assert DAY <= clock.elapsed <= DAY + 10.0
        assert service.requests() <= 1600

    play(scenario)


# Restarts


def test_a_restarted_triggerer_keeps_schedules_and_deadlines(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        due = 7 * DAY
        post = service.add(due=due, out_at=NEVER)
        trigger = triggerer.trigger([post])
        path, arguments = trigger.serialize()
        for number in range(20):
            life = asyncio.create_task(triggerer.fire(OctosparkPostTrigger(**arguments)))
            await asyncio.sleep(HOUR)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            assert service.requests() == 0, f"restart {number}: half of the week has not passed"
        assert path.rsplit(".", 1) == [OctosparkPostTrigger.__module__, OctosparkPostTrigger.__name__]
        [outcome] = await triggerer.fire(OctosparkPostTrigger(**arguments))
        assert outcome.reason == "deadline"
        assert due + DAY <= clock.elapsed <= due + DAY + 10.0

    play(scenario)


def test_a_triggerer_that_was_away_over_the_deadline_looks_once_more(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        out, stuck = service.add(due=0.0, out_at=60.0), service.add(due=0.0, out_at=NEVER)
        triggers = [triggerer.trigger([out]), triggerer.trigger([stuck])]
        await asyncio.sleep(3 * DAY)
        ends = [outcome.state for trigger in triggers for outcome in await triggerer.fire(trigger)]
        assert ends == ["published", "unknown"]
        assert service.requests() == 2

    play(scenario)


def test_the_first_look_comes_at_least_5_seconds_after_the_start(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        posts = [service.add(due=0.0, out_at=0.0) for _ in range(50)]
        await triggerer.fire_each(posts)
        assert min(triggerer.ended_at.values()) >= FIRST_POLL_AFTER.total_seconds() == 5.0
        assert max(triggerer.ended_at.values()) <= 9.0

    play(scenario)


def test_cancelled_triggers_leave_nothing_and_take_nothing_from_others(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        posts = [service.add(due=0.0, out_at=400.0) for _ in range(60)]
        lives = [asyncio.create_task(triggerer.fire(triggerer.trigger([post]))) for post in posts]
        lives.append(asyncio.create_task(triggerer.fire(triggerer.trigger(posts))))
        for pause in (1.0, 5.2, 30.0):
            await asyncio.sleep(pause)
            for life in lives[:15]:
                life.cancel()
            await asyncio.gather(*lives[:15], return_exceptions=True)
            del lives[:15]
        ended = await asyncio.gather(*lives)
        assert {outcome.state for outcomes in ended for outcome in outcomes} == {"published"}

    play(scenario)


# One trigger for many posts


def test_many_posts_of_one_trigger_are_read_at_the_same_time(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        posts = [service.add(due=0.0, out_at=3.0) for _ in range(100)]
        under_way = most = 0

        async def slow(operation: Operation[Any]) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(2.0)
            under_way -= 1

        service.delay = slow  # type: ignore[method-assign]
        outcomes = await triggerer.fire(triggerer.trigger(posts))
        assert {outcome.state for outcome in outcomes} == {"published"}
        assert [outcome.post_id for outcome in outcomes] == [post.id for post in posts], "in their order"
        assert most == service.settings().max_in_flight

    play(scenario, lists=False)


def test_a_slow_post_does_not_hold_up_the_others_of_its_trigger(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        slow, quick = [service.add(due=0.0, out_at=0.0) for _ in range(2)]

        async def delay(operation: Operation[Any]) -> None:
            await asyncio.sleep(1000.0 if operation.path[-1] == slow.id else 0.1)

        service.delay = delay  # type: ignore[method-assign]
        trigger = triggerer.trigger([slow, quick])
        said: list[tuple[float, str]] = []
        trigger._report = lambda lines: said.extend((clock.elapsed, line) for line in lines)  # type: ignore[method-assign]
        await triggerer.fire(trigger)
        [at] = [at for at, line in said if quick.id in line and line.endswith("published.")]
        assert at < 10.0
        assert clock.elapsed > 1000.0

    play(scenario, lists=False)


# Whatever happens, one event and no exception


@pytest.mark.parametrize("arguments", [{}, {"watches": 1}, {"watches": [{"outcome": {}}]}, None, [], "x"])
def test_arguments_that_cannot_be_read_give_an_event_that_says_so(play: Callable[..., None], arguments: Any) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        [event] = [event async for event in OctosparkPostTrigger("octospark_default", arguments).run()]
        with pytest.raises(OctosparkProtocolError):
            outcomes_of_event(event.payload)

    play(scenario)


@pytest.mark.parametrize("count", [1, 3])
def test_something_nobody_thought_of_gives_an_event_that_names_it(play: Callable[..., None], count: int) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        posts = [service.add(due=0.0, out_at=20.0) for _ in range(count)]

        def broken(operation: Operation[Any], token: str) -> Any:
            raise LookupError("nobody thought of it")

        service.response = broken  # type: ignore[method-assign]
        [event] = [event async for event in triggerer.trigger(posts).run()]
        with pytest.raises(OctosparkProtocolError, match="LookupError: nobody thought of it"):
            outcomes_of_event(event.payload)

    play(scenario)


@pytest.mark.parametrize(
    "event", [None, "success", {}, {"format": 0}, {"format": EVENT_FORMAT}, {"format": EVENT_FORMAT, "outcomes": [1]}]
)
def test_an_event_that_is_none_of_ours_is_refused(event: Any) -> None:
    with pytest.raises(OctosparkProtocolError):
        outcomes_of_event(event)


def test_what_is_over_already_asks_nothing_and_fires_no_sooner_than_all_others(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        done, late = pending(new_id(), state="published"), pending(new_id())
        for outcome, end in ((done, "published"), (late, "unknown")):
            begin = clock.elapsed
            wait = Wait.start([outcome], started_at=clock.now(), publish_timeout=seconds(1))
            [seen] = await triggerer.fire(OctosparkPostTrigger("octospark_default", wait.as_json()))
            assert seen.state == end
            assert clock.elapsed - begin >= 5.0
            assert outcome is late or (triggerer.look_ups, service.requests()) == (0, 0)

    play(scenario)


def test_changes_are_logged_and_looks_are_not(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[str] = []

    class Log:
        def info(self, event: str, *args: Any) -> None:
            reported.append(event % args)

    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        service.outages = [(600.0, 900.0)]
        await triggerer.fire_each([service.add(due=0.0, out_at=1800.0)])
        assert service.requests() > 50

    monkeypatch.setattr(OctosparkPostTrigger, "log", Log())
    play(scenario)
    assert [re.sub(r"^Post [0-9a-f-]+:? ?(on x account \S+: )?", "", line) for line in reported] == [
        "a poll failed: get-post: connection refused.",
        "can be read again.",
        "published.",
    ]


def test_no_secret_is_in_the_arguments(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        trigger = triggerer.trigger([service.add(due=0.0, out_at=0.0)])
        await triggerer.fire(trigger)
        assert "octo_test" not in json.dumps(trigger.serialize()) + repr(trigger)

    play(scenario)


def test_a_look_at_something_hidden_asks_for_the_post_itself(play: Callable[..., None]) -> None:
    async def scenario(triggerer: Triggerer, service: SimulatedService, clock: Clock) -> None:
        posts = [service.add(due=0.0, out_at=60.0) for _ in range(20)]
        hidden = posts[0]
        shown_by_list = scheduled_json(hidden.id, status="published")
        response = service.response

        def lying(operation: Any, token: str) -> Any:
            seen = response(operation, token)
            if operation.name == "list-posts":
                lie = hidden.id, json.dumps(post_json(hidden.id, shown_by_list))
                seen.value.data = [lie if entry[0] == hidden.id else entry for entry in seen.value.data]
            return seen

        service.response = lying  # type: ignore[method-assign]
        outcomes = await triggerer.fire_each(posts)
        assert {outcome.state for outcome in outcomes} == {"published"}
        assert outcomes[0].scheduled_post_id == hidden.scheduled["id"]
        assert triggerer.ended_at[hidden.id] - 60.0 <= 15.0

    play(scenario)
