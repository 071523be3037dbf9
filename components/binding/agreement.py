"""Checks that an experiment agrees with the folders of a run, before the experiment is recorded with them.

A model folder contains the settings of the model and of its training, and the seed. An evaluation folder contains the
settings of the evaluation. A dataset has the digest of its source and settings. A command may be given other settings.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError, Settings
from elboflow.settings.explain import explain, shown
from elboflow.vae.evaluation.folder import EvaluationFolder
from elboflow.vae.folder import ModelFolder
from preprocessing import address, files, manifest
from preprocessing.config import DataConfig
from preprocessing.features import Feature
from preprocessing.manifest import Manifest
from preprocessing.sources import open_source

logger = logging.getLogger("elboflow.agreement")

_LISTED = 20
_READ_BYTES = 2**30
"""The largest source that is read to compare its content, which takes about a second."""
_NOT_SET = "(not set)"


@dataclass(frozen=True)
class Difference:
    """A setting whose value differs between a folder and an experiment. Values are JSON values.

    Attributes:
        key: The dotted key.
        made: The value that made the folder.
        said: The value in the experiment.
    """

    key: str
    made: Any
    said: Any

    def __str__(self) -> str:
        return f"{self.key} is {_shown(self.made)}; the experiment says {_shown(self.said)}"


def check_dataset(name: str, data: DataConfig, dataset: Path | str) -> None:
    """Compares the section `data` of an experiment with a dataset folder.

    Args:
        name: The name of the experiment.
        data: The section `data` of the experiment.
        dataset: The dataset folder.

    Raises:
        RequestError: The dataset was made from other data or settings; the message lists the known differences.
        WorkError: The folder contains no finished dataset.
    """
    _require_no_differences(name, _dataset_differences(data, manifest.load(str(dataset)), dataset))
    check_source(name, data, dataset)


def check_source(name: str, data: DataConfig, dataset: Path | str) -> None:
    """Compares the source of an experiment with the source of a dataset, as far as both are available here.

    A source with the same name but other content has changed since; a warning is logged. A source with another name is
    accepted only if its content is the same. Content is compared for local files only, up to a total size.

    Args:
        name: The name of the experiment.
        data: The section `data` of the experiment.
        dataset: The dataset folder.

    Raises:
        RequestError: The source is another one.
        WorkError: The folder contains no finished dataset.
    """
    made = manifest.load(str(dataset)).source
    if made.kind != data.source.kind:
        return  # `check_dataset` and `check_run` report this difference of settings
    described, fingerprint = _source(data)
    if all(part in made.description for part in described):
        if fingerprint not in (None, made.fingerprint):
            logger.warning("data.source: %s has changed since %s was made", ", ".join(described), dataset)
    elif fingerprint != made.fingerprint:
        _require_no_differences(name, {dataset: [Difference("data.source", made.description, ", ".join(described))]})


def _source(data: DataConfig) -> tuple[list[str], str | None]:
    """Returns names that occur in the description of a dataset from this source, and the fingerprint, if known."""
    named = data.source.told_names
    if any(map(files.is_uri, data.source.locations.values())):
        return named, None
    try:
        raw = open_source(data)
        sizes = [Path(path).expanduser().stat().st_size for path in raw.paths()]
    except (RequestError, OSError):  # the source is not on this machine
        return named, None
    return [raw.describe()], raw.fingerprint() if 0 < sum(sizes) <= _READ_BYTES else None


def check_run(
    experiment: Mapping[str, Any], dataset: Manifest, trained: ModelFolder, evaluated: EvaluationFolder
) -> None:
    """Compares an experiment with all folders of a run.

    Args:
        experiment: The experiment as JSON values, as `Experiment.recorded()` returns it, or some sections of it.
        dataset: The manifest of the dataset folder.
        trained: The model folder.
        evaluated: The evaluation folder.

    Raises:
        RequestError: The experiment contradicts a folder; the message lists each key with both values.
    """
    facts, provenance, evaluation = evaluated.facts, trained.provenance, evaluated.path
    made = (
        ("model", trained.path, trained.config),
        ("training", trained.path, provenance.training),
        ("evaluation", evaluation, facts.evaluation),
    )
    different: dict[Path | str, list[Difference]] = {trained.path: [], evaluation: []}
    if data := experiment.get("data"):
        different.update(_dataset_differences(_read(DataConfig, data, "data"), dataset, "the dataset"))
    for section, place, config in made:
        if section in experiment:
            said = _read(type(config), experiment[section], section)
            different[place].extend(_differences(config, said, f"{section}."))
    for place, seed in ((trained.path, provenance.seed), (evaluation, facts.seed)):
        if experiment.get("seed", seed) != seed:
            different[place].append(Difference("seed", seed, experiment["seed"]))
    _require_no_differences(str(experiment["name"]), different)


def _dataset_differences(data: DataConfig, dataset: Manifest, place: Path | str) -> dict[Path | str, list[Difference]]:
    if dataset.digest in address.digests(data, dataset.source.fingerprint):
        return {}
    found = list(_known_differences(data, dataset))
    if not found:  # the manifest does not contain fractions of splits, the limit, sizes of shards, numbers of classes
        made = ", ".join(f"{split} {count:,}" for split, count in sorted(dataset.counts.items()))
        said = ", ".join(f"{split} {fraction}" for split, fraction in sorted(data.splits.items()))
        found = [Difference("data (splits, limit, shards or classes)", made, said)]
    return {place: found}


def _known_differences(data: DataConfig, dataset: Manifest) -> Iterator[Difference]:
    if dataset.source.kind != data.source.kind:
        yield Difference("data.source.kind", dataset.source.kind, data.source.kind)
    packages = address.installed(data)
    for kind in sorted({*dataset.kinds, *packages}):
        if dataset.kinds.get(kind) != packages.get(kind):
            yield Difference(f"data ({kind})", dataset.kinds.get(kind), packages.get(kind))
    for name in sorted({*dataset.features, *data.features}):
        yield from _of_feature(name, dataset.features.get(name), data.features.get(name))
    if dataset.counts.keys() != data.splits.keys():
        yield Difference("data.splits", sorted(dataset.counts), sorted(data.splits))


def _of_feature(name: str, made: FeatureSpec | None, said: Feature | None) -> Iterator[Difference]:
    kinds = made and made.kind, said and said.kind
    if made is None or said is None or kinds[0] != kinds[1]:
        key = f"data.features.{name}" if made is None or said is None else f"data.features.{name}.kind"
        yield Difference(key, *kinds)
        return
    settings = said.model_dump(mode="json")
    for key, value in sorted(said.repeated(made).items()):
        if value != settings[key]:
            yield Difference(f"data.features.{name}.{key}", value, settings[key])


def _read(kind: type[Settings], values: Any, section: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RequestError("\n".join(f"{section}.{problem}" for problem in explain(error, kind))) from None


def _differences(made: Settings, said: Settings, prefix: str) -> Iterator[Difference]:
    before, now = _flat(made.model_dump(mode="json"), prefix), _flat(said.model_dump(mode="json"), prefix)
    for key in {**before, **now}:
        if before.get(key, _NOT_SET) != now.get(key, _NOT_SET):
            yield Difference(key, before.get(key, _NOT_SET), now.get(key, _NOT_SET))


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value})
    return found


def _require_no_differences(name: str, different: Mapping[Path | str, list[Difference]]) -> None:
    lines = [f"  {place}: {difference}" for place, found in different.items() for difference in found]
    if not lines:
        return
    more = len(lines) - _LISTED
    raise RequestError(
        "\n".join(
            [
                f"the experiment {name} is not the one that made these folders:",
                *islice(lines, _LISTED),
                *([f"  and {more} more"] if more > 0 else []),
                "give the settings that made them, with --set or in the experiment's file; or make the folders anew",
            ]
        )
    )


def _shown(value: Any) -> str:
    return value if value == _NOT_SET else "(not there)" if value is None else shown(value)
