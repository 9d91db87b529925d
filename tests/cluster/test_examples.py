"""The example DAGs on a cluster, with its watcher: each post goes out once, and the watcher reports it."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cluster.wave import PATIENCE, Bench
from tests.system.rest import Task


def test_announce_and_its_watcher(bench: Bench) -> None:
    post = bench.emulator.control.add_post("Announced")
    conf = {"post_id": post, "social_account_id": bench.account}
    run_id = bench.cluster.rest.trigger("octospark_announce", conf)
    assert bench.cluster.rest.wait_for_run("octospark_announce", run_id, PATIENCE) == "success"
    assert bench.submitted([post]) == bench.published([post]) == Counter([post])
    bench.until(lambda: post in watched(bench), "the watcher does not report it")


def watched(bench: Bench) -> Counter[str]:
    """How often each post was reported to the DAG that watches."""
    dag_id = "octospark_after_publication"
    runs = bench.cluster.rest.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"]
    tasks = [Task(dag_id, run["dag_run_id"], "follow_up") for run in runs if run["state"] == "success"]
    return Counter(each["post_id"] for task in tasks for each in bench.cluster.rest.xcom(task) or [])


def test_campaign(bench: Bench) -> None:
    posts = [bench.emulator.control.add_post(f"Campaign {number}") for number in range(3)]
    conf = {
        "scheduled_at": (datetime.now(UTC) + timedelta(seconds=60)).isoformat(timespec="seconds"),
        "targets": [{"post_id": post, "social_account_id": bench.account} for post in posts],
    }
    run_id = bench.cluster.rest.trigger("octospark_campaign", conf)
    assert bench.cluster.rest.wait_for_run("octospark_campaign", run_id, PATIENCE) == "success"
    assert bench.submitted(posts) == bench.published(posts) == Counter(posts)


def test_csv_batch(bench: Bench, tmp_path: Path) -> None:
    posts = [bench.emulator.control.add_post(f"Line {number}") for number in range(30)]
    at = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    path = tmp_path / "campaign.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["post_id", "social_account_id", "scheduled_at"])
        lines.writerows([post, bench.account, at] for post in posts)
    run_id = bench.cluster.rest.trigger("octospark_csv_batch", {"path": str(path)})
    assert bench.cluster.rest.wait_for_run("octospark_csv_batch", run_id, PATIENCE) == "success"
    assert bench.submitted(posts) == Counter(posts)


def test_release_notice(bench: Bench) -> None:
    post = bench.emulator.control.add_post("Released")
    conf = {"version": "2.4", "post_id": post, "social_account_id": bench.account}
    run_id = bench.cluster.rest.trigger("octospark_release_notice", conf)
    assert bench.cluster.rest.wait_for_run("octospark_release_notice", run_id, PATIENCE) == "success"
    # A callback publishes it, in the DAG processor.
    bench.until(lambda: bench.published([post]) == Counter([post]), "it does not come out, or twice")
    assert bench.submitted([post]) == Counter([post])
