"""`run --smoke`: an experiment made small, with every component of it: source, features, networks, likelihoods."""

from pydantic import ValidationError

from elboflow.settings import RequestError
from elboflow.settings.explain import explain
from pipelines.experiment import Experiment
from preprocessing.config import HELD_OUT

EXAMPLES = 64
STEPS = 2
BATCH = 8
BOUND_SAMPLES = 2
REDUCED = (
    f"smoke: the first {EXAMPLES} examples of each part of the source, in splits of equal size, of which half may be "
    f"rejected; {STEPS} training steps of at most {BATCH} examples; {BOUND_SAMPLES} samples of the bound; this "
    "machine's own devices; a throw-away MLflow; no schedule, and nobody is notified"
)
"""What the changes are, in a sentence."""


def reduced(experiment: Experiment) -> Experiment:
    """Returns an experiment that takes the same way through the same code in half a minute, and names no MLflow.

    Raises:
        RequestError: The experiment cannot be made small.
    """
    values = experiment.model_dump(mode="json")
    data, training = values["data"], values["training"]
    # A small sample leaves the smallest splits of a large source empty, and one bad row is more than a percent of it.
    by_key = [name for name, fraction in data["splits"].items() if fraction != HELD_OUT]
    data |= {
        "limit": EXAMPLES,
        "splits": {**data["splits"], **dict.fromkeys(by_key, 1 / len(by_key))},
        "max_reject_fraction": 0.5,
        "workers": 1,
    }
    parts = min(training["micro_batches"], BATCH)
    training |= {
        "max_steps": STEPS,
        "micro_batches": parts,
        "batch_size": max(min(training["batch_size"], BATCH) // parts, 1) * parts,
        "device": "auto",
        "gpu": {},
        "parallel": None,
    }
    training["checkpoints"]["folder"] = None
    values["evaluation"] |= {"bound_samples": BOUND_SAMPLES, "bootstrap_samples": 100}
    local = {**values["targets"]["local"], "tracking_uri": None}
    values |= {"targets": {"local": local}, "schedule": None, "notify": None}
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(map(str, explain(error, Experiment)))
        raise RequestError(f"--smoke cannot make the experiment small: {problems}") from None
