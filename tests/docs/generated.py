"""What of the documentation is made of the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
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
COPIED_TEST = ROOT / "tests" / "test_your_dag.py"


def contents() -> dict[Any, str]:
    """Return what each page with something generated on it ought to hold."""
    pages: dict[Any, str] = {REFERENCE: reference()}
    for page in [each for each in PAGES if each != REFERENCE]:
        text = page.read_text()
        names = section_names(text)
        if names:
            pages[page] = with_sections(text, {name: SECTIONS[name]() for name in names})
    return pages


def all_parameters() -> str:
    """Return tables of the parameters of operators and sensor."""
    tables = []
    for title, cls in (
        ("Of all operators", OctosparkSubmitOperator),
        ("Of OctosparkPostNowOperator and OctosparkScheduleMultiOperator", OctosparkSubmitPostOperator),
        ("Of OctosparkPostNowOperator only", OctosparkPostNowOperator),
        ("Of OctosparkScheduleMultiOperator only", OctosparkScheduleMultiOperator),
        ("Of OctosparkScheduleBatchOperator only", OctosparkScheduleBatchOperator),
        ("Of OctosparkPostSensor", OctosparkPostSensor),
        ("Of OctosparkPostPerformanceOperator", OctosparkPostPerformanceOperator),
    ):
        tables.append("\n".join([f"**{title}**\n", *PARAMETERS, *_parameter_rows(cls)]))
    return "\n\n".join(tables)


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
    """Return a table of the cases that the tests of submitting play."""
    from tests.submission.cases import CASES

    rows = dict.fromkeys(f"| {cell(case.situation)} | {cell(case.what_happens)} |" for case in CASES)
    return "\n".join(["| Situation | What happens |", "| --- | --- |", *rows])


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
    "outcome": outcome,
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
    yield "Made of the docstrings; `python -m tests.docs` writes it anew."
    yield "## Parameters"
    yield "Templated parameters (T) are rendered by Jinja. One that renders to nothing is absent."
    yield all_parameters()
    yield "## Operators and sensor"
    for cls in (
        OctosparkPostNowOperator,
        OctosparkScheduleMultiOperator,
        OctosparkScheduleBatchOperator,
        OctosparkPostSensor,
        OctosparkPostPerformanceOperator,
    ):
        yield from _face(cls)
    yield "## Events"
    yield "How they are used: [Events](events.md). Of templated parameters (T), text is rendered by Jinja first."
    for other in (OctosparkPublishedTrigger, OctosparkPostNowNotifier, OctosparkRetryPolicy):
        yield from _face(other)
        rows = _parameter_rows(other)
        if rows:
            yield "\n".join([*PARAMETERS, *rows])
    yield "## Outcome"
    yield outcome()
    yield "## Errors"
    yield (
        "`from airflow_provider_octospark.exceptions import …`. All are `OctosparkError`, and that is an `AirflowException`; "
        "those that Airflow must not retry are `AirflowFailException` too."
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
    yield "### What shall become of a submission: script"
    yield "\n".join(_model_fields(ScenarioRule))
    yield "### What shall be collected of a publication: script_performance"
    yield "\n".join(_model_fields(PerformanceRule))
    yield "### What shall go wrong: fault"
    yield "\n".join(_model_fields(Fault))
    yield "### Undocumented points of the service: settings"
    yield summary(Settings)
    yield "\n".join(_model_fields(Settings))


def _face(cls: type) -> Iterator[str]:
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
