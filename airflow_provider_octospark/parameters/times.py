"""Parse and format instants, time zones and durations."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from airflow_provider_octospark.api.text import shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError

LONGEST_DURATION = timedelta(days=36_500)
"""The longest duration that a parameter can have: a hundred years, so that no sum leaves the range of dates."""


def parse_instant(text: object) -> datetime | None:
    """Parse an ISO 8601 text with an offset into aware UTC; return None if it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
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
            return ZoneInfo(name.strip()).key
        except (ValueError, OSError, LookupError):
            pass
    raise OctosparkArgumentError(
        f"{field} {shown(value, 60)} is no time zone; write an IANA zone such as 'Europe/Berlin' or 'UTC'."
    )


def require_instant(value: object, zone: str | None, *, field: str) -> datetime:
    """Return a parameter's instant as aware UTC.

    :param value: an aware ``datetime`` or an ISO 8601 text with an offset; with ``zone`` also a naive one.
    :param zone: IANA name of the zone of a naive value.
    :param field: the parameter's name, for messages.
    :raises OctosparkArgumentError: if it is not a time, is naive without a zone, or is a local time that does not exist
        (clocks go forward) or exists twice (clocks go back) in the zone.
    """
    moment = _read(value, field)
    try:
        if moment.utcoffset() is not None:
            # An aware time that exists twice is not ambiguous, because of ``fold`` (PEP 495).
            return _exact(moment, field, is_open=False)
        if zone is not None:
            return _exact(moment.replace(tzinfo=ZoneInfo(zone), fold=0), field, is_open=True)
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
    if isinstance(value, datetime):
        try:
            # A pendulum.DateTime is a datetime too; this makes it a plain one.
            return datetime(
                value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond,
                tzinfo=value.tzinfo, fold=value.fold,
            )  # fmt: skip
        except (TypeError, ValueError):
            # Such as pandas' NaT, a datetime without a year.
            raise OctosparkArgumentError(f"{field} is {shown(value)}, which is no time.") from None
    if isinstance(value, date):
        raise OctosparkArgumentError(
            f"{field} {value.isoformat()} is a date without a time of day; write {value.isoformat()}T09:00:00+00:00."
        )
    if isinstance(value, int | float):
        raise OctosparkArgumentError(
            f"{field} is the number {shown(value)}; write an ISO 8601 time with an offset, such as "
            "2030-05-17T09:00:00+00:00."
        )
    if not isinstance(value, str) or not value.strip():
        raise OctosparkArgumentError(
            f"{field} is {shown(value)}; write an aware datetime or an ISO 8601 time with an offset, such as "
            "2030-05-17T09:00:00+00:00."
        )
    text = value.strip()
    if "T" not in text and " " not in text:
        raise OctosparkArgumentError(
            f"{field} {shown(text, 60)} has no time of day; write an ISO 8601 time such as 2030-05-17T09:00:00+00:00."
        )
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise OctosparkArgumentError(
            f"{field} {shown(text, 60)} is not an ISO 8601 time; write one such as 2030-05-17T09:00:00+00:00."
        ) from None


def _exact(moment: datetime, field: str, *, is_open: bool) -> datetime:
    """Return the instant of a local time; ``is_open`` if a time that exists twice is ambiguous."""
    zone = moment.tzinfo
    earlier, later = (moment.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    # Where clocks go back, fold=0 is the earlier instant; where they go forward, it is the later one.
    exists = earlier <= later
    if earlier == later or (exists and not is_open):
        return moment.astimezone(UTC)
    readings = " or ".join(_shown(each, zone) for each in sorted((earlier, later)))
    problem = "exists twice" if exists else "does not exist"
    raise OctosparkArgumentError(
        f"{field} {moment.replace(tzinfo=None).isoformat()} {problem} in {zone}, where the clocks change. "
        f"Write the offset that you mean: {readings}."
    )


def _shown(instant: datetime, zone: tzinfo | None) -> str:
    return instant.astimezone(zone).isoformat()


def require_duration(value: object, *, field: str) -> timedelta:
    """Return a duration given as ``timedelta`` or as a number of seconds.

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
    if duration > LONGEST_DURATION:
        raise OctosparkArgumentError(f"{field} is {duration}; it must be at most {LONGEST_DURATION.days} days.")
    if duration <= timedelta(0):
        raise OctosparkArgumentError(f"{field} is {duration}; it must be above zero.")
    return duration


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
