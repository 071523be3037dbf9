"""Accelerators: which kinds there are, in which numbers, on which machines. The facts are in `accelerators.yaml`."""

import math
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from elboflow.settings import Settings
from elboflow.settings.explain import ConflictsError, Problem, nearest

Provisioning = Literal["standard", "spot", "flex_start"]


class Chip(Settings):
    """What all GPUs, or all TPUs, have in common.

    Attributes:
        resource: The Kubernetes resource that a pod asks for; nodes with it are tainted with the same name.
        label: The label by which GKE names the kind of a node's accelerator.
        topology_label: The label by which GKE names the shape of a slice.
        image: Which of the target's images holds its drivers.
        jax_platforms: What JAX may run on; a machine without the first of them is an error rather than slow.
    """

    resource: str
    label: str
    topology_label: str | None = None
    image: Literal["cuda", "tpu"]
    jax_platforms: str


class Offer(Settings):
    """A number of chips that can be had.

    Attributes:
        chips: Chips over all hosts.
        hosts: Machines that they are in, each of which runs one process.
        topology: The shape of a TPU slice.
        machines: Google's machine types, the usual one first; none where a cluster's own nodes have it.
        provisioning: The ways in which Vertex AI has them.
    """

    chips: Annotated[int, Field(ge=1)]
    hosts: Annotated[int, Field(ge=1)] = 1
    topology: str | None = None
    machines: tuple[str, ...]
    provisioning: tuple[Provisioning, ...] = ("standard", "spot", "flex_start")

    @property
    def chips_per_host(self) -> int:
        return self.chips // self.hosts

    @model_validator(mode="after")
    def _adds_up(self) -> "Offer":
        if self.chips % self.hosts:
            raise ValueError(f"{self.chips} chips are not divided evenly among {self.hosts} hosts")
        if self.topology is not None and math.prod(map(int, self.topology.split("x"))) != self.chips:
            raise ValueError(f"the topology {self.topology} has not {self.chips} chips")
        return self


class Kind(Settings):
    """A kind of accelerator.

    Attributes:
        accelerator_type: Vertex AI's name; None where the machine type says it.
        gke: The value of GKE's node label that names it; None for a kind that a node selector has to choose.
        disk: The only type of boot disk that its machines take.
        quota: The metric of Vertex AI's quota for training on it.
        attached: Whether its machines exist without it, too.
        on_vertex: Whether Vertex AI trains on it; GKE has all kinds.
    """

    chip: Literal["gpu", "tpu"]
    accelerator_type: str | None = None
    gke: str | None = None
    disk: str = "pd-ssd"
    quota: str | None = None
    attached: bool = False
    on_vertex: bool = True
    offers: Annotated[tuple[Offer, ...], Field(min_length=1)]

    @property
    def counts(self) -> list[int]:
        return sorted({offer.chips for offer in self.offers})

    @property
    def counts_in_one_machine(self) -> list[int]:
        return sorted({offer.chips for offer in self.offers if offer.hosts == 1})

    def offer(self, count: int, machine: str | None = None) -> Offer:
        """Returns the offer of that many chips. Problems are at `accelerator.count` or `machine`, of a step."""
        offers = [offer for offer in self.offers if offer.chips == count]
        if not offers:
            raise ConflictsError([Problem(("accelerator", "count"), f"{count} is not allowed; {self.described()}")])
        return self._on(machine, offers)

    def fewest(self, machine: str | None = None, provisioning: Provisioning | None = None) -> Offer:
        """Returns the offer of the fewest chips, as `offer` does; `provisioning` counts only where it exists."""
        offers = [offer for offer in self.offers if provisioning in offer.provisioning] or self.offers
        return self._on(machine, sorted(offers, key=lambda offer: offer.chips))

    def _on(self, machine: str | None, offers: list[Offer]) -> Offer:
        for offer in offers:
            if machine is None or machine in offer.machines:
                return offer
        existing = ", ".join(dict.fromkeys(machine for offer in offers for machine in offer.machines))
        sentence = f"'{machine}' is no machine of this accelerator in this number; allowed: {existing}"
        raise ConflictsError([Problem(("machine",), sentence)])

    def described(self) -> str:
        """Returns what exists, for a person: `there are 1 (1x1), 4 (2x2)`."""
        shapes = {offer.chips: f" ({offer.topology})" if offer.topology else "" for offer in self.offers}
        return "there are " + ", ".join(f"{count}{shapes[count]}" for count in self.counts)


class Catalogue(Settings):
    """The whole file."""

    chips: dict[Literal["gpu", "tpu"], Chip]
    kinds: dict[str, Kind]


@cache
def catalogue() -> Catalogue:
    """Returns the facts, read once and checked."""
    text = resources.files("pipelines.experiment").joinpath("accelerators.yaml").read_text(encoding="utf-8")
    return Catalogue.model_validate(yaml.safe_load(text))


def kinds() -> dict[str, Kind]:
    """Returns the kinds of accelerators by the names that an experiment calls them."""
    return catalogue().kinds


def kind(name: str) -> Kind:
    """Returns a kind by its name. The problem of an unknown one is at `accelerator.kind`, of a step."""
    if name not in kinds():
        sentence = f"unknown kind '{name}'; {nearest(name, list(kinds()))}"
        raise ConflictsError([Problem(("accelerator", "kind"), sentence)])
    return kinds()[name]


def built_into(machine: str) -> str | None:
    """Returns the kind of accelerator that a machine type never comes without, or None."""
    for name, of_kind in kinds().items():
        if not of_kind.attached and any(machine in offer.machines for offer in of_kind.offers):
            return name
    return None
