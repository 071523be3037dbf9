"""Raw data → a dataset folder: the Beam graph, and the steps before and after it.

    work units ─► read and encode ─► group by shard ─► write shards ─► summary ─► manifest

A worker reads a unit of raw data in batches, checks it, turns it into codes, hashes each example into its key, which
says in which split and shard it belongs, and encodes the batch into records. Grouping brings the records of a shard
together; sorting them by key makes the shard independent of the order of reading, and shuffles it. No element of the
graph is a single example: Beam's cost per element would be thirty times the work.
"""

import contextlib
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from pydantic import ValidationError

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing import engines, files, folder, manifest, vocabulary
from preprocessing.beside import write
from preprocessing.config import HELD_OUT, DataConfig
from preprocessing.extent import LEAST_USE, advice
from preprocessing.manifest import Manifest, Shard, SourceRecord
from preprocessing.remarks import remarks
from preprocessing.runners import DirectRunner, Runner
from preprocessing.sources import Unit, check, open_source
from preprocessing.summary import Summary, total
from preprocessing.work import REMARKS, Plan, ReadAndEncode, WriteShard

LOG = logging.getLogger("elboflow.preprocessing")
SUMMARY = "summary.json"
_DIRECT = DirectRunner()
RECORD_OVERHEAD = 80  # bytes of a record besides its images, about: framing, names, key and a label


@dataclass(frozen=True)
class Preprocessed:
    """A finished dataset, and whether it had been there before."""

    manifest: Manifest
    reused: bool


def dataset_digest(config: DataConfig) -> str:
    """Returns the content address of the dataset that a config would make, before any of it is made.

    Raises:
        RequestError: The source needs a file that does not exist.
    """
    check(config)
    return manifest.digest(config, open_source(config).fingerprint())


def preprocess(
    config: DataConfig, output: Path | str, digest: str | None = None, runner: Runner = _DIRECT
) -> Preprocessed:
    """Makes the dataset of a config in a folder, or finds it there.

    Args:
        config: What to make it from.
        output: The dataset folder itself, on this machine or as a URI. What it held before is replaced.
        digest: What `dataset_digest` returned before, if the folder was chosen by it.
        runner: Where the graph runs. It does not change what is written.

    Raises:
        RequestError: A file of the source does not exist, or the folder cannot be written to, or one of them cannot be
            reached from where the runner's workers are.
        WorkError: The data are damaged or unfit, or could not be written; the folder then holds no manifest. Or they
            have changed since their digest was taken; the folder is then as it was.
    """
    started, output = time.monotonic(), engines.output_of(runner, str(output))
    check(config)
    raw = open_source(config)
    shared = engines.check(runner, raw.paths(), output)
    source = SourceRecord(kind=config.source.kind, description=raw.describe(), fingerprint=raw.fingerprint())
    found_digest = manifest.digest(config, source.fingerprint)
    if digest not in (None, found_digest):
        raise WorkError(
            f"the source changed while its dataset was made: {source.description} had the digest {digest:.12}… and now "
            f"has {found_digest:.12}…; try again when nothing writes to it"
        )
    with contextlib.ExitStack() as attempts:
        temporary = attempts.enter_context(folder.attempt(output))
        if found := folder.withdraw(output, found_digest):
            LOG.info("reused %s: %s", output, _contents(found))
            _warn(found)
            return Preprocessed(found, reused=True)
        if shared != output:
            temporary = attempts.enter_context(folder.attempt(shared))
        units = raw.units()
        names = vocabulary.find(config)
        plan = Plan(config, raw, temporary, _shards(config, units, source.description), names)
        summary = _run(plan, units, runner, found_digest)
        _check_splits(config, summary)
        shards, places = _named(config, summary)
        made = manifest.describe(config, source, summary, shards, names)
        try:
            folder.commit(output, made, places)
        except OSError as error:
            raise WorkError(f"could not write the dataset to {output}: {error}") from None
    LOG.info("wrote %s in %.1f s to %s", _contents(made), time.monotonic() - started, output)
    _warn(made)
    return Preprocessed(made, reused=False)


def graph(pipeline: beam.Pipeline, plan: Plan, units: list[Unit], spread: bool) -> None:
    """Adds the graph to a pipeline. It leaves the shards and SUMMARY in the plan's folder.

    Args:
        pipeline: What to add it to.
        plan: What the workers need to know.
        units: The work units.
        spread: Whether there may be several workers to spread the units over.
    """
    read = (
        pipeline
        | "work units" >> beam.Create(units, reshuffle=len(units) > 1 and spread)
        | "read and encode" >> beam.ParDo(ReadAndEncode(plan)).with_outputs(REMARKS, main="records")
    )
    written = read.records | "group by shard" >> beam.GroupByKey() | "write shards" >> beam.ParDo(WriteShard(plan))
    (
        [written, read[REMARKS]]
        | "what was done" >> beam.Flatten()
        | "summary" >> beam.CombineGlobally(total).without_defaults()
        | "write the summary" >> beam.Map(_leave, files.join(plan.folder, SUMMARY))
    )


def _leave(content: bytes, path: str) -> None:
    with contextlib.suppress(WorkError):  # an exception would reach a person as Beam's own; `_run` misses the file
        write(path, content)


