"""The emulated service behind one lock, for the HTTP layer and for tests in the same process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from airflow_provider_octospark.emulator.service import seed_data as seed_data
from airflow_provider_octospark.emulator.service.clock import END_OF_TIME
from airflow_provider_octospark.emulator.service.collection import CollectionStatus, PerformanceRule
from airflow_provider_octospark.emulator.service.core import ServiceCore
from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, ErrorCategory, Provider
from airflow_provider_octospark.emulator.service.faults import Fault, FaultName, When
from airflow_provider_octospark.emulator.service.ledger import (
    PublicationEntry,
    RequestEntry,
    SubmissionEntry,
)
from airflow_provider_octospark.emulator.service.operations import OperationName
from airflow_provider_octospark.emulator.service.representation import scheduled_post_response, social_account_response
from airflow_provider_octospark.emulator.service.resources import ScheduledPostResponse, SocialAccountResponse
from airflow_provider_octospark.emulator.service.scenarios import ScenarioName, ScenarioRule
from airflow_provider_octospark.emulator.service.team import UserAction
from airflow_provider_octospark.emulator.settings import Settings

IDLE_LIMIT: Final = 100_000
"""Maximum number of events that `advance_until_idle` processes."""


class Service(ServiceCore):
    """The emulated service and its controls. Every method can be called from any thread.

    A method that lists something returns the same JSON values as the HTTP route of that name; times are ISO 8601 in UTC.
    An unknown id raises LookupError, an invalid argument ValueError.
    """

    team_id: Final = seed_data.TEAM_ID
    organization_id: Final = seed_data.ORGANIZATION_ID

    # What is there

    @property
    def posts(self) -> list[dict[str, str]]:
        """Each post: `id`, `title`; the default ones first."""
        with self._lock:
            return [{"id": post.id, "title": post.title} for post in self._team.posts.values()]

    @property
    def social_accounts(self) -> list[dict[str, str]]:
        """Each social account: `id`, `provider`, `displayName`, `status`."""
        with self._lock:
            return [
                {
                    "id": account.id,
                    "provider": account.provider,
                    "displayName": account.display_name,
                    "status": account.status,
                }
                for account in self._team.accounts.values()
            ]

    def account_id(self, provider: Provider, status: AccountStatus = "connected") -> str:
        """The id of the first account of a platform that is in this status."""
        with self._lock:
            for account in self._team.accounts.values():
                if account.provider == provider and account.status == status:
                    return account.id
        raise LookupError(f"there is no {provider} account that is {status}")

    def add_post(self, title: str, text: str = "", *, video: bool = False) -> str:
        """Add a prepared post; return its id. Facebook needs polling for a `video` only."""
        with self.present() as team:
            return team.add_post(title, text or title, video).id

    def add_account(
        self, provider: Provider, status: AccountStatus = "connected", display_name: str = "Further account"
    ) -> str:
        """Add a social account; return its id."""
        with self.present() as team:
            handle = f"further{len(team.accounts)}"
            return team.add_account(provider, display_name, handle, status).id

    def set_account_status(self, account_id: str, status: AccountStatus) -> SocialAccountResponse:
        """Set an account's connection status. Posts that are scheduled on a disconnected account fail."""
        with self.present() as team:
            return social_account_response(team.set_account_status(account_id, status))

    def rotate_token(self) -> str:
        """Replace the API key, so that the old one gets 401; return the new one."""
        with self._lock:
            self.token = f"octo_test_{self._random.getrandbits(128):032x}"
            return self.token

    # What happened

    def submissions(self) -> list[SubmissionEntry]:
        """Each accepted submission, oldest first."""
        with self.present():
            return [entry.copy() for entry in self._ledger.submissions]

    def publications(self) -> list[PublicationEntry]:
        """Each publication, oldest first."""
        with self.present():
            return [entry.copy() for entry in self._ledger.publications]

    def requests(self) -> list[RequestEntry]:
        """Each request to the public API, oldest first, without its headers."""
        with self._lock:
            return [entry.copy() for entry in self._ledger.requests]

    def scheduled_posts(self, post_id: str | None = None) -> list[ScheduledPostResponse]:
        """Each scheduledPost as it is now, oldest first: also those that the API cannot show."""
        with self.present() as team:
            if post_id is not None:
                return [scheduled_post_response(each) for each in team.post(post_id).scheduled_posts]
            return [scheduled_post_response(each) for each in team.publishing.scheduled_posts]

    # What shall go wrong

    def fault(
        self,
        operation: OperationName | Literal["*"],
        fault: FaultName,
        *,
        times: int | None = None,
        skip: int | None = None,
        probability: float | None = None,
        post_id: str | None = None,
        social_account_id: str | None = None,
        when: When | None = None,
        seconds: float | None = None,
        status: int | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Add a fault; see `Fault` for the parameters."""
        given = {
            "operation": operation,
            "fault": fault,
            "times": times,
            "skip": skip,
            "probability": probability,
            "post_id": post_id,
            "social_account_id": social_account_id,
            "when": when,
            "seconds": seconds,
            "status": status,
            "body": body,
            "headers": None if headers is None else dict(headers),
        }
        self.faults([{name: value for name, value in given.items() if value is not None}])

    def faults(self, faults: Sequence[Mapping[str, Any] | Fault]) -> list[Fault]:
        """Add faults; return all pending faults, oldest first."""
        checked = [each if isinstance(each, Fault) else Fault.model_validate(dict(each)) for each in faults]
        with self._lock:
            for each in checked:
                self._faults.add(each)
            return [each.model_copy() for each in self._faults.listed()]

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def script(
        self,
        scenario: ScenarioName,
        *,
        post_id: str | None = None,
        social_account_id: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        error_category: ErrorCategory | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        shown_in: Literal["post", "state"] | None = None,
    ) -> None:
        """Script the scenario of a post, an account, or a post on an account; see `ScenarioRule`."""
        given = {
            "scenario": scenario,
            "post_id": post_id,
            "social_account_id": social_account_id,
            "times": times,
            "seconds": seconds,
            "error_category": error_category,
            "error_code": error_code,
            "error_message": error_message,
            "shown_in": shown_in,
        }
        self.add_scenario(
            ScenarioRule.model_validate({name: value for name, value in given.items() if value is not None})
        )

    def add_scenario(self, rule: ScenarioRule) -> list[ScenarioRule]:
        """Add a rule; return all rules, newest first."""
        with self._lock:
            for account_id in filter(None, [rule.social_account_id]):
                self._team.account(account_id)
            for post_id in filter(None, [rule.post_id]):
                self._team.post(post_id)
            self._scenarios.add(rule)
            return [each.model_copy() for each in self._scenarios.listed()]

    def script_performance(
        self,
        status: CollectionStatus = "completed",
        *,
        post_id: str | None = None,
        social_account_id: str | None = None,
        **fields: Any,
    ) -> None:
        """Script what is collected of a post, an account, or all; see `PerformanceRule` for the fields."""
        named = {"status": status, "post_id": post_id, "social_account_id": social_account_id}
        self.add_performance(PerformanceRule.model_validate({**named, **fields}))

    def add_performance(self, rule: PerformanceRule) -> list[PerformanceRule]:
        """Add a rule; return all rules, newest first."""
        with self._lock:
            self._team.collection.add(rule)
            return self._team.collection.listed()

    def configure(self, **switches: Any) -> Settings:
        """Set switches for undocumented points; see `Settings`. Return all settings."""
        with self._lock:
            Settings.model_validate({**self.settings.model_dump(), **switches})
            for name, value in switches.items():
                setattr(self.settings, name, value)
            return self.settings.model_copy()

    # Time and people

    def factor(self) -> float:
        """Virtual seconds per real second."""
        with self._lock:
            return self._clock.factor

    def clock_factor(self, factor: float) -> None:
        """Run at `factor` times real time from now on; with 0 the clock stands still until it is advanced."""
        with self._lock:
            self._clock.set_factor(factor)

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds` of virtual time, and process what is due."""
        with self.present():
            self._clock.advance(seconds)
        with self.present():
            pass

    def advance_until_idle(self) -> float:
        """Advance the clock until nothing is pending; return by how many virtual seconds.

        It ends at the year 9000 at the latest. A stuck publication is not pending. A recurrence without an end makes
        `recurrence_limit` publications.
        """
        with self.present() as team:
            begin = self._clock.now()
            for _ in range(IDLE_LIMIT):
                at = team.publishing.event_queue.next_at()
                if at is None or at > END_OF_TIME:
                    return (self._clock.now() - begin).total_seconds()
                self._clock.advance_to(at)
                team.publishing.catch_up(self._clock.now())
        raise RuntimeError(f"more than {IDLE_LIMIT} things happened, and there is no end of it")

    def user_action(
        self,
        action: UserAction,
        post_id: str,
        *,
        social_account_id: str | None = None,
        scheduled_at: datetime | None = None,
    ) -> list[ScheduledPostResponse]:
        """Perform an action of a user in the app; return the scheduledPosts that it changed or created.

        See `Team.user_action` for the actions.
        """
        with self.present() as team:
            at = None if scheduled_at is None else scheduled_at.astimezone(UTC)
            changed = team.user_action(action, post_id, social_account_id, at)
            return [scheduled_post_response(each) for each in changed]

    def reset(self) -> None:
        """Reset to the seed data, an empty ledger, no faults, and the first settings, token and clock."""
        with self._lock:
            self._renew()
