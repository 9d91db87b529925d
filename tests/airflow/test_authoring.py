"""What happens to operators before they run: they are parsed, serialized, copied, and their templates rendered."""

from __future__ import annotations

import copy
import json
import pickle
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, XComArg

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.operators.octospark import (
    OctosparkPostNowOperator,
    OctosparkScheduleBatchOperator,
    OctosparkScheduleMultiOperator,
    OctosparkSubmitOperator,
)
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor

A, B = "3c90c3cc-0d44-4b50-8888-8dd25736052a", "77a1b2c3-0d44-4b50-9999-8dd25736052b"
KEY = "octo_test_key_that_must_not_be_seen"


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is there, but that no DAG needs to be read."""
    extra = {"team_id": "team_1"}
    connection = {"conn_type": "octospark", "password": KEY, "host": "http://127.0.0.1:9", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", json.dumps(connection))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was looked up or connected to, which fails here."""
    used: list[str] = []

    def forbidden(name: str) -> Any:
        def use(*_: Any, **__: Any) -> Any:
            used.append(name)
            raise AssertionError(f"{name} while a DAG is parsed")

        return use

    monkeypatch.setattr(BaseHook, "get_connection", forbidden("connection look-up"))
    monkeypatch.setattr(socket.socket, "connect", forbidden("network"))
    monkeypatch.setattr(socket, "getaddrinfo", forbidden("network"))
    yield used
    assert used == []


