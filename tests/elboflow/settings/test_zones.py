"""What is suggested for a timezone that is none never shows another time."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from elboflow.settings import RequestError, zones
from elboflow.settings.zones import Timezone, zone
from pipelines.cli import app
from pipelines.timing import Timing
from pipelines.timing.calendar import check

SEASONS = [datetime(datetime.now(UTC).year, month, 15, tzinfo=UTC) for month in (1, 7)]


def told(name: str) -> str:
    with pytest.raises(RequestError) as refused:
        zone(name)
    return str(refused.value)


def suggested(text: str) -> list[str]:
    return [word for word in re.findall(r"[A-Z][\w+-]*(?:/[\w+-]+)*", text) if word in available_timezones()]


@pytest.mark.parametrize(
    ("name", "place", "hours"),
    [
        ("CEST", "Europe/Berlin", 2),
        ("cest", "Europe/Paris", 2),
        ("EDT", "America/New_York", -4),
        ("PDT", "America/Los_Angeles", -7),
        ("JST", "Asia/Tokyo", 9),
        ("BST", "Europe/London", 1),
        ("AEST", "Australia/Sydney", 10),
        ("NZDT", "Pacific/Auckland", 13),
    ],
)
def test_an_abbreviation_is_answered_with_places_whose_clocks_show_it(name: str, place: str, hours: int):
    text = told(name)
    assert place in suggested(text)
    for other in suggested(text.partition(" is ")[2]):
        if other != "UTC":
            shown = [moment.astimezone(ZoneInfo(other)) for moment in SEASONS]
            assert (name.upper(), timedelta(hours=hours)) in [(local.tzname(), local.utcoffset()) for local in shown]


def test_an_ambiguous_abbreviation_is_answered_with_all_that_it_means():
    text = told("IST")
    for offset, place in (("UTC+1", "Europe/Dublin"), ("UTC+2", "Asia/Jerusalem"), ("UTC+5:30", "Asia/Kolkata")):
        assert f"{offset} in {place}" in text


@given(
    st.sampled_from("+-"),
    st.integers(0, 14),
    st.sampled_from(["", ":00", ":30", ":45"]),
    st.sampled_from(["UTC", "GMT", ""]),
)
@settings(max_examples=40, deadline=None)
def test_an_offset_is_answered_with_zones_of_that_offset(sign: str, hours: int, minutes: str, before: str):
    name = f"{before}{sign}{hours}{minutes}"
    if name in available_timezones():
        return
    offset = timedelta(hours=hours, minutes=int(minutes[1:] or 0)) * (1 if sign == "+" else -1)
    text = told(name).partition("no such zone; ")[2]
    if text.startswith("expected"):
        return
    zones = [found for found in suggested(text) if found != "UTC" or not offset]
    assert zones
    for found in zones:
        assert {moment.astimezone(ZoneInfo(found)).utcoffset() for moment in SEASONS} == {offset}, text


def test_the_reversed_sign_of_a_fixed_offset_is_explained():
    assert told("UTC+2").endswith(
        "'Etc/GMT-2', whose sign is the other way round, is UTC+2 all year; the name of a place follows its clocks"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_a_slip_in_the_name_of_a_place_is_undone(name: str, meant: str):
    assert f"did you mean '{meant}'?" in told(name)


@pytest.mark.parametrize(
    "name", ["CETT", "EST5", "Europe", "W. Europe Standard Time", "Mars/Olympus", "UTC+15", "\x1b[2J"]
)
def test_what_means_nothing_is_answered_with_what_is_expected_and_no_guess(name: str):
    assert told(name).endswith("; expected UTC, or the name of a place, such as Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("right/UTC", "did you mean 'UTC'?"),
        ("posix/Europe/Berlin", "did you mean 'Europe/Berlin'?"),
        ("localtime", "expected UTC, or the name of a place, such as Europe/Berlin"),
        ("posixrules", "expected UTC, or the name of a place, such as Europe/Berlin"),
        ("Factory", "expected UTC, or the name of a place, such as Europe/Berlin"),
    ],
)
def test_files_beside_the_zones_are_no_zones_wherever_one_is_given(name: str, meant: str):
    text = f"timezone '{name}': the tz database has no such zone; {meant}"
    assert told(name) == text
    with pytest.raises(ValidationError, match=re.escape(text)):
        TypeAdapter(Timezone).validate_python(name)
    with pytest.raises(RequestError, match=re.escape(text)):
        check(Timing("0 2 * * *", name))


def test_every_other_zone_of_the_machine_is_taken():
    for name in available_timezones() - {"Factory", "localtime"}:
        assert zone(name).key == name


def test_a_zone_that_came_with_an_update_of_the_machine_is_taken_by_a_process_that_is_older(
    monkeypatch: pytest.MonkeyPatch,
):
    zones._names.cache_clear()
    monkeypatch.setattr(zones, "available_timezones", lambda: {"Europe/Paris"})
    assert zone("Europe/Paris").key == "Europe/Paris"
    monkeypatch.undo()
    assert zone("Europe/Berlin").key == "Europe/Berlin"


def test_no_folder_is_walked_through_where_no_zone_is_given(monkeypatch: pytest.MonkeyPatch):
    zones._names.cache_clear()
    monkeypatch.setattr(zones, "available_timezones", lambda: pytest.fail("it looked"))
    assert zone("UTC").key == "UTC"
    assert CliRunner().invoke(app, ["config", "digits"]).exit_code == 0


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_timezone_is_refused(name: str):
    assert "it is empty; expected UTC, or the name of a place" in told(name)


def test_a_long_name_is_not_repeated_in_full():
    assert len(told("x" * 100_000)) < 300
