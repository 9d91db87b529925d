"""What of the documentation is made of the code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

from airflow_provider_octospark import exceptions
from airflow_provider_octospark.emulator import (
    PublicationEntry,
    RequestEntry,
    ScheduledPostResponse,
    SubmissionEntry,
)
from airflow_provider_octospark.emulator.http.server import Emulator
from airflow_provider_octospark.emulator.service.collection import PerformanceRule
from airflow_provider_octospark.emulator.service.faults import Fault
from airflow_provider_octospark.emulator.service.scenarios import ScenarioRule
from airflow_provider_octospark.emulator.service.service import Service
from airflow_provider_octospark.emulator.settings import Settings
from airflow_provider_octospark.get_provider_info import get_provider_info
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.notifications.octospark import OctosparkPostNowNotifier
from airflow_provider_octospark.operators.octospark import (
    OctosparkPostNowOperator,
    OctosparkScheduleBatchOperator,
    OctosparkScheduleMultiOperator,
    OctosparkSubmitOperator,
    OctosparkSubmitPostOperator,
)
from airflow_provider_octospark.operators.performance import OctosparkPostPerformanceOperator
from airflow_provider_octospark.outcomes import Outcome, Reason, State
from airflow_provider_octospark.polling.performance_rows import PerformanceRow
from airflow_provider_octospark.retry_policy import OctosparkRetryPolicy
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger
from tests.docs import inputs
from tests.docs.docstrings import cell, fields, markdown, parameters, signature, summary
from tests.docs.pages import DOCS, PAGES, ROOT, section_names, with_sections

REFERENCE = DOCS / "reference.md"
PARAMETERS = ("| Parameter | Default | What it is |", "| --- | --- | --- |")
OWN_PARAMETERS: dict[str, tuple[type, ...]] = {
    "`OctosparkPostNowOperator`": (OctosparkPostNowOperator, OctosparkSubmitPostOperator),
    "`OctosparkScheduleMultiOperator`": (OctosparkScheduleMultiOperator, OctosparkSubmitPostOperator),
    "`OctosparkScheduleBatchOperator`": (OctosparkScheduleBatchOperator,),
    "`OctosparkPostSensor`": (OctosparkPostSensor,),
    "`OctosparkPostPerformanceOperator`": (OctosparkPostPerformanceOperator,),
}
"""The classes whose docstrings describe the parameters of each operator, the operator's own first."""
COPIED_TEST = ROOT / "tests" / "test_your_dag.py"


def contents() -> dict[Any, str]:
    """Return what each page with something generated on it ought to hold."""
    pages: dict[Any, str] = {REFERENCE: reference()}
    for page in PAGES:
        if page == REFERENCE:
            continue  # all of it is generated
        text = page.read_text()
        names = section_names(text)
        if names:
            pages[page] = with_sections(text, {name: SECTIONS[name]() for name in names})
    return pages


def all_parameters() -> str:
    """Return a table of the parameters that all operators share, then those of each operator and of the sensor."""
    tables = [_titled("All operators", OctosparkSubmitOperator)]
    tables += [_titled(title, cls) for title, classes in OWN_PARAMETERS.items() for cls in classes[:1]]
    tables.insert(
        1, _titled("`OctosparkPostNowOperator` and `OctosparkScheduleMultiOperator`", OctosparkSubmitPostOperator)
    )
    return "\n\n".join(tables)


def _titled(title: str, cls: type) -> str:
    return "\n".join([f"**{title}**\n", *PARAMETERS, *_parameter_rows(cls)])


def own_parameters(title: str) -> Callable[[], str]:
    """Return a maker of the table of one operator's page: its own parameters, without those that all operators share."""

    def table() -> str:
        return "\n".join([*PARAMETERS, *(row for cls in OWN_PARAMETERS[title] for row in _parameter_rows(cls))])

    return table


def _parameter_rows(cls: type) -> list[str]:
    return [
        f"| `{each.name}`{' T' if each.templated else ''} | {each.default} | {each.text} |" for each in parameters(cls)
    ]


