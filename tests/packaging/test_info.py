"""The provider's metadata: of the form that Airflow wants, cheap to read, and true of the package."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
from dataclasses import fields
from importlib import resources
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers.common.compat.sdk import BaseHook, BaseNotifier, BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger

import airflow_provider_octospark
from airflow_provider_octospark import get_provider_info as module
from airflow_provider_octospark.api.settings import (
    DEFAULT_HOST,
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_SUBMIT_TIMEOUT,
    DEFAULT_TIMEOUT,
    EXTRA_KEYS,
    ConnectionSettings,
)
from airflow_provider_octospark.get_provider_info import get_provider_info
from airflow_provider_octospark.hooks.octospark import OctosparkHook

INFO = get_provider_info()
[CONNECTION] = INFO["connection-types"]

KINDS = ("hooks", "operators", "sensors", "triggers")
BASES = {
    "hooks": BaseHook,
    "operators": BaseOperator,
    "sensors": BaseSensorOperator,
    "triggers": BaseTrigger,
    "notifications": BaseNotifier,
}


def airflow_schema(name: str) -> dict[str, Any]:
    path = resources.files("airflow") / name
    if not path.is_file():
        pytest.skip(f"this Airflow does not ship {name}")
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema


def imported(path: str) -> Any:
    parent, _, name = path.rpartition(".")
    return getattr(importlib.import_module(parent), name)


def test_airflow_accepts_it() -> None:
    jsonschema.validate(INFO, airflow_schema("provider_info.schema.json"))


def test_the_form_is_of_the_shape_that_airflow_wants_of_its_own_providers() -> None:
    schema = airflow_schema("provider.yaml.schema.json")
    connection_type = schema["properties"]["connection-types"]["items"]
    if "conn-fields" not in connection_type["properties"]:
        pytest.skip("this Airflow does not read forms from here")
    jsonschema.validate(CONNECTION, connection_type)


def test_reading_it_imports_nothing_but_types() -> None:
    tree = ast.parse(inspect.getsource(module))
    imported_modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported_modules == ["__future__", "typing"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    [returned] = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    assert returned is not None
    assert ast.literal_eval(returned) == INFO


def test_the_entry_point_leads_to_it() -> None:
    [entry_point] = [
        each
        for each in entry_points(group="apache_airflow_provider")
        if each.value.startswith("airflow_provider_octospark.")
    ]
    assert entry_point.load() is get_provider_info


def test_the_version_has_one_source() -> None:
    assert version("airflow-provider-octospark") == airflow_provider_octospark.__version__


def test_everything_that_it_names_is_there() -> None:
    for kind in KINDS:
        for entry in INFO[kind]:
            assert entry["integration-name"] == INFO["integrations"][0]["integration-name"]
            for name in entry["python-modules"]:
                importlib.import_module(name)
    for link in INFO["extra-links"]:
        assert imported(link).name
    for notifier in INFO["notifications"]:
        assert issubclass(imported(notifier), BaseNotifier)
    assert imported(CONNECTION["hook-class-name"]) is OctosparkHook
    assert CONNECTION["connection-type"] == OctosparkHook.conn_type
    assert CONNECTION["hook-name"] == OctosparkHook.hook_name


def test_every_module_that_a_dag_author_imports_is_named() -> None:
    package = Path(airflow_provider_octospark.__file__).parent
    for kind, base in BASES.items():
        modules = (
            importlib.import_module(f"airflow_provider_octospark.{kind}.{each.name}")
            for each in pkgutil.iter_modules([str(package / kind)])
            if each.name != "base"
        )
        there = {
            module.__name__
            for module in modules
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        }
        if kind == "notifications":
            named = {path.rpartition(".")[0] for path in INFO.get(kind, [])}
        else:
            named = {name for entry in INFO[kind] for name in entry["python-modules"]}
        assert named == there


def test_the_form_has_a_field_for_each_setting_that_is_kept_in_extra() -> None:
    settings = {field.name for field in fields(ConnectionSettings)}
    # allow_http decides about the base URL and is not kept.
    assert set(CONNECTION["conn-fields"]) == (settings - {"base_url", "token", "unknown_extra"}) | {"allow_http"}
    assert set(CONNECTION["conn-fields"]) == EXTRA_KEYS


def test_the_form_names_the_defaults_that_are_in_force() -> None:
    descriptions = {name: field["description"] for name, field in CONNECTION["conn-fields"].items()}
    assert f"Empty: {DEFAULT_TIMEOUT:g}." in descriptions["timeout"]
    assert f"Empty: {DEFAULT_SUBMIT_TIMEOUT:g}," in descriptions["submit_timeout"]
    assert f"Empty: {DEFAULT_MAX_IN_FLIGHT}." in descriptions["max_in_flight"]
    assert CONNECTION["ui-field-behaviour"]["placeholders"]["host"] == DEFAULT_HOST


def test_the_form_stores_nothing_that_was_not_filled_in() -> None:
    assert not [name for name, field in CONNECTION["conn-fields"].items() if "default" in field["schema"]]
