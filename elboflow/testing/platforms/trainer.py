"""The part of a cluster's API that TrainJobs of Kubeflow Trainer need: each of its pods is a process of this machine.

What is asked for is held against the types of Kubeflow Trainer 2.2:
https://github.com/kubeflow/trainer/blob/v2.2.0/pkg/apis/trainer/v1alpha1/trainjob_types.go
"""

import json
import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from elboflow.testing.platforms.containers import surroundings
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import WireServer, free_port, route

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs"
_SPEC = {"runtimeRef", "initializer", "trainer", "runtimePatches", "suspend", "activeDeadlineSeconds", "managedBy"}
_TRAINER = {"image", "command", "args", "env", "numNodes", "resourcesPerNode", "numProcPerNode"}
_POD = {"serviceAccountName", "volumes", "initContainers", "containers", "imagePullSecrets", "securityContext",
        "nodeSelector", "affinity", "tolerations", "schedulingGates"}  # fmt: skip


class TrainJob:
    """A TrainJob at work.

    Attributes:
        body: The object, as it was created.
        log: What all its pods print.
        conditions: Its status.
    """

    def __init__(self, body: dict[str, Any], folder: Path, secrets: dict[str, dict[str, str]], starts: bool) -> None:
        self.body, self.conditions = body, list[dict[str, Any]]()
        self.log = folder / f"{body['metadata']['name']}.log"
        self._secrets = secrets
        self._processes: list[subprocess.Popen[bytes]] = []
        if starts:
            self._start()
            threading.Thread(target=self._watch, daemon=True).start()

    def ends(self, kind: str, reason: str = "", message: str = "") -> None:
        """Gives it a condition: Complete, Failed or Suspended."""
        self.conditions.append({"type": kind, "status": "True", "reason": reason, "message": message})

    def kill(self) -> None:
        """Kills the processes."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self) -> None:
        trainer, port = self.body["spec"]["trainer"], free_port()
        with self.log.open("ab") as log:
            for index in range(trainer["numNodes"]):
                given = {each["name"]: each["value"] for each in trainer["env"] if "value" in each}
                for each in trainer["env"]:
                    if reference := each.get("valueFrom", {}).get("secretKeyRef"):
                        given[each["name"]] = self._secrets[reference["name"]][reference["key"]]
                given |= self._rendezvous(trainer["numNodes"], index, port)
                streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
                command = [*trainer["command"], *trainer.get("args", [])]
                self._processes.append(
                    subprocess.Popen(command, env=surroundings(given, {}), start_new_session=True, **streams)
                )

    def _rendezvous(self, count: int, index: int, port: int) -> dict[str, str]:
        """Returns what the runtime tells a pod."""
        if "jax" in self.body["spec"]["runtimeRef"]["name"]:
            address = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}
            return {**address, "JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(index)}
        address = {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
        return {**address, "PET_NNODES": str(count), "PET_NODE_RANK": str(index), "PET_NPROC_PER_NODE": "auto"}

    def _watch(self) -> None:
        codes = [process.wait() for process in self._processes]
        if any(codes):
            self.ends("Failed", "JobsFailed", "jobset failed due to one or more job failures")
        else:
            self.ends("Complete", "JobsCompleted", "jobset completed successfully")


class TrainerServer(WireServer):
    """A cluster with Kubeflow Trainer.

    Attributes:
        jobs: The TrainJobs by their names.
        runtimes: The ClusterTrainingRuntimes.
        secrets: The Kubernetes secrets: their values by key, by name.
        executes: Whether the pods are started; if not, a test says how a TrainJob ends.
        kubeconfig: A file by which a client finds this cluster.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("token-of-the-pod")
        self.jobs: dict[str, TrainJob] = {}
        self.runtimes = {"jax-distributed", "torch-distributed"}
        self.secrets: dict[str, dict[str, str]] = {}
        self.executes = True
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = folder / "kubeconfig.yaml"
        named = {"current-context": "here", "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}]}
        clusters = [{"name": "c", "cluster": {"server": self.url}}]
        users = [{"name": "u", "user": {"token": self.token}}]
        given = {"apiVersion": "v1", "kind": "Config", **named, "clusters": clusters, "users": users}
        self.kubeconfig.write_text(yaml.safe_dump(given), encoding="utf-8")

    def close(self) -> None:
        for job in self.jobs.values():
            job.kill()

    def problem(self, refusal: RefusedError) -> Reply:
        body = {"kind": "Status", "status": "Failure", "message": refusal.message, "code": refusal.status}
        return answer(body, refusal.status)

    @route("POST", JOBS)
    def create(self, request: Request, namespace: str) -> Reply:
        """Makes a TrainJob."""
        body = request.json()
        name = body["metadata"].get("name", "")
        _check(body, namespace)
        if (runtime := body["spec"]["runtimeRef"]["name"]) not in self.runtimes:
            raise RefusedError(
                403,
                'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: spec.runtimeRef: '
                f'Invalid value: ClusterTrainingRuntime.trainer.kubeflow.org "{runtime}" not found',
            )
        if name in self.jobs:
            raise RefusedError(409, f'trainjobs.trainer.kubeflow.org "{name}" already exists')
        self.jobs[name] = TrainJob(body, self._folder, self.secrets, self.executes)
        return answer(self._shown(name), 201)

    @route("GET", f"{JOBS}/{{name}}")
    def get(self, request: Request, namespace: str, name: str) -> Reply:
        """Returns a TrainJob."""
        return answer(self._shown(name))

    @route("DELETE", f"{JOBS}/{{name}}")
    def delete(self, request: Request, namespace: str, name: str) -> Reply:
        """Deletes a TrainJob and its pods; one with finalizers stays, as long as it has them."""
        self._shown(name)
        metadata = self.jobs[name].body["metadata"]
        if metadata.get("finalizers"):
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return answer(self._shown(name))
        self.jobs.pop(name).kill()
        return answer({"kind": "Status", "status": "Success"})

    @route("GET", "/api/v1/namespaces/{namespace}/pods/{name}")
    def pod(self, request: Request, namespace: str, name: str) -> Reply:
        """Returns the pod of a step, which belongs to a workflow."""
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run", "uid": "1-2"}
        return answer({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "ownerReferences": [owner]}})

    def _shown(self, name: str) -> dict[str, Any]:
        if name not in self.jobs:
            raise RefusedError(404, f'trainjobs.trainer.kubeflow.org "{name}" not found')
        job = self.jobs[name]
        return {**job.body, "status": {"conditions": job.conditions}}


def _check(body: dict[str, Any], namespace: str) -> None:
    """Refuses what the schema of a TrainJob does not know, as an API server that validates strictly does."""
    name, spec = body["metadata"].get("name", ""), body["spec"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
        raise RefusedError(422, f"metadata.name: Invalid value: {name!r}")
    if body["metadata"].get("namespace") != namespace:
        raise RefusedError(400, "the namespace of the object does not match the namespace on the request")
    unknown = [*(set(spec) - _SPEC), *(set(spec["trainer"]) - _TRAINER)]
    for patch in spec.get("runtimePatches", []):
        for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            pod = job["template"]["spec"]["template"]
            unknown += set(pod["spec"]) - _POD
            for container in pod["spec"].get("containers", []):
                unknown += set(container) - {"name", "env", "volumeMounts", "securityContext"}
                if container["name"] == "node" and container.get("env"):
                    raise RefusedError(422, "the environment of the node is set by spec.trainer.env")
    if unknown:
        raise RefusedError(400, f"strict decoding error: unknown fields {json.dumps(sorted(unknown))}")
    if any(len(word) > 65536 for word in spec["trainer"]["command"]):
        raise RefusedError(422, "spec.trainer.command: Too long")
