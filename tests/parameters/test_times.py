"""Instants, zones and durations, as users and templates write them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.parameters.times import (
    format_instant,
    on_service_clock,
    parse_instant,
    require_duration,
    require_instant,
    require_timezone,
)

BERLIN = ZoneInfo("Europe/Berlin")
NINE = datetime(2030, 5, 17, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("2030-05-17T09:00:00Z", None),
        ("2030-05-17T11:00:00+02:00", None),
        (" 2030-05-17 11:00:00+02:00 ", None),
        ("20300517T090000Z", None),
        ("20300517T110000+0200", None),
        ("2030-05-17T09Z", None),
        ("2030-05-17T09:00:00,000000999Z", None),
        ("2030-05-17T11:00", "Europe/Berlin"),
        ("2030-05-17 11:00:00.000", "Europe/Berlin"),
        # An offset that is written wins over the zone, which is for naive times only.
        ("2030-05-17T09:00:00+00:00", "Asia/Tokyo"),
        (NINE, None),
        (NINE.astimezone(BERLIN), None),
        (datetime(2030, 5, 17, 11, 0), "Europe/Berlin"),  # noqa: DTZ001
        (datetime(2030, 5, 17, 4, 0, tzinfo=timezone(timedelta(hours=-5))), "Europe/Berlin"),
        (pendulum.datetime(2030, 5, 17, 11, tz="Europe/Berlin"), None),
        (pendulum.naive(2030, 5, 17, 11), "Europe/Berlin"),
    ],
)
def test_one_instant_in_its_many_forms(value: object, zone: str | None) -> None:
    found = require_instant(value, zone, field="scheduled_at")
    assert found == NINE
    assert found.tzinfo is UTC
    assert type(found) is datetime


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("2030-05-17T09:00:00", "has no UTC offset and no timezone is set"),
        (datetime(2030, 5, 17, 9, 0), "2030-05-17T09:00:00+00:00"),  # noqa: DTZ001
        (date(2030, 5, 17), "is datetime.date(2030, 5, 17), which is not a date with a time of day"),
        ("2030-05-17", "is '2030-05-17', which is not a date with a time of day"),
        (1_900_000_000, "is 1900000000, which is not a date with a time of day"),
        (1.5, "is 1.5, which"),
        (True, "is True, which"),
        (None, "is None"),
        ("", "is ''"),
        ("  ", "is '  '"),
        ("tomorrow at nine", "which is not a date with a time of day"),
        ("2030-13-17T09:00:00Z", "which is not a date with a time of day"),
        ("2030-05-17T25:00:00Z", "which is not a date with a time of day"),
        (["2030-05-17T09:00:00Z"], "write an aware datetime"),
        ("0001-01-01T00:00:00+14:00", "is out of the range of dates"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), "is out of the range of dates"),
    ],
)
def test_what_is_no_instant_is_refused_by_name(value: object, says: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^scheduled_at ") as refusal:
        require_instant(value, None, field="scheduled_at")
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        # No date, no day, no time of day, or no single time: pendulum alone reads each of them as some time.
        *("09:00", "09:00Z", "T09:00Z", "now", "now T", "2030", "2030 09:00", "2030-05T09:00Z", "2030137T0900Z"),
        *("2030-W20-5", "2030-W20-5T09:00Z", "2030W205T0900Z", "2030/05/17 09:00", "2030:05:17 09:00"),
        *("P1D", "PT1H", "2030-05-17T09:00Z/P1D", "2030-05-17 09:00/2030-05-18 09:00", "2030-05-17T9:00Z"),
        # Basic and extended format in one text.
        *("20300517T09:00:00Z", "2030-05-17T090000Z"),
        # Digits that are too many or too few; the standard library's parser ignores some of them.
        *("2030-05-17T09:00:00.1234567890Z", "2030-05-17T09:00:00.Z", "2030-05-17T09:00.5Z", "2030-05-17T09.30Z"),
        *("2030-05-17T09:00:123Z", "2030-05-17T09:00:00:00Z", "2030-05-17T09:00:Z", "٢٠٣٠-٠٥-١٧T٠٩:٠٠Z"),
        # Offsets that no zone has.
        *("2030-05-17T09:00:00+02:00:30", "2030-05-17T09:00:00+01:60", "2030-05-17T09:00:00+24:00"),
        *("2030-05-17_09:00 Z", "2030-05-17T09:00:00 +02:00", "2030-05-17T09:00z", "2030-05-17T24:00:00Z"),
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_text_is_one_date_and_one_time_in_iso_8601(text: str, zone: str | None) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^scheduled_at is .* not a date with a time of day"):
        require_instant(text, zone, field="scheduled_at")


WRITTEN = st.builds(
    lambda moment, written, fraction, offset: f"{moment:{written}}{fraction}{offset}",
    st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%S"]),
    st.sampled_from(["", ".5", ",25", ".123456", ".999999999"]),
    st.sampled_from(["Z", "+00:00", "-0530", "+14", "-23:59", "+23:59"]),
)


@given(WRITTEN)
def test_pendulum_and_the_standard_library_read_the_same_instant(text: str) -> None:
    assert require_instant(text, None, field="t") == datetime.fromisoformat(text)


@pytest.mark.parametrize("as_text", [True, False])
def test_a_time_that_the_clocks_skip_is_refused_with_both_readings(as_text: bool) -> None:
    skipped = datetime(2030, 3, 31, 2, 30)  # noqa: DTZ001
    with pytest.raises(OctosparkArgumentError) as refusal:
        require_instant(skipped.isoformat() if as_text else skipped, "Europe/Berlin", field="scheduled_at")
    message = str(refusal.value)
    assert "scheduled_at 2030-03-31T02:30:00 does not exist in Europe/Berlin" in message
    assert "2030-03-31T01:30:00+01:00 or 2030-03-31T03:30:00+02:00" in message


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("Europe/Berlin", ["2030-03-31", "2030-10-27"]),
        ("America/New_York", ["2030-03-10", "2030-11-03"]),
        ("Australia/Lord_Howe", ["2030-04-07", "2030-10-06"]),  # by half an hour
        ("Europe/Dublin", ["2030-03-31", "2030-10-27"]),  # where winter time is the deviation
    ],
)
def test_the_days_on_which_the_clocks_change(zone: str, days: list[str]) -> None:
    """A local time is refused exactly if it is not that of one UTC instant, counted from UTC's side."""
    tz = ZoneInfo(zone)
    for day in days:
        midnight = datetime.fromisoformat(day)
        instants = [midnight.replace(tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(-96, 192)]
        counted = Counter(instant.astimezone(tz).replace(tzinfo=None, fold=0) for instant in instants)
        refused = 0
        for local in (midnight + timedelta(minutes=15 * n) for n in range(96)):
            if counted[local] == 1:
                assert require_instant(local, zone, field="t").astimezone(tz).replace(tzinfo=None) == local
            else:
                refused += 1
                with pytest.raises(
                    OctosparkArgumentError, match="exists twice" if counted[local] else "does not exist"
                ):
                    require_instant(local, zone, field="t")
        assert refused in {2, 4}


def test_a_time_that_exists_twice_is_refused_with_both_readings() -> None:
    with pytest.raises(OctosparkArgumentError) as refusal:
        require_instant("2030-10-27T02:30:00", "Europe/Berlin", field="recurrence_ends_at")
    message = str(refusal.value)
    assert "recurrence_ends_at 2030-10-27T02:30:00 exists twice in Europe/Berlin" in message
    assert "2030-10-27T02:30:00+02:00 or 2030-10-27T02:30:00+01:00" in message


@pytest.mark.parametrize(("fold", "hour"), [(0, 0), (1, 1)])
def test_an_aware_time_says_by_its_fold_which_of_two_is_meant(fold: int, hour: int) -> None:
    twice = datetime(2030, 10, 27, 2, 30, tzinfo=BERLIN, fold=fold)
    assert require_instant(twice, None, field="t") == datetime(2030, 10, 27, hour, 30, tzinfo=UTC)


def test_an_aware_time_that_does_not_exist_is_refused_too() -> None:
    with pytest.raises(OctosparkArgumentError, match="does not exist in Europe/Berlin"):
        require_instant(datetime(2030, 3, 31, 2, 30, tzinfo=BERLIN), None, field="t")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (" UTC ", "UTC"),
        (BERLIN, "Europe/Berlin"),
        (pendulum.timezone("Europe/Berlin"), "Europe/Berlin"),
    ],
)
def test_a_zone_by_name_or_as_an_object(value: object, name: str) -> None:
    assert require_timezone(value) == name


