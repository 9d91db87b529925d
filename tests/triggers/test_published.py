"""The watcher over real HTTP, in Airflow's own manager of shared streams: each publication once, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_octospark import airflow_compat as versions
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkVersionError
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.triggers import published
from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger
from tests.polling.service import Posts, Service
from tests.polling.things import NOON, TEAM
from tests.triggers.conftest import run
from tests.triggers.triggerer import Store, Triggerer

pytest.importorskip("airflow.triggers.shared_stream")

SECOND = timedelta(seconds=1)
SOON = {"scheduledAt": format_instant(NOON + SECOND), "createdAt": format_instant(NOON + SECOND)}
AN_HOUR_AGO = {name: format_instant(NOON - timedelta(hours=1)) for name in ("scheduledAt", "createdAt")}

pytestmark = pytest.mark.usefixtures("in_a_hurry")


def watch(emulator: Emulator) -> OctosparkPublishedTrigger:
    return OctosparkPublishedTrigger(emulator.team_id, 0.05)


def publish(emulator: Emulator, post: int = 0) -> str:
    """A user publishes a post; returns the id of the submission."""
    [made] = emulator.user_action("post_now", emulator.posts[post]["id"], social_account_id=emulator.account_id("x"))
    return made["id"]


def lists(emulator: Emulator) -> int:
    return sum(each["path"].endswith("/posts") for each in emulator.requests())


@asynccontextmanager
async def running(triggerer: Triggerer) -> AsyncIterator[Triggerer]:
    """A triggerer from its first poll to the end of a test."""
    triggerer.start()
    try:
        yield triggerer
    finally:
        await triggerer.kill()


async def looked(triggerer: Triggerer, emulator: Emulator, times: int = 3) -> None:
    """Wait for some further looks."""
    target = lists(emulator) + times
    await triggerer.until(lambda: lists(emulator) >= target)


# What it tells


def test_each_publication_is_told_once_with_its_outcome(emulator: Emulator) -> None:
    async def scenario() -> None:
        before = publish(emulator, 5)
        await asyncio.sleep(1.2)
        async with running(Triggerer(Store(), lambda: watch(emulator))) as triggerer:
            await looked(triggerer, emulator)
            ids = [publish(emulator, post) for post in range(3)]
            await triggerer.until(lambda: len(triggerer.events) >= 3)
            await looked(triggerer, emulator)
            assert sorted(triggerer.reported()) == sorted(ids)
            assert before not in triggerer.reported()
            event = triggerer.events[0]
            assert (event["state"], event["provider"], event["team_id"]) == ("published", "x", emulator.team_id)
            assert event["url"].startswith("https://x.com/")

    run(scenario)


def test_a_failure_is_no_event(emulator: Emulator) -> None:
    async def scenario() -> None:
        emulator.script("fail", post_id=emulator.posts[0]["id"], seconds=0.1)
        async with running(Triggerer(Store(), lambda: watch(emulator))) as triggerer:
            await looked(triggerer, emulator)
            publish(emulator, 0)
            out = publish(emulator, 1)
            await triggerer.until(lambda: bool(triggerer.events))
            await looked(triggerer, emulator)
            assert triggerer.reported() == [out]

    run(scenario)


def test_watchers_of_a_team_share_one_look(emulator: Emulator) -> None:
    async def scenario() -> None:
        async with running(Triggerer(Store(), lambda: watch(emulator), watchers=3)) as triggerer:
            await looked(triggerer, emulator)
            out = publish(emulator)
            await triggerer.until(lambda: len(triggerer.events) >= 3)
            await looked(triggerer, emulator)
            assert triggerer.reported() == [out] * 3
            assert len(triggerer._manager._groups) == 1

    run(scenario)


# Restarts


def test_a_restart_neither_repeats_nor_misses(emulator: Emulator) -> None:
    async def scenario() -> None:
        triggerer = Triggerer(Store(), lambda: watch(emulator))
        out = []
        async with running(triggerer):
            await looked(triggerer, emulator)
        for post in range(3):
            # Published while it is down.
            out.append(publish(emulator, post))
            async with running(triggerer):
                await triggerer.until(lambda: len(triggerer.events) >= len(out))
                await looked(triggerer, emulator)
        assert triggerer.reported() == out

    run(scenario)


def test_without_a_store_a_restart_begins_anew(emulator: Emulator) -> None:
    async def scenario() -> None:
        triggerer = Triggerer(None, lambda: watch(emulator))
        async with running(triggerer):
            await looked(triggerer, emulator)
            first = publish(emulator, 0)
            await triggerer.until(lambda: bool(triggerer.events))
        publish(emulator, 1)
        # Its due time must be before the restart by a clock that is told in whole seconds.
        await asyncio.sleep(1.5)
        async with running(triggerer):
            await looked(triggerer, emulator)
            last = publish(emulator, 2)
            await triggerer.until(lambda: len(triggerer.events) >= 2)
            await looked(triggerer, emulator)
        assert triggerer.reported() == [first, last], "nothing is repeated, and what came while it was down is missed"

    run(scenario)


def test_an_event_that_was_never_stored_comes_again(emulator: Emulator) -> None:
    async def scenario() -> None:
        triggerer = Triggerer(Store(), lambda: watch(emulator))
        triggerer.stores = False
        async with running(triggerer):
            await looked(triggerer, emulator)
            out = publish(emulator)
            await asyncio.sleep(0.3)
            await looked(triggerer, emulator)
        assert triggerer.events == []
        triggerer.stores = True
        async with running(triggerer):
            await triggerer.until(lambda: bool(triggerer.events))
            await looked(triggerer, emulator)
        assert triggerer.reported() == [out]

    run(scenario)


def test_killed_between_the_event_and_its_note_it_repeats_and_misses_nothing(emulator: Emulator) -> None:
    async def scenario() -> None:
        triggerer = Triggerer(Store(), lambda: watch(emulator))
        triggerer.confirms = False
        async with running(triggerer):
            await looked(triggerer, emulator)
            out = publish(emulator)
            await triggerer.until(lambda: bool(triggerer.events))
        triggerer.confirms = True
        async with running(triggerer):
            await triggerer.until(lambda: len(triggerer.events) >= 2)
            await looked(triggerer, emulator)
        assert triggerer.reported() == [out, out]

    run(scenario)


def test_a_store_that_fails_is_asked_again(emulator: Emulator) -> None:
    async def scenario() -> None:
        store = Store()
        triggerer = Triggerer(store, lambda: watch(emulator))
        store.broken = 3
        async with running(triggerer):
            await looked(triggerer, emulator)
            store.broken = 2
            out = publish(emulator, 0)
            await triggerer.until(lambda: bool(triggerer.events) and not store.broken)
            await triggerer.until(lambda: out in str(store.kept))
        store.broken = 3
        async with running(triggerer):
            await looked(triggerer, emulator)
            publish(emulator, 1)
            await triggerer.until(lambda: len(triggerer.events) >= 2)
        assert len(set(triggerer.reported())) == 2

    run(scenario)


def test_a_cursor_of_another_version_is_told_of_and_left(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = Store()
        await store.aset(f"octospark.published.{emulator.team_id}", {"format": 99})
        async with running(Triggerer(store, lambda: watch(emulator))) as triggerer:
            await looked(triggerer, emulator)
            out = publish(emulator)
            await triggerer.until(lambda: triggerer.reported() == [out])

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert "Beginning anew" in caplog.text


def test_what_does_not_change_is_not_written(emulator: Emulator) -> None:
    async def scenario() -> None:
        store = Store()
        async with running(Triggerer(store, lambda: watch(emulator))) as triggerer:
            await looked(triggerer, emulator, 6)
            assert store.writes == 1

    run(scenario)


def test_before_3_3_it_looks_for_itself(emulator: Emulator) -> None:
    async def scenario() -> None:
        events = watch(emulator).run()
        first = asyncio.ensure_future(anext(events))
        async with asyncio.timeout(20):
            while lists(emulator) < 2:  # noqa: ASYNC110 - another thread counts
                await asyncio.sleep(0.01)
            out = publish(emulator)
            assert [each["scheduled_post_id"] for each in (await first).payload] == [out]
        second = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.3)
        assert not second.done()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await events.aclose()  # type: ignore[attr-defined]

    run(scenario)


# Trouble with the service


def break_with_500(emulator: Emulator) -> Callable[[], None]:
    emulator.fault("list-posts", "status", status=500, times=4)
    return lambda: None


def break_connections(emulator: Emulator) -> Callable[[], None]:
    emulator.fault("list-posts", "reset", times=4)
    return lambda: None


def answer_html(emulator: Emulator) -> Callable[[], None]:
    emulator.fault("list-posts", "not_json", times=4)
    return lambda: None


def refuse_the_limit(emulator: Emulator) -> Callable[[], None]:
    emulator.fault("list-posts", "status", status=400, times=4)
    return lambda: None


def hide_the_team(emulator: Emulator) -> Callable[[], None]:
    emulator.fault("list-posts", "status", status=404, times=4)
    return lambda: None


@pytest.mark.parametrize("trouble", [break_with_500, break_connections, answer_html, refuse_the_limit, hide_the_team])
def test_trouble_is_no_event_and_misses_nothing(
    emulator: Emulator, trouble: Callable[[Emulator], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(Triggerer(Store(), lambda: watch(emulator))) as triggerer:
            await looked(triggerer, emulator)
            trouble(emulator)
            out = publish(emulator)
            await looked(triggerer, emulator, 5)
            await triggerer.until(lambda: bool(triggerer.events))
            await looked(triggerer, emulator)
            assert triggerer.reported() == [out]

    with caplog.at_level(logging.INFO):
        run(scenario)
    assert "cannot be listed (failure 1 in a row)" in caplog.text
    assert "cannot be listed (failure 3 in a row)" not in caplog.text, "an outage is no flood"
    assert "can be listed again" in caplog.text


def test_a_revoked_key_is_waited_for_and_taken_up(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(Triggerer(Store(), lambda: watch(emulator))) as triggerer:
            await looked(triggerer, emulator)
            old = emulator.token
            emulator.rotate_token()
            out = publish(emulator)
            await looked(triggerer, emulator, 6)
            assert triggerer.events == []
            monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", emulator.connection)
            await triggerer.until(lambda: triggerer.reported() == [out])
            assert old not in caplog.text
            assert emulator.token not in caplog.text

    with caplog.at_level(logging.DEBUG):
        run(scenario)


def test_a_connection_that_is_not_there_yet_is_waited_for(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with running(Triggerer(Store(), lambda: watch(emulator))) as triggerer:
            await asyncio.sleep(0.2)
            assert lists(emulator) == 0
            monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", emulator.connection)
            out = publish(emulator)
            await triggerer.until(lambda: triggerer.reported() == [out])

    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", '{"conn_type": "octospark"}')
    run(scenario)


# Lists that lie


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Service], Triggerer]:
    """A function that makes a triggerer which watches a service whose lists a test can bend."""

    def watching(service: Service) -> Triggerer:
        connection = f'{{"conn_type": "octospark", "host": "{service.base_url}", "password": "octo_test_waiting"}}'
        monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", connection)
        return Triggerer(Store(), lambda: OctosparkPublishedTrigger(TEAM, 0.02))

    return watching


async def more_lists(triggerer: Triggerer, service: Service, times: int = 4) -> None:
    target = service.lists + times
    await triggerer.until(lambda: service.lists >= target)


def test_an_entry_that_cannot_be_read_hides_no_other(
    lying: Callable[[Service], Triggerer], caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[Any] = [None, 7, {}, {"id": ["a"]}, {"id": "p", "latestScheduledPost": {"id": "s"}}]

    async def scenario() -> None:
        async with Service() as service, running(lying(service)) as triggerer:
            service.listed = lambda posts, _: [*bad, *posts]
            [good] = service.add_posts(1, status="published", **SOON)
            await triggerer.until(lambda: bool(triggerer.events))
            await more_lists(triggerer, service)
            assert triggerer.reported() == [service.submission(good)["id"]]

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert caplog.text.count("5 cannot be read") == 1


def test_a_list_that_repeats_and_contradicts_itself(lying: Callable[[Service], Triggerer]) -> None:
    async def scenario() -> None:
        def listed(posts: Posts, limit: int) -> Posts:
            stale = [
                post | {"latestScheduledPost": post["latestScheduledPost"] | {"status": "publishing"}} for post in posts
            ]
            return [*posts, *stale, *posts] if service.lists % 2 else [*stale, *posts]

        async with Service() as service, running(lying(service)) as triggerer:
            service.listed = listed
            added = service.add_posts(5, status="published", **SOON)
            await triggerer.until(lambda: len(triggerer.events) >= 5)
            await more_lists(triggerer, service)
            assert sorted(triggerer.reported()) == sorted(service.submission(each)["id"] for each in added)

    run(scenario)


def test_a_post_that_lists_skip_is_read_by_itself(lying: Callable[[Service], Triggerer]) -> None:
    async def scenario() -> None:
        async with Service() as service, running(lying(service)) as triggerer:
            [skipped] = service.add_posts(1, status="scheduled", **AN_HOUR_AGO)
            await more_lists(triggerer, service)
            service.listed = lambda *_: []
            service.submission(skipped)["status"] = "published"
            await triggerer.until(lambda: bool(triggerer.events))
            alone = service.singles
            await more_lists(triggerer, service)
            assert triggerer.reported() == [service.submission(skipped)["id"]]
            assert service.singles == alone, "and not read again"

    run(scenario)


def test_a_post_that_lists_skip_for_a_while_is_told_when_they_show_it(lying: Callable[[Service], Triggerer]) -> None:
    async def scenario() -> None:
        async with Service() as service, running(lying(service)) as triggerer:
            service.listed = lambda *_: []
            [skipped] = service.add_posts(1, status="published", **SOON)
            await more_lists(triggerer, service)
            assert triggerer.events == []
            assert service.singles == 0, "nobody knows of it"
            service.listed = lambda posts, _: posts
            await triggerer.until(lambda: triggerer.reported() == [service.submission(skipped)["id"]])

    run(scenario)


def test_many_posts_that_lists_skip_do_not_make_a_storm(lying: Callable[[Service], Triggerer]) -> None:
    async def scenario() -> None:
        async with Service() as service, running(lying(service)) as triggerer:
            added = service.add_posts(60, status="scheduled", **AN_HOUR_AGO)
            await more_lists(triggerer, service)
            service.listed = lambda *_: []
            await more_lists(triggerer, service, 3)
            await more_lists(triggerer, service, 3)
            # Long overdue, each is looked at once now and then in a long time.
            await triggerer.until(lambda: service.singles >= len(added))
            await more_lists(triggerer, service)
            assert service.singles <= len(added) + 10

    run(scenario)


# What it is given


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"team_id": ""}, "team_id"),
        ({"team_id": None}, "team_id"),
        ({"team_id": "a/b"}, "team_id"),
        ({"interval": 0}, "interval"),
        ({"interval": -1}, "interval"),
        ({"interval": "30"}, "interval"),
        ({"interval": float("nan")}, "interval"),
        ({"interval": float("inf")}, "interval"),
        ({"interval": 86_401}, "interval"),
        ({"octospark_conn_id": ""}, "octospark_conn_id"),
        ({"octospark_conn_id": None}, "octospark_conn_id"),
    ],
)
def test_wrong_arguments_are_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=f"^{field} "):
        OctosparkPublishedTrigger(**({"team_id": TEAM} | given))


def test_it_survives_being_stored() -> None:
    trigger = OctosparkPublishedTrigger(TEAM, timedelta(minutes=1), "other")
    path, arguments = trigger.serialize()
    assert path == f"{OctosparkPublishedTrigger.__module__}.{OctosparkPublishedTrigger.__name__}"
    assert OctosparkPublishedTrigger(**arguments).serialize() == (path, arguments)
    assert arguments == {"team_id": TEAM, "interval": 60.0, "octospark_conn_id": "other"}


def test_others_share_no_look() -> None:
    one = OctosparkPublishedTrigger(TEAM)
    for other in (
        OctosparkPublishedTrigger(TEAM, 31),
        OctosparkPublishedTrigger("another"),
        OctosparkPublishedTrigger(TEAM, octospark_conn_id="other"),
    ):
        assert one.shared_stream_key() != other.shared_stream_key()
    assert one.shared_stream_key() == OctosparkPublishedTrigger(TEAM).shared_stream_key()


def test_before_airflow_3_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "airflow_version", "2.11.2")
    with pytest.raises(
        OctosparkVersionError, match=r"OctosparkPublishedTrigger needs Airflow 3\.0 .* this is 2\.11\.2"
    ):
        OctosparkPublishedTrigger(TEAM)


def test_a_watcher_of_several_assets_keeps_its_cursor_with_each() -> None:
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    trigger = OctosparkPublishedTrigger(TEAM)
    trigger.asset_state_store = AssetStateStoreAccessors(inlets=[Asset("b"), Asset("a")])
    assert [repr(each) for each in versions.asset_state_stores(trigger)] == [
        "<AssetStateStoreAccessor name='a'>",
        "<AssetStateStoreAccessor name='b'>",
    ]


def test_reads_end_before_airflow_gives_a_watcher_up() -> None:
    from airflow.triggers.shared_stream import DEFAULT_ACK_TIMEOUT

    assert published.READS_WITHIN < DEFAULT_ACK_TIMEOUT / 2
