"""The public API: one route for each operation with a known response."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final

import pydantic_core
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_octospark.emulator.http.requests import PostNowRequest, ScheduleMultiRequest
from airflow_provider_octospark.emulator.service import seed_data as seed_data
from airflow_provider_octospark.emulator.service.cursors import CursorError
from airflow_provider_octospark.emulator.service.faults import Fault
from airflow_provider_octospark.emulator.service.operations import PATHS, OperationName
from airflow_provider_octospark.emulator.service.publishing import AccountUnavailableError
from airflow_provider_octospark.emulator.service.records import Submission
from airflow_provider_octospark.emulator.service.representation import (
    post_response,
    scheduled_post_response,
    social_account_response,
)
from airflow_provider_octospark.emulator.service.resources import (
    AccountResult,
    ErrorResponse,
    NamedListResponse,
    PerformanceResponse,
    PostListResponse,
    PostResponse,
    ScheduledPostResponse,
    ScheduleMultiResponse,
    SocialAccountListResponse,
    SocialAccountResponse,
)
from airflow_provider_octospark.emulator.service.service import Service
from airflow_provider_octospark.emulator.service.team import Team, UnknownIdError


@dataclass(frozen=True, slots=True)
class Interference:
    """The effect of a fault on the processing of a request."""

    late: float | None = None
    omit: Fault | None = None


UNDISTURBED: Final = Interference()


def error_response(status: int, message: str, code: str) -> JSONResponse:
    """An error response; the only code that defines the shape of its body."""
    body: ErrorResponse = {"error": {"message": message, "code": code}}
    return JSONResponse(body, status)


class RequireToken:
    """Respond with 401 to every request to the public API without the token, before anything else is checked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that has the token, or is not to the public API."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            service: Service = scope["state"]["service"]
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            scheme, _, token = given.partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), service.token.encode()):
                refusal = error_response(401, "The token is missing or not valid.", "unauthorized")
                refusal.headers["WWW-Authenticate"] = "Bearer"
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _StrictRequest(Request):
    """Accept standard JSON only: no NaN, no lone surrogates, no infinite number."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            value = pydantic_core.from_json(body, allow_inf_nan=False)
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"body: is no valid JSON: {error}") from error
        return value


class StrictRoute(APIRoute):
    """A route that reads JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the strict reader."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return handle


def service_of(request: Request) -> Service:
    """The emulated service that this request came to."""
    service: Service = request.state.service
    return service


def interference_of(request: Request) -> Interference:
    """The effect of a fault on this request."""
    interference: Interference = request.state.interference
    return interference


def _own_team(team_id: Annotated[str, Path(alias="teamId")]) -> None:
    if team_id.lower() != seed_data.TEAM_ID:
        raise UnknownIdError("There is no such team.")


CalledService = Annotated[Service, Depends(service_of)]
Meddling = Annotated[Interference, Depends(interference_of)]
PostId = Annotated[str, Path(alias="postId")]
Limit = Annotated[int | None, Query(ge=1, description="The most entries to answer.")]
Cursor = Annotated[str | None, Query(description="The page, as `nextCursor` of the page before names it.")]

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in (
        (400, "Malformed body, query or path"),
        (401, "Missing or invalid token"),
        (404, "No such resource"),
    )
}

_bearer = HTTPBearer(auto_error=False, description="An API key of Octospark")
router = APIRouter(route_class=StrictRoute, dependencies=[Depends(_bearer)], responses=_ERRORS)
_team_router = APIRouter(route_class=StrictRoute, dependencies=[Depends(_own_team)])


def _route(name: OperationName, response: Any, to: APIRouter = _team_router) -> Callable[[Any], Any]:
    method, path = PATHS[name]
    return to.api_route(path, methods=[method], operation_id=name, response_model=response, tags=["octospark"])


@_route("list-organizations", NamedListResponse, router)
async def _list_organizations(limit: Limit = None) -> Response:
    named = {"id": seed_data.ORGANIZATION_ID, "name": seed_data.ORGANIZATION_NAME}
    return JSONResponse({"data": [named][:limit]})


@_route("list-teams", NamedListResponse, router)
async def _list_teams(
    organization_id: Annotated[str | None, Query(alias="organizationId")] = None, limit: Limit = None
) -> Response:
    if organization_id is not None and organization_id.lower() != seed_data.ORGANIZATION_ID:
        raise UnknownIdError("There is no such organization.")
    named = {"id": seed_data.TEAM_ID, "name": seed_data.TEAM_NAME}
    return JSONResponse({"data": [named][:limit]})


