"""Remarks about a finished dataset that its user should read before training on it."""

from elboflow.settings import table
from preprocessing.features import Feature
from preprocessing.manifest import Manifest


def remarks(manifest: Manifest) -> tuple[str, ...]:
    """Returns the remarks of the feature kinds about the stored values, in sentences."""
    found = []
    for name, spec in manifest.features.items():
        try:
            kind = table.find(Feature, spec.kind)
        except LookupError:
            continue  # a kind of a package that is not installed here
        if remark := kind.remark(name, spec, manifest.summaries.get(name, {}).get("train", {})):
            found.append(remark)
    return tuple(found)
