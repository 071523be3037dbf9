"""What would break of an experiment's schedule, as far as it can be seen without running it."""

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points

from components.config import Webhook
from pipelines.experiment.machines import VertexStep
from pipelines.rehearsal import Flaw, places, times
from pipelines.rehearsal.look import STEPS, Look
from pipelines.targets.placement import checkpoints_lost
from preprocessing.features.category import CategoryFeature
from preprocessing.files import is_uri

FEWEST = 100
"""Examples of a test split, below which a paired test hardly ever finds a newcomer better."""


def flaws(look: Look) -> list[Flaw]:
    """Returns what would break, in the order of a run: its start, what it needs, what its steps do, its end."""
    kinds: tuple[Callable[[Look], Iterator[Flaw]], ...] = (
        times.clock, times.zone, times.overlaps, places.images, places.secrets, places.machines, places.quota,
        places.bucket, places.account, places.volumes, places.tracking, _source, _hanging, _taken_away, _promotion,
        _decision, _guards, _notification,
    )  # fmt: skip
    return [flaw for kind in kinds for flaw in kind(look)]


def _source(look: Look) -> Iterator[Flaw]:
    source = look.experiment.data.source
    located = any(is_uri(place) for place in source.locations.values())
    if located and not source.is_dated:
        yield Flaw("source-undated", "data.source", "has no {date}",
                   "a late or repeated night reads other data than the night it was meant for",
                   "write {date} in its location, such as gs://BUCKET/{date}/*.csv")  # fmt: skip
    if look.if_changed and source.is_dated:
        yield Flaw("always-changed", "--if-changed", "the source of each night is another, by its {date}",
                   "no night is ever skipped", "leave --if-changed out")  # fmt: skip


def _hanging(look: Look) -> Iterator[Flaw]:
    for step in STEPS:
        settings = look.step(step)
        if settings.timeout_minutes is None and not (isinstance(settings, VertexStep) and not settings.is_custom_job):
            ends = "ends only after 7 days" if isinstance(settings, VertexStep) else "never ends"
            yield Flaw("no-timeout", look.key("steps", step, "timeout_minutes"), "missing",
                       f"a night in which {step} hangs {ends}, and the nights after it do not run",
                       "give it, such as timeout_minutes: 240")  # fmt: skip


def _taken_away(look: Look) -> Iterator[Flaw]:
    for step in STEPS:
        if look.step(step).retry.attempts == 0:
            yield Flaw("no-retry", look.key("steps", step, "retry"), "attempts: 0",
                       "the first night in which its machine is taken away fails", "retry: 2")  # fmt: skip
    if look.name == "kubeflow" and (lost := checkpoints_lost(look.experiment)) is not None:
        yield Flaw("checkpoints-lost", "training.checkpoints.folder", lost,
                   "a night in which the pod is taken away trains from the beginning",
                   "a folder below the mount of one of targets.kubeflow.volumes")  # fmt: skip


def _promotion(look: Look) -> Iterator[Flaw]:
    data, registry = look.experiment.data, look.experiment.registry
    limit, fraction = data.limit, data.splits["test"]
    if limit is not None and not isinstance(fraction, str) and limit * fraction < FEWEST:
        yield Flaw("test-too-small", "data.splits.test", f"about {limit * fraction:.0f} examples of {limit}",
                   "no night finds enough to promote a model that is a little better",
                   f"{FEWEST} examples or more")  # fmt: skip
    owner = (
        None if look.inventory.models is None or registry.model is None else look.inventory.models.get(registry.model)
    )
    if owner is not None and owner != look.experiment.name:
        yield Flaw("model-clash", "registry.model", f"{registry.model}: is registered by {owner}",
                   "each night compares its model with one of another experiment", "give it another name")  # fmt: skip


def _decision(look: Look) -> Iterator[Flaw]:
    from elboflow.vae.evaluation.evaluators.bounds import Bounds

    metric = look.experiment.registry.decides_by
    if metric not in Bounds.deciding and not entry_points(group=Bounds.group):  # whose values nobody knows before
        yield Flaw("decides-by", "registry.decides_by",
                   f"{metric}: is no metric of the evaluation that has a value for each example and a better direction",
                   "the last step of every night fails, after the training",
                   f"one of {', '.join(Bounds.deciding)}")  # fmt: skip


def _guards(look: Look) -> Iterator[Flaw]:
    for number, guard in enumerate(look.experiment.registry.guard):
        feature = look.experiment.data.features[guard.feature]
        count = feature.classes if isinstance(feature, CategoryFeature) else None
        absent = [value for value in guard.values or () if isinstance(value, int) and count and not 0 <= value < count]
        if absent:
            yield Flaw("guard-absent", f"registry.guard.{number}.values",
                       f"{absent[0]}: is no class of {guard.feature}, which has {count}",
                       "no night guards it, and a model that is worse on what was meant is promoted",
                       f"classes from 0 to {(count or 1) - 1}")  # fmt: skip


def _notification(look: Look) -> Iterator[Flaw]:
    notify = look.experiment.notify
    if notify is None:
        yield Flaw("nobody-told", "notify", "missing", "nobody is told of a night that fails", "notify: webhook")
    elif isinstance(notify, Webhook) and notify.variable not in look.target.secrets:
        yield Flaw("notify-unset", "notify.variable", f"{notify.variable}: the steps have no such variable",
                   "nobody is told of a night that fails",
                   f"{look.key('secrets')}: {{{notify.variable}: …}}")  # fmt: skip
