"""`make demo`: the main job once, through a real Airflow and the emulator, with a count of what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from tests.system.emulated import EmulatorControl, EmulatorProcess
from tests.system.processes import LOOPBACK
from tests.system.rest import RUN_ENDS, AirflowRest, Task, TaskView
from tests.system.scenario import RUN_STATES, Scenario
from tests.system.stack import AirflowStack, StackError

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"
RUN_TIMEOUT = 480.0
ERROR_WIDTH = 60
# The provider's clock is the real one, so 'later' is a real time: when the tasks that submit have run for certain,
# on a machine that starts Airflow in the usual time. A slower one is given longer.
EVERYWHERE_AFTER = timedelta(seconds=20)
CAMPAIGN_AFTER = timedelta(seconds=35)
USUAL_START_SECONDS = 30.0

Say = Callable[[str], None]
TargetKey = tuple[str, str]


@dataclass(frozen=True)
class Found:
    """What Airflow says of a target in the end, and which task says it."""

    task: Task
    outcome: Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """The four numbers of the last line."""

    published: int
    failed: int
    unknown: int
    duplicates: int

    def __str__(self) -> str:
        return (
            f"{self.published} published, {self.failed} failed as scripted, "
            f"{self.unknown} unknown, {self.duplicates} duplicates"
        )


def clock() -> Say:
    """A function that prints a line with the seconds since now."""
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {line}", flush=True)

    return say


@contextmanager
def only(dag_ids: Collection[str]) -> Iterator[Path]:
    """A folder with some of the example DAGs: one that watches for publications would have its share of this machine."""
    with TemporaryDirectory(prefix="octospark-dags-") as folder:
        for dag_id in dag_ids:
            shutil.copy(EXAMPLE_DAGS / f"{dag_id}.py", folder)
        yield Path(folder)


@contextmanager
def services(say: Say, dags: Path = EXAMPLE_DAGS) -> Iterator[tuple[EmulatorProcess, AirflowStack]]:
    """The emulator and an Airflow that is connected to it and has these DAGs, by default all examples."""
    say("starting the emulator")
    with EmulatorProcess() as emulator:
        say(f"the emulator listens on {LOOPBACK} only: {emulator.base_url}")
        env = {"AIRFLOW_CONN_OCTOSPARK_DEFAULT": emulator.connection}
        with AirflowStack(dags, env=env, progress=say) as stack:
            say(f"Airflow is up: {stack.base_url}")
            yield emulator, stack


def play(emulator: EmulatorProcess, stack: AirflowStack, say: Say, time_for_retries: timedelta = timedelta(0)) -> bool:
    """Run the scenario, print what happens and the table; return whether all ended as scripted.

    :param time_for_retries: how much later than usual the scheduled posts are due, so that a task that is
        retried is not too late.
    """
    scenario = Scenario(emulator)
    scenario.script(emulator.control)
    stack.wait_for_dags(RUN_STATES.keys())
    say(f"triggering {', '.join(RUN_STATES)}")
    concurrency = max(1.0, stack.start_seconds / USUAL_START_SECONDS)
    confs = scenario.confs(
        everywhere_after=concurrency * EVERYWHERE_AFTER + time_for_retries,
        campaign_after=concurrency * CAMPAIGN_AFTER + time_for_retries,
    )
    runs = {dag_id: stack.rest.trigger(dag_id, confs[dag_id]) for dag_id in RUN_STATES}
    run_states = _await_runs(stack, runs, say)
    found = find_outcomes(stack.rest, runs)
    print()
    print_table(found, {account["id"]: account["provider"] for account in emulator.social_accounts})
    print()
    counts, wrong = judge(scenario, run_states, found, emulator.control)
    if wrong:
        stack.keep_home = True
        print("\n".join([*wrong, f"the logs are in {stack.home / 'logs'}"]))
    print(f"demo: {counts}", flush=True)
    return not wrong


def _await_runs(stack: AirflowStack, runs: Mapping[str, str], say: Say) -> Mapping[str, str]:
    """Wait for all runs together, tell of each task that changes its state, and return how the runs ended."""
    deadline = time.monotonic() + RUN_TIMEOUT
    open_runs = dict(runs)
    run_states: dict[str, str] = {}
    states: dict[Task, str] = {}
    while open_runs:
        stack.check_components()
        for dag_id, run_id in list(open_runs.items()):
            state = stack.rest.run_state(dag_id, run_id)
            for view in stack.rest.tasks(dag_id, run_id):
                _tell_change(view, states, say)
            if state in RUN_ENDS:
                scripted = ", as scripted" if state == RUN_STATES[dag_id] else ""
                say(f"{dag_id}: the run ended as {state}{scripted}")
                run_states[dag_id] = state
                del open_runs[dag_id]
        if time.monotonic() > deadline:
            raise TimeoutError(f"not over after {RUN_TIMEOUT:.0f} s: {', '.join(open_runs)}")
        time.sleep(0.5)
    return run_states


def _tell_change(view: TaskView, states: dict[Task, str], say: Say) -> None:
    if view.state is None or states.get(view.task) == view.state:
        return
    states[view.task] = view.state
    say(f"{view.task.dag_id}: {_name(view.task)} {view.state.replace('_', ' ')}")


def _name(task: Task) -> str:
    return task.task_id if task.map_index < 0 else f"{task.task_id} [{task.map_index}]"


def find_outcomes(rest: AirflowRest, runs: Mapping[str, str]) -> dict[TargetKey, Found]:
    """Collect what the tasks left in XCom: of each target, what is final before what is pending."""
    found: dict[TargetKey, Found] = {}
    for dag_id, run_id in runs.items():
        for view in rest.tasks(dag_id, run_id):
            for key in ("accounts", "return_value"):
                for outcome in _outcomes_in(rest.xcom(view.task, key)):
                    target = (outcome["post_id"], outcome["social_account_id"])
                    if target not in found or found[target].outcome["state"] == "pending":
                        found[target] = Found(view.task, outcome)
    return found


def _outcomes_in(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict) and {"social_account_id", "state"} <= each.keys()]


def judge(
    scenario: Scenario,
    run_states: Mapping[str, str],
    found: Mapping[TargetKey, Found],
    control: EmulatorControl,
) -> tuple[Counts, Sequence[str]]:
    """Count, and name each difference from the script."""
    targets = {target.key: target for target in scenario.targets}
    published = {(each["post_id"], each["social_account_id"]) for each in control.publications()}
    submissions = Counter((each["post_id"], each["social_account_id"]) for each in control.submissions())
    ends = {key: each.outcome["state"] for key, each in found.items()}
    counts = Counts(
        published=len({each["platform_post_id"] for each in control.publications()}),
        failed=sum(ends.get(key) == target.state == "failed" for key, target in targets.items()),
        unknown=sum(ends.get(key) == target.state == "unknown" for key, target in targets.items()),
        duplicates=sum(times - 1 for times in submissions.values()),
    )
    scripted = Counts(
        published=sum(target.goes_out for target in scenario.targets),
        failed=sum(target.state == "failed" for target in scenario.targets),
        unknown=sum(target.state == "unknown" for target in scenario.targets),
        duplicates=0,
    )
    wrong = [
        f"wrong: {target.dag_id} on {target.provider}: scripted {target.state}, Airflow says {ends.get(key)}"
        for key, target in targets.items()
        if ends.get(key) != target.state
    ]
    wrong += [
        f"wrong: {target.dag_id} on {target.provider}: {'not ' if target.goes_out else ''}published, against the script"
        for key, target in targets.items()
        if (key in published) != target.goes_out
    ]
    wrong += [
        f"wrong: the run of {dag_id} ended as {state}"
        for dag_id, state in run_states.items()
        if state != RUN_STATES[dag_id]
    ]
    wrong += [f"wrong: not in the script: {key}" for key in (published | ends.keys()) - targets.keys()]
    if counts != scripted:
        wrong.append(f"wrong: the script says {scripted}")
    return counts, wrong


def print_table(found: Mapping[TargetKey, Found], providers: Mapping[str, str]) -> None:
    """Print a row for each target; `providers` tells that of an account which no task could publish to."""
    header = ("DAG", "task", "map index", "provider", "status", "post id or link", "reason", "error")
    rows = [header, *(_row(each, providers) for each in sorted(found.values(), key=lambda each: each.task))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    rows.insert(1, tuple("-" * concurrency for concurrency in widths))
    for row in rows:
        print("  ".join(cell.ljust(concurrency) for cell, concurrency in zip(row, widths, strict=True)).rstrip())


def _row(found: Found, providers: Mapping[str, str]) -> tuple[str, ...]:
    outcome, task = found.outcome, found.task
    end, status = outcome["state"], outcome["status"]
    return (
        task.dag_id,
        task.task_id,
        "" if task.map_index < 0 else str(task.map_index),
        outcome["provider"] or providers[outcome["social_account_id"]],
        end if status in (None, end) else f"{end} (was {status})",
        outcome["url"] or outcome["platform_post_id"] or "",
        outcome["reason"] or "",
        textwrap.shorten(outcome["error_message"] or "", ERROR_WIDTH, placeholder=" ..."),
    )


def how_to_stop() -> str:
    """Say how a user ends this process: a shell ignores Ctrl-C in what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return f"To end both: kill {os.getpid()}"
    return "Ctrl-C ends both."


def end_in_order(number: int, _frame: FrameType | None) -> NoReturn:
    """Let a SIGTERM leave through the context managers, as Ctrl-C does."""
    sys.exit(128 + number)


def print_failure(error: Exception) -> None:
    """Say what went wrong; a traceback of this harness would not help anyone."""
    print("\n".join(["", str(error), *getattr(error, "__notes__", [])]))


def main() -> int:
    """Run the demo; the exit code is 0 only if everything ended as scripted."""
    signal.signal(signal.SIGTERM, end_in_order)
    say = clock()
    try:
        with only(RUN_STATES) as dags, services(say, dags) as (emulator, stack):
            right = play(emulator, stack, say)
    except KeyboardInterrupt:
        print("\ninterrupted; everything has been ended")
        return 130
    except (StackError, TimeoutError) as error:
        print_failure(error)
        return 1
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
