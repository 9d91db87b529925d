"""The hook: the API's operations with an Airflow connection."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_octospark.api import operations
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.content import content_hash
from airflow_provider_octospark.api.ids import require_id
from airflow_provider_octospark.api.settings import EXTRA_KEYS, ConnectionSettings, read_only_error
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.api.text import sanitize, shown
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkAuthError,
    OctosparkError,
    OctosparkReadOnlyError,
    OctosparkSettingsError,
)
from airflow_provider_octospark.hooks.connection_form import connection_form
from airflow_provider_octospark.parameters.arguments import is_absent
from airflow_provider_octospark.parameters.defaults import CONN_ID
from airflow_provider_octospark.submission.rules import LEAVE_WITHIN

if TYPE_CHECKING:
    from airflow_provider_octospark.api.models import (
        Post,
        PostList,
        PostNowRequest,
        ScheduledPost,
        ScheduleMultiRequest,
        ScheduleMultiResponse,
        SocialAccount,
    )
    from airflow_provider_octospark.api.operations import Operation
    from airflow_provider_octospark.api.performance import Performance
    from airflow_provider_octospark.api.responses import Response
    from airflow_provider_octospark.polling.measurement import Measurement
    from airflow_provider_octospark.polling.wait import Wait

T = TypeVar("T")

SETTINGS_FRESH = 10.0
"""How long a task that submits goes by the connection as it was read, in seconds; see ``read_only`` in its extra."""


def _unknown_keys(keys: Sequence[str]) -> str:
    return f"extra holds {', '.join(keys)}, which means nothing; known keys are {', '.join(sorted(EXTRA_KEYS))}"


def _never() -> bool:
    return False


class _Awaited(Protocol[T]):
    """What is read until it is final: a wait for posts, or a measurement. A post is a pair of team and post id."""

    def posts(self) -> list[tuple[str, str]]: ...

    def posts_due(self, now: datetime) -> list[tuple[str, str]]: ...

    def expire(self, post: tuple[str, str], now: datetime) -> list[str]: ...

    def record_error(self, post: tuple[str, str], error: OctosparkError, now: datetime) -> list[str]: ...

    def record_response(self, post: tuple[str, str], response: Response[T], now: datetime) -> list[str]: ...


class OctosparkHook(BaseHook):
    """Interact with Octospark through an Airflow connection of type ``octospark``.

    The connection is read at the first use. Each operation has a blocking method. :meth:`aget_post`, :meth:`alist_posts`
    and :meth:`amove_to_draft` are coroutines.

    The operations that submit, :meth:`post_now` and :meth:`schedule_multi`, send their request **once**, whatever the
    response is, and keep no record. Operators use :class:`~airflow_provider_octospark.submission.driver.Submission`
    instead, which keeps a record.

    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``, also for what a template renders
        to nothing).
    """

    conn_name_attr = "octospark_conn_id"
    default_conn_name = CONN_ID
    conn_type = "octospark"
    hook_name = "Octospark"

    def __init__(self, octospark_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.octospark_conn_id = self.default_conn_name if is_absent(octospark_conn_id) else octospark_conn_id
        self.is_stopped: Callable[[], bool] = _never
        """Whether the task is to stop; a blocking call that waits then raises :class:`OctosparkInterruptedError`."""

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields for Airflow before 3.2; newer ones read ``get_provider_info`` themselves."""
        from airflow_provider_octospark.hooks.connection_form import widgets

        return widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's changes to the standard fields, for Airflow before 3.2."""
        return {key.replace("-", "_"): value for key, value in connection_form()["ui-field-behaviour"].items()}

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection's settings, read from Airflow at the first use.

        :raises OctosparkSettingsError: if the connection is missing or one of its fields is unusable.
        """
        self._require_conn_id()
        try:
            settings = self._settings_of(self.get_connection(self.octospark_conn_id))
        except AirflowNotFoundException:
            pass
        else:
            self._read_at = time.monotonic()
            return settings
        raise self._missing()

    def read_only_error(self) -> OctosparkReadOnlyError | None:
        """Return why nothing may be submitted now, or None.

        A user may make the connection read-only while a task runs, so it is read again after :data:`SETTINGS_FRESH` seconds.
        If it cannot be read then, the settings of before stand.
        """
        settings = self.settings
        if time.monotonic() > self._read_at + SETTINGS_FRESH:
            self._read_at = time.monotonic()
            with suppress(Exception):
                now = self._settings_of(self.get_connection(self.octospark_conn_id), is_repeated=True)
                settings = self.settings = dataclasses.replace(settings, read_only=now.read_only)
        return read_only_error(settings)

    async def aget_settings(self) -> ConnectionSettings:
        """Return the connection's settings, read again, without blocking the event loop."""
        self._require_conn_id()
        try:
            return self._settings_of(await get_async_connection(self.octospark_conn_id, hook=self))
        except AirflowNotFoundException:
            pass
        raise self._missing()

    def _require_conn_id(self) -> None:
        if not isinstance(self.octospark_conn_id, str):
            raise OctosparkSettingsError(
                f"octospark_conn_id is {shown(self.octospark_conn_id)}; it must be the id of a connection, as a text."
            )

    def _missing(self) -> OctosparkSettingsError:
        return OctosparkSettingsError(
            f"There is no connection {shown(self.octospark_conn_id)} that Airflow can read. Create one of type octospark, with the "
            "API key as its password and, if any, a JSON object as its extra, or name another one in octospark_conn_id."
        )

    def _settings_of(self, connection: Any, *, is_repeated: bool = False) -> ConnectionSettings:
        settings, problem = None, ""
        try:
            settings = ConnectionSettings.from_fields(
                conn_id=self.octospark_conn_id,
                host=connection.host,
                password=connection.password,
                login=connection.login,
                schema=connection.schema,
                port=connection.port,
                extra=connection.extra,
            )
        except OctosparkSettingsError as error:
            problem = str(error)
        # A traceback may show local variables, and Airflow's connections show their password.
        del connection
        if settings is None:
            raise OctosparkSettingsError(problem)
        if settings.unknown_extra and not is_repeated:
            self.log.warning("Connection %r: %s.", self.octospark_conn_id, _unknown_keys(settings.unknown_extra))
        if settings.verify is False and not is_repeated:
            self.log.warning(
                'Connection %r has "verify": false: TLS certificates are not checked, so whoever sits on the way can read the '
                "API key.",
                self.octospark_conn_id,
            )
        return settings

    @cached_property
    def _client(self) -> OctosparkClient:
        return OctosparkClient(self.settings, is_stopped=lambda: self.is_stopped())

    def get_conn(self) -> OctosparkClient:
        """Return the blocking client. It is created once and closed by :meth:`close`."""
        return self._client

    def reconnect(self) -> None:
        """Read the connection again at the next use, because API keys get rotated."""
        self.close()
        self.__dict__.pop("settings", None)

    def close(self) -> None:
        """Close the client, if there is one."""
        client: OctosparkClient | None = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def team(self, team_id: object) -> str:
        """Return the team id given, or the connection's default.

        :raises OctosparkArgumentError: if there is neither, or it is not an id.
        """
        if is_absent(team_id):
            team_id = self.settings.team_id
        if team_id is None:
            raise OctosparkArgumentError(
                "team_id is not set. Pass team_id to the task, or set a default in the connection's extra: "
                '{"team_id": "…"}.'
            )
        return require_id(team_id, "team_id")

    def poll(self, wait: Wait) -> list[str]:
        """Read every post of a wait that is due, all at the same time; return lines for the log.

        If the key is refused, the connection is read again and the posts once more, because keys get rotated.
        """
        lines = self._read_due(wait, operations.get_post)
        hidden = wait.unconfirmed()
        measured = self._request_all([operations.get_post_performance(*post) for post in hidden])
        for post, performance in zip(hidden, measured, strict=True):
            lines += wait.record_performance(post, performance)
        return lines

    def measure(self, measurement: Measurement) -> list[str]:
        """Read every post and every performance of a measurement that is due; return lines for the log.

        A refused key is treated as in :meth:`poll`.
        """
        lines = self.poll(measurement.wait)
        return lines + self._read_due(measurement, operations.get_post_performance)

    def _read_due(self, awaited: _Awaited[T], operation: Callable[[str, str], Operation[T]]) -> list[str]:
        now = datetime.now(UTC)
        lines = [line for post in awaited.posts() for line in awaited.expire(post, now)]
        posts = awaited.posts_due(now)
        responses = self._read_all([operation(*post) for post in posts])
        now = datetime.now(UTC)
        for post, response in zip(posts, responses, strict=True):
            lines += (
                awaited.record_error(post, response, now)
                if isinstance(response, OctosparkError)
                else awaited.record_response(post, response, now)
            )
        return lines

    def _read_all(self, reads: Sequence[Operation[T]]) -> list[Response[T] | OctosparkError]:
        responses = self._request_all(reads)
        if any(isinstance(response, OctosparkAuthError) for response in responses):
            self.reconnect()
            responses = self._request_all(reads)
        return responses

    def _request_all(self, reads: Sequence[Operation[T]]) -> list[Response[T] | OctosparkError]:
        try:
            return self._client.request_all(reads) if reads else []
        except OctosparkSettingsError as error:
            # The connection cannot be read any more, for example because it was deleted.
            return [error] * len(reads)

    def _value(self, operation: Operation[T]) -> T:
        return self._client.request(operation).value

    async def _avalue(self, operation: Operation[T]) -> T:
        async with AsyncOctosparkClient(await self.aget_settings()) as client:
            return (await client.request(operation)).value

    def get_post(self, team_id: str, post_id: str) -> Post:
        """Return a post and its latest submission.

        :raises OctosparkError: of the class that fits what happened.
        """
        return self._value(operations.get_post(team_id, post_id))

    async def aget_post(self, team_id: str, post_id: str) -> Post:
        """As :meth:`get_post`."""
        return await self._avalue(operations.get_post(team_id, post_id))

    def content_hash(self, team_id: str, post_id: str) -> str:
        """Return the hash of a post's text and assets, for ``content_hash`` of the operators.

        :returns: 64 hexadecimal digits.
        :raises OctosparkError: of the class that fits what happened.
        """
        return content_hash(self.get_post(team_id, post_id))

    def list_posts(self, team_id: str, limit: int = 100) -> PostList:
        """Return some of a team's posts.

        :param limit: maximum number of posts (default 100).
        :raises OctosparkError: of the class that fits what happened.
        """
        return self._value(operations.list_posts(team_id, limit))

    async def alist_posts(self, team_id: str, limit: int = 100) -> PostList:
        """As :meth:`list_posts`."""
        return await self._avalue(operations.list_posts(team_id, limit))

    def post_now(self, team_id: str, post_id: str, request: PostNowRequest) -> ScheduledPost:
        """Publish a post to one account at once. The request is sent once; a second call publishes a second time.

        :raises OctosparkError: of the class that fits what happened. The post may go out, unless
            :func:`~airflow_provider_octospark.submission.rules.proves_nothing_sent` is true for the error.
        """
        response: Response[ScheduledPost] = self._client.submit(
            operations.post_now(team_id, post_id, request), datetime.now(UTC) + LEAVE_WITHIN
        )
        return response.value

    def schedule_multi(self, team_id: str, post_id: str, request: ScheduleMultiRequest) -> ScheduleMultiResponse:
        """Schedule a post on several accounts. The request is sent once; a second call schedules a second time.

        :raises OctosparkError: as :meth:`post_now`.
        """
        response: Response[ScheduleMultiResponse] = self._client.submit(
            operations.schedule_multi(team_id, post_id, request), datetime.now(UTC) + LEAVE_WITHIN
        )
        return response.value

    def move_to_draft(self, team_id: str, post_id: str) -> None:
        """Take a whole post off the schedule.

        :raises OctosparkError: of the class that fits what happened.
        """
        self._value(operations.move_to_draft(team_id, post_id))

    async def amove_to_draft(self, team_id: str, post_id: str) -> None:
        """As :meth:`move_to_draft`."""
        await self._avalue(operations.move_to_draft(team_id, post_id))

    def list_social_accounts(self, team_id: str) -> list[SocialAccount]:
        """Return a team's social accounts.

        :raises OctosparkError: of the class that fits what happened.
        """
        return operations.social_accounts_of(self._value(operations.list_social_accounts(team_id)))

    def get_social_account(self, team_id: str, social_account_id: str) -> SocialAccount:
        """Return one social account.

        :raises OctosparkError: of the class that fits what happened.
        """
        return self._value(operations.get_social_account(team_id, social_account_id))

    def get_post_performance(self, team_id: str, post_id: str) -> Performance:
        """Return the performance of a published post.

        :raises OctosparkError: of the class that fits what happened.
        """
        return self._value(operations.get_post_performance(team_id, post_id))

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection with one reading request, and report what the key can access."""
        try:
            organizations = self._value(operations.list_organizations(limit=5)).data
            seen = ", ".join(sanitize(entry.name or entry.id, 80) for entry in organizations) or "no organization"
            message = f"The key sees {seen}"
            if self.settings.team_id:
                accounts = self.list_social_accounts(self.team(None))
                message += f"; team {sanitize(self.settings.team_id, 80)} has {len(accounts)} social accounts"
            if self.settings.read_only:
                message += "; it is read-only, so nothing is submitted through it"
            if self.settings.unknown_extra:
                message += f"; {_unknown_keys(self.settings.unknown_extra)}"
        except OctosparkError as error:
            return False, sanitize(error, 500)
        finally:
            self.close()
        return True, f"{message}."
