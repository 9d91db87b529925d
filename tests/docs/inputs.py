"""What users write into connections and parameters, and what it is taken as: the table in `docs/set-up.md`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pendulum

from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.times import format_instant

KEY = "octo_live_0123456789"
POST = "6aaea75f-cf34-52bb-9e09-734f8e27c606"
X = "a96533d2-f364-5f41-a9e2-1e9edea1ab34"
LINKEDIN = "774737c3-b0a6-52a5-868f-7f1d54b89178"


@dataclass(frozen=True)
class Input:
    """Something that a user may write.

    :param where: the field or parameter.
    :param written: what they write, as they would.
    :param taken: evaluates it and returns what it is taken for; raises where it is refused.
    :param refused: whether it is.
    """

    where: str
    written: str
    taken: Callable[[], str]
    refused: bool = False

    def row(self) -> str:
        """Try it, and return what came of it as a row of the table."""
        try:
            result = self.taken()
        except OctosparkError as error:
            if not self.refused:
                raise
            result = f"refused: {error}"
        else:
            assert not self.refused, f"{self.written} was taken as {result}"
        result = result.replace("|", "\\|").replace("<", "&lt;")
        return f"| {self.where} | {self.written} | {result} |"


def connection(shows: str, **fields: Any) -> Callable[[], str]:
    """Return a reader of a connection that shows one of its settings."""

    def read() -> str:
        given = {"conn_id": "octospark_default", "host": None, "password": KEY, **fields}
        settings = ConnectionSettings.from_fields(**given)
        return f"`{getattr(settings, shows)}`"

    return read


def account_id(value: object) -> Callable[[], str]:
    """Return a reader of an account id."""
    return lambda: f"`{arguments.required_account(value, 'social_account_id')}`"


def account_ids(value: object) -> Callable[[], str]:
    """Return a reader of a list of account ids."""
    return lambda: (
        f"the accounts {', '.join(f'`{each[:8]}…`' for each in arguments.required_accounts(value, 'social_account_ids'))}"
    )


def instant(value: object, zone: str | None = None) -> Callable[[], str]:
    """Return a reader of a time."""
    return lambda: f"`{format_instant(arguments.required_instant(value, zone, 'scheduled_at'))}`"


INPUTS = [
    Input("password", f"`Bearer {KEY}`", connection("token", password=f"Bearer {KEY}")),
    Input("password", f"`{KEY}` with a line break behind it", connection("token", password=f"{KEY}\n")),
    Input("password", "nothing", connection("token", password=""), refused=True),
    Input("extra", f'`{{"api_key": "{KEY}"}}`', connection("token", extra={"api_key": KEY}), refused=True),
    Input(
        "extra",
        f'`{{"token": "{KEY}"}}`, no password',
        connection("token", password="", extra={"token": KEY}),
        refused=True,
    ),
    Input("host", "nothing", connection("base_url")),
    Input("host", "`https://api.octospark.ai/v1`", connection("base_url", host="https://api.octospark.ai/v1")),
    Input("host", "`https://api.octospark.ai/`", connection("base_url", host="https://api.octospark.ai/")),
    Input("host", "`api.octospark.ai`", connection("base_url", host="api.octospark.ai")),
    Input("host", "`http://127.0.0.1`, port `8123`", connection("base_url", host="http://127.0.0.1", port=8123)),
    Input("host", "nothing, port `443`", connection("base_url", port=443)),
    Input(
        "port",
        "`8124`, host `http://127.0.0.1:8123`",
        connection("base_url", host="http://127.0.0.1:8123", port=8124),
        refused=True,
    ),
    Input("host", "`http://api.octospark.ai`", connection("base_url", host="http://api.octospark.ai"), refused=True),
    Input(
        "host",
        "`https://api.octospark.ai/v1/teams`",
        connection("base_url", host="https://api.octospark.ai/v1/teams"),
        refused=True,
    ),
    Input("login", f"`{POST}`, a team id", connection("team_id", login=POST), refused=True),
    Input("extra", f'`{{"team_id": " {POST} "}}`', connection("team_id", extra={"team_id": f" {POST} "})),
    Input("social_account_id", f'`" {X} "`', account_id(f" {X} ")),
    Input("social_account_id", f'`"{X.upper()}"`', account_id(X.upper())),
    Input("social_account_id", '`"@northwinddata"`', account_id("@northwinddata"), refused=True),
    Input("social_account_ids", '`"a965…,7747…"`', account_ids(f"{X},{LINKEDIN}")),
    Input("social_account_ids", '`\'["a965…", "7747…"]\'`', account_ids(f'["{X}", "{LINKEDIN}"]')),
    Input("social_account_ids", '`"a965…"`, one id', account_ids(X)),
    Input("social_account_ids", '`["a965…", "A965…"]`', account_ids([X, X.upper()]), refused=True),
    Input("social_account_ids", "`[]`", account_ids([]), refused=True),
    Input("scheduled_at", '`"2030-05-17T09:00:00+02:00"`', instant("2030-05-17T09:00:00+02:00")),
    Input(
        "scheduled_at",
        '`pendulum.datetime(2030, 5, 17, 9, tz="Europe/Vienna")`',
        instant(pendulum.datetime(2030, 5, 17, 9, tz="Europe/Vienna")),
    ),
    Input("scheduled_at", "`datetime(2030, 5, 17, 9, tzinfo=UTC)`", instant(datetime(2030, 5, 17, 9, tzinfo=UTC))),
    Input(
        "scheduled_at",
        '`"2030-05-17 09:00"`, `timezone="Europe/Vienna"`',
        instant("2030-05-17 09:00", "Europe/Vienna"),
    ),
    Input("scheduled_at", '`"2030-05-17T09:00:00"`, no timezone', instant("2030-05-17T09:00:00"), refused=True),
    Input(
        "scheduled_at",
        '`"2030-03-31T02:30:00"`, `timezone="Europe/Vienna"`',
        instant("2030-03-31T02:30:00", "Europe/Vienna"),
        refused=True,
    ),
    Input("scheduled_at", "`date(2030, 5, 17)`", instant(date(2030, 5, 17)), refused=True),
    Input("scheduled_at", "`1905238800`, an epoch number", instant(1905238800), refused=True),
    Input("scheduled_at", '`"1905238800"`', instant("1905238800"), refused=True),
    Input("scheduled_at", '`"tomorrow"`', instant("tomorrow"), refused=True),
]


def table() -> str:
    """Return the table."""
    return "\n".join(
        ["| Where | You write | It is taken as |", "| --- | --- | --- |", *(each.row() for each in INPUTS)]
    )
