"""`make demo`: five runs on a real Airflow and the emulator, two of them interrupted, and what came of them."""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.system.console import Console, end_in_order, print_failure
from tests.system.emulated import EmulatorProcess
from tests.system.interruptions import KillDuringTheRequest, clear_and_wait, log_lines
from tests.system.processes import LOOPBACK
from tests.system.rest import RUN_ENDS, Task, TaskView
from tests.system.result import Result
from tests.system.scenario import ANNOUNCE, EXAMPLES, KILLED, LOST, REASONS, RUN_STATES, TITLES, Scenario
from tests.system.stack import AirflowStack, StackError

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"
DEMO_DAGS = Path(__file__).parent / "demo_dags"
# No others: one that watches for publications would have its share of this machine.
PLAYED = [EXAMPLE_DAGS / f"{dag_id}.py" for dag_id in EXAMPLES]
RUN_TIMEOUT = 480.0
# The provider's clock is the real one, so 'later' is a real time: when the tasks that submit have run for certain,
# on a machine that starts Airflow in the usual time. A slower one is given longer.
SCHEDULED_AFTER = timedelta(seconds=35)
USUAL_START_SECONDS = 30.0

PASSING_STATES = {None, "scheduled", "queued"}
# The lines of an interrupted task's log that tell what happened; of the killed one, nothing could be written.
TELLING = {
    LOST: ("Submitting post", "It is not known whether", "adopting"),
    KILLED: ("Submitting post", "adopting"),
}


@contextmanager
def dags_folder(examples: Iterable[Path]) -> Iterator[Path]:
    """A folder with these examples, and with the DAGs whose tasks the demo interrupts."""
    with TemporaryDirectory(prefix="octospark-dags-") as folder:
        for path in (*examples, *DEMO_DAGS.glob("*.py")):
            shutil.copy(path, folder)
        yield Path(folder)


@contextmanager
def services(say: Callable[[str], None], dags: Path) -> Iterator[tuple[EmulatorProcess, AirflowStack]]:
    """The emulator, and an Airflow that is connected to it and has these DAGs."""
    say("starting the emulator")
    with EmulatorProcess() as emulator:
        say(f"the emulator listens on {LOOPBACK} only: {emulator.base_url}")
        env = {"AIRFLOW_CONN_OCTOSPARK_DEFAULT": emulator.connection}
        with AirflowStack(dags, env=env, progress=say) as stack:
            say(f"Airflow is up: {stack.base_url}")
            yield emulator, stack


def play(
    emulator: EmulatorProcess, stack: AirflowStack, say: Console, time_for_retries: timedelta = timedelta(0)
) -> bool:
    """Run the scenario, print what happens and the table; return whether all ended as scripted.

    :param time_for_retries: how much later than usual the scheduled posts are due, so that a task that is
        retried is not too late.
    """
    scenario, control = Scenario(emulator), emulator.control
    scenario.script(control)
    scenario.interrupt(control)
    stack.wait_for_dags(RUN_STATES.keys())
    _print_plan()
    slowness = max(1.0, stack.start_seconds / USUAL_START_SECONDS)
    after = slowness * SCHEDULED_AFTER + time_for_retries
    confs = scenario.confs(everywhere_after=after, campaign_after=after)
    # The interrupted ones first: they take longest.
    runs = {dag_id: stack.rest.trigger(dag_id, confs[dag_id]) for dag_id in (*TELLING, *EXAMPLES)}
    [killed] = scenario.of(KILLED)
    kill = KillDuringTheRequest(killed, Task(KILLED, runs[KILLED], "publish"))
    _await_runs(stack, runs, say, lambda: kill(stack, control, say))
    clear_and_wait(stack, Task(ANNOUNCE, runs[ANNOUNCE], "publish"), say)
    result = Result(scenario, stack.rest, control, runs)
    problems = result.problems() + ([] if kill.is_done else ["wrong: the process of 'killed task' was not killed"])
    for dag_id in TELLING:
        problems += _print_log(stack, result, Task(dag_id, runs[dag_id], "publish"))
    print("\n" + "\n".join(result.table()) + "\n")
    if problems:
        stack.keep_home = True
        print("\n".join([*problems, f"the logs are in {stack.home / 'logs'}"]))
    print(f"demo: {result.counts}", flush=True)
    return not problems


def _print_plan() -> None:
    print()
    for dag_id in RUN_STATES:
        print(f"  {TITLES[dag_id]:<14} {REASONS[dag_id]}")
    print(f"  {'cleared task':<14} a person clears the task of 'post now' afterwards: it must not post again\n")


def _await_runs(stack: AirflowStack, runs: Mapping[str, str], say: Console, on_poll: Callable[[], None]) -> None:
    """Wait for all runs together, and tell of each task that changes its state, or of what is awaited."""
    deadline = time.monotonic() + RUN_TIMEOUT
    open_runs = dict(runs)
    states: dict[Task, str | None] = {}
    while open_runs:
        say.awaited = ", ".join(TITLES[dag_id] for dag_id in open_runs)
        stack.check_components()
        on_poll()
        for dag_id, run_id in list(open_runs.items()):
            state = stack.rest.run_state(dag_id, run_id)
            for view in stack.rest.tasks(dag_id, run_id):
                _tell_change(view, states, say)
            if state in RUN_ENDS:
                scripted = ", as scripted" if state == RUN_STATES[dag_id] else ""
                say(f"{TITLES[dag_id]}: the run ended as {state}{scripted}")
                del open_runs[dag_id]
        if time.monotonic() > deadline:
            raise TimeoutError(f"not over after {RUN_TIMEOUT:.0f} s: {', '.join(open_runs)}")
        time.sleep(0.3)


def _tell_change(view: TaskView, states: dict[Task, str | None], say: Console) -> None:
    if view.state in PASSING_STATES or states.get(view.task) == view.state:
        return
    states[view.task] = view.state
    index = "" if view.task.map_index < 0 else f" [{view.task.map_index}]"
    say(f"{TITLES[view.task.dag_id]}: {view.task.task_id}{index} {str(view.state).replace('_', ' ')}")


def _print_log(stack: AirflowStack, result: Result, task: Task) -> list[str]:
    """Print what the log of an interrupted task says; return what is missing in it."""
    [target] = result.scenario.of(task.dag_id)
    title, problems = TITLES[task.dag_id], []
    print(f"\n{title}, the log of the task:")
    for words in TELLING[task.dag_id]:
        lines = log_lines(stack, task, words)
        if not lines:
            problems.append(f"wrong: the log of {title} does not say '{words}'")
        for line in lines:
            print(textwrap.fill(line, 98, initial_indent="  ", subsequent_indent="    "))
    print(f"  the emulator's ledger: sent {'once' if result.sent(target) == 1 else f'{result.sent(target)} times'}")
    return problems


def main() -> int:
    """Run the demo; the exit code is 0 only if everything ended as scripted."""
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        with Console() as say, dags_folder(PLAYED) as dags, services(say, dags) as (emulator, stack):
            right = play(emulator, stack, say)
    except KeyboardInterrupt:
        print("\ninterrupted; all its processes have been ended")
        return 130
    except (StackError, TimeoutError) as error:
        print_failure(error)
        return 1
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
