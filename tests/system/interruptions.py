"""What the demo does to its tasks while they run: a kill, a clear; and what their logs and records say of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.system.emulated import EmulatorControl
from tests.system.rest import Task
from tests.system.scenario import Target
from tests.system.stack import AirflowStack

Say = Callable[[str], None]

PATIENCE = 120.0


class KillDuringTheRequest:
    """Kills the process of a task with SIGKILL, once, when the service has accepted its request."""

    def __init__(self, target: Target, task: Task) -> None:
        self._target, self._task = target, task
        self.is_done = False

    def __call__(self, stack: AirflowStack, control: EmulatorControl, say: Say) -> None:
        """Kill if it is time to; say what was done and what is on the record then."""
        if self.is_done or not any(each["post_id"] == self._target.post_id for each in control.submissions()):
            return
        try:
            process, _supervisor = stack.task_processes(self._task)
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.is_done = True
        say(f"killed task: the service has accepted the post, no response yet: SIGKILL to process {process}")
        states = [record["state"] for record in records(stack, self._task)]
        say(f"killed task: the record of the task says: {', '.join(states)}")


def records(stack: AirflowStack, task: Task) -> list[dict[str, str]]:
    """The records of a task's targets, as Airflow's task state store has them."""
    page = stack.rest.state_store(task)["octospark"]
    return list(page["records"])


def clear_and_wait(stack: AirflowStack, task: Task, say: Say) -> None:
    """Clear a task that has succeeded, as a person does, and wait for its further try."""
    before = stack.rest.task(task).try_number
    stack.rest.clear(task.dag_id, task.run_id, task.task_id)
    say("cleared task: a person clears the task of 'post now', which has published its post")
    ended = stack.rest.wait_for_task(task, PATIENCE, try_number=before + 1)
    stack.rest.wait_for_run(task.dag_id, task.run_id, PATIENCE)
    say(f"cleared task: try {ended.try_number} ended as {ended.state}")


def log_lines(stack: AirflowStack, task: Task, words: str) -> list[str]:
    """The lines of all tries of a task that contain these words, without what Airflow adds to each line."""
    tries = range(1, stack.rest.task(task).try_number + 1)
    logs = [(number, stack.rest.log(task, number)) for number in tries]
    return [
        f"try {number}: {line.partition(' {')[0]}" for number, log in logs for line in log.splitlines() if words in line
    ]