@pytest.mark.parametrize(
    "value",
    [
        "Mars/Olympus",
        "+02:00",
        "utc",
        pendulum.FixedTimezone(7200),
        "CEST",
        "../UTC",
        "/etc/localtime",
        "Europe",
        "",
        2,
        None,
    ],
)
def test_what_is_no_zone_is_refused_by_name(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^timezone .* is no time zone; write an IANA zone"):
        require_timezone(value)


@pytest.mark.parametrize(
    ("value", "duration"),
    [
        (timedelta(hours=2), timedelta(hours=2)),
        (7200, timedelta(hours=2)),
        (0.5, timedelta(seconds=0.5)),
        (pendulum.duration(months=1, days=1, microseconds=1), timedelta(days=31, microseconds=1)),
        (pendulum.datetime(2030, 5, 17) - pendulum.datetime(2030, 5, 10), timedelta(weeks=1)),
    ],
)
def test_durations(value: object, duration: timedelta) -> None:
    found = require_duration(value, field="settle_time")
    assert found == duration
    assert type(found) is timedelta


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        timedelta(0),
        timedelta(seconds=-1),
        True,
        "60",
        "P1D",
        None,
        float("nan"),
        float("inf"),
        1e300,
        pendulum.duration(),
        pendulum.duration(days=-1),
        pendulum.duration(years=101),
    ],
)
def test_what_is_no_duration_is_refused_by_name(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^settle_time "):
        require_duration(value, field="settle_time")


@pytest.mark.parametrize(
    "text", [None, 7, "", "2030-05-17", "2030-05-17T09:00:00", "soon", "0001-01-01T00:00:00+14:00"]
)
def test_what_the_service_writes_may_be_no_instant(text: object) -> None:
    assert parse_instant(text) is None


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 1),  # noqa: DTZ001
        max_value=datetime(9000, 1, 1),  # noqa: DTZ001
        timezones=st.timezones(),
    )
)
def test_what_is_written_is_read_back_to_the_millisecond(moment: datetime) -> None:
    written = format_instant(moment)
    assert written.endswith("Z")
    back = parse_instant(written)
    assert back is not None
    assert timedelta(0) <= moment.astimezone(UTC) - back < timedelta(milliseconds=1)


def test_the_service_s_clock_may_differ_from_ours() -> None:
    ahead = NINE + timedelta(minutes=10)
    assert on_service_clock(NINE - timedelta(hours=1), ahead, NINE) == NINE - timedelta(minutes=50)
    assert on_service_clock(NINE, None, NINE) == NINE


class _Broken(tzinfo):
    """A time zone of a user's own that does not work."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("no table of offsets")

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "Broken"


class _WithoutDst(_Broken):
    """One whose clocks go forward at noon, and which does not say what is summer."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        is_summer = moment is not None and (moment.hour > 12 or moment.fold == 1)
        return timedelta(hours=2 if is_summer else 1)


@pytest.mark.parametrize(
    ("zone", "hour", "why"), [(_Broken(), 9, "RuntimeError: no table"), (_WithoutDst(), 12, "ValueError: fromutc")]
)
def test_a_time_zone_of_a_users_own_may_not_work(zone: tzinfo, hour: int, why: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=rf"scheduled_at .* time zone that cannot be used \({why}"):
        require_instant(datetime(2030, 5, 17, hour, tzinfo=zone), None, field="scheduled_at")
