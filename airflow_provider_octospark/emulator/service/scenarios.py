"""Scenarios of publications: scripted by a test; otherwise they are published."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_octospark.emulator.service.enumerations import ErrorCategory

ScenarioName = Literal[
    "publish", "fail", "stuck", "cancel", "fail_but_live", "fail_then_publish", "publish_with_error", "slow"
]

SERVICE_RETRY_SECONDS: Final = 600.0
"""`fail_then_publish`: how long the service waits before it tries again (virtual seconds)."""

_DEFAULT_ERRORS: Final[dict[str, tuple[ErrorCategory, str, str]]] = {
    "fail": ("permanent", "CONTENT_REJECTED", "The platform rejected the post."),
    "fail_but_live": ("transient", "CONFIRMATION_TIMEOUT", "The platform did not confirm the post in time."),
    "publish_with_error": ("permanent", "FIRST_COMMENT_FAILED", "The first comment could not be added."),
    "fail_then_publish": ("transient", "PLATFORM_UNAVAILABLE", "The platform was not available."),
}


class ScenarioRule(BaseModel):
    """The scenario of a post, an account, or a post on an account. The newest matching rule applies.

    Without `times` a rule applies to every publication that starts after the rule was added. With `times` it applies to
    that many submissions, from when they are accepted.
    """

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    scenario: ScenarioName
    post_id: str | None = Field(default=None, description="The post; any post of the account without it.")
    social_account_id: str | None = Field(default=None, description="The account; any account of the post without it.")
    times: int | None = Field(default=None, ge=1, description="For the next N submissions only.")
    seconds: float | None = Field(
        default=None,
        ge=0,
        le=1e10,
        allow_inf_nan=False,
        description=(
            "Virtual seconds: how long publishing takes; for `fail_then_publish`, "
            "how long after the failure the service tries again (default 600)."
        ),
    )
    error_category: ErrorCategory | None = Field(default=None, alias="errorCategory")
    error_code: str | None = Field(default=None, alias="errorCode")
    error_message: str | None = Field(default=None, alias="errorMessage")
    shown_in: Literal["post", "state"] = Field(
        default="post",
        description=(
            "`fail_but_live`: where the platformPostId shows, on the scheduledPost itself "
            "or in its providerPublishState only."
        ),
    )

    @field_validator("post_id", "social_account_id")
    @classmethod
    def _in_one_case(cls, named: str | None) -> str | None:
        return None if named is None else named.lower()

    @model_validator(mode="after")
    def _check(self) -> ScenarioRule:
        if self.post_id is None and self.social_account_id is None:
            raise ValueError("post_id or social_account_id is needed")
        if self.scenario == "slow" and self.seconds is None:
            raise ValueError("seconds is needed for the scenario slow")
        given = self.model_fields_set
        if self.scenario not in _DEFAULT_ERRORS and given & {"error_category", "error_code", "error_message"}:
            raise ValueError(f"the scenario {self.scenario} takes no error")
        if self.scenario != "fail_but_live" and "shown_in" in given:
            raise ValueError(f"the scenario {self.scenario} takes no shown_in")
        return self

    def error(self) -> tuple[ErrorCategory, str, str]:
        """Return category, code and message of the failure, for scenarios that fail."""
        category, code, message = _DEFAULT_ERRORS[self.scenario]
        return self.error_category or category, self.error_code or code, self.error_message or message

    def fits(self, post_id: str, social_account_id: str) -> bool:
        """Whether the rule is about this post on this account."""
        return self.post_id in (None, post_id) and self.social_account_id in (None, social_account_id)


class Scenarios:
    """The active rules."""

    def __init__(self) -> None:
        self._rules: list[ScenarioRule] = []

    def add(self, rule: ScenarioRule) -> None:
        """Add a rule before all older ones."""
        self._rules.insert(0, rule.model_copy())

    def listed(self) -> list[ScenarioRule]:
        """The active rules, newest first."""
        return list(self._rules)

    def bind(self, post_id: str, social_account_id: str) -> ScenarioRule | None:
        """Return the rule of a new submission: the newest matching one, if it has `times`."""
        for rule in self._rules:
            if rule.fits(post_id, social_account_id):
                if rule.times is None:
                    return None
                rule.times -= 1
                if rule.times == 0:
                    self._rules.remove(rule)
                return rule
        return None

    def standing(self, post_id: str, social_account_id: str) -> ScenarioRule | None:
        """Return the newest matching rule without `times`."""
        for rule in self._rules:
            if rule.times is None and rule.fits(post_id, social_account_id):
                return rule
        return None
