"""The manifest of a dataset that has just been written."""

from collections.abc import Mapping
from functools import reduce

from preprocessing import address
from preprocessing.config import DataConfig
from preprocessing.features import Fitted, Summary
from preprocessing.manifest import Manifest, Shard, SourceRecord, code_version
from preprocessing.report import Report, WrittenShard
from preprocessing.sums import mean_of


def describe(
    config: DataConfig,
    source: SourceRecord,
    report: Report,
    shards: dict[str, list[Shard]],
    fitted: Mapping[str, Fitted],
) -> Manifest:
    """Returns the manifest.

    Args:
        config: The settings of the dataset.
        source: The kind, description and fingerprint of the source.
        report: The merged report of the workers.
        shards: The files of each split.
        fitted: The fitted features.
    """
    splits = sorted(config.splits)
    specs, summaries = {}, {}
    for name, feature in sorted(fitted.items()):
        summarised = ["train"] if feature.train_only else splits
        statistics = {split: _merged(name, feature, report.of(split)) for split in summarised}
        specs[name] = feature.spec(statistics).model_copy(update={"role": feature.role})
        extents = {"train": report.trained.get(name)}
        summaries[name] = {split: feature.kept(statistics[split], extents.get(split)) for split in summarised}
    return Manifest(
        digest=address.digest(config, source.fingerprint),
        features=specs,
        summaries=summaries,
        class_means=_class_means(report.of("train")),
        counts={split: sum(shard.examples for shard in shards[split]) for split in splits},
        distinct={split: sum(shard.distinct for shard in report.of(split)) for split in splits},
        identity=config.identifying,
        shards=shards,
        rejected=_rejected(config, report),
        source=source,
        kinds=address.installed(config),
        code=code_version(),
    )


def _merged(name: str, feature: Fitted, shards: list[WrittenShard]) -> Summary:
    found = [feature.Statistics.model_validate(shard.statistics[name]) for shard in shards]
    return reduce(lambda left, right: left.merged(right), found)


def _class_means(train: list[WrittenShard]) -> dict[str, dict[str, dict[int, float]]]:
    """Returns means of the train split by feature with role "amount", feature with role "class", and class."""
    means: dict[str, dict[str, dict[int, float]]] = {}
    for amount, categories in train[0].class_sums.items():
        means[amount] = {}
        for category in categories:
            sums: dict[int, tuple[int, int]] = {}
            for shard in train:
                for value, (count, total) in shard.class_sums[amount][category].items():
                    before = sums.get(value, (0, 0))
                    sums[value] = before[0] + count, before[1] + total
            means[amount][category] = {value: mean_of(sums[value][1], sums[value][0]) for value in sorted(sums)}
    return means


def _rejected(config: DataConfig, report: Report) -> dict[str, int]:
    found = {
        f"{reason.feature}: {reason.reason}" if reason.feature else reason.reason: reason.count
        for reason in report.reasons
    }
    if report.leaked:
        found[f"the same {' and '.join(config.identifying)} is in the held-out part"] = report.leaked
    return found
