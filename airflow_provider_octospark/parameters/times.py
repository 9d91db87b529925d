"""Parse and format instants, time zones and durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pendulum
from pendulum.tz.exceptions import AmbiguousTime, NonExistingTime

from airflow_provider_octospark.api.text import shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError

LONGEST_DURATION = timedelta(days=36_500)
"""The longest duration that a parameter can have: a hundred years, so that no sum leaves the range of dates."""

# pendulum also reads a bare year, a week, a time of day, an interval and 'now', each of which is a mistake here.
_DATE_AND_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d([.,]\d{1,9})?)?)?|\d{8}[T ]\d\d(\d\d(\d\d([.,]\d{1,9})?)?)?)"
    r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?",
    re.ASCII,
)


def parse_instant(text: object) -> datetime | None:
    """Parse an ISO 8601 text with an offset into aware UTC; return None if it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_instant(moment: datetime) -> str:
    """Return an aware instant as ISO 8601 in UTC, in milliseconds, with ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def require_timezone(value: object, *, field: str = "timezone") -> str:
    """Return the IANA name of a time zone, given by name or as a zone object with a name.

    :raises OctosparkArgumentError: if no such zone exists.
    """
    name = value if isinstance(value, str) else getattr(value, "key", None) or getattr(value, "name", None)
    if isinstance(name, str):
        try:
            return _zone(name.strip()).name
        except (ValueError, OSError, LookupError):
            pass
    raise OctosparkArgumentError(
        f"{field} {shown(value, 60)} is no time zone; write an IANA zone such as 'Europe/Berlin' or 'UTC'."
    )


@lru_cache(maxsize=64)
def _zone(name: str) -> pendulum.Timezone:
    # pendulum.timezone() would read the zone's file each time, and take 'utc' in any case.
    return pendulum.Timezone(name)


def require_instant(value: object, zone: str | None, *, field: str) -> datetime:
    """Return a parameter's instant as aware UTC.

    :param value: an aware ``datetime`` (a ``pendulum.DateTime`` is one), or an ISO 8601 date and time with an offset, in
        the extended or the basic format; with ``zone`` also a naive one.
    :param zone: IANA name of the zone of a naive value.
    :param field: the parameter's name, for messages.
    :raises OctosparkArgumentError: if it is not a time, is naive without a zone, or is a local time that does not exist
        (clocks go forward) or exists twice (clocks go back) in the zone.
    """
    moment = _read(value, field)
    try:
        if moment.utcoffset() is not None or zone is not None:
            return _exact(moment, zone, field)
    except OctosparkArgumentError:
        raise
    except OverflowError:
        raise OctosparkArgumentError(f"{field} {value!s:.60} is out of the range of dates.") from None
    except Exception as error:  # noqa: BLE001 - a tzinfo of the user's own may raise anything
        raise OctosparkArgumentError(
            f"{field} {moment.replace(tzinfo=None).isoformat()} has a time zone that cannot be used "
            f"({type(error).__name__}: {error!s:.100}). Use datetime.timezone or zoneinfo.ZoneInfo."
        ) from None
    raise OctosparkArgumentError(
        f"{field} {value!s:.60} has no UTC offset and no timezone is set. Write an offset "
        f"({moment.replace(tzinfo=UTC).isoformat()}) or set timezone to an IANA zone."
    )


def _read(value: object, field: str) -> datetime:
    moment = value
    if isinstance(value, str):
        text = value.strip()
        try:
            # With tz=None, a naive time stays naive; pendulum would take it for UTC.
            moment = pendulum.parse(text, tz=None) if _DATE_AND_TIME.fullmatch(text) else None
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        raise OctosparkArgumentError(
            f"{field} is {shown(value)}, which is not a date with a time of day; write an aware datetime, or ISO 8601 with "
            "an offset such as 2030-05-17T09:00:00+00:00."
        )
    try:
        # Of a subclass such as pendulum.DateTime, this makes a plain datetime.
        return datetime(
            moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond,
            tzinfo=moment.tzinfo, fold=moment.fold,
        )  # fmt: skip
    except (TypeError, ValueError):
        # Such as pandas' NaT, a datetime without a year.
        raise OctosparkArgumentError(f"{field} is {shown(value)}, which is no time.") from None


def _exact(moment: datetime, zone: str | None, field: str) -> datetime:
    """Return the instant of an aware time, or of a naive one in ``zone``."""
    try:
        if moment.utcoffset() is None and zone is not None:
            naive, moment = moment.replace(tzinfo=None), moment.replace(tzinfo=_zone(zone))
            return _zone(zone).convert(naive, raise_on_unknown_times=True).astimezone(UTC)
        # Not by pendulum, which would go by the zone's name: not enough for pytz, nor for a tzinfo of the user's own. A
        # time that exists twice is not ambiguous here, because of ``fold`` (PEP 495).
        if moment.replace(fold=0).astimezone(UTC) > moment.replace(fold=1).astimezone(UTC):
            raise NonExistingTime(moment)
        return moment.astimezone(UTC)
    except (AmbiguousTime, NonExistingTime) as error:
        problem = "exists twice" if isinstance(error, AmbiguousTime) else "does not exist"
    instants = sorted(moment.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    raise OctosparkArgumentError(
        f"{field} {moment.replace(tzinfo=None).isoformat()} {problem} in {moment.tzinfo}, where the clocks change. Write "
        f"the offset that you mean: {' or '.join(each.astimezone(moment.tzinfo).isoformat() for each in instants)}."
    )


def require_duration(value: object, *, field: str) -> timedelta:
    """Return a duration given as ``timedelta`` (a ``pendulum.Duration`` is one) or as a number of seconds.

    :raises OctosparkArgumentError: if it is neither, or not positive.
    """
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            duration = timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise OctosparkArgumentError(f"{field} {shown(value)} is out of range.") from None
    else:
        raise OctosparkArgumentError(f"{field} is {shown(value)}; write a timedelta or a number of seconds.")
    if not timedelta(0) < duration <= LONGEST_DURATION:
        raise OctosparkArgumentError(
            f"{field} is {duration}; it must be above zero and at most {LONGEST_DURATION.days} days."
        )
    # A plain one: sums and texts of a pendulum.Duration are its own.
    return duration.as_timedelta() if isinstance(duration, pendulum.Duration) else duration


def on_service_clock(moment: datetime, service_time: datetime | None, now: datetime) -> datetime:
    """Convert an instant of our clock to the service's clock.

    :param service_time: the service's clock at our ``now`` (header ``Date``, whole seconds), or None if it is not known;
        then both clocks count as equal.
    """
    try:
        return moment if service_time is None else moment + (service_time - now)
    except OverflowError:
        # At one end of the range of dates, the difference between two clocks does not matter.
        return moment
