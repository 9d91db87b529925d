"""The control routes under `/_emulator/`, with which a test in another process controls the emulator."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from airflow_provider_octospark.emulator.http.requests import parse_field
from airflow_provider_octospark.emulator.http.routes import CalledService, StrictRoute
from airflow_provider_octospark.emulator.service.clock import MAX_FACTOR
from airflow_provider_octospark.emulator.service.collection import PerformanceRule
from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, Provider
from airflow_provider_octospark.emulator.service.faults import Fault
from airflow_provider_octospark.emulator.service.ledger import PublicationEntry, RequestEntry, SubmissionEntry
from airflow_provider_octospark.emulator.service.resources import ErrorResponse, ScheduledPostResponse
from airflow_provider_octospark.emulator.service.scenarios import ScenarioRule
from airflow_provider_octospark.emulator.service.service import Service
from airflow_provider_octospark.emulator.service.team import UserAction
from airflow_provider_octospark.emulator.service.timestamps import format_timestamp, parse_timestamp
from airflow_provider_octospark.emulator.settings import Settings

PREFIX: Final = "/_emulator"


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ClockOrder(_Order):
    """An action on the clock: exactly one of these."""

    advance_seconds: float | None = Field(
        default=None, ge=0, le=1e12, allow_inf_nan=False, description="Move on by this, in virtual seconds."
    )
    factor: float | None = Field(
        default=None, ge=0, le=MAX_FACTOR, allow_inf_nan=False, description="Virtual seconds per real second."
    )
    until_idle: Literal[True] | None = Field(default=None, description="Move on until nothing is in wait.")

    @model_validator(mode="after")
    def _check_one(self) -> ClockOrder:
        if len([name for name in self.model_fields_set if getattr(self, name) is not None]) != 1:
            raise ValueError("exactly one of advance_seconds, factor and until_idle is needed")
        return self


class UserActionRequest(_Order):
    """An action of a user; see `Team.user_action`."""

    action: UserAction
    post_id: str
    social_account_id: str | None = Field(default=None, description="Only on this account; needed for `post_now`.")
    scheduled_at: str | None = Field(default=None, description="For `reschedule`: ISO 8601 with an offset.")

    @model_validator(mode="after")
    def _check_time(self) -> UserActionRequest:
        if self.scheduled_at is not None:
            parse_field("scheduled_at", self.scheduled_at)
        return self


class PostOrder(_Order):
    """Another prepared post."""

    title: str
    text: str = ""
    video: bool = False


class AccountOrder(_Order):
    """Another social account; or, with `id`, a new status for an account."""

    id: str | None = None
    provider: Provider | None = None
    status: AccountStatus = "connected"
    displayName: str = "Further account"  # noqa: N815 - the API's own name

    @model_validator(mode="after")
    def _check_provider(self) -> AccountOrder:
        if (self.id is None) == (self.provider is None):
            raise ValueError("one of id and provider is needed")
        return self


class ClockResponse(TypedDict):
    """The clock's time."""

    now: str
    factor: float


class SubmissionList(TypedDict):
    """Accepted submissions, oldest first."""

    data: list[SubmissionEntry]


class PublicationList(TypedDict):
    """Publications, oldest first."""

    data: list[PublicationEntry]


class RequestList(TypedDict):
    """Requests to the public API, oldest first."""

    data: list[RequestEntry]


class ScheduledPostList(TypedDict):
    """ScheduledPosts, oldest first."""

    data: list[ScheduledPostResponse]


class NamedList(TypedDict):
    """Posts or social accounts, in the form of the emulator's first output line."""

    data: list[dict[str, str]]


class FaultList(TypedDict):
    """Pending faults, oldest first."""

    data: list[Fault]


class ScenarioList(TypedDict):
    """Rules in force, newest first."""

    data: list[ScenarioRule]


class PerformanceRuleList(TypedDict):
    """Rules in force, newest first."""

    data: list[PerformanceRule]


class IdResponse(TypedDict):
    """The id of the created or changed object."""

    id: str


router = APIRouter(
    prefix=PREFIX,
    route_class=StrictRoute,
    tags=["emulator"],
    responses={
        400: {"model": ErrorResponse, "description": "Malformed body"},
        404: {"model": ErrorResponse, "description": "No such post or account"},
    },
)


