"""Faults of requests, added by a test."""

from __future__ import annotations

import random
import re
from typing import Final, Literal

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from airflow_provider_octospark.emulator.service.operations import Called, OperationName

FaultName = Literal["status", "delay", "reset", "truncate", "not_json", "no_answer", "late", "omit_account"]
When = Literal["before", "after"]

_DEFAULT_WHEN: Final[dict[FaultName, When]] = {
    "status": "before",
    "delay": "before",
    "reset": "before",
    "truncate": "after",
    "not_json": "after",
    "no_answer": "before",
    "omit_account": "after",
}
_OPTIONS: Final[dict[FaultName, frozenset[str]]] = {
    "status": frozenset({"status", "body", "headers", "when"}),
    "delay": frozenset({"seconds", "when"}),
    "reset": frozenset({"when"}),
    "truncate": frozenset(),
    "not_json": frozenset({"when"}),
    "no_answer": frozenset({"when"}),
    "late": frozenset({"seconds"}),
    "omit_account": frozenset({"when"}),
}
_NEEDED: Final[dict[FaultName, frozenset[str]]] = {
    "status": frozenset({"status"}),
    "delay": frozenset({"seconds"}),
    "late": frozenset({"seconds"}),
}
_FILTERS: Final = frozenset({"operation", "fault", "times", "skip", "probability", "post_id", "social_account_id"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
_OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "connection"})


class Fault(BaseModel):
    """A fault, and the requests that it applies to. The oldest matching fault applies."""

    model_config = ConfigDict(extra="forbid", strict=True)

    operation: OperationName | Literal["*"] = Field(description="The operation it strikes; `*` for any.")
    fault: FaultName = Field(
        description=(
            "`status`: another answer. `delay`: the response takes longer. `reset`: the connection is reset. "
            "`truncate`: the response is cut off after processing. `not_json`: an HTML page. "
            "`no_answer`: silence until the client gives up. `late`: silence, and the request is processed "
            "`seconds` of virtual time later, whether the client is still there or not. `omit_account`: "
            "schedule-multi leaves an account out of `data`: the one of `social_account_id`, else the last."
        )
    )
    times: int | None = Field(
        default=None,
        ge=1,
        description="How many calls it strikes: default 1, or no limit if `probability` is given.",
    )
    skip: int = Field(default=0, ge=0, description="How many calls that fit pass unharmed before.")
    probability: float | None = Field(
        default=None, gt=0, le=1, description="The chance that a call that fits is struck."
    )
    post_id: str | None = Field(default=None, description="Only calls about this post.")
    social_account_id: str | None = Field(default=None, description="Only calls about this account.")
    when: When | None = Field(
        default=None,
        description=(
            "Before or after the request is processed. Default: after for `not_json` and `omit_account`, "
            "else before. For `omit_account`, after means that the account was scheduled all the same."
        ),
    )
    seconds: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        allow_inf_nan=False,
        description="`delay`: REAL seconds. `late`: virtual seconds.",
    )
    status: int | None = Field(default=None, ge=200, le=599, description="`status`: the status code.")
    body: JsonValue = Field(
        default=None,
        description="`status`: the body, as JSON, or as plain text if a string. Default: an error body.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="`status`: further headers, for example `Retry-After`."
    )

    @field_validator("post_id", "social_account_id")
    @classmethod
    def _in_one_case(cls, named: str | None) -> str | None:
        return None if named is None else named.lower()

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError("a header has a token for a name and printable ASCII for a value")
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name} is the server's own affair")
        return headers

    @model_validator(mode="after")
    def _check_options(self) -> Fault:
        given = self.model_fields_set - _FILTERS
        if missing := _NEEDED.get(self.fault, frozenset()) - given:
            raise ValueError(f"{min(missing)} is needed for the fault {self.fault}")
        if surplus := given - _OPTIONS[self.fault]:
            raise ValueError(f"the fault {self.fault} takes no {min(surplus)}")
        if self.fault == "omit_account" and self.operation != "schedule-multi":
            raise ValueError("the fault omit_account needs the operation schedule-multi")
        return self

    @property
    def timestamp(self) -> When:
        """`when`, or its default for this fault."""
        return self.when or _DEFAULT_WHEN.get(self.fault, "before")

    def fits(self, call: Called, accounts: list[str]) -> bool:
        """Whether it applies to a request with these accounts."""
        return (
            self.operation in ("*", call.name)
            and (self.post_id is None or call.post_id == self.post_id)
            and (self.social_account_id is None or self.social_account_id in accounts)
        )


class Faults:
    """The pending faults."""

    def __init__(self, seed: int | None = None) -> None:
        """Create an empty list; `seed` is for faults with a `probability`."""
        self._waiting: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - chance for tests, no secret

    def add(self, fault: Fault) -> None:
        """Add a fault after all older ones."""
        waiting = fault.model_copy()
        if waiting.times is None and waiting.probability is None:
            waiting.times = 1
        self._waiting.append(waiting)

    def clear(self) -> None:
        """Remove all faults."""
        self._waiting.clear()

    def listed(self) -> list[Fault]:
        """The pending faults, oldest first, with the remaining `times` and `skip`."""
        return list(self._waiting)

    def strike(self, call: Called, accounts: list[str]) -> Fault | None:
        """Return the fault of a request with these accounts, and use it once."""
        for fault in self._waiting:
            if not fault.fits(call, accounts):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.probability is not None and self._random.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._waiting.remove(fault)
            return fault
        return None


def accounts_named(call: Called, body: bytes) -> list[str]:
    """Return the account ids of a request, from its path or its body."""
    if call.social_account_id is not None:
        return [call.social_account_id]
    try:
        content = pydantic_core.from_json(body)
    except ValueError:
        return []
    if not isinstance(content, dict):
        return []
    named = content.get("socialAccountIds", [content.get("socialAccountId")])
    return [each.lower() for each in named if isinstance(each, str)] if isinstance(named, list) else []
