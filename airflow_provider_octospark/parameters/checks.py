"""What operators and the sensor refuse when a DAG is parsed: what is no template and cannot be right.

Nothing here depends on a clock, a connection or the environment. A task of ``expand()`` is made in the worker, and is checked when
it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.parameters import arguments

Check = Callable[[Any, str], object]
"""Takes a value and the name of its parameter; raises `OctosparkArgumentError` if it is unusable."""


def check_fixed(operator: Any, **checks: Check) -> None:
    """Check parameters that are no template fields.

    :param checks: by the name of the parameter.
    :raises OctosparkArgumentError: naming the parameter, its value, and what to write.
    """
    for name, check in checks.items():
        check(getattr(operator, name), name)


def check_wait(operator: Any) -> None:
    """Check the parameters of a wait, which the operators and the sensor share.

    :raises OctosparkArgumentError: naming the parameter, its value, and what to write.
    """
    check_fixed(
        operator,
        deferrable=arguments.fixed_flag,
        cancel_on_kill=arguments.fixed_flag,
        push_response=arguments.fixed_flag,
        publish_timeout=arguments.required_duration,
        hidden_timeout=arguments.required_duration,
        poll_interval=lambda value, _: arguments.poll_interval(value),
        poll_backoff=lambda value, _: arguments.poll_backoff(value),
    )


def check_literals(operator: Any, **checks: Check) -> None:
    """Check template fields that hold no template.

    :param checks: by the name of the parameter.
    :raises OctosparkArgumentError: naming the parameter, its value, and what to write.
    """
    for name, check in checks.items():
        value = getattr(operator, name)
        if arguments.is_literal(value):
            check(value, name)


def check_at_parsing(operator: Any) -> None:
    """Call an operator's ``check_parameters`` at the end of its constructor, unless it is made of ``expand()``.

    Source: ``BaseOperatorMeta._apply_defaults`` of Airflow 2.11 to 3.3, which sets the attribute before the constructor runs.

    :raises OctosparkArgumentError: naming the task and the parameter.
    """
    if getattr(operator, "_BaseOperator__from_mapped", False):
        return
    try:
        operator.check_parameters()
    except OctosparkArgumentError as error:
        problem = str(error)
    else:
        return
    raise OctosparkArgumentError(f"Task {operator.task_id!r}: {problem}")
