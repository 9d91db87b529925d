"""The connection's form, as this version of Airflow makes it of the metadata or of the hook."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_octospark.get_provider_info import get_provider_info

[CONNECTION] = get_provider_info()["connection-types"]
FIELDS: dict[str, dict[str, Any]] = CONNECTION["conn-fields"]
BEHAVIOUR: dict[str, Any] = CONNECTION["ui-field-behaviour"]
# Known before the tests begin: Airflow 3 puts something else in their place where they are missing.
HAS_WTFORMS = all(importlib.util.find_spec(name) for name in ("wtforms", "flask_appbuilder"))

TELL_FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "octospark"]
print()
print(form.model_dump_json())
"""


def form_of_airflow_3() -> Any:
    """What the API server tells the UI about connections of our type."""
    pytest.importorskip("airflow.api_fastapi.core_api.services.ui.connections")
    # In a process of its own: Airflow makes the forms once, and differently where a task or a test was first.
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", TELL_FORM], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1], object_hook=lambda fields: SimpleNamespace(**fields))


def form_of_airflow_2() -> Any:
    """The class of the form that the webserver makes."""
    if not HAS_WTFORMS:
        pytest.skip("only where Airflow makes its forms with WTForms")
    from airflow_provider_octospark.hooks.octospark import OctosparkHook

    base = importlib.import_module("wtforms").Form
    return type("OctosparkForm", (base,), OctosparkHook.get_connection_form_widgets())


def test_airflow_3_shows_the_fields() -> None:
    form = form_of_airflow_3()
    assert form.hook_name == "Octospark"
    assert form.hook_class_name == CONNECTION["hook-class-name"]
    assert set(vars(form.extra_fields)) == set(FIELDS)
    for name, field in FIELDS.items():
        shown = getattr(form.extra_fields, name)
        assert shown.schema.title == field["label"]
        assert shown.description == field["description"]
        assert shown.schema.type == field["schema"]["type"]
        assert getattr(shown.schema, "enum", None) == field["schema"].get("enum")
        assert shown.value is None


def test_airflow_3_hides_and_names_the_standard_fields() -> None:
    standard = form_of_airflow_3().standard_fields
    for ours, theirs in {"schema": "url_schema", "login": "login"}.items():
        assert ours in BEHAVIOUR["hidden-fields"]
        assert getattr(standard, theirs).hidden
    for name in ("host", "password", "port"):
        field = getattr(standard, name)
        assert not field.hidden
        assert field.title == BEHAVIOUR["relabeling"].get(name)
        assert field.placeholder == BEHAVIOUR["placeholders"][name]


def test_airflow_2_shows_the_fields() -> None:
    form = form_of_airflow_2()(data={})
    assert {field.name for field in form} == set(FIELDS)
    for name, field in FIELDS.items():
        shown = form[name]
        assert shown.label.text == field["label"]
        assert shown.description == field["description"]
        kind = {"string": "StringField", "integer": "IntegerField", "boolean": "BooleanField"}
        assert type(shown).__name__ == kind[field["schema"]["type"][0]]


def test_airflow_2_takes_a_form_with_nothing_filled_in() -> None:
    form = form_of_airflow_2()
    multidict = importlib.import_module("werkzeug.datastructures").MultiDict
    empty = form(multidict(dict.fromkeys(FIELDS, "")))
    assert empty.validate(), empty.errors
    wrong = form(multidict({"trust_env": "perhaps"}))
    assert not wrong.validate()
    assert list(wrong.errors) == ["trust_env"]


def test_the_hook_tells_airflow_2_the_same_about_the_standard_fields() -> None:
    from airflow_provider_octospark.hooks.octospark import OctosparkHook

    assert OctosparkHook.get_ui_field_behaviour() == {
        "hidden_fields": BEHAVIOUR["hidden-fields"],
        "relabeling": BEHAVIOUR["relabeling"],
        "placeholders": BEHAVIOUR["placeholders"],
    }
