"""The poller, over real HTTP: who shares a request, which list is believed, and what is left when all is over."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import math
import statistics
import warnings
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.responses import MAX_RESPONSE_BYTES, Response
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkAuthError,
    OctosparkError,
    OctosparkNetworkError,
    OctosparkNotFoundError,
    OctosparkPermissionError,
    OctosparkRateLimitError,
    OctosparkServerError,
)
from airflow_provider_octospark.polling import list_reader, registry
from airflow_provider_octospark.polling import poller as poller_module
from airflow_provider_octospark.polling import subscriptions as subscription
from airflow_provider_octospark.polling.lateness import LATE
from airflow_provider_octospark.polling.poller import OUTAGE, Poller
from airflow_provider_octospark.polling.registry import subscribed
from tests.polling import virtual_time
from tests.polling.service import Posts, Reply, Service
from tests.polling.simulated_service import SimulatedService
from tests.polling.things import NOON, TEAM, new_id, scheduled_json
from tests.polling.virtual_time import Clock

Seen = Response[Post] | BaseException


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gather for a tenth of the time, so that the tests need not wait so long."""
    monkeypatch.setattr(subscription, "BATCH_DELAY", 0.1)
    monkeypatch.setattr(poller_module, "BATCH_DELAY", 0.1)
    monkeypatch.setattr(poller_module, "FIRST_BATCH_DELAY", 0.01)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever a test does, no poller survives it."""
    yield
    assert not registry._closing
    assert [pollers for loop, pollers in registry._pollers.items() if pollers and not loop.is_closed()] == []


def with_service(scenario: Callable[[Service, Poller], Awaitable[None]], **settings: Any) -> None:
    """Run a scenario with a service and a poller that reads from it."""

    async def run() -> None:
        async with Service() as service, subscribed(service.settings(**settings)) as poller:
            await scenario(service, poller)
            assert service.most_at_once <= poller._queue._limit
        assert not [each for each in asyncio.all_tasks() if each.get_name() == "octospark-poller"]

    asyncio.run(run())


async def read_all(poller: Poller, posts: list[str], **options: Any) -> list[Seen]:
    """Read posts at the same time; errors as they come."""
    return list(await asyncio.gather(*(poller.read(TEAM, each, **options) for each in posts), return_exceptions=True))


def is_about(seen: list[Seen], posts: list[str]) -> bool:
    """Whether each response is about the post that was asked for, and shows its submission."""
    return all(
        isinstance(each, Response)
        and each.value.id == post
        and each.value.latest_scheduled_post is not None
        and each.value.latest_scheduled_post.content_item_id == post
        for each, post in zip(seen, posts, strict=True)
    )


# Sharing


def test_readers_of_the_same_post_share_one_request() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        [post] = service.add_posts(1)
        seen = await read_all(poller, [post, post.upper()] * 20)
        assert is_about(seen, [post] * 40)
        assert service.requests == [f"/v1/teams/{TEAM}/posts/{post}"]

    with_service(scenario)


def test_a_reader_joins_a_request_under_way() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        [post] = service.add_posts(1)
        service.delay = 0.2
        first = asyncio.create_task(poller.read(TEAM, post))
        await asyncio.sleep(0.1)
        await poller.read(TEAM, post)
        await first
        assert len(service.requests) == 1

    with_service(scenario)


def test_few_posts_are_read_one_by_one_and_many_by_a_list() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(90)
        assert is_about(await read_all(poller, posts[:3]), posts[:3])
        assert (service.lists, service.singles) == (0, 3)
        assert is_about(await read_all(poller, posts), posts)
        assert (service.lists, service.singles) == (1, 3)

    with_service(scenario)


def test_readers_that_come_one_after_the_other_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    service = SimulatedService(clock)
    posts = [service.add(due=0.0, out_at=0.0) for _ in range(80)]
    monkeypatch.setattr(poller_module, "AsyncOctosparkClient", service.client)

    async def scenario() -> None:
        async with subscribed(service.settings()) as poller:
            readers = []
            for post in posts * 2:
                readers.append(asyncio.create_task(poller.read(TEAM, post.id)))
                await asyncio.sleep(0.005)
            await asyncio.gather(*readers)
            assert service.requests() <= len(readers) / 8

    virtual_time.run(clock, scenario())


@pytest.mark.parametrize("many", [1000, 5000])
def test_a_list_that_shows_everything_is_found_for_thousands(many: int) -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(many)
        for _ in range(3):
            assert is_about(await read_all(poller, posts), posts)
        assert service.singles == 0
        assert service.lists <= 6

    with_service(scenario)


def test_posts_that_a_list_does_not_show_are_read_one_by_one() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(150)
        service.listed = lambda all_posts, limit: all_posts[: min(limit, 100)]
        for _ in range(2):
            assert is_about(await read_all(poller, posts), posts)
        assert service.singles == 2 * 50

    with_service(scenario)


def test_the_clock_of_the_service_comes_with_a_list_too() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(20)
        seen = await read_all(poller, posts)
        assert service.singles == 0
        assert {each.service_time for each in seen if isinstance(each, Response)} == {NOON}

    with_service(scenario)


def test_teams_are_kept_apart() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        service.add_posts(20)
        stranger = new_id()
        seen = await asyncio.gather(*(poller.read(stranger, each) for each in service.posts), return_exceptions=True)
        service.listed = lambda _posts, _limit: []
        assert all(isinstance(each, Response | OctosparkNotFoundError) for each in seen)
        assert all(f"/teams/{stranger}/" in path for path in service.requests)

    with_service(scenario)


def test_no_more_requests_are_under_way_than_the_connection_allows() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(100)
        service.listed = lambda _posts, _limit: []
        service.delay = 0.01
        assert is_about(await read_all(poller, posts), posts)
        assert service.most_at_once == 3
        assert service.connections <= 3, "connections are kept"

    with_service(scenario, max_in_flight=3)


def test_pages_are_followed_as_long_as_that_pays() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        service.page_size = 100
        mine = service.add_posts(250)
        service.add_posts(2000)
        for _ in range(2):
            assert is_about(await read_all(poller, mine), mine)
        assert service.singles == 0
        assert service.limits == [100, 400, 100, 100, *[100] * 3], "a higher limit is tried once, and no page too many"

    with_service(scenario)


def test_pages_without_anything_of_ours_are_not_followed() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        service.page_size = 100
        first = service.add_posts(20)
        service.add_posts(2000)
        last = service.add_posts(50)
        assert is_about(await read_all(poller, first + last), first + last)
        assert service.singles == 50
        assert service.limits == [100, 400, 100]

    with_service(scenario)


def test_a_service_that_refuses_pages_is_not_asked_for_them_again() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        service.page_size, service.refuses_cursors = 100, True
        posts = service.add_posts(150)
        for _ in range(3):
            assert is_about(await read_all(poller, posts), posts)
        assert service.singles == 3 * 50
        assert service.limits == [100, 400, 100, 100, 100]

    with_service(scenario)


# Lists that lie


def repeated(posts: Posts) -> Posts:
    """Each post twice, once as another submission."""
    return [each for post in posts for each in (post, {**post, "latestScheduledPost": scheduled_json(post["id"])})]


LIES: dict[str, Callable[[Posts], Any]] = {
    "every second": lambda posts: posts[::2],
    "repeated, and not the same": repeated,
    "without submissions": lambda posts: [{**post, "latestScheduledPost": None} for post in posts],
    "without what identifies": lambda posts: [{"title": post["title"]} for post in posts],
    "not posts": lambda posts: [None, 1, "x", [], {"id": 3}, {"id": None}] * len(posts),
    "unreadable submissions": lambda posts: [{**post, "latestScheduledPost": {"id": 1}} for post in posts],
    "another submission": lambda posts: [
        {**post, "latestScheduledPost": scheduled_json(post["id"], status="published")} for post in posts
    ],
    "failed": lambda posts: [
        {**post, "latestScheduledPost": {**post["latestScheduledPost"], "status": "failed"}} for post in posts
    ],
    "nothing": lambda _posts: [],
    "the wrong posts": lambda posts: [{**post, "id": new_id()} for post in posts],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_list_that_lies_changes_no_answer(lie: str) -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(12)
        service.listed = lambda all_posts, _limit: LIES[lie](all_posts)

        def is_mine(response: Response[Post]) -> bool:
            latest = response.value.latest_scheduled_post
            return (
                latest is not None
                and latest.id == service.submission(response.value.id)["id"]
                and latest.status != "failed"
            )

        for _ in range(3):
            seen = await read_all(poller, posts, shows=is_mine)
            assert is_about(seen, posts)
            assert all(is_mine(each) for each in seen if isinstance(each, Response))
        assert service.lists <= 3 * 2

    with_service(scenario)


def test_the_same_post_twice_is_no_contradiction() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(30)
        service.listed = lambda all_posts, _limit: all_posts + all_posts
        assert is_about(await read_all(poller, posts), posts)
        assert service.singles == 0

    with_service(scenario)


def test_what_is_enough_for_one_reader_need_not_be_for_another() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(20)
        easy = read_all(poller, posts)
        hard = read_all(poller, posts[:1], shows=lambda _: False)
        assert is_about([*await easy, *await hard], [*posts, posts[0]])
        assert (service.lists, service.singles) == (1, 1)

    with_service(scenario)


def test_a_list_that_brings_nothing_is_given_up() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(12)
        service.listed = lambda _posts, _limit: []
        for _ in range(5):
            assert is_about(await read_all(poller, posts), posts)
        assert service.lists == 1

    with_service(scenario)


# Lists that fail


def list_answers(reply: Reply) -> Callable[[str, int | None], Awaitable[Reply | None]]:
    """Every list is answered so; all else as it should be."""

    async def answered(_path: str, limit: int | None) -> Reply | None:
        return None if limit is None else reply

    return answered


@pytest.mark.parametrize(
    "reply",
    [
        (400, {"message": "limit too high"}),
        (403, {"message": "not your list"}),
        (404, {"message": "no such endpoint"}),
        (409, {}),
        (422, {}),
        (500, {}),
        (502, b"<html>"),
        (503, {}),
        (200, b"<html>"),
        (200, []),
        (200, {"data": None}),
        (200, b" " * (MAX_RESPONSE_BYTES + 1)),
        (401, {}),
        (301, {}),
    ],
    ids=lambda reply: f"{reply[0]} {str(reply[1])[:20]}",
)
def test_a_list_that_fails_alone_hurts_nobody(reply: Reply) -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(12)
        service.reply = list_answers(reply)
        for _ in range(3):
            assert is_about(await read_all(poller, posts), posts)
        assert service.lists <= 4
        assert service.singles == 3 * 12

    with_service(scenario)


def test_a_list_that_never_ends_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_reader, "LIST_TIMEOUT", 0.3)

    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(30)

        async def stuck(_path: str, limit: int | None) -> Reply | None:
            if limit is not None:
                await asyncio.sleep(60)
            return None

        service.reply = stuck
        assert is_about(await read_all(poller, posts), posts)
        assert service.lists == 1

    with_service(scenario)


def test_a_long_answer_for_one_post_hurts_only_its_readers() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(7)
        service.posts[posts[0]]["text"] = "x" * 5_000_000
        assert is_about(await read_all(poller, posts), posts), "5 MB can be read"
        service.posts[posts[0]]["text"] = "x" * MAX_RESPONSE_BYTES
        first, *others = await read_all(poller, posts)
        assert isinstance(first, OctosparkAnswerError)
        assert is_about(others, posts[1:])

    with_service(scenario)


def test_an_answer_that_never_ends_hurts_only_its_readers() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(7)

        async def stuck(path: str, _limit: int | None) -> Reply | None:
            if path.endswith(posts[0]):
                await asyncio.sleep(60)
            return None

        service.reply = stuck
        first, *others = await read_all(poller, posts)
        assert isinstance(first, OctosparkNetworkError)
        assert is_about(others, posts[1:])

    with_service(scenario, timeout=3.0)


# A service in trouble


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((401, {}), OctosparkAuthError),
        ((500, {}), OctosparkServerError),
        ((503, {}), OctosparkServerError),
        ((200, b"<html>"), OctosparkAnswerError),
    ],
)
def test_a_service_that_is_down_is_asked_twice_and_not_by_everyone(reply: Reply, error: type[OctosparkError]) -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(200)

        async def always(_path: str, _limit: int | None) -> Reply | None:
            return reply

        service.reply = always
        seen = await read_all(poller, posts)
        assert {type(each) for each in seen} == {error}
        assert len({id(each) for each in seen}) == len(seen), "each reader raises an error of its own"
        assert len(service.requests) == 2

        service.reply = None
        assert is_about(await read_all(poller, posts), posts)
        assert service.singles <= 1, "the list was not to blame, so it is used again"

    with_service(scenario)


def test_403_is_for_each_post_to_say() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(20)

        async def some(path: str, limit: int | None) -> Reply | None:
            return (403, {}) if limit is not None or path.endswith(posts[0]) else None

        service.reply = some
        first, *others = await read_all(poller, posts)
        assert isinstance(first, OctosparkPermissionError)
        assert is_about(others, posts[1:])

    with_service(scenario)


def test_nobody_connects_to_a_service_that_is_gone_a_thousand_times() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(100)
        service.listed = lambda _posts, _limit: []
        assert is_about(await read_all(poller, posts[:12]), posts[:12])
        service.up = False
        for writer in list(service.open_connections):
            writer.transport.abort()
        before = service.connections
        seen = await read_all(poller, posts)
        assert {type(each) for each in seen} == {OctosparkNetworkError}
        assert service.connections - before <= OUTAGE + poller._queue._limit

    with_service(scenario)


def test_one_failing_post_does_not_look_like_an_outage() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(60)
        service.listed = lambda _posts, _limit: []

        async def some(path: str, _limit: int | None) -> Reply | None:
            return (500, {}) if path[-1] in "0123" else None

        service.reply = some
        seen = await read_all(poller, posts)
        failed = [each for each in posts if each[-1] in "0123"]
        assert [post for post, each in zip(posts, seen, strict=True) if not isinstance(each, Response)] == failed
        assert service.singles == len(posts)

    with_service(scenario)


def test_a_rate_limit_holds_everyone_back_until_retry_after() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(60)
        service.listed = lambda _posts, _limit: []
        await read_all(poller, posts[:12])
        service.requests.clear()
        service.headers["Retry-After"] = "60"

        async def limited(_path: str, _limit: int | None) -> Reply | None:
            return 429, {}

        service.reply = limited
        seen = [each for each in await read_all(poller, posts) if isinstance(each, OctosparkRateLimitError)]
        assert len(seen) == len(posts)
        assert len(service.requests) <= poller._queue._limit, "those that had not left yet never did"
        asked = len(service.requests)
        with pytest.raises(OctosparkRateLimitError) as again:
            await poller.read(TEAM, posts[0])
        assert 0.0 < (again.value.retry_after or 0.0) <= 60.0
        assert len(service.requests) == asked

        service.reply = None
        poller._held_until = 0.0
        assert is_about(await read_all(poller, posts), posts)

    with_service(scenario)


def test_a_rate_limit_on_a_list_is_everyones() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(100)
        service.headers["Retry-After"] = "7"
        service.reply = list_answers((429, {}))
        seen = await read_all(poller, posts)
        assert {type(each) for each in seen} == {OctosparkRateLimitError}
        assert len(service.requests) == 1

    with_service(scenario)


# Nobody starves


def test_every_reader_gets_an_answer_however_lists_change() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(60)
        lies = list(LIES.values())
        turn = 0

        def fickle(all_posts: Posts, limit: int) -> Any:
            nonlocal turn
            turn += 1
            return lies[turn % len(lies)](all_posts)[:limit]

        service.listed = fickle

        async def reader(post: str) -> None:
            for _ in range(5):
                assert (await poller.read(TEAM, post)).value.id == post

        await asyncio.wait_for(asyncio.gather(*map(reader, posts)), timeout=60)

    with_service(scenario)


# Life and death


def test_cancelled_readers_are_not_asked_for() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(40)
        service.listed = lambda _posts, _limit: []
        service.delay = 0.05
        readers = [asyncio.create_task(poller.read(TEAM, each)) for each in posts]
        survivor = asyncio.create_task(poller.read(TEAM, posts[0]))
        await asyncio.sleep(0.15)
        for each in readers:
            each.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        assert (await survivor).value.id == posts[0]
        await asyncio.sleep(0.2)
        assert service.singles < 40
        assert not poller._alone
        assert not poller._queue._jobs
        assert not poller._queue._workers

    with_service(scenario, max_in_flight=2)


def test_it_begins_with_the_first_subscriber_and_ends_with_the_last() -> None:
    async def run() -> None:
        async with Service() as service:
            [post] = service.add_posts(1)
            async with subscribed(service.settings()) as one:
                async with subscribed(service.settings()) as two:
                    assert two is one
                    await two.read(TEAM, post)
                await one.read(TEAM, post)
                assert service.connections == 1
                async with subscribed(service.settings(token="octo_test_other")) as other:
                    assert other is not one
                    with pytest.raises(OctosparkAuthError):
                        await other.read(TEAM, post)
            await asyncio.sleep(0.05)
            assert not service.open_connections
            async with subscribed(service.settings()) as three:
                assert three is not one

    asyncio.run(run())


def test_subscribers_that_are_cancelled_leave_nothing_open() -> None:
    async def run() -> None:
        async with Service() as service:
            posts = service.add_posts(50)
            service.delay = 0.2

            async def subscriber(post: str) -> None:
                async with subscribed(service.settings()) as poller:
                    while True:
                        await poller.read(TEAM, post)

            tasks = [asyncio.create_task(subscriber(post)) for post in posts]
            await asyncio.sleep(0.5)
            assert service.open_connections
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.3)
            assert not service.open_connections
            assert not registry._closing
            assert not [each for each in asyncio.all_tasks() if each.get_name() == "octospark-poller"]

    asyncio.run(run())


def test_two_event_loops_have_a_poller_each() -> None:
    pollers: list[Poller] = []

    async def run() -> None:
        async with Service() as service, subscribed(service.settings()) as poller:
            [post] = service.add_posts(1)
            assert (await poller.read(TEAM, post)).value.id == post
            pollers.append(poller)

    async def both() -> None:
        await run()
        await asyncio.to_thread(lambda: asyncio.run(run()))

    asyncio.run(both())
    assert pollers[0] is not pollers[1]


def test_a_loop_that_was_closed_over_its_tasks_is_forgotten() -> None:
    settings = ConnectionSettings(base_url="http://127.0.0.1:9", token="octo_test_x")

    async def subscriber() -> None:
        async with subscribed(settings):
            await asyncio.sleep(60)

    async def other_subscriber() -> None:
        async with subscribed(settings):
            pass

    loop = asyncio.new_event_loop()
    task = loop.create_task(subscriber())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert loop in registry._pollers
    asyncio.run(other_subscriber())
    assert loop not in registry._pollers
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


# Following


class Watcher:
    """Looks at one post again and again, and notes when.

    :param pauses: seconds before each of its looks.
    """

    def __init__(self, pauses: list[float]) -> None:
        self.polls = 0
        self.seen_at: list[float] = []
        self._pauses = pauses
        self._next: float | None = None

    def pause(self) -> float | None:
        now = asyncio.get_running_loop().time()
        if self._next is None:
            if self.polls == len(self._pauses):
                return None
            self._next = now + self._pauses[self.polls]
        return self._next - now

    def is_shown_by(self, response: Response[Post]) -> bool:
        return True

    def see(self, response: Response[Post]) -> None:
        self.polls += 1
        self.seen_at.append(asyncio.get_running_loop().time())
        self._next = None


def follow_on_a_virtual_clock(
    monkeypatch: pytest.MonkeyPatch,
    groups: dict[float, list[Watcher]],
    kind: Callable[[Clock], SimulatedService] = SimulatedService,
) -> tuple[SimulatedService, dict[Watcher, str]]:
    """Let watchers follow a post each.

    :param groups: watchers by the time at which they begin.
    """
    clock = Clock()
    service = kind(clock)
    monkeypatch.setattr(poller_module, "AsyncOctosparkClient", service.client)
    posts: dict[Watcher, str] = {}

    async def scenario() -> None:
        async with subscribed(service.settings()) as poller:

            async def one(begin: float, watcher: Watcher) -> None:
                posts[watcher] = service.add(due=0.0, out_at=math.inf).id
                await asyncio.sleep(begin)
                await poller.subscribe(TEAM, posts[watcher], watcher)

            await asyncio.gather(*(one(begin, watcher) for begin, watchers in groups.items() for watcher in watchers))

    virtual_time.run(clock, scenario())
    return service, posts


def test_a_list_that_comes_by_is_the_next_look_of_those_who_would_look_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Watcher([0.0] + [10.0] * 8) for _ in range(20)]
    late = Watcher([0.0] + [10.0] * 8)
    service, posts = follow_on_a_virtual_clock(monkeypatch, {0.0: many, 1.5: [late]})
    assert late.polls == 9
    assert service.polls[posts[late]] == 1, "its first poll only"
    assert late.seen_at[1] - late.seen_at[0] < 10.0
    assert min(b - a for a, b in zip(late.seen_at, late.seen_at[1:], strict=False)) >= 10.0 * (1 - subscription.EARLY)


def test_nobody_sees_a_list_long_before_its_look_or_before_its_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Watcher([0.0] + [5.0] * 90) for _ in range(20)]
    patient, new = Watcher([0.0, 30.0, 300.0]), Watcher([6.0])
    service, _ = follow_on_a_virtual_clock(monkeypatch, {0.0: many, 0.1: [patient, new]})
    assert 30.0 > patient.seen_at[1] - patient.seen_at[0] >= 30.0 * (1 - subscription.EARLY)
    assert 300.0 > patient.seen_at[2] - patient.seen_at[1] >= 300.0 - subscription.EARLIEST
    assert new.seen_at[0] >= 1000.0 + 0.1 + 6.0
    assert service.requests() <= 120


def test_a_list_is_no_news_to_those_who_have_looked_since_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(SimulatedService):
        async def delay(self, operation: Any) -> None:
            await asyncio.sleep(6.0 if operation.name == "list-posts" else 0.1)

    many = [Watcher([0.0, 30.0]) for _ in range(20)]
    one = Watcher([0.0, 5.0, 5.0, 8.0, 8.0])
    follow_on_a_virtual_clock(monkeypatch, {0.0: many, 0.5: [one]}, Slow)
    assert all(b - a >= 8.0 * (1 - subscription.EARLY) for a, b in zip(one.seen_at[2:], one.seen_at[3:], strict=False))


def test_polls_that_cannot_keep_up_are_late_by_the_same_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service takes about 110 reads a second, and 1,500 tasks ask for 300."""
    kind = partial(SimulatedService, lists=False)
    many = [Watcher([0.0] + [5.0] * 6) for _ in range(1500)]
    follow_on_a_virtual_clock(monkeypatch, {number / 100: many[number::100] for number in range(100)}, kind)
    cycles = [b - a for each in many for a, b in zip(each.seen_at[2:-1], each.seen_at[3:-1], strict=False)]
    usual = statistics.median(cycles)
    assert usual > 5.0 + LATE
    assert max(cycles) < 1.25 * usual
    assert min(cycles) > 0.75 * usual
    [warning] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert "it waits for 1500 publications" in warning
    assert "Run another triggerer, or set a longer poll_interval" in warning


