"""What a doctor finds in registries of container images."""

import pytest

from pipelines.targets.checks import is_there
from tests.pipelines.doctor.cloud import Cloud


def test_a_public_image_is_found_with_the_token_that_its_registry_gives_to_anybody(cloud: Cloud):
    cloud.login = True
    found = is_there(f"{cloud.address}/vae/cpu:1", lambda: "of-google")
    assert found.state == "ok"
    assert all(request.headers.get("authorization") != "Bearer of-google" for request in cloud.requests)


def test_a_private_image_cannot_be_told(cloud: Cloud):
    cloud.faults.refuse("HEAD", "/v2/.*", 401, times=None)
    found = is_there(f"{cloud.address}/vae/cpu:1")
    assert (found.state, found.remedy) == (
        "unknown",
        "the cluster needs a pull secret for it: targets.kubeflow.pull_secrets",
    )


def test_a_registry_that_only_the_platform_may_reach_is_no_illness():
    found = is_there("localhost:1/vae/cpu:1")
    assert (found.state, found.found) == ("unknown", "localhost:1 cannot be reached from here: Connection refused")
    assert found.remedy == "look at the address; whether the platform reaches localhost:1 cannot be told from here"


@pytest.mark.parametrize(
    ("image", "registry", "repository", "reference", "is_googles"),
    [
        ("python", "registry-1.docker.io", "library/python", "latest", False),
        ("me/vae:1", "registry-1.docker.io", "me/vae", "1", False),
        ("localhost:5000/vae", "localhost:5000", "vae", "latest", False),
        ("europe-docker.pkg.dev/p/r/vae:1@sha256:ab", "europe-docker.pkg.dev", "p/r/vae", "sha256:ab", True),
        ("eu.gcr.io/p/vae@sha256:ab", "eu.gcr.io", "p/vae", "sha256:ab", True),
        ("evilgcr.io/p/vae:1", "evilgcr.io", "p/vae", "1", False),
        ("x.pkg.dev.evil.io/p/vae:1", "x.pkg.dev.evil.io", "p/vae", "1", False),
        ("gcr.io:444/p/vae:1", "gcr.io:444", "p/vae", "1", False),
    ],
)
def test_images_are_asked_for_where_engines_would_and_only_google_gets_googles_token(
    image: str, registry: str, repository: str, reference: str, is_googles: bool, monkeypatch: pytest.MonkeyPatch
):
    import requests

    asked = []

    def head(address: str, headers: dict[str, str], timeout: float) -> requests.Response:
        asked.append((address, headers.get("Authorization")))
        answer = requests.Response()
        answer.status_code = 200
        return answer

    monkeypatch.setattr(requests, "head", head)
    assert is_there(image, lambda: "token").state == "ok"
    scheme = "http" if registry.startswith("localhost") else "https"
    expected = f"{scheme}://{registry}/v2/{repository}/manifests/{reference}"
    assert asked == [(expected, "Bearer token" if is_googles else None)]
