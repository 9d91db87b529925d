"""Requests that are held open while something is done to the cluster, and what the emulator's ledger says afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from tests.cluster.cluster import Cluster
from tests.cluster.shapes import BATCH, POST_NOW, PUBLISH, WAITS
from tests.system.emulated import EmulatorProcess
from tests.system.rest import TASK_ENDS, Task, TaskView

PATIENCE: Final = 420.0
HELD_SECONDS: Final = 15.0
"""How long a request is held open; less than ``SUBMIT_TIMEOUT``."""
LATE_SECONDS: Final = 30.0
"""When a request is processed that is never answered."""
BATCH_SIZE: Final = 60
BATCH_DELAY: Final = 2.0
"""How long each request of a batch takes, in seconds."""
_HOLDS: Final[tuple[Mapping[str, Any], ...]] = (
    {"fault": "delay", "seconds": HELD_SECONDS, "when": "before"},
    {"fault": "delay", "seconds": HELD_SECONDS, "when": "after"},
    {"fault": "late", "seconds": LATE_SECONDS},
)


@dataclass(frozen=True)
class Bench:
    """A cluster and the emulator that it is connected to."""

    cluster: Cluster
    emulator: EmulatorProcess

    @property
    def account(self) -> str:
        """An account on a platform that publishes within seconds."""
        return next(
            each["id"]
            for each in self.emulator.social_accounts
            if each["status"] == "connected" and each["provider"] == "x"
        )

    def until(self, holds: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
        """Wait until something holds, through errors of an Airflow that has lost a server, and return what it returns."""
        end = time.monotonic() + timeout
        while True:
            with suppress(RuntimeError, httpx.HTTPError):
                if found := holds():
                    return found
            self.cluster.check_components()
            assert time.monotonic() < end, what
            time.sleep(0.3)

    def ended(self, task: Task) -> TaskView:
        """Wait for the end of a task."""

        def view() -> TaskView | None:
            found = self.cluster.rest.task(task)
            return found if found.state in TASK_ENDS else None

        ended: TaskView = self.until(view, f"{task} does not end")
        return ended

    def submitted(self, posts: Sequence[str]) -> Counter[str]:
        """How often each of these posts was submitted."""
        return Counter(each["post_id"] for each in self.emulator.control.submissions() if each["post_id"] in set(posts))

    def published(self, posts: Sequence[str]) -> Counter[str]:
        """How often each of these posts went out."""
        return Counter(
            each["post_id"] for each in self.emulator.control.publications() if each["post_id"] in set(posts)
        )

    def taken_back(self, posts: Sequence[str]) -> set[str]:
        """Which of these posts somebody has asked to take off the schedule."""
        paths = {each["path"] for each in self.emulator.control.requests() if "move-to-draft" in each["path"]}
        return {post for post in posts if any(f"/{post}/" in path for path in paths)}

    def unstruck(self, posts: Sequence[str]) -> int:
        """How many faults of these posts have not struck yet."""
        return sum(each.get("post_id") in set(posts) for each in self.emulator.control.faults())

    def batch(self, dag_id: str, size: int, delay: float) -> tuple[Task, list[str]]:
        """Start a batch for next week, each of whose requests takes some time."""
        control = self.emulator.control
        posts = [control.add_post(f"Batch {number}") for number in range(size)]
        for post in posts:
            control.fault({"operation": "schedule-multi", "fault": "delay", "seconds": delay, "post_id": post})
        at = (datetime.now(UTC) + timedelta(days=7)).isoformat()
        announcements = [{"post_id": post, "social_account_ids": [self.account], "scheduled_at": at} for post in posts]
        run_id = self.cluster.rest.trigger(dag_id, {"announcements": announcements})
        return Task(dag_id, run_id, PUBLISH), posts


class Wave:
    """Three post-now requests held open and a batch, all under way when the constructor returns."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        control = bench.emulator.control
        self.batch, self.batch_posts = bench.batch(BATCH, BATCH_SIZE, BATCH_DELAY)
        self.posts = [control.add_post(f"Held {number}") for number in range(len(_HOLDS))]
        for post, hold in zip(self.posts, _HOLDS, strict=True):
            control.fault({"operation": "post-now", "post_id": post, **hold})
        self.singles = [self._post_now(post) for post in self.posts]
        bench.until(self._is_under_way, "not all requests are under way at once")

    @property
    def tasks(self) -> list[Task]:
        """All its tasks."""
        return [*self.singles, self.batch]

    def end(self) -> list[TaskView]:
        """Wait for the ends of all; each has succeeded, each post was submitted once, and what went out went out once."""
        bench = self._bench
        ended = [bench.ended(task) for task in self.tasks]
        states = {view.task.dag_id + " " + view.task.run_id: view.state for view in ended}
        assert set(states.values()) == {"success"}, f"{states}; logs: {bench.cluster.home / 'logs'}"
        everything = [*self.posts, *self.batch_posts]
        assert bench.submitted(everything) == Counter(everything)
        bench.until(lambda: bench.published(self.posts) == Counter(self.posts), "not all is out, or something twice")
        manifest = bench.cluster.rest.xcom(self.batch)
        counts = [manifest[name] for name in ("totalCount", "successCount", "unknownCount")]
        assert counts == [BATCH_SIZE, BATCH_SIZE, 0]
        return ended

    def _post_now(self, post: str) -> Task:
        conf = {"post_id": post, "social_account_id": self._bench.account}
        return Task(POST_NOW, self._bench.cluster.rest.trigger(POST_NOW, conf), PUBLISH)

    def _is_under_way(self) -> bool:
        bench = self._bench
        left = bench.unstruck(self.batch_posts)
        assert left, "the batch was over before the other requests were under way"
        return not bench.unstruck(self.posts) and left < BATCH_SIZE


