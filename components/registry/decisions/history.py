"""The history of a registered model: the append-only file `promotions.jsonl` of its history run (`history_run`).

Beside the file, `decisions/` holds the per-example values behind each decision. The step of a metric is the version:
MLflow's charts show bound, gain and champion over the versions.
"""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.registry.decisions import history_run
from components.registry.decisions.history_run import FILE, HISTORY, HistoryRun
from components.registry.decisions.record import Event, digest, lines, parse
from components.registry.decisions.tables import Table
from components.tracking import store
from components.tracking.upserts import upsert
from elboflow.artifacts.arrays import read_arrays
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger("elboflow.registry")

LINE = "elboflow.history.line"
"""The tag of a version: the number and the digest of the line of the history that decided on it last."""
UNFINISHED = "elboflow.history.unfinished"
"""The tag of a registered model, from before a line is written until aliases and tags have followed it: that line."""
_VALUES = "decisions"
_MOST_BYTES = 2**30
_MOST_VERSIONS = 10_000  # that MLflow gives at once


@dataclass(frozen=True)
class History:
    """The history of a registered model, as it is in MLflow.

    Attributes:
        client: MLflow.
        tracking_uri: Its address.
        model: Name of the registered model.
        run: The history run; None where there is none yet.
        text: The content of `promotions.jsonl`.
        events: Its lines.
    """

    client: "MlflowClient"
    tracking_uri: str
    model: str
    run: HistoryRun | None
    text: str
    events: tuple[Event, ...]

    @property
    def run_id(self) -> str | None:
        """The id of the history run."""
        return None if self.run is None else self.run.id

    @property
    def champion(self) -> int | None:
        """The champion after the last event."""
        return self.events[-1].champion if self.events else None

    @property
    def last(self) -> str | None:
        """What the next line holds of the last one."""
        return digest(lines(self.text)[-1]) if self.text else None

    def of(self, version: int, mlflow_run: str | None) -> Event | None:
        """Returns the decision on a version, if it was decided on.

        Args:
            version: Number of the version. A registered model that was deleted and made anew counts from 1 again.
            mlflow_run: Id of the MLflow run that made it.
        """
        found = (e for e in self.events if e.kind == "decision" and e.version == version)
        return next((e for e in found if e.source is not None and e.source.mlflow_run == mlflow_run), None)

    def values(self, number: int) -> Table:
        """Returns the stored values of an event.

        Raises:
            WorkError: They are not there, or not those that the decision was made by.
        """
        event = self.events[number - 1]
        if event.values is None:
            raise WorkError(f"event {number} has no stored values")
        what = f"the values that event {number}, on version {event.version} of {self.model}, was decided by"
        with temporary_folder() as temporary:
            path = None if self.run is None else self.run.fetch(_file(number, event.values), temporary)
            if path is None:
                raise WorkError(f"MLflow does not have {what}")
            if digest(path.read_bytes()) != event.values:
                raise WorkError(f"{what}, were changed since then")
            return read_arrays(path, _MOST_BYTES)

    def with_event(
        self, event: Event, values: bytes | None = None, metrics: dict[str, float] | None = None
    ) -> "History":
        """Appends an event, and returns the history with it. Without its line, nothing happened.

        A server gives no lock. So the line is looked for again after it was written, and the version that it decides
        on gets its digest (`sealed`): of two lines that were written at the same moment, the lost one is noticed.

        Args:
            event: The event.
            values: The stored values behind it.
            metrics: What the charts show of the version besides the gain, by name.

        Raises:
            WorkError: Another process has written at the same time.
        """
        run = self.run or history_run.begin(self.client, self.tracking_uri, self.model)
        if values is not None and event.values is not None:
            run.write(_file(event.number, event.values), values)
        text = f"{self.text}{event.line}\n"
        is_alone = run.text() == self.text
        if is_alone:
            upsert(self.client.set_registered_model_tag, self.model, UNFINISHED, sealed(event))
            run.write(FILE, text.encode())
            is_alone = run.text().startswith(text)
        if not is_alone:
            raise WorkError(f"another version of {self.model} was decided on at the same time: register this one again")
        upsert(self.client.set_registered_model_tag, self.model, HISTORY, f"{run.id} {sealed(event)}")
        after = History(self.client, self.tracking_uri, self.model, run, text, (*self.events, event))
        run.chart(round(event.at.timestamp() * 1000), after._charted(metrics or {}))
        return after

    def lost_lines(self, latest: int = _MOST_VERSIONS) -> Iterator[str]:
        """Yields a sentence for each of the latest versions whose line, by which it was decided on, is not there."""
        for version in self.client.search_model_versions(
            f"name = {store.quoted(self.model)}", max_results=latest, order_by=["version_number DESC"]
        ):
            written = version.tags.get(LINE)
            if written is not None and not self.has(written):
                yield (
                    f"version {version.version} of {self.model} was decided on by a line of {FILE} that is not there "
                    f"any more: restore the file, or remove the tag {LINE} of the version to go on without that line"
                )

    def has(self, written: str) -> bool:
        """Returns whether a line is in the history, by what `sealed` returned for it."""
        number, _, of_line = written.partition(" ")
        there = lines(self.text)
        return number.isdigit() and 0 < int(number) <= len(there) and digest(there[int(number) - 1]) == of_line

    def _charted(self, metrics: dict[str, float]) -> dict[str, tuple[float, int]]:
        """Returns what the charts show of the last event: value and step, by name.

        A change by a person is drawn at the newest version there was at that time, so that it comes after all before.
        """
        event = self.events[-1]
        shown = dict(metrics)
        if event.looks:
            newcomer = event.looks[0]
            gain = newcomer.difference if newcomer.gain is None else newcomer.gain
            shown |= {"gain": gain, "gain_low": newcomer.low, "gain_high": newcomer.high}
        steps = {name: (value, event.version) for name, value in shown.items()}
        if event.champion is not None:
            steps["champion"] = float(event.champion), max(event.version for event in self.events)
        return steps


def open_history(client: "MlflowClient", tracking_uri: str, model: str) -> History:
    """Reads the history of a registered model; it is empty where nothing was recorded yet.

    Raises:
        WorkError: It is damaged, was changed or was deleted.
    """
    # The tag is read first: if another process adds a line after that, the file is longer than the tag says.
    named, _, written = client.get_registered_model(model).tags.get(HISTORY, "").partition(" ")
    run = history_run.find(client, model, named or None)
    text = "" if run is None else run.text()
    history = History(client, tracking_uri, model, run, text, parse(text, f"{FILE} of {model}"))
    if named and not history.has(written):
        raise WorkError(
            f"{FILE} of {model}: line {written.partition(' ')[0]}, the last one that was written, was changed or "
            f"removed: restore this artifact of the MLflow run {history.run_id}, or remove the tag {HISTORY} of the "
            "registered model to go on without that line"
        )
    return history


def sealed(event: Event) -> str:
    """Returns what tags keep of a line: its number and its digest."""
    return f"{event.number} {digest(event.line)}"


def packed(table: Table) -> bytes:
    """Returns values of examples as the bytes that are stored."""
    file = io.BytesIO()
    arrays: dict[str, Any] = dict(table)
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _file(number: int, of_values: str) -> str:
    """Returns where the values of an event are; two processes that write the same number write two files."""
    return f"{_VALUES}/{number:06d}-{of_values[:12]}.npz"