def test_many_that_begin_together_are_late_once_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kind = partial(SimulatedService, lists=False)
    many = [Watcher([0.0] + [60.0] * 3) for _ in range(1500)]
    follow_on_a_virtual_clock(monkeypatch, {0.0: many}, kind)
    assert max(each.seen_at[0] for each in many) > 1000.0 + 2 * LATE
    assert caplog.records == []


def test_two_who_follow_one_post_are_each_shown_it_once_for_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    service = SimulatedService(clock)
    monkeypatch.setattr(poller_module, "AsyncOctosparkClient", service.client)
    watchers = [Watcher([0.0] + [10.0 + number / 25] * 6) for number in range(100)]

    async def scenario() -> None:
        posts = [service.add(due=0.0, out_at=math.inf).id for _ in range(50)]
        async with subscribed(service.settings()) as poller, asyncio.TaskGroup() as group:
            for number, watcher in enumerate(watchers):
                group.create_task(poller.subscribe(TEAM, posts[number % 50], watcher))

    virtual_time.run(clock, scenario())
    for watcher in watchers:
        pauses = [b - a for a, b in zip(watcher.seen_at, watcher.seen_at[1:], strict=False)]
        assert min(pauses) >= 10.0 * (1 - subscription.EARLY)


def test_what_is_closed_over_its_followers_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    service = SimulatedService(clock)
    monkeypatch.setattr(poller_module, "AsyncOctosparkClient", service.client)

    async def scenario() -> None:
        poller = Poller(service.settings())
        posts = [service.add(due=0.0, out_at=math.inf).id for _ in range(30)]
        follows = [asyncio.create_task(poller.subscribe(TEAM, post, Watcher([0.0, 60.0]))) for post in posts[:20]]
        await asyncio.sleep(5.0)
        follows += [asyncio.create_task(poller.subscribe(TEAM, post, Watcher([0.0]))) for post in posts[20:]]
        await asyncio.sleep(0.11)
        await poller.aclose()
        ends = await asyncio.gather(*follows, return_exceptions=True)
        assert {type(end) for end in ends} == {OctosparkNetworkError}
        before = service.requests()
        await asyncio.sleep(100.0)
        assert service.requests() == before

    virtual_time.run(clock, scenario())


