"""What a person should know of a finished dataset before a model is trained on it."""

from elboflow.settings import table
from preprocessing.features import Feature
from preprocessing.manifest import Manifest


def remarks(manifest: Manifest) -> tuple[str, ...]:
    """Returns what the kinds of the features have to say of what is stored, in sentences."""
    found = []
    for name, spec in manifest.features.items():
        try:
            kind = table.find(Feature, spec.kind)
        except LookupError:
            continue  # of a package that is not installed here
        if remark := kind.remark(name, spec, manifest.summaries.get(name, {}).get("train", {})):
            found.append(remark)
    return tuple(found)
