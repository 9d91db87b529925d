"""The items of a batch, its manifest, and its outcomes in XComs of limited size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

from airflow_provider_octospark.api.text import shown
from airflow_provider_octospark.exceptions import AirflowSkipException, OctosparkArgumentError
from airflow_provider_octospark.outcomes import Outcome, counts_of
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import IfBadItems, IfEmpty
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.records import Target
from airflow_provider_octospark.submission.requests import SCHEDULE_MULTI, TeamOf, to_schedule
from airflow_provider_octospark.submission.rules import Run

MOST_REPORTED = 100
"""Maximum number of failures, and of bad items, in a manifest."""

PART = 200
"""Maximum number of outcomes in one XCom: about 150 KB."""


@dataclass(frozen=True)
class BadItem:
    """An unusable item of a batch.

    :param index: its position in the list.
    :param problem: the field, its problem and what to write.
    """

    index: int
    problem: str


@dataclass(frozen=True)
class Batch:
    """The parsed items of a batch.

    :param announcements: the usable items.
    :param bad: the others.
    :param recurs: whether any of them recurs.
    """

    announcements: Sequence[Announcement]
    bad: Sequence[BadItem] = ()
    recurs: bool = False

    @classmethod
    def read(
        cls,
        given: object,
        team_of: TeamOf,
        *,
        team_id: object = None,
        accounts_per_call: int | None = None,
        if_bad_items: IfBadItems = "fail",
        if_empty: IfEmpty = "fail",
    ) -> Batch:
        """Parse the items of a batch.

        :param team_id: the team of items without a team.
        :raises OctosparkArgumentError: naming all unusable items, or if the list is empty.
        :raises AirflowSkipException: if the list is empty, with ``if_empty="skip"``.
        """
        concurrency = arguments.optional_count(accounts_per_call, "accounts_per_call")
        arguments.one_of(if_bad_items, get_args(IfBadItems), "if_bad_items")
        arguments.one_of(if_empty, get_args(IfEmpty), "if_empty")
        items = _items(given)
        if not items:
            if if_empty == "skip":
                raise AirflowSkipException("announcements is empty; there is nothing to schedule.")
            raise OctosparkArgumentError('announcements is empty. Give at least one item, or set if_empty="skip".')
        if any(isinstance(item, Mapping) and arguments.is_absent(item.get("team_id")) for item in items):
            # Reported once, and not for each item.
            team_id = team_of(team_id)
        good: list[Announcement] = []
        bad: list[BadItem] = []
        seen: dict[Target, int] = {}
        recurs = False
        for index, item in enumerate(items):
            try:
                announcement = _announcement(item, team_id, team_of, concurrency)
                _refuse_repeats(announcement, seen)
            except OctosparkArgumentError as error:
                bad.append(BadItem(index, str(error)))
                continue
            seen.update(dict.fromkeys(announcement.targets, index))
            recurs = recurs or not arguments.is_absent(item.get("recurrence_interval_days"))
            good.append(announcement)
        if bad and (if_bad_items == "fail" or not good):
            reported = " ".join(f"announcements[{each.index}]: {each.problem}" for each in bad[:MOST_REPORTED])
            more = f" And {len(bad) - MOST_REPORTED} more." if len(bad) > MOST_REPORTED else ""
            raise OctosparkArgumentError(
                f"{len(bad)} of {len(items)} items cannot be used; none is sent. {reported}{more}"
            )
        return cls(good, bad, recurs)


def _items(given: object) -> list[Any]:
    value = arguments.structure(given)
    if arguments.is_absent(value):
        return []
    if isinstance(value, str) and value.startswith(("[", "{")):
        raise OctosparkArgumentError(f"announcements is {shown(given)}, which is no JSON: {_json_error(value)}.")
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise OctosparkArgumentError(
            f"announcements is {shown(given)}; it must be a list of objects such as "
            '{"post_id": "…", "social_account_ids": ["…"], "scheduled_at": "…"}.'
        )
    return list(value)


def _json_error(text: str) -> str:
    """Return what is wrong with a text that is no JSON, and in which line."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        pass
    return "it is nested too deeply"


