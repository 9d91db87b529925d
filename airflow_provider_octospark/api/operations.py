"""The API's documented operations as values: what to send, and how to read the response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

from airflow_provider_octospark.api.ids import require_id
from airflow_provider_octospark.api.models import (
    NamedList,
    Post,
    PostEntries,
    PostList,
    PostNowRequest,
    ScheduledPost,
    ScheduleMultiRequest,
    ScheduleMultiResponse,
    SocialAccount,
    SocialAccountList,
)
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.slices import Entry
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkArgumentError

T = TypeVar("T")

ACCOUNTS_SHOWN = 3
"""How many accounts of a request a message names. The task's outcomes name all."""


@dataclass(frozen=True)
class Operation(Generic[T]):
    """A request to the API.

    :param name: the operation's name in messages and in the emulator's faults.
    :param method: HTTP method.
    :param path: segments of the path, each quoted when sent.
    :param response: type of a successful response; None if the response is not used.
    :param about: the path in words, for messages.
    :param query: query parameters.
    :param body: JSON body, or None for a request without one.
    :param submits: whether sending it twice can publish twice. The client never repeats such a request.
    :param is_list_of_texts: whether the response is read by :func:`~airflow_provider_octospark.api.slices.parse_in_slices`.
    :param expected_id: the ``id`` that a valid response has; None if it has no id that is known before.
    """

    name: str
    method: str
    path: tuple[str, ...]
    response: TypeAdapter[T] | None
    about: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    submits: bool = False
    is_list_of_texts: bool = False
    expected_id: str | None = None

    @property
    def url_path(self) -> str:
        """The path below the base URL, quoted."""
        return "/v1/" + "/".join(quote(segment, safe="") for segment in self.path)

    def content(self) -> bytes | None:
        """Return the body as it is sent: JSON in UTF-8, or None.

        :raises OctosparkArgumentError: if it holds what JSON cannot carry.
        """
        if self.body is None:
            return None
        try:
            return json.dumps(self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            problem = sanitize(error, 120)
        raise OctosparkArgumentError(
            f"{self.name} ({self.about}): the request holds a value that JSON cannot carry ({problem}); nothing was sent.",
            operation=self.name,
            target=self.about,
        )


_POST = TypeAdapter(Post)
_POSTS = TypeAdapter(PostList)
_ENTRIES = TypeAdapter(PostEntries)
_SCHEDULED_POST = TypeAdapter(ScheduledPost)
_SCHEDULE_MULTI = TypeAdapter(ScheduleMultiResponse)
_ACCOUNT = TypeAdapter(SocialAccount)
# The envelope of the list of accounts is not documented: a list, or an object with ``data``.
_ACCOUNTS: TypeAdapter[list[SocialAccount] | SocialAccountList] = TypeAdapter(
    SocialAccountList | Annotated[list[SocialAccount], Field(fail_fast=True)]
)
_NAMED = TypeAdapter(NamedList)
_PERFORMANCE = TypeAdapter(Performance)


def get_post(team_id: str, post_id: str) -> Operation[Post]:
    """Read a post and its latest submission."""
    path = _post_path(team_id, post_id)
    return Operation("get-post", "GET", path, _POST, _about(team_id, post_id), expected_id=path[-1])


def list_posts(team_id: str, limit: int) -> Operation[PostList]:
    """Read at most ``limit`` of a team's posts. The order is not documented."""
    return _list(team_id, _POSTS, {"limit": limit})


def list_entries(team_id: str, limit: int, cursor: str | None = None) -> Operation[PostEntries]:
    """Like :func:`list_posts`, with unvalidated entries; see :func:`post_of`.

    :param cursor: the page to read, as the page before names it; None (default) for the first page. Assumption: the query
        parameter is ``cursor``, which is not documented.
    """
    query: dict[str, str | int] = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
    return replace(_list(team_id, _ENTRIES, query), is_list_of_texts=True)


def _list(team_id: str, response: TypeAdapter[T], query: Mapping[str, str | int]) -> Operation[T]:
    team = require_id(team_id, "team_id")
    return Operation("list-posts", "GET", ("teams", team, "posts"), response, f"team {team}", query=query)


def post_of(entry: Entry) -> Post | None:
    """Return an entry of a list as a post, or None if it is invalid."""
    try:
        return _POST.validate_json(entry[1])
    except ValidationError:
        return None


def post_now(team_id: str, post_id: str, request: PostNowRequest) -> Operation[ScheduledPost]:
    """Publish a post to one account at once."""
    return Operation(
        "post-now",
        "POST",
        (*_post_path(team_id, post_id), "post-now"),
        _SCHEDULED_POST,
        _about(team_id, post_id, request.social_account_id),
        body=request.body(),
        submits=True,
    )


def schedule_multi(team_id: str, post_id: str, request: ScheduleMultiRequest) -> Operation[ScheduleMultiResponse]:
    """Schedule a post on several accounts."""
    return Operation(
        "schedule-multi",
        "POST",
        (*_post_path(team_id, post_id), "schedule-multi"),
        _SCHEDULE_MULTI,
        _about(team_id, post_id, *request.social_account_ids),
        body=request.body(),
        submits=True,
    )


def move_to_draft(team_id: str, post_id: str) -> Operation[Any]:
    """Take a post off the schedule. The response is not documented."""
    return Operation(
        "move-to-draft",
        "POST",
        (*_post_path(team_id, post_id), "move-to-draft"),
        None,
        _about(team_id, post_id),
    )


def get_post_performance(team_id: str, post_id: str) -> Operation[Performance]:
    """Read the performance of a published post."""
    return Operation(
        "get-performance",
        "GET",
        (*_post_path(team_id, post_id), "performance"),
        _PERFORMANCE,
        _about(team_id, post_id),
    )


def list_social_accounts(team_id: str) -> Operation[list[SocialAccount] | SocialAccountList]:
    """Read a team's social accounts."""
    team = require_id(team_id, "team_id")
    return Operation(
        "list-social-accounts",
        "GET",
        ("teams", team, "social-accounts"),
        _ACCOUNTS,
        f"team {team}",
    )


def get_social_account(team_id: str, social_account_id: str) -> Operation[SocialAccount]:
    """Read one social account."""
    team, account = require_id(team_id, "team_id"), require_id(social_account_id, "social_account_id")
    return Operation(
        "get-social-account",
        "GET",
        ("teams", team, "social-accounts", account),
        _ACCOUNT,
        f"team {team} account {account}",
    )


def list_organizations(limit: int) -> Operation[NamedList]:
    """Read the organizations that the key can access; the cheapest authenticated request."""
    return Operation("list-organizations", "GET", ("organizations",), _NAMED, "the key", query={"limit": limit})


def list_teams(organization_id: str, limit: int) -> Operation[NamedList]:
    """Read an organization's teams."""
    organization = require_id(organization_id, "organization_id")
    return Operation(
        "list-teams",
        "GET",
        ("teams",),
        _NAMED,
        f"organization {organization}",
        query={"organizationId": organization, "limit": limit},
    )


def social_accounts_of(response: list[SocialAccount] | SocialAccountList) -> list[SocialAccount]:
    """Return the accounts of a list in either envelope."""
    return response if isinstance(response, list) else response.data


def _post_path(team_id: str, post_id: str) -> tuple[str, ...]:
    return ("teams", require_id(team_id, "team_id"), "posts", require_id(post_id, "post_id"))


def _about(team_id: str, post_id: str, *accounts: str) -> str:
    words = f"team {team_id.strip()} post {post_id.strip()}"
    if not accounts:
        return words
    shown = ", ".join(sanitize(account, 40) for account in accounts[:ACCOUNTS_SHOWN])
    more = f" and {len(accounts) - ACCOUNTS_SHOWN} more" if len(accounts) > ACCOUNTS_SHOWN else ""
    return f"{words} account{'s' if len(accounts) > 1 else ''} {shown}{more}"
