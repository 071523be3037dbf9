"""The manifests, built as kubectl builds them and checked against Kubernetes' own schemas, without a cluster."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from elboflow.settings.variables import TRAIN_JOB
from pipelines.experiment import load
from pipelines.targets.placement import checkpoints_lost
from pipelines.targets.submission import specification
from preprocessing.engines.flink import Flink
from tests.pipelines.compiled import Compiled

BUILDS = ("base", "overlays/example")
VERBS = {"create": "create", "get": "get", "read": "get", "delete": "delete"}


@pytest.fixture(scope="module", params=BUILDS)
def resources(request: pytest.FixtureRequest, root: Path, program: Callable[[str], str]) -> list[dict[str, Any]]:
    folder = root / "infra/kubernetes" / request.param
    built = subprocess.run([program("kubectl"), "kustomize", folder], capture_output=True, encoding="utf-8", check=True)
    return list(yaml.safe_load_all(built.stdout))


def pods(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pod template of each workload, by name."""
    workloads = [resource for resource in resources if resource["kind"] in ("Deployment", "StatefulSet")]
    return {workload["metadata"]["name"]: workload["spec"]["template"] for workload in workloads}


def of(resources: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def selected(labels: dict[str, str], selector: dict[str, Any]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()


def test_the_schemas_accept_all_of_it(resources: list[dict[str, Any]]) -> None:
    for resource in resources:
        kubernetes_validate.validate(resource, "1.32", strict=True)


def test_three_workloads_are_probed_limited_and_without_rights(resources: list[dict[str, Any]]) -> None:
    assert pods(resources).keys() == {"mlflow", "postgres", "scheduler"}
    for template in pods(resources).values():
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"].keys() == {"requests", "limits"}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe].keys() & {"httpGet", "exec"}


def test_what_is_mounted_is_there(resources: list[dict[str, Any]]) -> None:
    claims, maps = of(resources, "PersistentVolumeClaim"), of(resources, "ConfigMap")
    for name, workload in {**of(resources, "Deployment"), **of(resources, "StatefulSet")}.items():
        pod = workload["spec"]["template"]["spec"]
        templates = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounts == {*volumes, *templates}, name
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims
            if wanted := volume.get("configMap"):
                assert wanted["name"] in maps or wanted.get("optional")


def test_no_secret_is_written_down(resources: list[dict[str, Any]]) -> None:
    assert not of(resources, "Secret")
    for template in pods(resources).values():
        for variable in template["spec"]["containers"][0].get("env", []):
            if "PASSWORD" in variable["name"]:
                assert variable.keys() == {"name", "valueFrom"}
                assert variable["valueFrom"]["secretKeyRef"] == {"name": "mlflow-database", "key": "password"}


def test_only_those_who_must_speak_to_each_other_may(resources: list[dict[str, Any]]) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pods(resources).items()}
    policies = [policy["spec"] for policy in of(resources, "NetworkPolicy").values()]
    closed = [policy for policy in policies if not policy.get("ingress") and not policy.get("egress")]
    assert all(any(selected(of_pod, policy["podSelector"]) for policy in closed) for of_pod in labels.values())

    def may(source: str, destination: str, port: int) -> bool:
        def rules(direction: str, peer: str, of_pod: str, other: str) -> bool:
            return any(
                {"protocol": "TCP", "port": port} in rule["ports"]
                and any(
                    "namespaceSelector" not in place and selected(labels[other], place["podSelector"])
                    for place in rule.get(peer, [])
                    if "podSelector" in place
                )
                for policy in policies
                if selected(labels[of_pod], policy["podSelector"])
                for rule in policy.get(direction, [])
            )

        return rules("egress", "to", source, destination) and rules("ingress", "from", destination, source)

    ports = {"mlflow": 5000, "postgres": 5432}
    open_ways = {(a, b) for a in labels for b, port in ports.items() if a != b and may(a, b, port)}
    assert open_ways == {("scheduler", "mlflow"), ("mlflow", "postgres")}


def test_names_are_asked_of_the_cluster_and_of_the_nodes_cache(resources: list[dict[str, Any]]) -> None:
    policy = of(resources, "NetworkPolicy")["elboflow-names"]["spec"]
    (rule,) = policy["egress"]
    assert {"protocol": "UDP", "port": 53} in rule["ports"]
    assert {"protocol": "TCP", "port": 53} in rule["ports"]
    pods_of_names, cache = rule["to"]
    assert pods_of_names["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    (expression,) = pods_of_names["podSelector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("k8s-app", "In")
    assert set(expression["values"]) == {"kube-dns", "node-local-dns"}
    assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}, "the address of NodeLocal DNSCache"


def test_a_scheduler_that_is_told_to_stop_has_an_hour_for_its_runs(resources: list[dict[str, Any]], root: Path) -> None:
    pod = pods(resources)["scheduler"]["spec"]
    assert pod["containers"][0]["args"] == ["scheduler", "--drain"]
    assert pod["terminationGracePeriodSeconds"] == 3600
    compose = yaml.safe_load((root / "infra/compose.yaml").read_text(encoding="utf-8"))["services"]["scheduler"]
    assert compose["command"] == ["scheduler", "--drain"]
    assert compose["stop_grace_period"] == "1h"


def test_services_lead_to_pods(resources: list[dict[str, Any]]) -> None:
    for name, service in of(resources, "Service").items():
        template = pods(resources)[name]
        assert selected(template["metadata"]["labels"], {"matchLabels": service["spec"]["selector"]})
        listening = {port["name"] for port in template["spec"]["containers"][0].get("ports", [])}
        assert {port["targetPort"] for port in service["spec"].get("ports", [])} <= listening


def test_the_same_commands_run_here_and_under_compose(root: Path) -> None:
    services = yaml.safe_load((root / "infra/compose.yaml").read_text(encoding="utf-8"))["services"]
    manifests = {
        name: next(yaml.safe_load_all((root / f"infra/kubernetes/base/{name}.yaml").read_text(encoding="utf-8")))
        for name in ("mlflow", "scheduler", "postgres")
    }
    containers = {name: pods([manifest])[name]["spec"]["containers"][0] for name, manifest in manifests.items()}
    options = [
        dict(word.split("=", 1) for word in words)
        for words in (services["mlflow"]["command"], containers["mlflow"]["args"])
    ]
    assert options[0].pop("--allowed-hosts").split(",")[0] == options[1].pop("--allowed-hosts").split(",")[0]
    assert options[0] == options[1]
    scheduler = containers["scheduler"]
    assert scheduler["command"] + scheduler["args"] == (
        services["scheduler"]["entrypoint"] + services["scheduler"]["command"]
    )
    assert scheduler["livenessProbe"]["exec"]["command"] == services["scheduler"]["healthcheck"]["test"][1:]
    given = {variable["name"]: variable.get("value") for variable in scheduler["env"]}
    assert services["scheduler"]["environment"].items() <= given.items()
    images = yaml.safe_load((root / "infra/kubernetes/base/kustomization.yaml").read_text(encoding="utf-8"))["images"]
    assert services["postgres"]["image"] == f"{images[0]['newName']}:{images[0]['newTag']}"


def test_the_example_puts_artifacts_into_a_bucket(root: Path, program: Callable[[str], str]) -> None:
    folder = root / "infra/kubernetes/overlays/example"
    built = subprocess.run([program("kubectl"), "kustomize", folder], capture_output=True, encoding="utf-8", check=True)
    resources = list(yaml.safe_load_all(built.stdout))
    arguments = pods(resources)["mlflow"]["spec"]["containers"][0]["args"]
    assert "--artifacts-destination=gs://my-bucket/mlflow" in arguments
    assert not of(resources, "PersistentVolumeClaim")
    assert of(resources, "Namespace")["elboflow"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == (
        "restricted"
    )


def in_page(root: Path, words: str) -> str:
    """The YAML of docs/kubeflow.md that has these words in it."""
    written: list[str] = re.findall(r"(?s)```yaml\n(.*?)```", (root / "docs/kubeflow.md").read_text(encoding="utf-8"))
    (found,) = (each for each in written if words in each)
    return found


def test_the_checkpoints_of_the_page_on_kubeflow_outlive_their_pod(root: Path, tmp_path: Path) -> None:
    given = yaml.safe_load(in_page(root, "checkpoints"))
    given["targets"]["kubeflow"] |= {"image": "image", "tracking_uri": "http://mlflow"}
    path = tmp_path / "faces.yaml"
    path.write_text(yaml.safe_dump({"name": "faces", "data": {"source": "sklearn"}, **given}), encoding="utf-8")
    experiment = load(str(path))
    assert checkpoints_lost(experiment) is None
    assert checkpoints_lost(load(str(path), ["training.checkpoints.folder=null"])) is not None


def test_the_training_on_several_machines_of_the_page_is_a_train_job(root: Path, tmp_path: Path) -> None:
    given = yaml.safe_load(in_page(root, "workers: 2}"))
    path = tmp_path / "faces.yaml"
    path.write_text(yaml.safe_dump({"name": "faces", "data": {"source": "sklearn"}, **given}), encoding="utf-8")
    compiled = Compiled(specification(load(str(path)), "kubeflow"))
    trainer = json.loads(compiled.environment("train")[TRAIN_JOB])["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["image"]) == (2, "…/elboflow-cuda:1")


def test_the_steps_may_do_with_train_jobs_what_they_do_and_no_more(root: Path, program: Callable[[str], str]) -> None:
    folder = root / "infra/kubernetes/kubeflow"
    built = subprocess.run([program("kubectl"), "kustomize", folder], capture_output=True, encoding="utf-8", check=True)
    found = {resource["kind"]: resource for resource in yaml.safe_load_all(built.stdout)}
    for resource in found.values():
        kubernetes_validate.validate(resource, "1.32", strict=True)
    allowed = {(rule["resources"][0], verb) for rule in found["Role"]["rules"] for verb in rule["verbs"]}
    code = (root / "pipelines/step_process/cluster_api.py").read_text(encoding="utf-8")
    calls = set(re.findall(r"self\._(?:jobs|pods)\.(\w+)", code))
    asked = {("pods" if call.endswith("pod") else "trainjobs", VERBS[call.partition("_")[0]]) for call in calls}
    assert allowed == asked
    assert found["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}
    ]


def test_the_workers_beside_task_managers_are_where_flinks_runner_looks_for_them(root: Path) -> None:
    manifest = in_page(root, "beam-workers")
    workers = yaml.safe_load(manifest)["spec"]["containers"][1]
    assert Flink(job_server="flink:8099").pool == f"localhost:{workers['args'][-1]}"
    assert workers["ports"][0]["containerPort"] == int(workers["args"][-1])
    package, _, module = workers["command"][-1].partition(".")
    beam = importlib.util.find_spec(package)
    assert beam
    assert beam.origin
    program = Path(beam.origin).parent / f"{module.replace('.', '/')}.py"
    assert f"'{workers['args'][0]}'" in program.read_text(encoding="utf-8"), (
        "test_runners.py runs it; here it costs seconds to import"
    )