def extra() -> str:
    """Return a table of what can stand in a connection's extra."""
    [connection] = get_provider_info()["connection-types"]
    rows = [
        f"| {field['label']} | `{name}` | {cell(field['description'])} |"
        for name, field in connection["conn-fields"].items()
    ]
    return "\n".join(["| Field | Key in `extra` | What it is |", "| --- | --- | --- |", *rows])


def situations() -> str:
    """Return a table of the cases that the submission tests play, for each group of them."""
    from tests.submission.cases import CASES

    groups: dict[str, list[tuple[str, str]]] = {}
    for case in CASES:
        groups.setdefault(case.group, []).append((case.situation, case.what_happens))
    return "\n\n".join(
        "\n".join([f"**{group}**\n", "| Situation | What happens |", "| --- | --- |", *_merged(cases)])
        for group, cases in groups.items()
    )


def _merged(cases: list[tuple[str, str]]) -> Iterator[str]:
    """Return a row for all situations of a group in which the same happens."""
    rows: dict[str, list[str]] = {}
    for situation, what_happens in cases:
        rows.setdefault(what_happens, []).append(situation)
    for what_happens, situations in rows.items():
        yield f"| {'<br>'.join(map(cell, _without_repeats(situations)))} | {cell(what_happens)} |"


def _without_repeats(situations: list[str]) -> Iterator[str]:
    """Return situations; those that differ only in what went wrong on the wire share a line."""
    shared: dict[str, list[str]] = {}
    for situation in situations:
        trouble, _, processed = situation.partition("; the request was ")
        shared.setdefault(processed, []).append(trouble)
    for processed, troubles in shared.items():
        if processed and len(troubles) > 1:
            yield f"The request was {processed}, and one of these came back: {'; '.join(map(_lower, troubles))}"
        else:
            yield from (f"{each}; the request was {processed}" if processed else each for each in troubles)


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def test_your_dag() -> str:
    """Return the test to copy."""
    return f"```python\n{COPIED_TEST.read_text().strip()}\n```"


test_your_dag.__test__ = False  # type: ignore[attr-defined]


def outcome() -> str:
    """Return what an outcome is, and a table of its fields."""
    rows = [f"| `{name}` | {cell(text)} |" for name, text in fields(Outcome).items()]
    return "\n\n".join(
        [
            summary(Outcome),
            "\n".join(["| Field | What it is |", "| --- | --- |", *rows]),
            f"`state` is one of {_listed(get_args(State))}; `reason` is null or one of {_listed(get_args(Reason))}.",
        ]
    )


def row() -> str:
    """Return a table of the keys of a row of counts."""
    rows = [f"| `{name}` | {cell(text)} |" for name, text in fields(PerformanceRow).items()]
    return "\n".join(["| Key | What it is |", "| --- | --- |", *rows])


def ledger() -> str:
    """Return tables of what the emulator's lists hold."""
    tables = []
    for method, shape in (
        ("submissions", SubmissionEntry),
        ("publications", PublicationEntry),
        ("requests", RequestEntry),
        ("scheduled_posts", ScheduledPostResponse),
    ):
        rows = [f"| `{name}` | {cell(text)} |" for name, text in fields(shape).items()]
        head = [f"**`{shape.__name__}`, an entry of `{method}()`**\n", "| Key | What it is |", "| --- | --- |"]
        tables.append("\n".join([*head, *rows]))
    return "\n\n".join(tables)


SECTIONS = {
    "ledger": ledger,
    "parameters_post_now": own_parameters("`OctosparkPostNowOperator`"),
    "parameters_schedule_multi": own_parameters("`OctosparkScheduleMultiOperator`"),
    "parameters_batch": own_parameters("`OctosparkScheduleBatchOperator`"),
    "parameters_sensor": own_parameters("`OctosparkPostSensor`"),
    "extra": extra,
    "row": row,
    "inputs": inputs.table,
    "situations": situations,
    "test_your_dag": test_your_dag,
}


