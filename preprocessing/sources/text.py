"""Text files: an example is a line, or a window of a fixed number of characters."""

import codecs
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from elboflow.settings import WorkError
from preprocessing.features import Feature
from preprocessing.raw import Batch, Unit
from preprocessing.raw.arrays import Stream
from preprocessing.raw.lines import BLOCK, lines
from preprocessing.raw.listed import Listed, ListedSource, opened

if TYPE_CHECKING:
    import pyarrow as pa

_WINDOW = 64
_COLUMNS = ("text", "file")


class TextSource(ListedSource):
    """Text files in UTF-8, plain or gzipped.

    The features are `text`, and `file`, the name of the file.
    """

    kind: Literal["text"] = "text"
    unit: Literal["line", "window"] = Field(
        "line", description="an example: line: a nonblank line; window: the next `window` characters of a file"
    )
    window: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        _WINDOW, description="characters of an example with `unit: window`; the last one of a file may be shorter"
    )

    @model_validator(mode="after")
    def _has_an_effect(self) -> "TextSource":
        if self.unit == "line" and self.window != _WINDOW:
            raise ValueError(f"`window: {self.window}` is for `unit: window`; with `unit: line` an example is a line")
        return self

    @property
    def default_features(self) -> dict[str, Feature]:
        return {"text": Feature.parse("tokens")}

    def require(self, features: Mapping[str, Feature]) -> None:
        if unknown := sorted(set(features) - set(_COLUMNS)):
            raise ValueError(f"features: the text source has no '{unknown[0]}'; it has {' and '.join(_COLUMNS)}")

    def open(self, features: Mapping[str, Feature]) -> "TextFiles":
        return TextFiles.find(self, features)


class TextFiles(Listed):
    """The text files of a source."""

    def read(self, unit: Unit) -> Iterator[Batch]:
        import pyarrow as pa

        path, source = self.path(unit), self.source
        assert isinstance(source, TextSource)
        with opened(path) as stream:
            if source.unit == "line":
                for found in lines(stream, path):
                    yield self._batch(found.column, path, found.numbers, "line")
                return
            first = 0
            for windows in _windows(stream, source.window, path):
                yield self._batch(
                    pa.array(windows, pa.string()), path, np.arange(first, first + len(windows)), "window"
                )
                first += len(windows)

    def _batch(self, texts: "pa.Array", path: str, rows: np.ndarray, noun: str) -> Batch:
        import pyarrow as pa

        columns = {"text": texts, "file": pa.array([self.name(path)] * len(texts), pa.string())}
        chosen = pa.RecordBatch.from_pydict({name: columns[name] for name in self.features})
        return Batch(chosen, dict.fromkeys(self.features, path), rows, noun)


def _windows(stream: Stream, size: int, place: str) -> Iterator[list[str]]:
    """Yields the windows of a stream in blocks.

    Raises:
        WorkError: The stream is not UTF-8.
    """
    decoder, rest, read, at_end = codecs.getincrementaldecoder("utf-8")(), "", 0, False
    while not at_end:
        block = stream.read(BLOCK)
        at_end = not block
        try:
            text = decoder.decode(block, final=at_end)
        except UnicodeDecodeError as error:
            where = read + error.start
            raise WorkError(
                f"{place} is no UTF-8: {error.reason} near byte {where:,}; windows of it have no meaning"
            ) from None
        text = rest + (text.removeprefix("\ufeff") if not read else text)
        read += len(block)
        whole = len(text) if at_end else len(text) // size * size
        rest = text[whole:]
        if whole:
            yield [text[start : start + size] for start in range(0, whole, size)]
