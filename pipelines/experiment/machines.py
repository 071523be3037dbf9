"""What a step of an experiment asks of a target: chips, machines, retries, time. What does not exist is refused."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, written
from pipelines.experiment import accelerators
from pipelines.experiment.accelerators import Kind, Offer, Provisioning

Amount = Annotated[str, written(r"\d+(\.\d+)?(Mi|Gi|Ti|M|G|T)", "be an amount such as 16Gi")]
Minutes = Annotated[int, Field(ge=1, le=7 * 24 * 60)]
MachineType = Annotated[
    str, written(r"[a-z]+\d+[a-z]*-[a-z]+(-\d+[a-z]*)?(-[a-z]+)?", "be a machine type such as n2-standard-8")
]


def _list_kinds(schema: dict[str, Any]) -> None:
    schema["enum"] = list(accelerators.kinds())


class Accelerator(Settings):
    """Chips to compute on, as `pipelines/experiment/accelerators.yaml` lists them."""

    kind: str = Field(description="the kind of GPU or TPU", json_schema_extra=_list_kinds)
    count: Annotated[int, Field(ge=1)] | None = Field(
        None, description="GPUs or TPU chips, over all machines; by default the fewest that exist"
    )

    @property
    def of_kind(self) -> Kind:
        return accelerators.kind(self.kind)

    def offer(self, machine: str | None = None, workers: int = 1, provisioning: Provisioning | None = None) -> Offer:
        """Returns what each worker gets, among whom the chips are divided; `provisioning` decides the fewest.

        Raises:
            ConflictsError: That does not exist. Its problems are at `accelerator` or `machine`, of a step.
        """
        if self.count is None:
            return self.of_kind.fewest(machine, provisioning)
        if self.count % workers:
            sentence = f"{self.count} is not allowed; must be a multiple of `workers`, {workers}"
            raise ConflictsError([Problem(("accelerator", "count"), sentence)])
        return self.of_kind.offer(self.count // workers, machine)


class KubernetesAccelerator(Accelerator):
    """Chips of the node of a pod."""

    node_selector: dict[str, str] = Field(
        default_factory=dict, description="labels of the nodes that have it, where the kind does not say them"
    )


STARTS_FLEXIBLY = "'flex_start' is a way to wait for GPUs; allowed here: standard, spot"

AcceleratorChoice = Annotated[Accelerator, BeforeValidator(by_name)]


class Retry(Settings):
    """What happens when a step fails for a reason that may pass, as when its machine is taken away."""

    short_form: ClassVar = "attempts"
    attempts: Annotated[int, Field(ge=0, le=10)] = Field(2, description="tries after the first")
    wait_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(30, description="seconds before the second try")
    factor: Annotated[float, Field(ge=1, le=10)] = Field(2.0, description="the ratio of each wait to the one before")

    @property
    def waits(self) -> tuple[float, ...]:
        """Seconds before each further try."""
        return tuple(self.wait_seconds * self.factor**tries for tries in range(self.attempts))


class LocalStep(Settings):
    """A process of this machine."""

    retry: Retry = Field(Retry(attempts=0), description="tries after a failure that may pass")
    timeout_minutes: Minutes | None = Field(None, description="minutes after which a try of the step fails; null: none")


class Step(Settings):
    """What a step gets on every platform."""

    cpu: Annotated[float, Field(gt=0)] | None = Field(None, description="cores; null: the platform's default")
    memory: Amount | None = Field(None, description="memory, such as 16Gi; null: the platform's default")
    retry: Retry = Field(Retry(), description="tries after a failure that may pass")
    timeout_minutes: Minutes | None = Field(None, description="minutes after which a try of the step fails; null: none")
    accelerator: AcceleratorChoice | None = Field(None, description="the chips to compute on; null: a CPU")


class Toleration(Settings):
    """A taint of nodes that a step may run on nevertheless."""

    short_form: ClassVar = "key"
    key: str = Field(description="the key of the taint")
    value: PossiblyEmpty | None = Field(None, description="the value of the taint; null: any")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="the effect of the taint; null: any"
    )


class KubernetesStep(Step):
    """The pod of a step."""

    cpu: Annotated[float, Field(gt=0)] | None = Field(
        None, description="cores, requested and the limit; null: a request without a limit"
    )
    memory: Amount | None = Field(None, description="memory, requested and the limit; null: a request without a limit")
    accelerator: Annotated[KubernetesAccelerator, BeforeValidator(by_name)] | None = Field(
        None, description="the chips to compute on; null: a CPU"
    )
    shared_memory: Amount | None = Field(
        None, description="the most that /dev/shm holds; null: 1Gi with an accelerator, else the 64 MiB of containers"
    )
    labels: dict[str, PossiblyEmpty] = Field(default_factory=dict, description="labels of the pod")
    annotations: dict[str, PossiblyEmpty] = Field(default_factory=dict, description="annotations of the pod")
    node_selector: dict[str, PossiblyEmpty | None] = Field(
        default_factory=dict,
        description="labels of the node, besides GKE's of the accelerator; null takes one of those away",
    )
    tolerations: tuple[Toleration, ...] = Field((), description="taints of nodes that the pod may run on")
    workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="pods that train together, as a TrainJob of Kubeflow Trainer, and divide the GPUs among them"
    )
    runtime: str | None = Field(
        None, description="the ClusterTrainingRuntime of the TrainJob; null: jax-distributed or torch-distributed"
    )

    @property
    def offer(self) -> Offer | None:
        """What each pod has, besides its processors."""
        return None if self.accelerator is None else self.accelerator.offer(workers=self.workers)

    @property
    def machines(self) -> int:
        """Pods of the step."""
        return self.workers

    @model_validator(mode="after")
    def _is_a_pod_on_one_machine(self) -> "KubernetesStep":
        if self.runtime is not None and self.workers == 1:
            raise ConflictsError([Problem(("runtime",), "is that of a TrainJob; it needs `workers: 2` or more")])
        if self.accelerator is None:
            return self
        if self.workers > 1 and self.accelerator.of_kind.chip == "tpu":
            sentence = (
                f"{self.workers} is not allowed with TPUs, which are one machine here; allowed: GPUs, or processors"
            )
            raise ConflictsError([Problem(("workers",), sentence)])
        if (offer := self.accelerator.offer(workers=self.workers)).hosts == 1:
            return self
        single = ", ".join(map(str, self.accelerator.of_kind.counts_in_one_machine))
        sentence = (
            f"{offer.chips} chips of {self.accelerator.kind} are in {offer.hosts} machines, and a step on Kubeflow is "
            f"one pod on one of them; allowed: {single}"
        )
        raise ConflictsError([Problem(("accelerator", "count"), sentence)])


class ReductionServer(Settings):
    """Machines that add up the gradients of GPU workers."""

    short_form: ClassVar = "replicas"
    replicas: Annotated[int, Field(ge=1)] = Field(1, description="the number of these machines")
    machine: MachineType = Field("n1-highcpu-16", description="their machine type")


class VertexStep(Step):
    """The machines of a step on Vertex AI: one that fits `cpu` and `memory`, or a custom job on named ones."""

    machine: MachineType | None = Field(
        None, description="the machine type; null: the usual one for the accelerator, or one that fits cpu and memory"
    )
    disk_gigabytes: Annotated[int, Field(ge=100)] | None = Field(
        None, description="the boot disk, in 10^9 bytes; null: Vertex AI's default"
    )
    provisioning: Provisioning = Field(
        "standard",
        description="how the machine is had: standard; spot: cheaper, can be taken away; flex_start: waits for GPUs",
    )
    max_wait_minutes: Annotated[int, Field(ge=0)] | None = Field(
        None, description="minutes to wait for machines with flex_start; null: a day; 0: without an end"
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        1, description="machines with GPUs; the hosts of a TPU slice follow from its chips"
    )
    reduction_server: ReductionServer | None = Field(
        None, description="machines that add up the gradients of GPU workers; null: the workers do"
    )

    @model_validator(mode="after")
    def _exists(self) -> "VertexStep":
        problems = list(self._problems())
        if problems:
            raise ConflictsError(problems)
        return self

    @property
    def is_custom_job(self) -> bool:
        return self.machine is not None or self.accelerator is not None

    @property
    def machines(self) -> int:
        """Machines that run a process of the step. A slice of TPUs may have several."""
        return 1 if self.offer is None else self.workers * self.offer.hosts

    @property
    def offer(self) -> Offer | None:
        """What each of the workers has, besides its processors."""
        if self.accelerator is None:
            return None
        return self.accelerator.offer(self.machine, self.workers, self.provisioning)

    def _problems(self) -> Iterator[Problem]:
        if self.accelerator is None:
            yield from self._on_processors()
            yield from self._useless()
            return
        if (kind := accelerators.kinds().get(self.accelerator.kind)) is not None:
            if not kind.on_vertex:
                existing = ", ".join(name for name, kind in accelerators.kinds().items() if kind.on_vertex)
                sentence = f"'{self.accelerator.kind}' does not exist on Vertex AI; allowed: {existing}"
                yield Problem(("accelerator", "kind"), sentence)
                return
            if self.workers > 1 and kind.chip == "tpu":
                sentence = f"{self.workers} is not allowed; the number of TPU chips says how many machines there are"
                yield Problem(("workers",), sentence)
                return
        try:
            offer = self.accelerator.offer(self.machine, self.workers, self.provisioning)
        except ConflictsError as error:
            yield from error.problems
            return
        yield from self._useless()
        if self.provisioning == "flex_start" and self.accelerator.of_kind.chip != "gpu":
            yield Problem(("provisioning",), STARTS_FLEXIBLY)
        elif self.provisioning not in offer.provisioning:
            what = f"{offer.chips} of {self.accelerator.kind}"
            sentence = f"'{self.provisioning}' does not exist for {what}; allowed: {', '.join(offer.provisioning)}"
            yield Problem(("provisioning",), sentence)

    def _on_processors(self) -> Iterator[Problem]:
        if self.machine is not None and (kind := accelerators.built_into(self.machine)):
            yield Problem(("machine",), f"'{self.machine}' comes with {kind}, which this step is not given")
        elif self.is_custom_job and self.provisioning == "flex_start":
            yield Problem(("provisioning",), STARTS_FLEXIBLY)
        if self.workers > 1:
            yield Problem(("workers",), f"{self.workers} is not allowed without an accelerator: a GPU")

    def _useless(self) -> Iterator[Problem]:
        """Yields the settings that could have no effect on such a step."""
        if self.max_wait_minutes is not None and self.provisioning != "flex_start":
            yield Problem(("max_wait_minutes",), "is only waited with `provisioning: flex_start`")
        if self.is_custom_job:
            for key in ("cpu", "memory"):
                if getattr(self, key) is not None:
                    yield Problem((key,), "is that of the machine type; leave out one of them")
        else:
            for key, default in (("disk_gigabytes", None), ("provisioning", "standard"), ("timeout_minutes", None)):
                if getattr(self, key) != default:
                    yield Problem((key,), "needs a `machine` (or an accelerator): such steps are custom jobs")
        chip = None if self.accelerator is None else self.accelerator.of_kind.chip
        if self.reduction_server is not None and not (self.workers > 1 and chip == "gpu"):
            sentence = "adds up the gradients of several machines with GPUs; it needs `workers: 2` or more, and a GPU"
            yield Problem(("reduction_server",), sentence)
        elif self.reduction_server is not None and self.provisioning == "flex_start":
            sentence = "is on machines of another type; with `provisioning: flex_start` all are of one"
            yield Problem(("reduction_server",), sentence)
