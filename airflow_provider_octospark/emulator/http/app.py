"""The FastAPI application: one for the process; each request carries its emulator."""

from __future__ import annotations

import functools
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from airflow_provider_octospark.emulator.http import control_routes as control
from airflow_provider_octospark.emulator.http import page
from airflow_provider_octospark.emulator.http import routes as api
from airflow_provider_octospark.emulator.service.core import UnansweredError
from airflow_provider_octospark.emulator.service.team import UnknownIdError


class _Application(FastAPI):
    """FastAPI, with an OpenAPI description of the actual responses only."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        for path in schema["paths"].values():
            for operation in path.values():
                # An invalid request gets 400, which each route describes itself.
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            schema.get("components", {}).get("schemas", {}).pop(unused, None)
        return schema


@functools.cache
def application() -> FastAPI:
    """Return the application, which has no state and is created once."""
    app = _Application(
        title="Octospark emulator",
        description="A local stand-in for the Octospark API, with scripted faults and a clock of its own.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(api.RequireToken)
    app.include_router(api.router)
    app.include_router(control.router)
    app.include_router(page.router)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(UnknownIdError, _refuse)
    app.add_exception_handler(ValueError, _refuse)
    app.add_exception_handler(UnansweredError, _refuse)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    """Return the response to an invalid request."""
    if isinstance(error, RequestValidationError):
        return api.error_response(400, _sentence(error), "bad_request")
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        response = api.error_response(error.status_code, str(error.detail), code)
        response.headers.update(error.headers or {})
        return response
    if isinstance(error, UnknownIdError):
        return api.error_response(404, str(error), "not_found")
    if isinstance(error, UnansweredError):
        return Response(status_code=202)
    return api.error_response(400, str(error), "bad_request")


def _sentence(error: RequestValidationError) -> str:
    """Return a message with the problem of each invalid field."""
    said = []
    for each in error.errors():
        _, *names = each["loc"]
        field = ".".join(str(name) for name in names) or "body"
        said.append(f"{field}: {str(each['msg']).removeprefix('Value error, ')}")
    return "; ".join(said)
