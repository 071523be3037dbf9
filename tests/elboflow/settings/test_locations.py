"""A location is a path or a URI, and never the one taken for the other."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elboflow.settings.locations import normalised, scheme


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("file:///data/x.npz", "/data/x.npz"),
        ("FILE:///data/x.npz", "/data/x.npz"),
        ("file:/data/x.npz", "/data/x.npz"),
        ("file://localhost/data/x.npz", "/data/x.npz"),
        ("file:///My%20Data/100%25/%C3%A9.npz", "/My Data/100%/é.npz"),
        (" file:///data/x.npz ", "/data/x.npz"),
    ],
)
def test_a_file_uri_is_the_path_that_it_names(location: str, path: str):
    assert normalised(location) == path


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_the_file_uri_of_a_path_is_that_path(name: str):
    path = Path("/data") / name
    if ".." not in path.parts:
        assert Path(normalised(path.as_uri())) == path


@pytest.mark.parametrize(
    "path",
    [
        *("data/x.npz", "/data/x.npz", "~/x", "C:\\data", "C:/data", "c:data", "./gs:bucket", "./gs://bucket", "gsx:y"),
        *("12:30.npz", "a b://c", "/a://b"),
    ],
)
def test_a_path_stays_as_it_was_written(path: str):
    assert scheme(path) is None
    assert normalised(path, "gs") == path


@pytest.mark.parametrize(
    "location",
    [
        "s3://bucket/x",
        "gs://bucket/x",
        "gs:/bucket/x",
        "gs:bucket/x",
        "S3:b/x",
        "http:f.npz",
        "hdfs://host/x",
        " s3://b/x",
    ],
)
def test_a_uri_of_a_scheme_that_is_not_allowed_is_refused_with_what_is(location: str):
    with pytest.raises(ValueError, match=r"is a URI that cannot be used here; allowed: a path .*, file:///PATH$"):
        normalised(location)


def test_an_allowed_uri_has_a_bucket_and_a_scheme_in_lower_case():
    assert normalised(" GS://bucket/a b ", "gs") == "gs://bucket/a b"
    for location in ("gs:/bucket/x", "gs:bucket/x", "gs://", "gs:///x"):
        with pytest.raises(ValueError, match="names no bucket; write gs://BUCKET/NAME"):
            normalised(location, "gs")
    with pytest.raises(ValueError, match=r"s3://b/x .* allowed: a path of this machine, file:///PATH, gs://BUCKET/"):
        normalised("s3://b/x", "gs")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("file://host/x", "names the host 'host'"),
        ("file://x", "must be absolute"),
        ("file:x", "must be absolute"),
        ("file:", "must be absolute"),
        ("file:///x?y", "write ? as %3F"),
        ("file:///x#y", "write ? as %3F"),
        ("file:///x%00", "zero byte"),
        ("'gs://bucket/x'", "in quotes; write it without"),
        ('"file:///x"', "in quotes; write it without"),
    ],
)
def test_what_names_no_path_is_refused_with_the_reason(location: str, reason: str):
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")):
        normalised(location)
