"""The regions of Vertex AI and Dataflow: one that does not exist is refused before anything is compiled."""

import pytest

from elboflow.settings import RequestError
from pipelines.experiment import load
from preprocessing.engines._regions import regions


def described(location: str) -> list[str]:
    return [
        f"targets.vertex={{project: vae-project, location: {location}, root: 'gs://b/r', image: a, "
        "tracking_uri: 'https://m'}"
    ]


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        ("europe-wset4", "did you mean 'europe-west4'?"),
        ("us-central1-a", "did you mean 'us-central1'?"),  # a zone
        ("mars", "allowed: africa-south1"),
        ("global", "allowed: africa-south1"),
    ],
)
def test_a_region_that_does_not_exist_is_refused_with_the_nearest(location: str, hint: str):
    with pytest.raises(RequestError) as refused:
        load("digits", described(location))
    assert f"targets.vertex.location: '{location}' is no region of Vertex AI; {hint}" in str(refused.value)


def test_a_region_of_dataflow_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(RequestError) as refused:
        load("digits", [f"{described('europe-west4')[0][:-1]}, runner: {{kind: dataflow, region: us-centrl1}}}}"])
    told = "targets.vertex.runner.region: 'us-centrl1' is no region of Dataflow; did you mean 'us-central1'?"
    assert told in str(refused.value)
    loaded = load("digits", [f"{described('europe-west4')[0][:-1]}, runner: {{kind: dataflow, region: us-east5}}}}"])
    assert loaded.targets.vertex is not None


@pytest.mark.xdist_group("vertex")
def test_the_table_has_all_regions_that_google_s_own_client_knows():
    from google.cloud.aiplatform.constants.base import SUPPORTED_REGIONS

    assert set(regions("Vertex AI")) == SUPPORTED_REGIONS - {"global"}
    assert load("digits", described("europe-west12")).targets.vertex is not None
