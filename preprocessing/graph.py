"""The Beam graphs of a dataset, and the reports of their workers.

    work units ─► look ─► report                                         only if a feature must be fitted
    work units ─► read and encode ─► group by shard ─► write shards ─► report

A worker reads a unit of raw data in batches, checks and converts the values, and hashes each example into its key. The
key decides the split and the shard of the example. Then the worker encodes the batch into records. The grouping
collects the records of a shard. Sorting by key makes the shard independent of the reading order, and shuffles it. No
element of the graph is a single example: Beam's overhead per element would be thirty times the work.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.utils import interactive_utils
from pydantic import ValidationError

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing import files
from preprocessing.background import write
from preprocessing.engines import Engine
from preprocessing.features import Feature
from preprocessing.plan import Plan
from preprocessing.raw import Unit
from preprocessing.report import Report, Total
from preprocessing.shards import WriteShard
from preprocessing.workers import REPORTS, Look, NumberedUnit, ReadAndEncode


@dataclass(frozen=True)
class Job:
    """Runs the graphs of one dataset.

    Attributes:
        runner: The engine that runs them.
        name: The job name on a remote engine.
    """

    runner: Engine
    name: str

    def look(self, plan: Plan, units: list[Unit], features: Mapping[str, Feature], fit: tuple[str, ...]) -> Report:
        """Collects the statistics that the fit of features needs, over all values.

        Args:
            plan: The plan of the dataset.
            units: The work units.
            features: The features to read.
            fit: The names of the features to fit, a subset of `features`.

        Raises:
            WorkError: The workers found damaged data, or could not write.
        """

        def add(pipeline: beam.Pipeline) -> None:
            reports = self._units(pipeline, plan, units) | "look" >> beam.ParDo(Look(plan, features, fit))
            _merge_and_write(reports, plan, "look.json")

        return self._run(add, plan, "look.json")

    def read_and_write(self, plan: Plan, units: list[Unit]) -> Report:
        """Writes the shards into the plan's folder, under temporary names.

        Raises:
            WorkError: The workers found damaged data, or could not write.
        """

        def add(pipeline: beam.Pipeline) -> None:
            encode = beam.ParDo(ReadAndEncode(plan)).with_outputs(REPORTS, main="records")
            read = self._units(pipeline, plan, units) | "read and encode" >> encode
            written = (
                read.records | "group by shard" >> beam.GroupByKey() | "write shards" >> beam.ParDo(WriteShard(plan))
            )
            _merge_and_write([written, read[REPORTS]] | "what was done" >> beam.Flatten(), plan, "report.json")

        return self._run(add, plan, "report.json")

    def _units(self, pipeline: beam.Pipeline, plan: Plan, units: list[Unit]) -> beam.PCollection:
        numbered: list[NumberedUnit] = list(enumerate(units))
        spread = plan.config.workers > 1 or not self.runner.is_here
        return pipeline | "work units" >> beam.Create(numbered, reshuffle=len(units) > 1 and spread)

    def _run(self, add: Callable[[beam.Pipeline], None], plan: Plan, report: str) -> Report:
        """Runs a graph, and returns the merged report of its workers; raises the problems in it as a WorkError."""
        with _labels_as_written():
            self.runner.run(plan.config.workers, self.name, add)
        path = files.join(plan.folder, report)
        try:
            with files.open_to_read(path) as file:
                found = Report.model_validate_json(file.read())
        except (OSError, ValidationError):
            if self.runner.is_here:
                write(path, bytes(1 << 20))  # raises an error with the reason, if writing still fails
                raise WorkError(f"could not write {path}: is the disk full?") from None
            raise WorkError(
                f"the workers have done their work, but {path} is not there: they need a place to write to that this "
                "process can read, too; give it as the runner's `temporary`"
            ) from None
        if problems := sorted(set(found.problems)):
            first, *more = problems
            raise WorkError(first + (f" (and {counted(len(more), 'more such problem')})" if more else ""))
        return found


@contextlib.contextmanager
def _labels_as_written() -> Iterator[None]:
    """Keeps Beam from looking for IPython, for whose cells it labels steps anew.

    What it imports for that fails where pandas is version 3 (apache-beam 2.77), so that no notebook could preprocess.
    """
    before, interactive_utils.is_in_ipython = interactive_utils.is_in_ipython, lambda: False
    try:
        yield
    finally:
        interactive_utils.is_in_ipython = before


def _merge_and_write(reports: beam.PCollection, plan: Plan, name: str) -> None:
    """Adds the steps to a graph that merge its reports and write the result into the plan's folder."""
    merged = reports | "report" >> beam.CombineGlobally(Total(plan)).without_defaults()
    merged | "write the report" >> beam.Map(_write_report, files.join(plan.folder, name))


def _write_report(content: bytes, path: str) -> None:
    with contextlib.suppress(WorkError):  # Beam would wrap the error beyond reading; `_run` notices the missing file
        write(path, content)