def dag_of_everything() -> DAG:
    """A DAG with each operator, unmapped and mapped, with every parameter that takes an object."""
    options: dict[str, Any] = {
        "platform_settings": {"a": {"b": [1, "{{ run_id }}"]}},
        "first_comment": {"text": "First!"},
        "engagement_comment_trigger": {"likes": 10},
        "repost_after": {"days": 2},
        "recurrence_interval_days": 7,
        "recurrence_ends_at": datetime(2031, 1, 1, tzinfo=UTC),
        "publish_timeout": timedelta(hours=2),
        "settle_time": timedelta(minutes=20),
        "max_lateness": timedelta(hours=1),
    }
    with DAG("everything", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        now = OctosparkPostNowOperator(
            task_id="now", post_id="p", social_account_id=A, wait_for_completion=True, **options
        )
        multi = OctosparkScheduleMultiOperator(
            task_id="multi", post_id="p", social_account_ids=[A, B], scheduled_at=datetime(2030, 1, 1, tzinfo=UTC),
            platform_settings_by_social_account_id={A: {"x": None}}, deferrable=True, **options,
        )  # fmt: skip
        mapped = OctosparkScheduleMultiOperator.partial(
            task_id="mapped", scheduled_at="{{ params.at }}", **options
        ).expand_kwargs([{"post_id": "p", "social_account_ids": [A]}])
        OctosparkPostNowOperator.partial(task_id="mapped_now", post_id="p", **options).expand(social_account_id=[A, B])
        OctosparkPostSensor(task_id="wait", publication=now.output, timeout=timedelta(days=1), poke_interval=30)
        OctosparkPostSensor.partial(task_id="wait_each", mode="reschedule", soft_fail=True).expand(
            publication=mapped.output
        )
        OctosparkPostSensor.partial(task_id="wait_list", deferrable=True).expand(publication=multi.output)
    return dag


def test_parsing_a_dag_needs_neither_network_nor_connection(offline: list[str]) -> None:
    assert len(dag_of_everything().tasks) == 7


def test_a_serialized_dag_is_json_and_holds_no_secret(offline: list[str]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    serialized = DagSerialization.serialize_dag(dag_of_everything())
    text = json.dumps(serialized)
    assert KEY not in text
    back: Any = DagSerialization.deserialize_dag(json.loads(text))
    assert set(back.task_ids) == {"now", "multi", "mapped", "mapped_now", "wait", "wait_each", "wait_list"}
    assert [link.name for link in back.get_task("mapped").operator_extra_links] == ["Published post"]
    assert DagSerialization.serialize_dag(dag_of_everything()) == serialized


def test_operators_can_be_copied_and_pickled(offline: list[str]) -> None:
    # Airflow copies each before it runs, and some executors pickle them.
    for operator in dag_of_everything().tasks:
        for copied in (copy.deepcopy(operator), copy.copy(operator)):
            assert copied.task_id == operator.task_id
        if isinstance(operator, BaseOperator):
            prepared: Any = operator.prepare_for_execution()
            assert prepared.octospark_conn_id == "octospark_default"
    hook = pickle.loads(pickle.dumps(OctosparkHook("other")))  # noqa: S301
    assert hook.octospark_conn_id == "other"


@pytest.mark.parametrize(
    ("operator", "base", "required"),
    [
        (OctosparkPostNowOperator, BaseOperator, {"post_id": "p", "social_account_id": A}),
        (
            OctosparkScheduleMultiOperator,
            BaseOperator,
            {"post_id": "p", "social_account_ids": [A], "scheduled_at": "2030-01-01T00:00:00Z"},
        ),
        (OctosparkPostSensor, BaseSensorOperator, {"post_id": "p"}),
    ],
)
def test_names_of_our_own_hide_none_of_airflow_s(operator: Any, base: Any, required: dict[str, Any]) -> None:
    sanitize, ours = base(task_id="plain"), operator(task_id="ours", **required)
    assert {name for name in vars(ours) if name not in vars(sanitize) and hasattr(sanitize, name)} <= {"dry_run"}
    if base is BaseSensorOperator:
        # Private to Airflow, but the one place where it asks how long to pause: a version without it would not ask us.
        assert hasattr(base, "_get_next_poke_interval")
    if base is BaseOperator:
        # Private as well: what Airflow calls first for tasks that are mapped and for those that are not.
        assert hasattr(base, "_do_render_template_fields")
    overridden = {
        "execute",
        "on_kill",
        "poke",
        "resume_execution",
        "_get_next_poke_interval",
        "_do_render_template_fields",
    }
    overridden |= {"template_fields", "operator_extra_links", "ui_color", "_abc_impl"}
    defined = {
        name
        for kind in operator.__mro__
        if kind.__module__.startswith("airflow_provider_octospark")
        for name in vars(kind)
        if not name.startswith(("__", "_BaseOperator__"))
    }
    assert {name for name in defined if hasattr(base, name)} <= overridden


def test_what_operators_share_is_no_operator() -> None:
    with pytest.raises(TypeError, match="abstract"):
        OctosparkSubmitOperator(task_id="none", post_id="p")  # type: ignore[abstract]


# Templates

FIELDS: dict[str, tuple[Any, Any]] = {
    "platform_settings": ({"title": "Hi", "n": 1}, {"title": "Hi", "n": 1}),
    "first_comment": ({"text": "It's {braces}"}, {"text": "It's {braces}"}),
    "engagement_comment_trigger": ({"likes": 10}, {"likes": 10}),
    "repost_after": ({"days": 2}, {"days": 2}),
    "recurrence_interval_days": (7, 7),
    "recurrence_ends_at": (datetime(2031, 1, 1, tzinfo=UTC), "2031-01-01T00:00:00.000Z"),
}
NOW = {"post_id": ("post_1", None), "social_account_id": (A, A)}
MULTI = {
    "post_id": ("post_1", None),
    "social_account_ids": ([A, B], [A, B]),
    "scheduled_at": (datetime(2030, 5, 17, 9, tzinfo=UTC), "2030-05-17T09:00:00.000Z"),
    "timezone": ("Europe/Berlin", "Europe/Berlin"),
    "platform_settings_by_social_account_id": ({B: {"a": None}}, {B: {"a": None}}),
}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def body(kind: type[OctosparkSubmitOperator], arguments: dict[str, Any], given: Mapping[str, Any], native: bool) -> Any:
    """The body that an operator would send in a run with these params."""
    with DAG("templates", schedule=None, render_template_as_native_obj=native) as dag:
        operator = kind(task_id="t", team_id="{{ params.team }}", **arguments)
    operator.render_template_fields({"params": {"team": "team_1", **given}}, dag.get_template_env())
    with OctosparkHook() as hook:
        [announcement] = operator.to_submit(hook)
    assert (announcement.team_id, announcement.post_id) == ("team_1", "post_1")
    return announcement.operation(announcement.social_account_ids).body


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("written", ["literal", "template", "json", "inside"])
@pytest.mark.parametrize(
    ("kind", "required"), [(OctosparkPostNowOperator, NOW), (OctosparkScheduleMultiOperator, MULTI)]
)
def test_every_field_of_the_request_arrives_as_it_was_meant(
    kind: type[OctosparkSubmitOperator], required: Mapping[str, tuple[Any, Any]], written: str, native: bool
) -> None:
    fields = {**required, **FIELDS}
    params = {name: value for name, (value, _) in fields.items()}

    def write(name: str, value: Any) -> Any:
        if written == "literal":
            return value
        if written == "json" and isinstance(value, dict | list):
            return f"{{{{ params.{name} | tojson }}}}"
        if written == "inside" and isinstance(value, dict):
            return {
                key: f"{{{{ params.{name}['{key}'] }}}}" if isinstance(entry, str) else entry
                for key, entry in value.items()
            }
        return f"{{{{ params.{name} }}}}"

    sent = body(kind, {name: write(name, value) for name, value in params.items()}, params, native)
    assert sent == {camel(name): meant for name, (_, meant) in fields.items() if meant is not None}
    # Each of these has its template; a field that is forgotten would arrive as it is written.
    others = {"team_id", "wait_for_completion", "dry_run", "content_hash", "octospark_conn_id"}
    assert set(fields) | others == set(kind.template_fields)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("nothing", ["{{ params.nothing }}", "{{ '' }}", "{{ params.nothing or '' }}", None, ""])
def test_an_optional_field_that_renders_to_nothing_is_left_out(nothing: str | None, native: bool) -> None:
    optional = dict.fromkeys((*FIELDS, "timezone", "platform_settings_by_social_account_id"), nothing)
    required = {"post_id": "post_1", "social_account_ids": [A], "scheduled_at": "2030-05-17T09:00:00Z"}
    sent = body(OctosparkScheduleMultiOperator, {**required, **optional}, {"nothing": None}, native)
    assert sent == {"socialAccountIds": [A], "scheduledAt": "2030-05-17T09:00:00.000Z"}


def test_every_field_of_the_sensor_is_a_template() -> None:
    templates: dict[str, Any] = {name: f"{{{{ params.{name} }}}}" for name in OctosparkPostSensor.template_fields}
    sensor = OctosparkPostSensor(task_id="wait", **templates)
    with DAG("sensor_templates", schedule=None) as dag:
        sensor.dag = dag
    values = {name: f"value of {name}" for name in sensor.template_fields}
    sensor.render_template_fields({"params": values}, dag.get_template_env())
    assert {name: getattr(sensor, name) for name in sensor.template_fields} == values
    assert set(values) == {
        "publication",
        "post_id",
        "scheduled_post_id",
        "social_account_id",
        "team_id",
        "since",
        "octospark_conn_id",
    }


def test_poke_interval_is_airflow_s_name_for_poll_interval() -> None:
    assert OctosparkPostSensor(task_id="default", post_id="p").poll_interval == 4.0
    assert OctosparkPostSensor(task_id="given", post_id="p", poll_interval=60).poll_interval == 60
    assert OctosparkPostSensor(task_id="poked", post_id="p", poke_interval=timedelta(minutes=2)).poll_interval == 120.0
    with pytest.raises(
        OctosparkArgumentError, match=r"poll_interval is 1 and poke_interval is 30; .* Give one of them"
    ):
        OctosparkPostSensor(task_id="both", post_id="p", poke_interval=30, poll_interval=1)


# Flags


@pytest.mark.parametrize("flag", ["wait_for_completion", "dry_run"])
@pytest.mark.parametrize(
    ("rendered", "meant"), [("True", True), ("false", False), ("1", True), ("no", False), (True, True), (False, False)]
)
def test_a_templated_flag_means_what_it_renders_to(flag: str, rendered: Any, meant: bool) -> None:
    templates: dict[str, Any] = {flag: "{{ params.flag }}"}
    with DAG("flags", schedule=None, render_template_as_native_obj=True) as dag:
        operator = OctosparkPostNowOperator(task_id="t", post_id="p", social_account_id=A, **templates)
    operator.render_template_fields({"params": {"flag": rendered}}, dag.get_template_env())
    assert arguments.flag(getattr(operator, flag), flag) is meant
    if flag == "dry_run":
        assert operator.rules().dry_run is meant


@pytest.mark.parametrize("rendered", [None, "", "None", "perhaps", 2, []])
def test_a_flag_that_renders_to_nothing_is_refused(rendered: Any) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"dry_run is .*; write True or False"):
        arguments.flag(rendered, "dry_run")


@pytest.mark.parametrize("flag", ["resubmit_failed", "allow_backfill", "cancel_on_kill", "deferrable", "dry_run"])
@pytest.mark.parametrize("value", ["perhaps", None, 2])
def test_a_flag_that_is_neither_is_refused_when_the_dag_is_parsed(flag: str, value: Any) -> None:
    with pytest.raises(OctosparkArgumentError, match=rf"Task 't': {flag} is .*; write True or False"):
        OctosparkPostNowOperator(task_id="t", post_id="p", social_account_id=A, **{flag: value})


def test_a_flag_that_is_no_template_takes_no_word() -> None:
    given: dict[str, Any] = {"resubmit_failed": "false"}
    with pytest.raises(OctosparkArgumentError, match="resubmit_failed is 'false'; write True or False, without quotes"):
        OctosparkPostNowOperator(task_id="t", post_id="p", social_account_id=A, **given)


@pytest.mark.parametrize("flag", ["wait_for_completion", "dry_run"])
def test_a_flag_from_another_task_makes_it_upstream(flag: str) -> None:
    with DAG("flags_upstream", schedule=None) as dag:
        given: dict[str, Any] = {flag: XComArg(BaseOperator(task_id="up"))}
        OctosparkPostNowOperator(task_id="plain", post_id="p", social_account_id=A, **given)
        OctosparkPostNowOperator.partial(task_id="mapped", post_id="p", **given).expand(social_account_id=[A, B])
    assert dag.get_task("plain").upstream_task_ids == dag.get_task("mapped").upstream_task_ids == {"up"}


def test_a_mapped_task_is_not_refused_when_the_dag_is_parsed_nor_made() -> None:
    with DAG("mapped", schedule=None) as dag:
        OctosparkPostNowOperator.partial(task_id="mapped", post_id="p", settle_time="10m").expand(social_account_id=[A])
    made: Any = dag.get_task("mapped").unmap({"social_account_id": "a handle"})
    with pytest.raises(OctosparkArgumentError, match="settle_time is '10m'"):
        made.check_parameters()


@pytest.mark.parametrize(
    ("name", "value"),
    [("deferrable", "no"), ("cancel_on_kill", None), ("poll_interval", "x"), ("poke_interval", -1), ("timeout", "1 h")],
)
def test_a_mapped_sensor_checks_its_parameters_when_it_runs(name: str, value: Any) -> None:
    given: dict[str, Any] = {name: value}
    with DAG("mapped_sensor", schedule=None) as dag:
        OctosparkPostSensor.partial(task_id="mapped", **given).expand(post_id=["p"])
    made: Any = dag.get_task("mapped").unmap({"post_id": "p"})
    with pytest.raises(OctosparkArgumentError, match=f"{name.replace('poke', 'poll')} is "):
        made.check_parameters()


@pytest.mark.parametrize("flag", ["deferrable", "cancel_on_kill"])
@pytest.mark.parametrize("value", [True, False])
def test_a_flag_of_a_mapped_sensor_means_what_it_says(flag: str, value: bool) -> None:
    given: dict[str, Any] = {flag: value}
    with DAG("mapped_flags", schedule=None) as dag:
        OctosparkPostSensor.partial(task_id="mapped", **given).expand(post_id=["p"])
    made: Any = dag.get_task("mapped").unmap({"post_id": "p"})
    made.check_parameters()
    assert getattr(made, flag) is value


def test_multiple_outputs_is_refused() -> None:
    with pytest.raises(OctosparkArgumentError, match="multiple_outputs"):
        OctosparkScheduleMultiOperator(
            task_id="t", post_id="p", social_account_ids=[A], scheduled_at="2030-01-01T00:00:00Z", multiple_outputs=True
        )


def batch_of(announcements: Any, folder: Path | None = None) -> Any:
    """A batch in a DAG that looks for files in a folder; its templates are rendered."""
    with DAG("batch", schedule=None, template_searchpath=str(folder) if folder else None) as dag:
        operator = OctosparkScheduleBatchOperator(task_id="t", announcements=announcements)
    operator.render_template_fields({"params": {"name": "x"}}, dag.get_template_env())
    return operator.announcements


def test_a_text_inside_of_a_batch_names_no_file() -> None:
    items = [{"post_id": "p", "first_comment": {"text": "see {{ params.name }}/manifest.json"}}]
    assert batch_of(items) == [{"post_id": "p", "first_comment": {"text": "see x/manifest.json"}}]
    assert batch_of(tuple(items))[0]["first_comment"]["text"] == "see x/manifest.json"


def test_a_bare_text_names_the_file_of_a_batch(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('\ufeff[{"post_id": "{{ params.name }}", "first_comment": {"text": "a.json"}}]')
    found = arguments.structure(batch_of("plan.json", tmp_path))
    assert found == [{"post_id": "x", "first_comment": {"text": "a.json"}}]
