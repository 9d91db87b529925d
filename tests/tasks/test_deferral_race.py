"""Twenty mapped deferrable sensors on posts that are out already, on a real Airflow: none may be lost.

Airflow fails a task whose trigger fires before the scheduler has seen it defer. The first sensors of each round look
before they defer, as ours do; the others are made not to, so that all of them defer and their triggers find at the
first poll that the post is out: what is left of the race is what the trigger does about it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.system.emulated import EmulatorControl, EmulatorProcess
from tests.system.stack import AirflowStack

pytestmark = pytest.mark.slow

ROUNDS = 3

SENSORS = 20
ROUND_TIMEOUT = 300.0

DAG = """
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor


class BlindSensor(OctosparkPostSensor):
    def _look(self, *_):
        pass


with DAG("race", schedule=None, catchup=False, default_args={{"retries": 0}}):
    for task_id, kind, posts in (("seeing", OctosparkPostSensor, {seen}), ("blind", BlindSensor, {unseen})):
        kind.partial(task_id=task_id, deferrable=True, since="2020-01-01T00:00:00+00:00").expand(post_id=posts)
"""


def published_posts(control: EmulatorControl, account_id: str, count: int) -> list[str]:
    """Posts that have just gone out."""
    posts = [control.add_post(f"Out already {number}") for number in range(count)]
    for post_id in posts:
        control.user_action("post_now", post_id, social_account_id=account_id)
    control.clock(until_idle=True)
    assert {entry["post_id"] for entry in control.publications()} >= set(posts)
    return posts


def test_no_sensor_is_lost_to_the_deferral_race(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    with EmulatorProcess() as emulator:
        account = next(each["id"] for each in emulator.social_accounts if each["provider"] == "x")
        posts = published_posts(emulator.control, account, SENSORS)
        (dags / "race.py").write_text(DAG.format(seen=posts[: SENSORS // 4], unseen=posts[SENSORS // 4 :]))
        connection = {"AIRFLOW_CONN_OCTOSPARK_DEFAULT": emulator.connection}
        with AirflowStack(dags, env=connection) as stack:
            stack.wait_for_dags(["race"])
            for number in range(ROUNDS):
                run_id = stack.rest.trigger("race")
                stack.rest.wait_for_run("race", run_id, ROUND_TIMEOUT)
                views = stack.rest.tasks("race", run_id)
                ends = Counter(str(view.state) for view in views)
                logs = [stack.rest.log(view.task, view.try_number) for view in views if view.state != "success"]
                assert ends == {"success": SENSORS}, f"round {number + 1}: {ends}\n" + "\n".join(logs)
                deferred = [view for view in views if view.task.task_id == "blind"]
                assert len(deferred) == SENSORS - SENSORS // 4
            for view in deferred:
                # What the trigger saw is told in the log of its own task, though the poller serves all of them together.
                log = stack.rest.log(view.task, view.try_number)
                told = {post for post in posts if f"Post {post} on x account {account}: published" in log}
                assert told == {posts[SENSORS // 4 + view.task.map_index]}, log
        assert not emulator.control.faults()
