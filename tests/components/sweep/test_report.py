"""The comparison of trials, as a browser would read it."""

import re
from html.parser import HTMLParser

import pytest

from components.sweep.report import report
from components.sweep.trial import Outcome, Status


class Page(HTMLParser):
    """What stands in a page: its lines, the words of its drawings, the rows of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.lines: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in = tag
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "action")]
        if tag == "polyline":
            self.lines.append(dict(attributes))
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "text":
            self.words.append(data)
        if self._in == "td":
            self.rows[-1][-1] += data


def outcome(latent: object, elbo: tuple[float, ...], status: Status = "finished", reason: str | None = None) -> Outcome:
    return Outcome(f"{latent}", {"model.latent": latent, "seed": 0}, "run", status, elbo, 2.0, reason)


OVER = {"model.latent": "2,4,8", "seed": "0"}
BEST = outcome(8, (-30.0, -25.0))
TRIALS = [
    BEST,
    outcome(4, (-31.0, -26.0)),
    outcome(2, (-35.0,), "pruned"),
    outcome(16, (), "failed", "<b>inf</b> & more"),
]


@pytest.fixture
def text() -> str:
    return report("digits", "digits-sweep-1", OVER, TRIALS, BEST)


def test_it_needs_nothing_else(text: str):
    page = Page(text)
    assert page.addresses == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|http", text)


def test_every_trial_has_a_row_and_every_measured_one_a_line_in_both_drawings(text: str):
    page = Page(text)
    rows = [row for row in page.rows if len(row) > 4]
    assert [row[0] for row in rows] == ["8", "4", "2", "16"]
    assert "the best" in rows[0][-1]
    kinds = sorted(str(line["class"]) for line in page.lines)
    assert kinds == sorted(2 * ["best", "finished", "pruned"])


def test_a_line_passes_its_values_and_ends_at_its_bound(text: str):
    coordinates = Page(text).lines[:3]
    places = {
        str(line["class"]): [tuple(map(float, point.split(","))) for point in str(line["points"]).split()]
        for line in coordinates
    }
    assert {len(points) for points in places.values()} == {3}, "two keys and the bound"
    latent = {kind: points[0][1] for kind, points in places.items()}
    bound = {kind: points[-1][1] for kind, points in places.items()}
    assert latent["best"] < latent["finished"] < latent["pruned"], "larger values stand higher"
    assert bound["best"] < bound["finished"] <= bound["pruned"]


def test_what_a_trial_says_is_text_and_no_markup(text: str):
    assert "<b>inf</b>" not in text
    assert "&lt;b&gt;inf&lt;/b&gt; &amp; more" in text


@pytest.mark.parametrize(
    "trials",
    [
        [BEST],
        [outcome(2, (), "failed", "inf")],
        [outcome(value, (-30.0,)) for value in ("elbo", {"kind": "beta"}, None, True, [64, 64])],
        [outcome(10.0**-i, (-20.0 - 100 * (i == 3),)) for i in range(12)],
        [outcome(2, (-1.0,)), outcome(3, (-1.0,))],
    ],
)
def test_any_values_and_bounds_can_be_drawn(trials: list[Outcome]):
    page = Page(report("digits", "run", OVER, trials, None))
    assert len([row for row in page.rows if len(row) > 4]) == len(trials)
    for line in page.lines:
        heights = [float(point.split(",")[1]) for point in str(line["points"]).split()]
        assert all(0 <= height <= 360 for height in heights)
