"""What a notebook shows of an artifact: escaped, without secrets, and with nothing from outside."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from components.surroundings.masking import masked
from elboflow.settings import html
from elboflow.vae.evaluation.paired import Comparison
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from tests.preprocessing.raw_files import config, examples, mnist_folder


class Read(HTMLParser):
    """Reads tags and text, and checks that each tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert all("//" not in (value or "") or (value or "").startswith("data:") for _, value in attributes)
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_cell_is_text_whatever_stands_in_it():
    shown = html.table("<b>", ("<script>",), [("&amp; <img src=x onerror=alert(1)>", 7)], note="\"'")
    read = Read(shown)
    assert not {"script", "img", "b"} & set(read.tags)
    assert "&amp; <img src=x onerror=alert(1)>" in read.texts
    assert "7" in read.texts


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(html, "_masks", [])
    html.mask_with(masked)
    monkeypatch.setenv("SOME_PASSWORD", "hunter2-hunter2")
    assert "hunter2" not in html.table("of hunter2-hunter2", (), [("at", "https://me:pass@host/")])
    assert "me:pass" not in html.text("https://me:pass@host/")


def test_a_picture_is_part_of_the_page():
    assert Read(html.picture(b"\x89PNG", "a title")).tags == ["figure", "img"]


def test_a_dataset_shows_its_splits_and_features(tmp_path: Path):
    source = mnist_folder(tmp_path / "<raw>", *examples(200))
    made = preprocess(config({"kind": "idx", "path": str(source)}), tmp_path / "dataset")
    read = Read(made._repr_html_())
    assert open_dataset(tmp_path / "dataset")._repr_html_() == made._repr_html_()
    assert {"train", "validation", "test", "image", "label", "6×6×1"} <= set(read.texts)
    assert f"{made.manifest.counts['train']:,}" in read.texts


def test_a_comparison_shows_its_interval_and_the_p_value():
    shown = Read(Comparison(0.25, 0.1, 0.4, 0.95, 0.0005, 0.07, 171, 171)._repr_html_()).texts
    assert {"+0.250 nats", "95% interval", "+0.100 … +0.400", "0.0005"} <= set(shown)
