"""When schedules tick: cron's five fields, the wall's clock of a timezone, and the two nights on which it is put."""

import time
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from elboflow.settings import RequestError
from elboflow.settings.zones import zone
from pipelines.timing import Timing, cron
from pipelines.timing.calendar import Calendar, Span, check, moment

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def ticks(fields: str, timezone: str, begin: str, end: str) -> list[str]:
    """The ticks of a span, as the wall's clock shows them."""
    here = ZoneInfo(timezone)
    calendar = Calendar(Timing(fields, timezone))
    between = calendar.between(
        datetime.fromisoformat(begin).replace(tzinfo=here), datetime.fromisoformat(end).replace(tzinfo=here)
    )
    return [tick.astimezone(here).isoformat(timespec="minutes") for tick in between]


def test_a_time_that_the_clock_skips_in_spring_comes_once_as_soon_as_the_clock_has_moved_on():
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-03-28", "2026-03-31") == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_time_that_the_clock_shows_twice_in_autumn_comes_once_the_first_time():
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-24", "2026-10-27") == [
        "2026-10-24T02:30+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_hourly_ticks_follow_real_time_through_both_nights():
    for night, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)):
        following = str(date.fromisoformat(night) + timedelta(days=1))
        found = ticks("0 * * * *", "Europe/Berlin", f"{night}T00:00", f"{following}T00:00")
        found = [f"{night}T00:00", *found]  # `between` begins after its beginning
        assert len(found) == hours + 1
        moments = [datetime.fromisoformat(tick).astimezone(UTC) for tick in found[1:]]
        assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(hours=1)}


def test_skipped_times_that_fall_on_other_ticks_are_one_tick():
    for fields in ("0 2,3 * * *", "15,30,45 2 * * *"):
        assert ticks(fields, "Europe/Berlin", "2026-03-29", "2026-03-30") == ["2026-03-29T03:00+02:00"]


def test_in_the_hour_that_the_clock_shows_again_no_tick_comes_back():
    calendar = Calendar(Timing("30 2 * * *", "Europe/Berlin"))
    again = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    assert calendar.after(again) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_day_that_a_zone_left_out_has_its_tick_as_it_ends():
    assert ticks("0 2 * * *", "Pacific/Apia", "2011-12-29T01:00", "2011-12-31T20:00") == [
        "2011-12-29T02:00-10:00",
        "2011-12-31T00:00+14:00",
        "2011-12-31T02:00+14:00",
    ]


def test_a_clock_change_at_midnight_makes_no_tick_more_or_less():
    assert ticks("30 0 * * *", "Asia/Beirut", "2026-03-28T12:00", "2026-03-30T12:00") == [
        "2026-03-29T01:00+03:00",
        "2026-03-30T00:30+03:00",
    ]
    assert ticks("30 23 * * *", "Asia/Beirut", "2026-10-23T12:00", "2026-10-25T12:00") == [
        "2026-10-23T23:30+03:00",
        "2026-10-24T23:30+03:00",
    ]


def test_sunday_is_0_and_7_and_monday_is_1_as_in_every_crontab():
    sundays = ["2026-11-01T09:00+00:00", "2026-11-08T09:00+00:00"]
    for sunday in ("0", "7", "sun", "SUN"):
        assert ticks(f"0 9 * * {sunday}", "UTC", "2026-11-01", "2026-11-10") == sundays
    assert ticks("0 9 * * 1", "UTC", "2026-11-01", "2026-11-08") == ["2026-11-02T09:00+00:00"]
    assert ticks("0 9 * * 5-7", "UTC", "2026-11-02", "2026-11-09") == [
        f"2026-11-0{day}T09:00+00:00" for day in (6, 7, 8)
    ]


def test_day_of_month_and_weekday_are_alternatives_where_both_are_restricted():
    assert ticks("0 0 13 * fri", "UTC", "2026-11-10", "2026-11-22") == [
        "2026-11-13T00:00+00:00",
        "2026-11-20T00:00+00:00",
    ]
    assert ticks("0 0 13 * *", "UTC", "2026-11-10", "2026-11-22") == ["2026-11-13T00:00+00:00"]


@settings(max_examples=60, deadline=None)
@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
    timezone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    begin=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)
