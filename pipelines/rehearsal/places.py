"""Flaws of what a run needs at the platform: images, secrets, machines, a bucket, MLflow."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import VertexStep
from pipelines.experiment.vertex import VertexTarget
from pipelines.rehearsal import Flaw
from pipelines.rehearsal.look import STEPS, Look
from pipelines.targets.checks import images_named, parsed


def images(look: Look) -> Iterator[Flaw]:
    for image in images_named(look.target.image):
        _, _, reference = parsed(image)
        if reference == "latest":
            yield Flaw("image-moves", look.key("image"), f"{image}: is not pinned to a version",
                       "any night may run other code than the one before", "give a tag, or @sha256:…")  # fmt: skip
        if look.inventory.images is not None and image not in look.inventory.images:
            yield Flaw("image-missing", look.key("image"), f"{image}: is not in the inventory",
                       "the first step of every night cannot be started",
                       "build and push it: infra/images/build.sh; or correct `image`")  # fmt: skip
    if isinstance(look.target.image, str) and "cpu" in parsed(look.target.image)[1].rpartition("/")[2]:
        for step in STEPS:
            if (accelerator := look.step(step).accelerator) is not None:
                yield Flaw("image-without-drivers", look.key("image"),
                           f"{look.target.image}: is named after processors, and {step} is on {accelerator.kind}",
                           f"{step} of every night finds no chip", "image: {cpu: …, cuda: …}")  # fmt: skip


def secrets(look: Look) -> Iterator[Flaw]:
    if look.inventory.secrets is None:
        return
    for variable, secret in look.target.secrets.items():
        named = secret if isinstance(secret, str) else f"{secret.name}/{secret.key}"
        if named not in look.inventory.secrets:
            yield Flaw("secret-missing", look.key("secrets", variable), f"{named}: is not in the inventory",
                       "the steps of every night do not start", "make the secret, or correct its name")  # fmt: skip


def quota(look: Look) -> Iterator[Flaw]:
    if look.inventory.quota is None:
        return
    for name, settings in look.target.steps.items():
        if settings.accelerator is None or settings.offer is None:
            continue
        needed, there = settings.offer.chips * settings.machines, look.inventory.quota.get(settings.accelerator.kind, 0)
        if needed > there:
            yield Flaw("quota", look.key("steps", name, "accelerator"),
                       f"{needed} {settings.accelerator.kind}, and the quota is {there}",
                       f"{name} of every night waits for a machine, or is refused",
                       "ask for more, or name fewer chips or another kind")  # fmt: skip


def machines(look: Look) -> Iterator[Flaw]:
    if look.inventory.machines is None:
        return
    for name, settings in look.target.steps.items():
        if not isinstance(settings, VertexStep):
            continue
        needed = settings.machine or (
            settings.offer.machines[0] if settings.offer and settings.offer.machines else None
        )
        adding = None if settings.reduction_server is None else settings.reduction_server.machine
        for machine in filter(None, (needed, adding)):
            if machine not in look.inventory.machines:
                yield Flaw("machine-missing", look.key("steps", name, "machine"),
                           f"{machine}: is not among the machine types of the inventory",
                           f"{name} of every night is refused",
                           "name one that the region has, or another region")  # fmt: skip


def bucket(look: Look) -> Iterator[Flaw]:
    if look.inventory.buckets is None or not isinstance(look.target, VertexTarget):
        return
    name = look.target.root.removeprefix("gs://").partition("/")[0]
    region = look.inventory.buckets.get(name)
    if region is None:
        yield Flaw("bucket-missing", look.key("root"), f"gs://{name}: is not in the inventory",
                   "the platform refuses the first night", f"make it in {look.target.location}")  # fmt: skip
    elif not look.target.location.startswith(region.lower()):  # also of a multi-region: eu, us, asia
        found = f"gs://{name} is in {region}, the steps in {look.target.location}"
        yield Flaw("bucket-elsewhere", look.key("root"), found,
                   "every night pays for the way of all data, and is slow", "use a bucket in the region")  # fmt: skip


def account(look: Look) -> Iterator[Flaw]:
    account, known = look.target.service_account, look.inventory.service_accounts
    if known is not None and account is not None and account not in known:
        yield Flaw("account-missing", look.key("service_account"), f"{account}: is not in the inventory",
                   "the platform refuses the first night", "make the account, or correct its name")  # fmt: skip


def volumes(look: Look) -> Iterator[Flaw]:
    if look.inventory.volumes is None or not isinstance(look.target, KubeflowTarget):
        return
    for volume in look.target.volumes:
        if volume.claim not in look.inventory.volumes:
            yield Flaw("volume-missing", look.key("volumes"), f"{volume.claim}: is not in the inventory",
                       "the pods of every night wait for it", "make the claim, or correct its name")  # fmt: skip


def tracking(look: Look) -> Iterator[Flaw]:
    host = urlsplit(look.target.tracking_uri).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    local = host == "localhost" or (address is not None and address.is_loopback)
    peered = isinstance(look.target, KubeflowTarget) or look.target.network is not None
    if local or (address is not None and address.is_private and not peered):
        yield Flaw("tracking-unreachable", look.key("tracking_uri"),
                   f"{host} is an address of {'this machine' if local else 'a private network'}",
                   "the first step that records, in the first night, reaches no MLflow",
                   "write an address that the steps can reach, or a `network` that they are peered with")  # fmt: skip