def _data(listed: Any) -> Response:
    return JSONResponse({"data": listed})


def _clock(service: Service) -> Response:
    return JSONResponse({"now": format_timestamp(service.now()), "factor": service.factor()})


@router.get("/submissions", response_model=SubmissionList)
async def _submissions(service: CalledService) -> Response:
    return _data(service.submissions())


@router.get("/publications", response_model=PublicationList)
async def _publications(service: CalledService) -> Response:
    return _data(service.publications())


@router.get("/requests", response_model=RequestList)
async def _requests(service: CalledService) -> Response:
    return _data(service.requests())


@router.get("/scheduled-posts", response_model=ScheduledPostList)
async def _scheduled_posts(
    service: CalledService, post_id: Annotated[str | None, Query(description="Only of this post.")] = None
) -> Response:
    return _data(service.scheduled_posts(post_id))


@router.get("/faults", response_model=FaultList)
async def _listed_faults(service: CalledService) -> Response:
    return _data([each.model_dump(exclude_unset=True) for each in service.faults([])])


@router.post("/faults", response_model=FaultList)
async def _faults(service: CalledService, faults: list[Fault]) -> Response:
    return _data([each.model_dump(exclude_unset=True) for each in service.faults(faults)])


@router.delete("/faults", response_model=FaultList)
async def _clear_faults(service: CalledService) -> Response:
    service.clear_faults()
    return _data([])


@router.post("/script", response_model=ScenarioList)
async def _script(service: CalledService, rule: ScenarioRule) -> Response:
    rules = service.add_scenario(rule)
    return _data([each.model_dump(exclude_unset=True, by_alias=True) for each in rules])


@router.post("/performance", response_model=PerformanceRuleList)
async def _performance(service: CalledService, rule: PerformanceRule) -> Response:
    rules = service.add_performance(rule)
    return _data([each.model_dump(mode="json", exclude_unset=True) for each in rules])


@router.get("/clock", response_model=ClockResponse)
async def _read_clock(service: CalledService) -> Response:
    return _clock(service)


@router.post("/clock", response_model=ClockResponse)
async def _set_clock(service: CalledService, request: Request, order: ClockOrder) -> Response:
    if order.factor is not None:
        service.clock_factor(order.factor)
        return _clock(service)
    await request.state.settle()
    if order.advance_seconds is not None:
        service.advance(order.advance_seconds)
    else:
        service.advance_until_idle()
    return _clock(service)


@router.post("/user-action", response_model=ScheduledPostList)
async def _user_action(service: CalledService, order: UserActionRequest) -> Response:
    return _data(
        service.user_action(
            order.action,
            order.post_id,
            social_account_id=order.social_account_id,
            scheduled_at=None if order.scheduled_at is None else parse_timestamp(order.scheduled_at),
        )
    )


@router.get("/posts", response_model=NamedList)
async def _posts(service: CalledService) -> Response:
    return _data(service.posts)


@router.post("/posts", response_model=IdResponse)
async def _add_post(service: CalledService, order: PostOrder) -> Response:
    return JSONResponse({"id": service.add_post(order.title, order.text, video=order.video)})


@router.get("/accounts", response_model=NamedList)
async def _accounts(service: CalledService) -> Response:
    return _data(service.social_accounts)


@router.post("/accounts", response_model=IdResponse)
async def _account(service: CalledService, order: AccountOrder) -> Response:
    if order.provider is not None:
        return JSONResponse({"id": service.add_account(order.provider, order.status, order.displayName)})
    return JSONResponse({"id": service.set_account_status(order.id or "", order.status)["id"]})


@router.get("/settings", response_model=Settings)
async def _read_settings(service: CalledService) -> Response:
    return JSONResponse(service.settings.model_dump())


@router.post("/settings", response_model=Settings)
async def _set_settings(service: CalledService, settings: Settings) -> Response:
    return JSONResponse(service.configure(**settings.model_dump(exclude_unset=True)).model_dump())


@router.post("/reset", response_model=ClockResponse)
async def _reset(service: CalledService) -> Response:
    service.reset()
    return _clock(service)