def test_a_fixed_time_ticks_once_on_every_day_that_it_names_and_never_else(
    minute: int, hour: int, weekdays: set[int], timezone: str, begin: datetime
):
    begin_utc = begin.replace(tzinfo=UTC)
    fields = f"{minute} {hour} * * {','.join(map(str, weekdays))}"
    found = list(Calendar(Timing(fields, timezone)).between(begin_utc, begin_utc + timedelta(days=400)))
    assert found == sorted(set(found))
    days = [tick.astimezone(ZoneInfo(timezone)).date() for tick in found]
    inner = [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
    assert days == [day for day in inner if day.isoweekday() % 7 in weekdays]
    assert len(days) >= 400 * len(weekdays) // 7 - len(weekdays)
    for tick in found:
        shown = tick.astimezone(ZoneInfo(timezone))
        late = (shown.hour * 60 + shown.minute) - (hour * 60 + minute)
        assert 0 <= late <= 60  # only where the clock skipped the time
        assert late == 0 or shown.utcoffset() != (shown - timedelta(hours=3)).utcoffset()


@settings(max_examples=60, deadline=None)
@given(st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)), st.sampled_from(["*/7 3-5 * 2,3 *", "5 4 29 2 *"]))
def test_the_next_tick_is_the_first_of_those_that_follow(begin: datetime, fields: str):
    calendar = Calendar(Timing(fields, "Europe/Berlin"))
    begin = begin.replace(tzinfo=UTC)
    following = calendar.after(begin)
    assert following is not None
    assert following > begin
    assert list(calendar.between(begin, following)) == [following]


CRONS = [
    "* * * * *",
    "*/20 * * * *",
    "30 2 * * *",
    "0 0 * * *",
    "0 * * * *",
    "0 2 * * 1",
    "0 0 29 2 *",
    "15 0-23 * * *",
]
ZONES = ["UTC", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2011, 12, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(timedelta(), timedelta(days=50)),
    st.integers(1, 5),
    st.booleans(),
)
def test_ticks_are_counted_as_if_each_had_been_looked_at(
    fields: str, timezone: str, after: datetime, long: timedelta, most: int, literally: bool
):
    assume(not (literally and timezone == "Australia/Lord_Howe"))  # as the calendar's docstring says
    calendar = Calendar(Timing(fields, timezone), literally)
    each = list(calendar.between(after, after + long))
    assert each == sorted(set(each))
    assert calendar.span(after, after + long) == (Span(each[0], each[-1], len(each)) if each else None)
    assert calendar.latest(most, after, after + long) == each[-most:]


def test_ten_years_of_a_minutely_schedule_are_counted_within_seconds():
    begun = time.process_time()
    span = Calendar(Timing("* * * * *", "Europe/Berlin")).span(NOW - timedelta(days=3650), NOW)
    assert span is not None
    assert span.ticks == 3650 * 24 * 60
    assert time.process_time() - begun < 5


def test_ticks_stay_between_start_and_end_and_both_count():
    bounds = {"start": datetime(2026, 11, 3, 2, tzinfo=UTC), "end": datetime(2026, 11, 5, 2, tzinfo=UTC)}
    calendar = Calendar(Timing("0 2 * * *", **bounds))
    found = list(calendar.between(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)))
    assert [tick.day for tick in found] == [3, 4, 5]
    assert calendar.after(bounds["end"]) is None


