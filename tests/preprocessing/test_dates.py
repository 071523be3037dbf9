"""Logical dates in the locations of a source."""

import re
from datetime import UTC, datetime

import pytest

from elboflow.settings import RequestError
from preprocessing import dates

NIGHT = datetime(2026, 11, 29, 2, 0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/data/{date}/x.csv", "/data/2026-11-29/x.csv"),
        ("gs://b/{date:%Y/%m/%d}/*", "gs://b/2026/11/29/*"),
        ("{date:%G-W%V-%u}", "2026-W48-7"),
        ("{date:%Y%m%d}T{date:%H}", "20261129T02"),
        ("{date:%C/%c/%f%r%P}", "20/Sun Nov 29 02:00:00 2026/00000002:00:00 AMam"),
        ("{day}/100%", "{day}/100%"),
    ],
)
def test_a_field_is_replaced_by_the_date_in_its_format(text: str, found: str):
    dates.check(text)
    assert dates.at(text, NIGHT) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/data/{date", "the field {date is malformed; write {date} or {date:%Y/%m/%d}"),
        ("/data/{date:}", "is malformed"),
        ("/data/{dates}", "is malformed"),
        ("/data/{date:%Y/{date}}", "is malformed"),
        ("/data/{date:%Q}", "{date:%Q}: %Q is no format of a date or a time"),
        ("/data/{date:%Y%}", "{date:%Y%}: % is cut off"),
        ("/data/{date:%Y%z}", "{date:%Y%z}: %z needs a timezone, which a date has not; write {date} or"),
        ("/data/{date:%Ey}", "{date:%Ey}: %E is no format"),
        ("/data/{date:day}", "{date:day}: names no part of the date, such as %Y"),
    ],
)
def test_a_malformed_field_is_refused(text: str, told: str):
    with pytest.raises(ValueError, match=re.escape(told)):
        dates.check(text)


def test_a_run_on_a_platform_has_the_day_that_it_was_scheduled_for_on_the_schedule_s_clocks():
    now = datetime(2026, 12, 24, 12, tzinfo=UTC)
    late = "2026-11-28T23:30:00Z"  # half past midnight in Berlin
    assert dates.scheduled("", late, "Europe/Berlin", now) == datetime(2026, 11, 29, 0, 30)
    assert dates.scheduled("", late, "UTC", now) == datetime(2026, 11, 28, 23, 30)
    assert dates.scheduled("2026-11-01", late, "UTC", now) == datetime(2026, 11, 1)
    assert dates.scheduled("", "1970-01-01T00:00:00Z", "UTC", now) == datetime(2026, 12, 24, 12)
    with pytest.raises(RequestError, match="newer do; give the date of a run with --date"):
        dates.scheduled("", "{{$.pipeline_job_schedule_time_utc}}", "UTC", now)


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "2026-11-29T06:00+01:00"])
def test_what_is_no_date_is_refused(text: str):
    with pytest.raises(RequestError, match="expected a date, such as 2026-11-29"):
        dates.read(text, "--date")


def test_midnight_is_left_out_where_a_date_is_written():
    for text in ("2026-11-29", "2026-11-29T06:00"):
        assert dates.written(dates.read(text)) == text
    assert dates.written(dates.read("2026-11-29T00:00")) == "2026-11-29"
