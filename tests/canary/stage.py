"""The play in which the key must not show: the example DAGs, with something going wrong at every stage.

Run as a process of its own, `python -m tests.canary.stage FOLDER`, in an Airflow of its own that hides nothing by
itself. The service quotes the key back whenever it refuses something. Whatever could hold the key is left below the
folder; `search.py` polls for it there.

Beside it, a DAG that is careless on purpose lets a second secret out through each of the same openings: if that one is
not found everywhere, the search is worth nothing.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import DAG, MappedOperator, get_current_context, task
from airflow.utils.session import create_session

from airflow_provider_octospark.api import backoff as retrying
from airflow_provider_octospark.emulator.http.server import Emulator
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.submission import doubt as submission_doubt
from airflow_provider_octospark.submission import rules as submission_rules
from airflow_provider_octospark.tasks import submit as submit_task
from airflow_provider_octospark.triggers import octospark as triggers
from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger
from tests.api.leaks import dumps_of
from tests.canary.marked import CARELESS, KEY
from tests.system.dag_runs import run_dag

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"
CONN_ID = "octospark_default"
OFTEN = 100_000
QUOTED: dict[str, Any] = {
    "body": {"error": {"message": f"refused: Authorization: Bearer {KEY}"}},
    "headers": {"X-Request-Id": KEY, "Set-Cookie": f"session={KEY}", "Location": f"https://elsewhere.test/?key={KEY}"},
}


@dataclass(frozen=True)
class Scene:
    """One run of an example.

    :param faults: what goes wrong meanwhile, as `Emulator.fault` takes it.
    :param says: what the platform says of the posts if they fail there.
    """

    name: str
    dag_id: str
    faults: Sequence[Mapping[str, Any]] = ()
    says: str | None = None


def _status(operation: str, status: int, times: int = OFTEN, **more: Any) -> dict[str, Any]:
    return {"operation": operation, "fault": "status", "status": status, "times": times, **QUOTED, **more}


def _fault(operation: str, fault: str, times: int = 1, **more: Any) -> dict[str, Any]:
    return {"operation": operation, "fault": fault, "times": times, **more}


ANNOUNCE, CAMPAIGN, EVERYWHERE = "octospark_announce", "octospark_campaign", "octospark_everywhere"
SCENES = (
    Scene("all goes well", ANNOUNCE),
    Scene("the key is refused", ANNOUNCE, [_status("*", 401)]),
    Scene("the post is not there", ANNOUNCE, [_status("get-post", 404)]),
    Scene("no connection lasts", ANNOUNCE, [_fault("*", "reset", OFTEN)]),
    Scene("the submission is refused", ANNOUNCE, [_status("post-now", 422)]),
    Scene("too many requests", ANNOUNCE, [_status("post-now", 429, 2), _status("get-post", 503, 1)]),
    Scene("the submission is redirected, and had no effect", ANNOUNCE, [_status("post-now", 307, 2)]),
    Scene("the response is lost", ANNOUNCE, [_fault("post-now", "reset", when="after")]),
    Scene("the wait is disturbed", ANNOUNCE, [_status("get-post", 500, 2, skip=2), _status("list-posts", 500, 2)]),
    Scene("the key is refused while waiting", ANNOUNCE, [_status("get-post", 401, skip=2), _status("list-posts", 401)]),
    Scene("the platform refuses, and quotes the key", ANNOUNCE, says=f"invalid token {KEY}"),
    Scene(
        "one target of many is refused, the other one's answer lost",
        CAMPAIGN,
        [_status("schedule-multi", 400, 1), _fault("schedule-multi", "truncate")],
    ),
    Scene("an account is left out", EVERYWHERE, [_fault("schedule-multi", "omit_account", when="after")]),
    Scene("the service is down", EVERYWHERE, [_status("*", 502)]),
)


@dataclass
class Stage:
    """Where the scenes are played, and what is kept of them.

    :param folder: where what they leave behind goes.
    """

    folder: Path
    emulator: Emulator
    triggers: list[OctosparkPostTrigger] = field(default_factory=list)
    dumped: int = 0

    def play(self, scene: Scene) -> str:
        """Run one scene and return how its run ended."""
        emulator = self.emulator
        emulator.clear_faults()
        post = emulator.add_post(scene.name)
        if scene.says is not None:
            emulator.script("fail", post_id=post, error_category="auth", error_message=scene.says)
        emulator.faults([dict(fault) for fault in scene.faults])
        dag = runpy.run_path(str(EXAMPLE_DAGS / f"{scene.dag_id}.py"))["dag"]
        self.prepare(dag)
        return run_dag(dag, self.conf(scene.dag_id, post)).state

    def conf(self, dag_id: str, post: str) -> dict[str, Any]:
        """The configuration of a run."""
        emulator = self.emulator
        accounts = [emulator.account_id(provider) for provider in ("x", "threads")]
        soon = (datetime.now(UTC) + timedelta(seconds=6)).isoformat(timespec="seconds")
        if dag_id == ANNOUNCE:
            return {"post_id": post, "social_account_id": accounts[0]}
        if dag_id == CAMPAIGN:
            targets = [(post, accounts[0]), (emulator.add_post("Another"), accounts[1])]
            return {
                "scheduled_at": soon,
                "targets": [{"post_id": one, "social_account_id": account} for one, account in targets],
            }
        return {"post_id": post, "social_account_ids": accounts, "scheduled_at": soon}

    def prepare(self, dag: DAG) -> None:
        """Make retries come at once, and keep the exceptions as common tools show them."""
        for each in dag.tasks:
            changes: dict[str, Any] = {
                "retry_delay": timedelta(0),
                "retries": 1,
                "on_failure_callback": [self.keep_error],
                "on_retry_callback": [self.keep_error],
                "settle_time": timedelta(seconds=3),
                "poll_interval": 0.5,
                "hidden_timeout": timedelta(seconds=3),
            }
            if isinstance(each, MappedOperator):
                known = set(inspect.signature(each.operator_class.__init__).parameters) | set(list(changes)[:4])
                each.partial_kwargs.update({name: value for name, value in changes.items() if name in known})
            else:
                for name, value in changes.items():
                    if hasattr(each, name):
                        setattr(each, name, value)

    def keep_error(self, context: Any) -> None:
        """A callback: keep what tools that show variables make of the exception."""
        error = context.get("exception")
        if not isinstance(error, BaseException):
            return
        self.dumped += 1
        path = self.folder / "tracebacks" / f"{self.dumped:03d}.txt"
        path.write_text("\n\n".join(dumps_of(error)), errors="replace")


def careless_dag(stage: Stage) -> DAG:
    """A DAG that lets another secret out wherever one can get out."""
    with DAG("careless", schedule=None, params={"secret": CARELESS}) as dag:

        @task(on_failure_callback=[stage.keep_error], templates_dict={"rendered": "{{ params.secret }}"})
        def blab() -> None:
            """Tell it in the log and in XCom, keep it in a variable, and fail."""
            context: Any = get_current_context()
            secret = str(context["params"]["secret"])
            logging.getLogger("airflow.task").warning("the secret is %s", secret)
            print(f"the secret is {secret}")
            context["ti"].xcom_push(key="secret", value={"secret": secret})
            raise RuntimeError("one of the variables is a secret")

        blab()
    return dag


def _hurry() -> None:
    """Everything sooner than in life, nothing else."""
    sooner: list[tuple[Any, str, Any]] = [
        (retrying, "FIRST_DELAY", 0.02),
        (retrying, "LONGEST_DELAY", 0.2),
        (submission_rules, "SETTLE_MARGIN", timedelta(0)),
        (submission_doubt, "POLLS_IN_DOUBT", (timedelta(seconds=1),)),
        (submit_task, "SHORTEST_DEFERRAL", timedelta(seconds=0.5)),
        (triggers, "FIRST_POLL_AFTER", timedelta(seconds=0.3)),
        (triggers, "FIRST_POLLS_WITHIN", timedelta(seconds=0.1)),
    ]
    for module, name, value in sooner:
        assert hasattr(module, name)
        setattr(module, name, value)


def _connection(emulator: Emulator) -> str:
    """A connection with little patience, as the environment of a worker holds it."""
    extra = {"team_id": emulator.team_id, "timeout": 1, "submit_timeout": 2}
    return json.dumps({"conn_type": "octospark", "host": emulator.base_url, "password": emulator.token, "extra": extra})


def _store_triggers(stage: Stage) -> None:
    """`dag.test()` runs triggers in its own process; a real Airflow keeps them in its database, encrypted."""
    careless = OctosparkPostTrigger(CONN_ID, {"secret": CARELESS})
    with create_session() as session:
        for trigger in [*stage.triggers, careless]:
            session.add(Trigger.from_object(trigger))
    shown = [repr(trigger.serialize()) for trigger in stage.triggers]
    (stage.folder / "triggers.json").write_text(json.dumps(shown))


def _test_connection(stage: Stage) -> None:
    """What the button of the connection's form shows."""
    responses = []
    for faults in ([], [_status("*", 401)], [_status("*", 503)], [_fault("*", "reset", OFTEN)]):
        stage.emulator.clear_faults()
        stage.emulator.faults(faults)
        responses.append(OctosparkHook().test_connection())
    stage.emulator.clear_faults()
    (stage.folder / "test_connection.json").write_text(json.dumps(responses))


def _keep_lists(stage: Stage) -> None:
    emulator = stage.emulator
    lists = {
        "requests": emulator.requests(),
        "submissions": emulator.submissions(),
        "publications": emulator.publications(),
    }
    (stage.folder / "emulator.json").write_text(json.dumps(lists))


def main(folder: Path) -> None:
    """Play all scenes."""
    (folder / "tracebacks").mkdir()
    _hurry()
    with Emulator() as emulator:
        emulator.token = KEY
        os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = _connection(emulator)
        stage = Stage(folder, emulator)
        original = OctosparkPostTrigger.__init__

        def noting(self: OctosparkPostTrigger, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            stage.triggers.append(self)

        cast("Any", OctosparkPostTrigger).__init__ = noting
        ends = {scene.name: stage.play(scene) for scene in SCENES}
        cast("Any", OctosparkPostTrigger).__init__ = original
        _test_connection(stage)
        _keep_lists(stage)
        _store_triggers(stage)
        ends["careless"] = run_dag(careless_dag(stage)).state
    (folder / "ends.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
