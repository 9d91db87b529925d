"""What takes a whole Airflow to show: the approval by a user, and the runbook's commands as they are written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT, blocks_of
from tests.system.emulated import EmulatorProcess
from tests.system.rest import Task, TaskView
from tests.system.stack import AirflowStack

pytestmark = pytest.mark.slow

PATIENCE = 480.0

SUBMIT_TIMEOUT = 5

IN_DOUBT = f"""
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

with DAG("in_doubt", schedule=None, params={{"post_id": "", "social_account_id": ""}}):
    OctosparkPostNowOperator(
        task_id="publish",
        post_id="{{{{ params.post_id }}}}",
        social_account_id="{{{{ params.social_account_id }}}}",
        # As short as a request of at most `submit_timeout` allows.
        settle_time=timedelta(seconds={SUBMIT_TIMEOUT + 62}),
        retries=3,
    )
"""


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def stack(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(ROOT / "example_dags" / "octospark_approval.py", dags)
    (dags / "in_doubt.py").write_text(IN_DOUBT)
    connection = json.loads(emulator.connection)
    connection["extra"] = {**connection["extra"], "submit_timeout": SUBMIT_TIMEOUT}
    with AirflowStack(dags, env={"AIRFLOW_CONN_OCTOSPARK_DEFAULT": json.dumps(connection)}) as stack:
        stack.wait_for_dags(["octospark_approval", "in_doubt"])
        yield stack


def conf_of(emulator: EmulatorProcess, post: int) -> dict[str, str]:
    """A post of its own for each test: they share the emulator and its ledger."""
    account = next(each["id"] for each in emulator.social_accounts if each["provider"] == "x")
    return {"post_id": emulator.posts[post]["id"], "social_account_id": account}


def submissions(emulator: EmulatorProcess, conf: dict[str, str]) -> list[dict[str, Any]]:
    target = conf["post_id"], conf["social_account_id"]
    return [each for each in emulator.control.submissions() if (each["post_id"], each["social_account_id"]) == target]


@pytest.mark.parametrize(
    ("post", "response", "published"), [(0, "Approve", 1), (1, "Reject", 0)], ids=["approved", "rejected"]
)
def test_a_post_goes_out_only_if_a_person_says_so(
    stack: AirflowStack, emulator: EmulatorProcess, post: int, response: str, published: int
) -> None:
    conf = conf_of(emulator, post)
    run_id = stack.rest.trigger("octospark_approval", conf)
    approve = Task("octospark_approval", run_id, "approve")
    asking = {"awaiting_input", "deferred"}
    stack.rest.wait_for_task(approve, PATIENCE, {*asking, "failed"})
    path = f"/dags/octospark_approval/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    asked = stack.rest.call("GET", path)
    assert asked["subject"] == f"Publish '{emulator.posts[post]['title']}'?"
    assert asked["body"]
    assert submissions(emulator, conf) == []
    # No person answers in the moment in which Airflow's scheduler has not seen yet that the task waits.
    time.sleep(5)
    answered: set[int] = set()

    def answer(views: Sequence[TaskView]) -> None:
        """A busy scheduler may take a task that waits for a crashed one; its retry then asks again."""
        for view in views:
            if view.task == approve and view.state in asking and view.try_number not in answered:
                answered.add(view.try_number)
                stack.rest.call("PATCH", path, json={"chosen_options": [response], "params_input": {}})

    assert stack.rest.wait_for_run("octospark_approval", run_id, PATIENCE, on_look=answer) == "success"
    assert len(submissions(emulator, conf)) == published
    pending = "success" if published else "skipped"
    assert stack.rest.task(Task("octospark_approval", run_id, "publish")).state == pending


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_runbook_ends_an_unknown(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    """Two requests without a response, one processed and one not, each hidden by what a user posts by hand meanwhile."""
    cases = {"accepted": (conf_of(emulator, 2), "after"), "not_accepted": (conf_of(emulator, 3), "before")}
    tasks: dict[str, Task] = {}
    for decision, (conf, when) in cases.items():
        about = {"post_id": conf["post_id"]}
        emulator.control.fault({"operation": "post-now", "fault": "reset", "when": when, **about})
        # Read once before the request leaves; the first poll after it must not find anything yet.
        emulator.control.fault({"operation": "get-post", "fault": "status", "status": 403, "skip": 1, **about})
        tasks[decision] = Task("in_doubt", stack.rest.trigger("in_doubt", conf), "publish")
        wait_for_fault(emulator, conf, when)
        emulator.control.user_action("post_now", conf["post_id"], social_account_id=another_account(emulator))
    for decision, publish in tasks.items():
        assert stack.rest.wait_for_task(publish, PATIENCE).state == "failed"
        assert stack.rest.task(publish).try_number == 1
        assert stack.rest.xcom(publish)["state"] == "unknown"
        log = stack.rest.log(publish, 1)
        key = re.search(r"octospark\.decision\.[0-9a-f-]{36}\.[0-9a-f]{8}", log)
        assert key is not None, log
        assert "OCTOSPARK UNKNOWN" in log
        follow_the_runbook(stack, publish, key[0], decision)
    for decision, (conf, _) in cases.items():
        ended = stack.rest.wait_for_task(tasks[decision], PATIENCE, try_number=2)
        assert ended.state == "success", stack.rest.log(tasks[decision], 2)
        assert len(submissions(emulator, conf)) == 1


def another_account(emulator: EmulatorProcess) -> str:
    return next(each["id"] for each in emulator.social_accounts if each["provider"] == "linkedin")


def wait_for_fault(emulator: EmulatorProcess, conf: dict[str, str], when: str) -> None:
    """Wait until the request without a response has been made, and what it causes has been caused."""
    path = f"/posts/{conf['post_id']}/post-now"
    end = time.monotonic() + PATIENCE
    while not any(each["path"].endswith(path) and each["fault"] for each in emulator.control.requests()):
        assert time.monotonic() < end, "the task has sent nothing"
        time.sleep(0.2)
    while when == "after" and not submissions(emulator, conf):
        assert time.monotonic() < end, "nothing was accepted"
        time.sleep(0.2)


def follow_the_runbook(stack: AirflowStack, publish: Task, key: str, decision: str) -> None:
    """Run its commands as they are written."""
    script = "\n".join(block.text for block in blocks_of(DOCS / "unknown.md") if block.language == "bash")
    env = {
        "PATH": stack.env["PATH"],
        "AIRFLOW": stack.base_url,
        "AIRFLOW_USER": stack.username,
        "AIRFLOW_PASSWORD": stack.password,
        "DAG_ID": publish.dag_id,
        "RUN_ID": publish.run_id,
        "TASK_ID": publish.task_id,
        "KEY": key,
        "DECISION": decision,
        "no_proxy": "*",
    }
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"octospark"' in done.stdout
