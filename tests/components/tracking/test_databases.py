"""SQLite files as URIs: what we write is what SQLAlchemy reads, for any path that the file system allows."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from components.tracking import databases

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(st.lists(names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4))
def test_sqlalchemy_reads_the_path_that_was_written_and_so_do_we(parts: list[str]):
    file = Path("/", *parts)
    uri = databases.uri_of(file)
    assert make_url(uri).database == str(file)
    assert databases.file_of(uri) == file
    assert databases.normal(uri) == uri


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////tmp/plain/mlflow.db", "/tmp/plain/mlflow.db"),
        ("sqlite:////tmp/My%20Project/mlflow.db", "/tmp/My Project/mlflow.db"),
        ("sqlite:////tmp/My Project/mlflow.db", "/tmp/My Project/mlflow.db"),
        ("sqlite+pysqlite:////tmp/a%3Fb/mlflow.db?timeout=30", "/tmp/a?b/mlflow.db"),
        ("sqlite:///here.db", str(Path.cwd() / "here.db")),
    ],
)
def test_a_uri_that_a_person_gives_is_read_as_sqlalchemy_reads_it(uri: str, path: str):
    assert databases.file_of(uri) == Path(path) == Path(make_url(uri).database or "").absolute()


def test_options_of_a_uri_that_a_person_gives_stay():
    assert databases.normal("sqlite:////tmp/a%20b.db?timeout=30") == "sqlite:////tmp/a b.db?timeout=30"


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "https://m/sqlite:///x", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_sqlite_file_has_no_path_and_stays_as_it_is(uri: str):
    assert databases.file_of(uri) is None
    assert databases.normal(uri) == uri
