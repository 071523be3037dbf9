"""What exists at the platform, as a person lists it in a file. What an experiment names beyond it is missing."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from elboflow.settings import RequestError, Settings
from elboflow.settings.explain import explain
from elboflow.settings.zones import Timezone


class Inventory(Settings):
    """What exists at the platform. A list that is not given is not looked at."""

    images: tuple[str, ...] | None = Field(None, description="container images, as the experiment writes them")
    secrets: tuple[str, ...] | None = Field(
        None, description="secrets: NAME/KEY of Kubernetes, or projects/…/secrets/NAME/versions/VERSION of Google"
    )
    service_accounts: tuple[str, ...] | None = Field(None, description="service accounts of the steps")
    buckets: Mapping[str, str] | None = Field(None, description="buckets, each with its region")
    quota: Mapping[str, int] | None = Field(
        None, description="chips of each kind that the project or the cluster has, by the kind's name"
    )
    machines: tuple[str, ...] | None = Field(
        None, description="machine types of the region: gcloud compute machine-types list --filter=zone:REGION"
    )
    volumes: tuple[str, ...] | None = Field(None, description="persistent volume claims of the namespace")
    models: Mapping[str, str] | None = Field(
        None, description="registered models of the MLflow server, each with the experiment that registers it"
    )
    timezone: Timezone | None = Field(None, description="the timezone that people mean the schedule's times in")


def read(path: Path | None) -> Inventory:
    """Reads an inventory; without a path, one that knows nothing.

    Raises:
        RequestError: The file cannot be read, or is malformed.
    """
    if path is None:
        return Inventory()
    try:
        return Inventory.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise RequestError(f"--inventory {path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"--inventory {path}: is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise RequestError(f"--inventory {path}: {'; '.join(map(str, explain(error, Inventory)))}") from None