def reference() -> str:
    """Return the page of reference."""
    return "\n\n".join(part.strip() for part in _reference()) + "\n"


def _reference() -> Iterator[str]:
    yield "# Reference"
    yield (
        "Look up parameters, outcomes, errors, the hook's methods and the emulator's methods. This page is generated from the "
        "docstrings by `python -m tests.docs`."
    )
    yield "## Parameters"
    yield "Parameters marked T are templates. A template that renders to nothing counts as not given."
    yield all_parameters()
    yield "## Operators and sensor"
    for cls in (
        OctosparkPostNowOperator,
        OctosparkScheduleMultiOperator,
        OctosparkScheduleBatchOperator,
        OctosparkPostSensor,
        OctosparkPostPerformanceOperator,
    ):
        yield from _described(cls)
    yield "## Events"
    yield "[Events](events.md) shows how to use them. Parameters marked T are templates."
    for other in (OctosparkPublishedTrigger, OctosparkPostNowNotifier, OctosparkRetryPolicy):
        yield from _described(other)
        rows = _parameter_rows(other)
        if rows:
            yield "\n".join([*PARAMETERS, *rows])
    yield "## Outcome"
    yield outcome()
    yield "## Errors"
    yield (
        "Import them from `airflow_provider_octospark.exceptions`. All derive from `OctosparkError`, which is an "
        "`AirflowException`. Those that Airflow must not retry are also an `AirflowFailException`."
    )
    yield "\n".join(["| Error | What it means |", "| --- | --- |", *_errors()])
    yield "## Hook"
    yield f"`from {OctosparkHook.__module__} import OctosparkHook`"
    yield summary(OctosparkHook)
    yield "\n".join(_methods(OctosparkHook))
    yield "## Emulator"
    yield "`from airflow_provider_octospark.emulator import Emulator`, or the pytest fixture `octospark_emulator`."
    yield summary(Emulator)
    yield "\n".join([*_methods(Service), *_methods(Emulator, own=True)])
    yield "### Parameters of `script()`: how a submission ends"
    yield "\n".join(_model_fields(ScenarioRule))
    yield "### Parameters of `script_performance()`: what is collected of a publication"
    yield "\n".join(_model_fields(PerformanceRule))
    yield "### Parameters of `fault()`: what goes wrong on the wire"
    yield "\n".join(_model_fields(Fault))
    yield "### Parameters of `configure()`: undocumented behavior of the service"
    yield summary(Settings)
    yield "\n".join(_model_fields(Settings))


def _described(cls: type) -> Iterator[str]:
    yield f"### {cls.__name__}"
    yield f"`from {cls.__module__} import {cls.__name__}`"
    yield summary(cls)
    raised = fields(cls, "raises")
    if raised:
        yield "Raises:\n\n" + "\n".join(f"- `{name}` {markdown(text)}" for name, text in raised.items())


def _errors() -> Iterator[str]:
    for name, cls in vars(exceptions).items():
        if inspect.isclass(cls) and issubclass(cls, exceptions.OctosparkError):
            yield f"| `{name}` | {cell(summary(cls).splitlines()[0])} |"


def _methods(cls: type, *, own: bool = False) -> Iterator[str]:
    base = (
        {} if own else {name: thing for parent in reversed(cls.__mro__[1:-1]) for name, thing in vars(parent).items()}
    )
    for name, thing in vars(cls).items():
        if name.startswith("_") or name in base or not getattr(thing, "__doc__", None):
            continue
        if isinstance(thing, property) or type(thing).__name__ == "cached_property":
            yield f"- `{name}`: {summary(thing)}"
        elif inspect.isfunction(thing):
            yield f"- `{name}{signature(thing)}`: {summary(thing).splitlines()[0]}"


def _model_fields(model: Any) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.description:
            yield f"- `{name}`: {markdown(field.description)}"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)