def test_a_follower_that_breaks_hurts_nobody_else() -> None:
    class Broken(Watcher):
        def see(self, response: Response[Post]) -> None:
            raise ValueError("cannot see")

    class Blind(Watcher):
        def is_shown_by(self, response: Response[Post]) -> bool:
            raise ValueError("cannot be shown")

    class Restless(Watcher):
        def pause(self) -> float | None:
            raise ValueError("cannot wait")

    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(30)
        watchers = [Watcher([0.0, 0.05]) for _ in posts]
        watchers[:3] = [Broken([0.0]), Blind([0.0]), Restless([0.0])]
        ends = await asyncio.gather(
            *(poller.subscribe(TEAM, post, watcher) for post, watcher in zip(posts, watchers, strict=True)),
            return_exceptions=True,
        )
        assert [str(end) for end in ends[:3]] == ["cannot see", "cannot be shown", "cannot wait"]
        assert ends[3:] == [None] * 27
        assert {watcher.polls for watcher in watchers[3:]} == {2}
        assert not any(team.planned for team in poller._teams.values())

    with_service(scenario)


def test_a_follower_is_called_in_the_context_in_which_it_began() -> None:
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
    called: dict[str, set[str]] = {}

    class Named(Watcher):
        def __init__(self, name: str) -> None:
            super().__init__([0.0, 0.05])
            self.called = called.setdefault(name, set())

        def pause(self) -> float | None:
            self.called.add(whose.get())
            return super().pause()

        def is_shown_by(self, response: Response[Post]) -> bool:
            self.called.add(whose.get())
            return True

        def see(self, response: Response[Post]) -> None:
            self.called.add(whose.get())
            super().see(response)

    async def scenario(service: Service, poller: Poller) -> None:
        async def one(post: str) -> None:
            whose.set(post)
            await poller.subscribe(TEAM, post, Named(post))

        await asyncio.gather(*(one(post) for post in service.add_posts(20)))

    with_service(scenario)
    assert called == {post: {post} for post in called}
    assert len(called) == 20


