"""The operations of the public API: their names, methods and paths, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

OperationName = Literal[
    "list-organizations",
    "list-teams",
    "list-posts",
    "get-post",
    "post-now",
    "schedule-multi",
    "move-to-draft",
    "get-performance",
    "list-social-accounts",
    "get-social-account",
]
OPERATION_NAMES: Final[tuple[OperationName, ...]] = get_args(OperationName)

PATHS: Final[dict[OperationName, tuple[str, str]]] = {
    "list-organizations": ("GET", "/v1/organizations"),
    "list-teams": ("GET", "/v1/teams"),
    "list-posts": ("GET", "/v1/teams/{teamId}/posts"),
    "get-post": ("GET", "/v1/teams/{teamId}/posts/{postId}"),
    "post-now": ("POST", "/v1/teams/{teamId}/posts/{postId}/post-now"),
    "schedule-multi": ("POST", "/v1/teams/{teamId}/posts/{postId}/schedule-multi"),
    "move-to-draft": ("POST", "/v1/teams/{teamId}/posts/{postId}/move-to-draft"),
    "get-performance": ("GET", "/v1/teams/{teamId}/posts/{postId}/performance"),
    "list-social-accounts": ("GET", "/v1/teams/{teamId}/social-accounts"),
    "get-social-account": ("GET", "/v1/teams/{teamId}/social-accounts/{socialAccountId}"),
}


@dataclass(frozen=True, slots=True)
class Called:
    """The operation of a request, and the ids in its path, in lower case."""

    name: OperationName
    post_id: str | None
    social_account_id: str | None


_PATTERNS: Final = [
    (name, method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))) for name, (method, path) in PATHS.items()
]


def called(method: str, path: str) -> Called | None:
    """Return the operation of `method` and `path` (decoded, without a query), or None."""
    for name, wanted, pattern in _PATTERNS:
        if method == wanted and (match := pattern.fullmatch(path)):
            ids = {name: value.lower() for name, value in match.groupdict().items()}
            return Called(name, ids.get("postId"), ids.get("socialAccountId"))
    return None