def _run(plan: Plan, units: list[Unit], runner: Runner, digest: str) -> Summary:
    """Runs the graph and returns what its workers tell, unless they tell of problems."""
    workers = plan.config.workers
    is_here = isinstance(runner, DirectRunner)
    spread = workers > 1 or not is_here
    engines.run(runner, workers, f"elboflow-{digest[:12]}", lambda pipeline: graph(pipeline, plan, units, spread))
    try:
        with files.open_to_read(files.join(plan.folder, SUMMARY)) as file:
            summary = Summary.model_validate_json(file.read())
    except (OSError, ValidationError):
        if is_here:
            write(files.join(plan.folder, SUMMARY), bytes(1 << 20))  # says why, if there is still no way to write it
            raise WorkError(f"could not write {plan.folder}/{SUMMARY}: is the disk full?") from None
        raise WorkError(
            f"the workers have done their work, but {plan.folder}/{SUMMARY} is not there: they need a place to write "
            "to that this process can read, too; give it as the runner's `temporary`"
        ) from None
    if problems := _problems(plan.config, summary):
        first, *more = problems
        raise WorkError(first + (f" (and {counted(len(more), 'more such problem')})" if more else ""))
    return summary


def _problems(config: DataConfig, summary: Summary) -> list[str]:
    """Returns what went wrong, in sentences; what does not fit comes with where all values lie, and what to write."""
    found = sorted(set(summary.problems))
    for name, sentences in sorted(summary.unfit.items()):
        extent = summary.seen[name]
        found += [
            f"{sentence}; {extent}: {advice(name, config.images[name], extent)}" for sentence in sorted(sentences)
        ]
    return found


def _shards(config: DataConfig, units: list[Unit], source: str) -> dict[str, int]:
    """Returns over how many shards each split is spread: a function of the config and the number of examples."""
    held_out = sum(unit.count for unit in units if unit.held_out)
    count = sum(unit.count for unit in units)
    if not count:
        raise WorkError(f"{source}: the source is empty; at least one example for each split is expected")
    hashed = count - held_out if HELD_OUT in config.splits.values() else count
    record = sum(image.size for image in config.images.values()) + RECORD_OVERHEAD
    examples = {n: held_out if isinstance(f, str) else hashed * f for n, f in config.splits.items()}
    return {n: max(1, math.ceil(e * record / (config.shards.megabytes * 1e6))) for n, e in examples.items()}


def _check_splits(config: DataConfig, summary: Summary) -> None:
    counts = {split: sum(shard.examples for shard in summary.of(split)) for split in config.splits}
    examples, distinct = sum(counts.values()), sum(shard.distinct for shard in summary.shards)
    held = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    copies = ""
    if distinct < examples:
        copies = f", which are {distinct:,} distinct: examples with the same image are always in one split"
    for split, count in counts.items():
        if not count:
            raise WorkError(
                f"the split {split!r} came out empty: data.splits gives it {config.splits[split]} of "
                f"{counted(examples, 'example')}{copies}; the splits hold {held}; give it a larger share, or more "
                f"distinct examples{_unused(config, summary)}"
            )


def _unused(config: DataConfig, summary: Summary) -> str:
    """Returns, for a person whose examples came out alike, where their values lie in a range that is far too wide."""
    found = [(name, image, summary.seen[name]) for name, image in config.images.items()]
    wide = [f"{e}: {advice(name, image, e)}" for name, image, e in found if e.use_of(image) < LEAST_USE]
    return "".join(f"; {sentence}" for sentence in wide)


def _named(config: DataConfig, summary: Summary) -> tuple[dict[str, list[Shard]], dict[str, str]]:
    """Returns the shards of each split under their final names, and where each of them is until the commit."""
    shards: dict[str, list[Shard]] = {split: [] for split in sorted(config.splits)}
    places = {}
    for split, named in shards.items():
        written = sorted((s for s in summary.shards if s.split == split), key=lambda shard: shard.number)
        for number, shard in enumerate(written):
            name = f"{split}-{number:05d}-of-{len(written):05d}.tfrecord"
            named.append(Shard(name=name, examples=shard.examples, bytes=shard.bytes, sha256=shard.sha256))
            places[name] = shard.name
    return shards, places


def _contents(made: Manifest) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in made.counts.items())
    size = sum(shard.bytes for shard in made.all_shards) / 1e6
    rejected = sum(made.rejected.values())
    return (
        f"{counted(sum(made.counts.values()), 'example')} ({splits}) in {counted(len(made.all_shards), 'shard')}, "
        f"{size:,.1f} MB, {rejected:,} rejected{_duplicates(made)}"
    )


def _duplicates(made: Manifest) -> str:
    if made.distinct is None or made.distinct == made.counts:
        return ""
    by_split = {split: count - made.distinct[split] for split, count in made.counts.items()}
    splits = ", ".join(f"{split} {count:,}" for split, count in by_split.items() if count)
    return f", {counted(sum(by_split.values()), 'duplicate')} ({splits})"


def _warn(made: Manifest) -> None:
    for remark in remarks(made):
        LOG.warning("%s", remark)