def test_the_work_for_all_does_not_run_in_the_context_of_one() -> None:
    of_a_trigger: contextvars.ContextVar[str] = contextvars.ContextVar("of_a_trigger", default="nobody's")
    seen: set[str] = set()

    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(3)
        original = poller._client.read

        async def read(operation: Any, within: float = math.inf) -> Any:
            seen.add(of_a_trigger.get())
            return await original(operation, within)

        poller._client.read = read  # type: ignore[method-assign]
        of_a_trigger.set("the first trigger's")
        await read_all(poller, posts)

    with_service(scenario)
    assert seen == {"nobody's"}


def test_teams_that_nobody_asks_about_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "LONGEST_REST", 0.01)

    async def scenario(service: Service, poller: Poller) -> None:
        for _ in range(10):
            with pytest.raises(OctosparkNotFoundError):
                await poller.read(new_id(), new_id())
            await asyncio.sleep(0.03)
        assert len(poller._teams) == 1

    with_service(scenario)


def test_answers_are_those_of_the_service_byte_for_byte() -> None:
    async def scenario(service: Service, poller: Poller) -> None:
        posts = service.add_posts(20, errorMessage="Umläute \u202e und \x00 mehr")
        by_list = await read_all(poller, posts)
        alone = await read_all(poller, posts, shows=lambda _: False)
        assert [json.loads(each.value.model_dump_json()) for each in by_list if isinstance(each, Response)] == [
            json.loads(each.value.model_dump_json()) for each in alone if isinstance(each, Response)
        ]

    with_service(scenario)