def test_29_february_is_found_across_a_century_without_one():
    assert Calendar(Timing("0 0 29 2 *")).after(datetime(2097, 1, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timing", "told"),
    [
        (Timing("0 25 * * *"), "cron '0 25 * * *': hour '25'; allowed: 0 to 23"),
        (Timing("61 * * * *"), "minute '61'"),
        (Timing("0 2 * *"), "it has 4 fields, expected five: minute, hour"),
        (Timing("0 0 2 * * *"), "it has 6 fields"),
        (Timing("@daily"), "write '0 0 * * *'"),
        (Timing("@never"), "expected five fields"),
        (Timing("0 2 * * mn"), "day of week 'mn'; allowed: 0 to 7, or sun, mon"),
        (Timing("*/0 * * * *"), "minute '*/0'; allowed: 0 to 59, and with these *, lists, ranges such as 1-5, and"),
        (Timing("5/10 * * * *"), "minute '5/10'; allowed: 0 to 59, and with these"),
        (Timing("0 30-10 * * *"), "hour '30-10'; allowed: 0 to 23"),
        (Timing("0 2 L * *"), "day of month 'L'; allowed: 1 to 31"),
        (Timing("0 2 * * mon#2"), "day of week 'mon#2'; allowed: 0 to 7"),
        (Timing("0 2 ² * *"), "day of month '²'"),
        (Timing("0 2 31 2 *"), "there is no such day and time"),
        (Timing("0 2 * * *", "Europe/Berln"), "did you mean 'Europe/Berlin'?"),
        (Timing("0 2 * * *", "berlin"), "did you mean 'Europe/Berlin'?"),
        (Timing("0 2 * * *", "../../etc/passwd"), "the tz database has no such zone"),
        (Timing("0 2 * * *", end=NOW - timedelta(days=1)), "has passed already"),
        (Timing("0 2 * * *", start=NOW + timedelta(days=2), end=NOW + timedelta(days=1)), "is not after --start"),
        (Timing("0 2 * * *", end=NOW + timedelta(hours=1)), "there is no such day and time from"),
        (Timing("0 2 * * *", max_active=0), "--max-active 0"),
    ],
)
def test_a_timing_that_makes_no_sense_is_refused_with_what_is_allowed(timing: Timing, told: str):
    with pytest.raises(RequestError) as refused:
        check(timing, NOW)
    assert told in str(refused.value)


def test_moments_are_read_in_the_schedule_s_timezone_unless_they_say_otherwise():
    assert moment("--start", "2026-12-01", "Europe/Berlin") == datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert moment("--start", "2026-12-01T06:00+05:00", "Europe/Berlin") == datetime(2026, 12, 1, 1, tzinfo=UTC)
    for wrong in ("tomorrow", "9999-12-31", "2026-13-01"):
        with pytest.raises(RequestError, match="--start"):
            moment("--start", wrong, "UTC")
    assert zone("Europe/Berlin").key == "Europe/Berlin"


def test_a_star_of_hours_follows_real_time_and_a_list_of_them_the_wall_clock():
    begin = datetime(2026, 10, 25, tzinfo=UTC) - timedelta(minutes=1)  # 02:00 comes twice in Berlin
    hours = [begin + timedelta(minutes=1, hours=n) for n in range(4)]
    for field, expected in (("*", hours), ("*/1", hours), ("0-23", [hours[0], *hours[2:]])):
        found = Calendar(Timing(f"0 {field} * * *", "Europe/Berlin")).between(begin, begin + timedelta(hours=4))
        assert list(found) == expected, field


@pytest.mark.parametrize(("month", "day", "utc_hours"), [(3, 29, []), (10, 25, [0, 1])])
def test_literally_a_time_that_is_not_shown_does_not_come_and_one_shown_twice_comes_twice(
    month: int, day: int, utc_hours: list[int]
):
    begin = datetime(2026, month, day, tzinfo=UTC) - timedelta(hours=3)
    calendar = Calendar(Timing("30 2 * * *", "Europe/Berlin"), literally=True)
    found = list(calendar.between(begin, begin + timedelta(hours=20)))
    assert found == [datetime(2026, month, day, hour, 30, tzinfo=UTC) for hour in utc_hours]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("0 2 * * 1-7", "0 2 * * 0,1,2,3,4,5,6"),
        ("0 2 * * 7", "0 2 * * 0"),
        ("0 2 * * 5-7", "0 2 * * 0,5,6"),
        ("0 2 * * sun,MON-fri", "0 2 * * sun,MON-fri"),
        ("0 2 1 * */7", "0 2 1 * */7"),  # both have to match, here and there
        ("0 2 1 * */2,7", "0 2 1 * */2,0"),
        ("0 2 1 * 1,*/3", "0 2 1 * 1,0,3,6"),  # either has to match here, which a star there would change
        ("0 2 7,*/10 * 1", "0 2 7,1,11,21,31 * 1"),
        ("7 7 7 7 *", "7 7 7 7 *"),
    ],
)
def test_what_platforms_are_sent_means_the_same_there(written: str, sent: str):
    assert cron.portable(written) == sent
    assert ticks(written, "UTC", "2026-01-01", "2027-01-01") == ticks(sent, "UTC", "2026-01-01", "2027-01-01")
