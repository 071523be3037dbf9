"""A text as a sequence of symbols (characters or bytes), stored as one int64 id per symbol."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.artifacts.texts import texts
from elboflow.settings import RequestError
from preprocessing.extent import Extent
from preprocessing.features import ColumnError, Converted, Feature, Fitted, Summary, Unfit, Values, _raw_values
from preprocessing.features._token_statistics import Sequences, Symbols
from preprocessing.records.schema import Ragged, Wire, ends, ragged

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SYMBOLS = 1 << 21
"""An upper bound for vocabularies, larger than the number of Unicode code points."""

_BYTES = 256  # symbols of the unit `bytes`


@dataclass(frozen=True)
class Texts(Values):
    """Texts of a batch, cut to the allowed length."""

    column: "pa.Array"

    def take(self, rows: np.ndarray) -> "Texts":
        import pyarrow as pa

        return Texts((), self.column.take(pa.array(rows, pa.int64())))


class TokensFeature(Feature):
    """A text as a sequence of symbols: its characters (Unicode code points), or its bytes in UTF-8.

    A symbol is stored as its index in the vocabulary: the symbols of the train split, sorted by code point. All other
    symbols are stored as the last id, `unknown`. Bytes are stored as they are, 0 to 255, and no byte is unknown.

    Ids represent symbols only. The end of a text follows from its length, and a model that needs ids for the begin, the
    end or padding adds them above the vocabulary. Empty texts are rejected.
    """

    main: ClassVar = "length"
    identifies: ClassVar[bool] = True
    accepts: ClassVar[Literal["text"]] = "text"
    Look: ClassVar[type[Summary]] = Symbols

    kind: Literal["tokens"] = "tokens"
    unit: Literal["characters", "bytes"] = Field(
        "characters", description="what a symbol is: a Unicode code point, or a byte of the text in UTF-8"
    )
    length: Annotated[int, Field(ge=1, le=1 << 20)] | None = Field(
        None, description="the most symbols of a text; null: as many as the longest text has"
    )
    too_long: Literal["cut", "reject"] = Field(
        "cut", description="a text of more than `length` symbols: is cut there, or its example is rejected"
    )
    vocabulary_size: Annotated[int, Field(ge=1, le=MOST_SYMBOLS)] | None = Field(
        None, description="how many of the most frequent characters are in the vocabulary; null: all"
    )

    @model_validator(mode="after")
    def _has_an_effect(self) -> "TokensFeature":
        if self.vocabulary_size is not None and self.unit == "bytes":
            raise ValueError("vocabulary_size is for `unit: characters`; with `unit: bytes` there are 256 symbols")
        if self.too_long != "cut" and self.length is None:
            raise ValueError(f"`too_long: {self.too_long}` needs a `length`, beyond which a text is too long")
        return self

    @property
    def planned(self) -> FeatureSpec:
        longest = (self.length or 1,)
        return FeatureSpec(kind="tokens", dtype="int64", shape=longest, levels=1, ragged=True)

    @classmethod
    def stored(cls, name: str, spec: FeatureSpec, raw: Any) -> dict[str, np.ndarray]:
        rows, longest = _raw_values.each(name, raw, "one text"), spec.shape[0]
        vocabulary = spec.facts.get("vocabulary")
        known = {symbol: code for code, symbol in enumerate(vocabulary or ())}
        values, lengths = np.zeros((len(rows), longest), np.int64), np.zeros(len(rows), np.int32)
        for place, row in enumerate(rows):
            if (text := _raw_values.text(row)) is None:
                raise RequestError(
                    f"{name!r} takes one text per example, of at least one symbol; example {place} is "
                    f"{_raw_values.told(row)}"
                )
            ids = list(text.encode()) if vocabulary is None else [known.get(c, spec.facts["unknown"]) for c in text]
            if len(ids) > longest:
                raise RequestError(f"{name!r} takes texts of up to {longest:,} symbols; one has {len(ids):,}")
            values[place, : len(ids)], lengths[place] = ids, len(ids)
        return {name: values, name + LENGTH: lengths}

    @classmethod
    def identity_of(cls, name: str, spec: FeatureSpec, raw: Any, stored: Mapping[str, np.ndarray]) -> Ragged:
        found = map(_raw_values.text, _raw_values.each(name, raw, "one text"))
        return ragged([text.encode() for text in found if text is not None])

    @classmethod
    def raw(cls, name: str, spec: FeatureSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.array(texts(spec, expected[name], expected[name + LENGTH]), dtype=object)

    @classmethod
    def meaning(cls, spec: FeatureSpec) -> dict[str, Any]:
        return {key: spec.facts.get(key) for key in ("unit", "vocabulary", "unknown")}

    @classmethod
    def repeated(cls, spec: FeatureSpec) -> dict[str, Any]:
        return {"unit": spec.facts["unit"]}

    @property
    def may_need_fit(self) -> bool:
        return True

    def needs_fit(self, type: "pa.DataType") -> bool:
        return True

    def read(self, column: "pa.Array", name: str) -> Texts:
        import pyarrow.compute as pc

        from preprocessing import columns

        if not columns.is_text(column.type):
            raise ColumnError(f"is {columns.described(column.type)}; tokens are made of text")
        texts, unfit = columns.texts(column)
        lengths = (pc.utf8_length if self.unit == "characters" else pc.binary_length)(texts)
        sizes = lengths.to_numpy(zero_copy_only=False)
        empty = np.flatnonzero((sizes == 0) & ~columns.unfit_rows(unfit, len(texts)))
        if len(empty):
            unfit = (*unfit, Unfit("at least one symbol is expected", empty, ["''"] * len(empty)))
        if self.length is not None and (sizes > self.length).any():
            if self.too_long == "reject":
                rows = np.flatnonzero(sizes > self.length)
                reason = f"data.features.{name}.length allows {self.length:,} {self.unit}"
                unfit = (*unfit, Unfit(reason, rows, [f"of {sizes[row]:,} {self.unit}" for row in rows.tolist()]))
            else:
                texts = self._cut(texts, self.length)
        return Texts(unfit, texts)

    def identity(self, values: Texts) -> Ragged:
        return _bytes_of(values.column)

    def look(self, values: Texts) -> Symbols:
        symbols = self.symbols_of(values.column)
        counts = np.bincount(symbols.values, minlength=1)
        found = np.flatnonzero(counts)
        return Symbols(
            texts=len(symbols),
            bytes=len(_bytes_of(values.column).values),
            counts=dict(zip(found.tolist(), counts[found].tolist(), strict=True)),
        )

    def fitted(self, summary: Symbols | None, name: str) -> "FittedTokens":
        if summary is None or not summary.texts:
            raise ColumnError("has no text in the train split, of which a vocabulary could be made")
        mean = math.ceil(summary.bytes / summary.texts)
        if self.unit == "bytes":
            return FittedTokens(self, None, mean)
        frequent = sorted(summary.counts, key=lambda symbol: (-summary.counts[symbol], symbol))
        return FittedTokens(self, tuple(sorted(frequent[: self.vocabulary_size])), mean)

    def symbols_of(self, column: "pa.Array") -> Ragged:
        """Returns the code points, or the bytes, of each text."""
        if self.unit == "bytes":
            return _bytes_of(column)
        import pyarrow.compute as pc

        lengths = pc.utf8_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
        points = np.frombuffer(_bytes_of(column).values.tobytes().decode().encode("utf-32-le"), "<u4")
        return Ragged(points, ends(lengths))

    def _cut(self, texts: "pa.Array", length: int) -> "pa.Array":
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.unit == "characters":
            return pc.utf8_slice_codeunits(texts, 0, length)
        return pc.binary_slice(texts.cast(pa.binary()), 0, length)


@dataclass(frozen=True)
class FittedTokens(Fitted):
    """A fitted tokens feature.

    Attributes:
        feature: The settings.
        vocabulary: The code points of the symbols, in the order of their ids; None for bytes.
        mean_bytes: The mean number of UTF-8 bytes of a text.
    """

    feature: TokensFeature
    vocabulary: tuple[int, ...] | None
    mean_bytes: int
    Statistics: ClassVar[type[Summary]] = Sequences

    @property
    def stored_bytes(self) -> int:
        return self.mean_bytes

    @property
    def wire(self) -> Wire:
        return Wire("int64", None)

    @property
    def levels(self) -> int:
        """The number of ids, including the id of unknown symbols."""
        return _BYTES if self.vocabulary is None else len(self.vocabulary) + 1

    def convert(self, values: Texts) -> Converted:
        symbols = self.feature.symbols_of(values.column)
        if self.vocabulary is None:
            return Converted(Ragged(symbols.values.astype(np.int64), symbols.offsets))
        known = np.array(self.vocabulary, np.int64)
        ids = np.minimum(np.searchsorted(known, symbols.values), len(known) - 1)
        ids = np.where(known[ids] == symbols.values, ids, len(known))
        return Converted(Ragged(ids.astype(np.int64), symbols.offsets))

    def statistics(self, stored: Ragged) -> Sequences:
        return Sequences.of(stored)

    def spec(self, statistics: Mapping[str, Sequences]) -> FeatureSpec:
        longest = max(found.longest for found in statistics.values())
        facts: dict[str, Any] = {"unit": self.feature.unit}
        if self.vocabulary is not None:
            facts |= {"vocabulary": [chr(point) for point in self.vocabulary], "unknown": len(self.vocabulary)}
        return FeatureSpec(kind="tokens", dtype="int64", shape=(longest,), levels=self.levels, ragged=True, facts=facts)

    def kept(self, statistics: Sequences, extent: Extent | None) -> dict[str, Any]:
        return statistics.kept()


def _bytes_of(column: "pa.Array") -> Ragged:
    """Returns the UTF-8 bytes of each text, as a view of Arrow's buffer."""
    import pyarrow as pa

    large = column.cast(pa.large_binary())
    _, offsets, data = large.buffers()
    count = len(large)
    if not count:
        return Ragged(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    at = np.frombuffer(offsets, np.int64)[large.offset : large.offset + count + 1]
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return Ragged(content[at[0] : at[-1]], at - at[0])
