"""Raw data → a dataset folder: the steps around the Beam graph (`preprocessing.graph`)."""

import contextlib
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

from elboflow.settings import WorkError
from elboflow.settings.text import counted, short_path
from preprocessing import address, files, folder, graph, manifest
from preprocessing.config import DataConfig
from preprocessing.describe import describe
from preprocessing.engines import Engine
from preprocessing.engines.direct import Direct
from preprocessing.features import ColumnError, Feature, Fitted
from preprocessing.manifest import Manifest, SourceRecord
from preprocessing.plan import Plan
from preprocessing.raw import Raw, Unit
from preprocessing.rejects import check_rejected, written_rejects
from preprocessing.remarks import remarks
from preprocessing.report import Report
from preprocessing.sharding import check_splits, named, require_examples, shard_counts
from preprocessing.sources import check, open_source

LOG = logging.getLogger("elboflow.preprocessing")
_DIRECT = Direct()


@dataclass(frozen=True)
class Preprocessed:
    """A finished dataset, its folder, and whether an earlier run had made it."""

    folder: str
    manifest: Manifest
    reused: bool

    def _repr_html_(self) -> str:
        return self.manifest._repr_html_()


def dataset_digest(config: DataConfig, root: str = "") -> str:
    """Returns the content address of the dataset of a config, without making it.

    Args:
        config: The settings of the dataset.
        root: A folder of dataset folders, each named by its address. If the dataset exists there under its former
            address (`preprocessing.address`), this address is returned.

    Raises:
        RequestError: The source needs a file that does not exist.
    """
    newest, *former = dataset_digests(config)
    if root and not files.exists(files.join(root, newest, manifest.NAME)):
        return next((old for old in former if files.exists(files.join(root, old, manifest.NAME))), newest)
    return newest


def dataset_digests(config: DataConfig) -> tuple[str, ...]:
    """Returns all content addresses that the dataset of a config may have, the current one first.

    Raises:
        RequestError: The source needs a file that does not exist.
    """
    check(config)
    return address.digests(config, open_source(config).fingerprint())


def preprocess(
    config: DataConfig, output: Path | str, digest: str | None = None, runner: Engine = _DIRECT
) -> Preprocessed:
    """Makes the dataset of a config in a folder, or finds it there.

    Args:
        config: The settings of the dataset.
        output: The dataset folder itself, a local path or a URI. Another dataset in it is replaced.
        digest: The result of `dataset_digest`, if the folder was chosen by it.
        runner: The engine that runs the Beam graphs. It does not change the records.

    Raises:
        RequestError: A file of the source does not exist, the folder cannot be written to, or the runner's workers
            cannot reach the source or the folder.
        WorkError: The data are damaged or unfit, or could not be written; the folder then holds no manifest. Or the
            data have changed since `digest` was computed; the folder is then unchanged.
    """
    started, output = time.monotonic(), runner.output_of(str(output))
    check(config)
    raw = open_source(config)
    shared = runner.check(raw.paths(), output)
    source = SourceRecord(kind=config.source.kind, description=raw.describe(), fingerprint=raw.fingerprint())
    digests = address.digests(config, source.fingerprint)
    if digest not in (None, *digests):
        raise WorkError(
            f"the source changed while its dataset was made: {source.description} had the digest {digest:.12}… and now "
            f"has {digests[0]:.12}…; try again when nothing writes to it"
        )
    with contextlib.ExitStack() as attempts:
        temporary = attempts.enter_context(folder.attempt(output))
        if found := folder.withdraw(output, digests):
            LOG.info("made already in %s: %s", short_path(output), _contents(found))
            _warn(found)
            return Preprocessed(str(output), found, reused=True)
        if shared != output:
            temporary = attempts.enter_context(folder.attempt(shared))
        made = _make(config, raw, source, temporary, runner)
        try:
            folder.commit(output, made.manifest, made.places)
        except OSError as error:
            raise WorkError(f"could not write the dataset to {output}: {error}") from None
    LOG.info("wrote %s in %.1f s to %s", _contents(made.manifest), time.monotonic() - started, short_path(output))
    _warn(made.manifest)
    return Preprocessed(str(output), made.manifest, reused=False)


@dataclass(frozen=True)
class _Uncommitted:
    """A dataset before its commit: its manifest, and the temporary path of each file by final name."""

    manifest: Manifest
    places: dict[str, str]


def _make(config: DataConfig, raw: Raw, source: SourceRecord, temporary: str, runner: Engine) -> _Uncommitted:
    units = raw.units()
    plan = Plan(config, raw, temporary, {}, {})
    job = graph.Job(runner, f"elboflow-{address.digest(config, source.fingerprint)[:12]}")
    fitted, look = _fitted(plan, units, job)
    read: dict[str, int] = {unit.part: 0 for unit in units}
    for unit in units:
        read[unit.part] += unit.examples or 0
    shards = shard_counts(config, fitted, look.read if look else read, source.description)
    plan = replace(plan, fitted=fitted, shards=shards)
    report = job.read_and_write(plan, units)
    check_rejected(config, report)
    check_splits(config, report)
    names, places = named(config, report)
    places |= written_rejects(report, temporary)
    return _Uncommitted(describe(config, source, report, names, fitted), places)


def _fitted(plan: Plan, units: list[Unit], job: "graph.Job") -> tuple[dict[str, Fitted], Report | None]:
    """Returns the fitted features, and the report of the pass over the data if one was necessary."""
    features = plan.config.features
    types = plan.raw.types() if any(feature.may_need_fit for feature in features.values()) else {}
    fit = tuple(name for name, feature in sorted(features.items()) if name in types and feature.needs_fit(types[name]))
    if not fit and all(unit.examples is not None for unit in units):
        return {name: feature.fitted(None, name) for name, feature in features.items()}, None
    by_train = any(features[name].fits_on == "train" for name in fit)
    needed = features if by_train or not fit else {name: features[name] for name in fit}
    raw = plan.raw if needed is features else open_source(plan.config, needed)
    report = job.look(replace(plan, raw=raw), units, needed, fit)
    require_examples(report.read, plan.raw.describe())
    check_rejected(plan.config, report)
    return {name: _fit(name, feature, report) for name, feature in features.items()}, report


def _fit(name: str, feature: Feature, report: Report) -> Fitted:
    look = report.looks.get(name)
    try:
        return feature.fitted(None if look is None else feature.Look.model_validate(look), name)
    except ColumnError as error:
        raise WorkError(f"the feature {name!r} {error}") from None


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