def _announcement(item: object, team_id: object, team_of: TeamOf, concurrency: int | None) -> Announcement:
    if not isinstance(item, Mapping):
        raise OctosparkArgumentError(f"{shown(item)} is no object.")
    unknown = sorted(str(key) for key in item if key not in SCHEDULE_MULTI)
    if unknown:
        raise OctosparkArgumentError(
            f"{', '.join(unknown)[:120]} is no parameter; known are {', '.join(SCHEDULE_MULTI)}."
        )
    if "content_hash" in item and item["content_hash"] is None:
        raise OctosparkArgumentError("content_hash is null. Give the hash, or leave the field out.")
    team = team_id if arguments.is_absent(item.get("team_id")) else item["team_id"]
    return to_schedule({**item, "team_id": team}, team_of, concurrency)


def _refuse_repeats(announcement: Announcement, seen: Mapping[Target, int]) -> None:
    for account, target in zip(announcement.social_account_ids, announcement.targets, strict=True):
        if target in seen:
            raise OctosparkArgumentError(
                f"post {announcement.post_id} to account {account} is in announcements[{seen[target]}] already; "
                "name each target once."
            )


@dataclass(frozen=True)
class ManifestParts:
    """Where the outcomes of a manifest are: XComs of a task instance.

    :param map_index: -1 for a task that is not mapped.
    :param keys: the XComs' keys, in order.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    keys: tuple[str, ...]

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> Self:
        """Parse a manifest as :func:`manifest` returns it.

        :raises OctosparkArgumentError: naming the field that is missing or unusable.
        """
        ids = {name: manifest.get(name) for name in ("dagId", "runId", "taskId")}
        map_index, keys = manifest.get("mapIndex"), manifest.get("outcomeKeys")
        unusable = [name for name, value in ids.items() if not isinstance(value, str) or not value]
        if not isinstance(map_index, int) or isinstance(map_index, bool):
            unusable.append("mapIndex")
        if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
            unusable.append("outcomeKeys")
        if unusable:
            raise OctosparkArgumentError(
                f"publication holds {shown(manifest, 120)}, a manifest without a usable {', '.join(unusable)}. Give what "
                "OctosparkScheduleBatchOperator returned, for example publication=batch.output."
            )
        return cls(
            str(ids["dagId"]), str(ids["runId"]), str(ids["taskId"]), int(map_index or 0), tuple(map(str, keys or ()))
        )


def is_manifest(value: object) -> bool:
    """Whether a value is a manifest and not an outcome."""
    return isinstance(value, Mapping) and "outcomeKeys" in value


def manifest(outcomes: Sequence[Outcome], bad: Sequence[BadItem], run: Run) -> dict[str, Any]:
    """Return the counts of a batch, its first failures, and where the outcomes of all its targets are.

    :param run: the task instance that pushes :func:`parts`.
    """
    unknown = [outcome for outcome in outcomes if outcome.state == "unknown"]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    return {
        **counts_of(outcomes),
        "failures": [outcome.as_json() for outcome in [*unknown, *failed][:MOST_REPORTED]],
        "badItems": [{"index": each.index, "problem": each.problem} for each in bad[:MOST_REPORTED]],
        "badItemCount": len(bad),
        "dagId": run.dag_id,
        "runId": run.run_id,
        "taskId": run.task_id,
        "mapIndex": run.map_index,
        "outcomeKeys": list(parts(outcomes)),
    }


def parts(outcomes: Sequence[Outcome]) -> dict[str, list[dict[str, Any]]]:
    """Return the outcomes as XComs, by key."""
    starts = range(0, len(outcomes), PART)
    return {
        f"outcomes_{number}": [outcome.as_json() for outcome in outcomes[start : start + PART]]
        for number, start in enumerate(starts)
    }
