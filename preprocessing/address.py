"""Content addresses of datasets: a hash of the source's content and of the settings that affect the written records."""

import hashlib
import json

from elboflow.settings.digest import digest as canonical_digest
from elboflow.settings.kinds import origins
from preprocessing.config import DataConfig

RECORDS = 2
"""Version of the record format. A new default, or other bytes for the same source and settings, need a new version."""


def digest(config: DataConfig, fingerprint: str) -> str:
    """Returns the content address of a dataset, from its config and the fingerprint of its source."""
    packages = installed(config)
    return canonical_digest(
        {
            "records": RECORDS,
            "source": {"kind": config.source.kind, "fingerprint": fingerprint},
            "features": config.features,
            "splits": config.splits,
            "shards": config.shards,
            "identity": config.identity,
            **({"kinds": packages} if packages else {}),
        }
    )


def installed(config: DataConfig) -> dict[str, str]:
    """Returns the installed packages that read and store the data: distribution and version by `GROUP:KIND`."""
    return origins([config.source, config.features])


def digests(config: DataConfig, fingerprint: str) -> tuple[str, ...]:
    """Returns all addresses that such a dataset may have: the current one first, then the former one, if any."""
    former = former_digest(config, fingerprint)
    return (digest(config, fingerprint), *([] if former is None else [former]))


def former_digest(config: DataConfig, fingerprint: str) -> str | None:
    """Returns the address that versions up to 737760e computed, or None if the config uses newer settings.

    Existing dataset folders keep this digest, and existing models record it as the digest of their training data.
    """
    known = {"image": {"shape", "range", "quantise", "levels"}, "category": {"classes"}, "number": set[str]()}
    features = {}
    for name, feature in config.features.items():
        newer = set(feature.model_dump(exclude_defaults=True)) - {"kind", *known.get(feature.kind, set())}
        if feature.kind not in known or newer:
            return None
        features[name] = feature.model_dump(mode="json", include={"kind", *known[feature.kind]})
    if config.identity is not None or config.source.kind not in ("sklearn", "idx", "npz"):
        return None
    decides = config.model_dump(mode="json", include={"splits", "shards"})
    content = {"format": 1, "kind": config.source.kind, "fingerprint": fingerprint, "features": features, **decides}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