@_route("list-posts", PostListResponse)
async def _list_posts(service: CalledService, limit: Limit = None, cursor: Cursor = None) -> Response:
    with service.present() as team:
        try:
            posts, next_cursor = team.listed_posts(limit, cursor)
        except CursorError as error:
            raise HTTPException(400, str(error)) from error
        listed = [post_response(post, team.latest(post)) for post in posts]
        page = {"nextCursor": next_cursor, "prevCursor": None} if service.settings.list_pages else {}
        return JSONResponse({"data": listed, "total": len(team.posts), **page})


@_route("get-post", PostResponse)
async def _get_post(service: CalledService, post_id: PostId) -> Response:
    with service.present() as team:
        post = team.post(post_id)
        return JSONResponse(post_response(post, team.latest(post)))


@_route("post-now", ScheduledPostResponse)
async def _post_now(service: CalledService, meddling: Meddling, post_id: PostId, body: PostNowRequest) -> Response:
    def act(team: Team) -> ScheduledPostResponse:
        request = Submission(
            scheduled_at=team.now,
            platform_settings=body.platformSettings,
            recurrence=body.recurrence(),
            repost_after=body.repost(),
        )
        return scheduled_post_response(team.post_now(post_id, body.socialAccountId, request))

    return JSONResponse(service.perform(act, meddling.late))


@_route("schedule-multi", ScheduleMultiResponse)
async def _schedule_multi(
    service: CalledService, meddling: Meddling, post_id: PostId, body: ScheduleMultiRequest
) -> Response:
    account_ids = body.socialAccountIds
    omitted: str | None = None
    if meddling.omit is not None:
        omitted = (meddling.omit.social_account_id or account_ids[-1]).lower()
        if meddling.omit.timestamp == "before":
            account_ids = [each for each in account_ids if each.lower() != omitted]

    def act(team: Team) -> ScheduleMultiResponse:
        team.post(post_id)
        results = [_schedule_one(team, post_id, each, body) for each in account_ids]
        failures = sum("error" in each for each in results)
        return {
            "data": [each for each in results if each["socialAccountId"].lower() != omitted],
            "outcome": {
                "totalCount": len(results),
                "successCount": len(results) - failures,
                "failureCount": failures,
            },
        }

    return JSONResponse(service.perform(act, meddling.late))


def _schedule_one(team: Team, post_id: str, account_id: str, body: ScheduleMultiRequest) -> AccountResult:
    """Assumptions: an unknown account is an error of its own, not a 404 for all; and either `scheduledPost` or `error` is
    present."""
    try:
        scheduled = team.schedule(post_id, account_id, body.submission(account_id))
    except (UnknownIdError, AccountUnavailableError) as error:
        return {"socialAccountId": account_id, "error": {"message": str(error)}}
    return {"socialAccountId": scheduled.account.id, "scheduledPost": scheduled_post_response(scheduled)}


@_route("move-to-draft", PostResponse)
async def _move_to_draft(service: CalledService, meddling: Meddling, post_id: PostId) -> Response:
    """Assumption: the response is the post; it is not documented."""

    def act(team: Team) -> PostResponse:
        post = team.move_to_draft(post_id)
        return post_response(post, team.latest(post))

    return JSONResponse(service.perform(act, meddling.late))


@_route("get-performance", PerformanceResponse)
async def _get_performance(service: CalledService, post_id: PostId) -> Response:
    """Assumption: a post that was never scheduled has no performance (404)."""
    with service.present() as team:
        if (measured := team.measured(team.post(post_id))) is None:
            raise UnknownIdError("There is nothing published of this post.")
        return JSONResponse(team.collection.performance(measured, team.now))


@_route("list-social-accounts", SocialAccountListResponse | list[SocialAccountResponse])
async def _list_social_accounts(service: CalledService) -> Response:
    with service.present() as team:
        listed = [social_account_response(account) for account in team.accounts.values()]
    return JSONResponse({"data": listed} if service.settings.accounts_envelope == "data" else listed)


@_route("get-social-account", SocialAccountResponse)
async def _get_social_account(
    service: CalledService, account_id: Annotated[str, Path(alias="socialAccountId")]
) -> Response:
    with service.present() as team:
        return JSONResponse(social_account_response(team.account(account_id)))


router.include_router(_team_router)