class Waits:
    """Twenty tasks with `cancel_on_kill` that wait in the triggerers for posts that are scheduled."""

    SIZE: Final = 20

    def __init__(self, bench: Bench, due_in: float) -> None:
        """
        :param due_in: in how many seconds the posts are due.
        """
        self._bench = bench
        self.posts = [bench.emulator.control.add_post(f"Awaited {number}") for number in range(self.SIZE)]
        conf = {
            "post_ids": self.posts,
            "social_account_id": bench.account,
            "scheduled_at": (datetime.now(UTC) + timedelta(seconds=due_in)).isoformat(),
        }
        self._run_id = bench.cluster.rest.trigger(WAITS, conf)
        bench.until(lambda: self._count("deferred") == self.SIZE, "not all tasks wait")
        # They wait in the triggerers once those have read their posts.
        bench.until(self._are_read, "the triggerers do not read the posts")

    def end(self) -> list[TaskView]:
        """Wait for the ends of all; each has succeeded, nothing was taken back, and each post went out once."""
        bench = self._bench
        bench.until(lambda: not self._unfinished(), "not all waits end")
        views = self._views()
        assert [view.state for view in views] == ["success"] * self.SIZE
        assert bench.taken_back(self.posts) == set()
        assert bench.submitted(self.posts) == Counter(self.posts)
        assert bench.published(self.posts) == Counter(self.posts)
        return views

    def _views(self) -> list[TaskView]:
        tasks = self._bench.cluster.rest.tasks(WAITS, self._run_id)
        return [view for view in tasks if view.task.task_id == PUBLISH]

    def _count(self, state: str) -> int:
        return sum(view.state == state for view in self._views())

    def _unfinished(self) -> list[TaskView]:
        return [view for view in self._views() if view.state not in TASK_ENDS]

    def _are_read(self) -> bool:
        trigger_logs = (self._bench.cluster.home / "logs").rglob(f"*{self._run_id}*/**/*.trigger.*.log")
        return sum(1 for _ in trigger_logs) >= self.SIZE
