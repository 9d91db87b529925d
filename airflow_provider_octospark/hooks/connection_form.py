"""The connection form in Airflow's UI, built from the provider's metadata."""

from __future__ import annotations

from typing import Any

from airflow_provider_octospark.get_provider_info import get_provider_info


def connection_form() -> dict[str, Any]:
    """Return the description of the connection's form."""
    form: dict[str, Any] = get_provider_info()["connection-types"][0]
    return form


def widgets() -> dict[str, Any]:
    """Return the form's fields for Airflow before 3.2; newer ones read ``get_provider_info`` themselves."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found]
    from wtforms import BooleanField, IntegerField, StringField  # type: ignore[import-untyped]
    from wtforms.validators import Optional, any_of  # type: ignore[import-untyped]

    def widget(definition: dict[str, Any]) -> Any:
        schema = definition["schema"]
        label, description = definition["label"], definition["description"]
        if "boolean" in schema["type"]:
            return BooleanField(label, description=description)
        field = IntegerField if "integer" in schema["type"] else StringField
        validators = [Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])]
        return field(label, widget=BS3TextFieldWidget(), validators=validators, description=description)

    return {name: widget(definition) for name, definition in connection_form()["conn-fields"].items()}
