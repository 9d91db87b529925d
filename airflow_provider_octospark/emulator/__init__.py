"""A local emulator of the Octospark API, for tests, demos and trying out DAGs.

    with Emulator() as emulator:
        os.environ["AIRFLOW_CONN_OCTOSPARK_DEFAULT"] = emulator.connection

Needs the extra `emulator` (FastAPI and uvicorn). The imports are lazy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_octospark.emulator.http.server import Emulator
    from airflow_provider_octospark.emulator.service.ledger import PublicationEntry, RequestEntry, SubmissionEntry
    from airflow_provider_octospark.emulator.service.resources import ScheduledPostResponse
    from airflow_provider_octospark.emulator.settings import Settings

__all__ = [
    "Emulator",
    "PublicationEntry",
    "RequestEntry",
    "ScheduledPostResponse",
    "Settings",
    "SubmissionEntry",
]

_MODULES = {
    "PublicationEntry": "service.ledger",
    "RequestEntry": "service.ledger",
    "ScheduledPostResponse": "service.resources",
    "Settings": "settings",
    "SubmissionEntry": "service.ledger",
}
"""The modules of the names that need no extra, below this package."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    if name == "Emulator":
        try:
            from airflow_provider_octospark.emulator.http.server import Emulator
        except ModuleNotFoundError as error:
            if error.name not in ("fastapi", "starlette", "uvicorn"):
                raise
            hint = "the emulator needs: pip install 'airflow-provider-octospark[emulator]'"
            raise ModuleNotFoundError(f"{error}; {hint}", name=error.name) from error
        return Emulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
