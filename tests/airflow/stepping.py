"""One task instance, driven step by step: what Airflow's scheduler, worker and triggerer do to it, one at a time.

`dag.test()` runs a trigger inside the worker and loses what a task hands over to its own resumption. Here each part is
Airflow's own code on Airflow's own database, and a test stands where the scheduler would: between any two of them
it can clear the task, wait, kill a try, or let an event arrive that was not meant for it.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from airflow._shared.state import TaskScope
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import DAG
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.api.datamodels._generated import TaskInstance as TaskInstanceDto
from airflow.sdk.execution_time.comms import DeferTask
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, TaskRunResult, run_task_in_process
from airflow.sdk.serde import deserialize
from airflow.serialization.serialized_objects import DagSerialization
from airflow.state.metastore import MetastoreBackend
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

from tests.system.dag_runs import register


class TaskSteps:
    """A run of a DAG of one task, of which nothing happens by itself.

    :param run_type: the kind of run.
    :param run_after: when the run was due; default: now.
    """

    def __init__(self, dag: DAG, *, run_type: str = "manual", run_after: datetime | None = None) -> None:
        register(dag)
        self.task: Any
        [self.task] = dag.tasks
        self.run_id = f"{run_type}__steps+{uuid.uuid4()}"
        self.last: TaskRunResult
        scheduler_dag: Any = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        with create_session() as session:
            dag_run = scheduler_dag.create_dagrun(
                run_id=self.run_id,
                logical_date=None,
                run_after=run_after or datetime.now(UTC),
                run_type=DagRunType(run_type),
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
            dag_run.verify_integrity(session=session, dag_version_id=dag_run.created_dag_version_id)

    # What the scheduler and the worker do

    def try_once(self) -> str:
        """Start the next try and let it run until it ends or defers; returns its state."""
        with create_session() as session:
            self._stored(session).try_number += 1
        return self._run()

    def resume(self) -> str:
        """Let the task, whose trigger has fired, run on until it ends or defers again; returns its state."""
        assert self.state == TaskInstanceState.SCHEDULED
        return self._run()

    def again(self) -> str:
        """Take up a sensor that has asked to be rescheduled, whatever time it asked for; returns its state."""
        assert self.state == TaskInstanceState.UP_FOR_RESCHEDULE
        return self._run()

    def time_out(self) -> None:
        """Let the time-out of the deferral strike, as the scheduler does when no triggerer runs."""
        with create_session() as session:
            self._stored(session).trigger_timeout = datetime.now(UTC) - timedelta(seconds=1)
        scheduler: Any = SimpleNamespace(log=logging.getLogger(__name__))
        SchedulerJobRunner.check_trigger_timeouts(scheduler)

    def clear(self) -> None:
        """As a user does in the UI."""
        with create_session() as session:
            clear_task_instances([self._stored(session)], session)

    # What the triggerer does

    def run_trigger(self) -> Any:
        """Run the trigger until it fires; returns what it fired, which has not been told to the task yet."""
        assert isinstance(self.last.msg, DeferTask)
        serialized: Any = self.last.msg.trigger_kwargs
        arguments: Any = deserialize(serialized)
        trigger = import_string(self.last.msg.classpath)(**arguments)
        event = InProcessTestSupervisor.run_trigger_in_process(trigger=trigger, ti=self._dto())  # type: ignore[no-untyped-call]
        return event.payload

    def fire(self, payload: Any) -> None:
        """Tell an event to the task that is deferred."""
        with create_session() as session:
            trigger_id = self._stored(session).trigger_id
            Trigger.submit_event(trigger_id, TriggerEvent(payload), session=session)  # type: ignore[no-untyped-call]

    def fail_trigger(self) -> None:
        """Let the trigger fail, as when the triggerer cannot import it."""
        with create_session() as session:
            Trigger.submit_failure(self._stored(session).trigger_id, ImportError("no trigger"), session=session)

    # What is to be seen

    @property
    def state(self) -> str:
        """The task's state in the database."""
        with create_session() as session:
            return str(self._stored(session).state)

    @property
    def try_number(self) -> int:
        """The number of the try that runs, or ran last."""
        with create_session() as session:
            return int(self._stored(session).try_number)

    @property
    def error(self) -> BaseException | None:
        """What the last step raised."""
        return self.last.error

    @property
    def deferral(self) -> DeferTask:
        """The last deferral."""
        assert isinstance(self.last.msg, DeferTask)
        return self.last.msg

    def xcom(self, key: str = "return_value") -> Any:
        """An XCom of the task; None if there is none."""
        with create_session() as session:
            return self._stored(session).xcom_pull(task_ids=self.task.task_id, key=key, map_indexes=-1)

    def xcom_of_wait(self) -> Any:
        """The outcome, as far as it was known, of the one publication that the task has deferred to wait for."""
        serialized: Any = self.deferral.trigger_kwargs
        arguments: Any = deserialize(serialized)
        [watch] = arguments["wait"]["watches"]
        return watch["outcome"]

    def read_state(self, key: str) -> Any:
        """A value in the task's state store; None if there is none."""
        with create_session() as session:
            found = MetastoreBackend().get(self._scope(), key, session=session)
            return None if found is None else json.loads(found)

    def write_state(self, key: str, value: Any) -> None:
        """Change the task's state store behind its back; None takes the key away."""
        with create_session() as session:
            if value is None:
                MetastoreBackend().delete(self._scope(), key, session=session)
            else:
                MetastoreBackend().set(self._scope(), key, json.dumps(value), session=session)

    def _scope(self) -> TaskScope:
        return TaskScope(dag_id=self.task.dag_id, run_id=self.run_id, task_id=self.task.task_id, map_index=-1)

    def _run(self) -> str:
        with create_session() as session:
            self._stored(session).state = TaskInstanceState.QUEUED
        self.last = run_task_in_process(ti=self._dto(), task=self.task)
        return self.state

    def _stored(self, session: Any) -> TaskInstance:
        # By its names: each try has an id of its own.
        names = {"dag_id": self.task.dag_id, "run_id": self.run_id, "task_id": self.task.task_id}
        stored: TaskInstance = session.query(TaskInstance).filter_by(**names).one()
        return stored

    def _dto(self) -> TaskInstanceDto:
        with create_session() as session:
            stored = self._stored(session)
            return TaskInstanceDto(
                id=UUID(str(stored.id)),
                task_id=stored.task_id,
                dag_id=stored.dag_id,
                run_id=stored.run_id,
                try_number=stored.try_number,
                map_index=stored.map_index,
                dag_version_id=UUID(str(stored.dag_version_id)),
            )
