"""The whole evaluation: a trained model's folder and test examples in, an evaluation folder out."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest

from elboflow import artifacts
from elboflow.settings import WorkError
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.evaluation import folder
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import DatasetDescription, Evaluator, Result
from elboflow.vae.families.flat import Flat
from elboflow.vae.model import ModelConfig
from elboflow.vae.networks import Network
from elboflow.vae.networks.convolutional import Convolutional
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.posteriors import Posterior
from elboflow.vae.posteriors.diagonal_gaussian import DiagonalGaussian
from elboflow.vae.priors import Prior
from elboflow.vae.priors.standard_normal import StandardNormal
from tests.elboflow.vae.given import image

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

CONFIG = EvaluationConfig(bound_samples=20, bootstrap_samples=200, batch_size=16)
FIGURES = {"samples", "reconstructions", "traversal", "latent_map", "kl_by_unit", "curves"}
EVIL = "<script>alert('&')</script>"


def model_folder(path, config=None, shape=(8, 8, 1)):
    from elboflow.vae import folder as models
    from elboflow.vae.curves import Curves
    from elboflow.vae.training import Trained

    curves = Curves()
    for epoch in (1, 2, 3):
        curves.add("train", epoch=epoch, elbo=-30 + epoch, reconstruction=-25 + epoch, kl=5.0)
        curves.add("validation", epoch=epoch, elbo=-31 + epoch, reconstruction=-26 + epoch, kl=5.0)
    config = config or Flat(latent=4)
    (spec,) = image(shape, 17).values()
    model = config.build({config.input: spec}, seed=1)
    provenance = models.Provenance(1, TrainingConfig(), "a" * 64, "1.2.3")
    models.save(path, Trained(model, curves, best_epoch=3, epochs=3), provenance)
    return models.load(path)


def held_out(count=40, shape=(8, 8, 1), seed=0):
    rng = np.random.default_rng(seed)
    codes, keys = rng.integers(0, 17, (count, *shape), dtype=np.uint8), rng.integers(-(2**62), 2**62, count)
    return Examples({"image": codes, "label": rng.integers(0, 10, count)}, keys)


def evaluate(trained, output, examples=None, dataset="a" * 64, seed=0, label="label"):
    from elboflow.vae.evaluation.evaluate import evaluate as evaluate_model

    data = DatasetDescription(dataset, {"train": 300, "validation": 40, "test": 40}, label=label)
    test = InMemory(held_out() if examples is None else examples)
    return evaluate_model(trained, test, data, CONFIG, seed, output)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def evaluation(trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluation")
    evaluate(trained, output)
    return output


def test_an_evaluation_holds_metrics_values_figures_and_a_report(evaluation):
    manifest = artifacts.load(evaluation, "evaluation")
    figures = {f"figures/{name}.png" for name in FIGURES}
    assert set(manifest["files"]) == {"metrics.json", "examples.npz", "report.html", *figures}
    assert folder.load(evaluation).facts.weights == manifest["weights"]
    assert manifest["data"]["dataset"] == "a" * 64


def test_metrics_are_the_means_of_the_values_of_the_examples_within_their_intervals(evaluation):
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    with np.load(evaluation / "examples.npz") as values:
        for name in ("elbo", "reconstruction", "kl", "log_likelihood"):
            assert metrics[name]["value"] == pytest.approx(values[name].mean())
        assert set(values["key"]) == set(held_out().keys)
    for name, estimate in metrics.items():
        assert estimate["low"] <= estimate["value"] <= estimate["high"], name
        assert estimate["meaning"], name
    assert {name: estimate["better"] for name, estimate in metrics.items()} == {
        "log_likelihood": "higher",
        "elbo": "higher",
        "reconstruction": "higher",
        "kl": None,
        "bits_per_dim": "lower",
        "active_units": None,
    }
    assert metrics["bits_per_dim"]["value"] == pytest.approx(-metrics["log_likelihood"]["value"] / 64 / np.log(2))
    assert artifacts.load(evaluation, "evaluation")["metrics"]["elbo"] == metrics["elbo"]["value"]


def test_the_same_evaluation_again_gives_the_same_files(trained, evaluation, tmp_path):
    evaluate(trained, tmp_path)
    assert artifacts.load(tmp_path, "evaluation") == artifacts.load(evaluation, "evaluation")


def test_a_model_evaluated_on_shuffled_examples_is_not_better_than_itself(trained, evaluation, tmp_path):
    from elboflow.vae.evaluation import paired

    examples = held_out()
    order = np.random.default_rng(3).permutation(len(examples))
    evaluate(trained, tmp_path, examples[order])
    with np.load(tmp_path / "examples.npz") as new, np.load(evaluation / "examples.npz") as old:
        pairs = paired.aligned(new["key"], new["log_likelihood"], old["key"], old["log_likelihood"])
    assert abs(paired.compare(*pairs, 0.95).difference) < 1e-4


def test_copies_of_examples_are_told_shown_once_and_leave_the_intervals_as_they_were(trained, tmp_path):
    from elboflow.vae.evaluation.evaluate import evaluate as evaluate_model

    once = held_out(25)
    rows = np.repeat(np.arange(25), 4)
    data = DatasetDescription(
        "a" * 64, {"train": 300, "test": 100}, {"train": 150, "test": 25}, remarks=[f"{EVIL} is a remark"]
    )
    single = evaluate_model(trained, InMemory(once), data, CONFIG, 0, tmp_path / "once")
    copied = evaluate_model(trained, InMemory(once[rows]), data, CONFIG, 0, tmp_path / "copied")
    assert copied.keys() == single.keys()
    for name, metric in copied.items():
        for end in ("value", "low", "high"):
            assert getattr(metric, end) == pytest.approx(getattr(single[name], end), abs=1e-4), name
    written = {folder: (tmp_path / folder / "report.html").read_text(encoding="utf-8") for folder in ("once", "copied")}
    assert "100 held-out test examples,\n    25 of them distinct" in written["copied"]
    assert "<td>300, 150 distinct</td>" in written["copied"]
    assert "&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt; is a remark." in written["copied"]
    assert EVIL not in written["copied"]
    pictures = [(tmp_path / folder / "figures" / "reconstructions.png").read_bytes() for folder in ("once", "copied")]
    assert pictures[0] == pictures[1]


def test_the_manifest_comes_last_and_goes_first(trained, tmp_path, monkeypatch):
    from elboflow.vae.evaluation import evaluate as module

    evaluate(trained, tmp_path)

    def disk_full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "report", disk_full)
    with pytest.raises(OSError, match="No space left"):
        evaluate(trained, tmp_path)
    with pytest.raises(WorkError, match="not a finished evaluation"):
        artifacts.load(tmp_path, "evaluation")


class Page(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]


def test_the_report_fetches_nothing_and_runs_nothing(evaluation):
    text = (evaluation / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.sources) == len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & page.tags
    assert not any(word in text for word in ("http:", "https:", "@import", "url("))


def test_dark_pages_invert_charts_and_show_images_as_they_are(evaluation):
    text = (evaluation / "report.html").read_text(encoding="utf-8")
    papers = dict(re.findall(r'alt="([^"]+)" class="(\w+)"', text))
    images = dict.fromkeys(("Samples", "Reconstructions", "Latent traversal"), "transparent")
    assert papers == images | dict.fromkeys(("Latent map", "KL by latent unit", "Training curves"), "inverted")
    assert re.search(r"prefers-color-scheme: dark\) { figure img\.inverted { filter: invert", text)


def test_the_report_shows_the_metrics_and_where_the_model_comes_from(evaluation):
    text = (evaluation / "report.html").read_text(encoding="utf-8")
    metrics = folder.load(evaluation).metrics
    for shown in (metrics["log_likelihood"].shown[0], metrics["elbo"].shown[1]):
        assert shown.replace("-", "\N{MINUS SIGN}") in text
    assert "a" * 64 in text
    assert "encoder.hidden" in text
    assert "another dataset" not in text


def test_the_report_warns_of_a_model_that_was_trained_on_another_dataset(trained, tmp_path):
    evaluate(trained, tmp_path, dataset="b" * 64)
    assert "trained on another dataset" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_settings_hold_is_text_in_the_report(tmp_path):
    examples = held_out()
    named = Examples({EVIL: examples.features["image"]}, examples.keys)
    trained = model_folder(tmp_path / "model", Flat(latent=2, input=EVIL))
    evaluate(trained, tmp_path / "evaluation", named, label=None)
    text = (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert EVIL not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("likelihood", ["gaussian", "categorical"])
def test_colour_images_are_evaluated_with_every_likelihood(tmp_path, likelihood):
    network = Convolutional(channels=[4], dense=8)
    config = Flat(latent=1, encoder=network, decoder=network, likelihood=likelihood)
    trained = model_folder(tmp_path / "model", config, (6, 5, 3))
    one = held_out(shape=(6, 5, 3)).head(1)
    metrics = evaluate(trained, tmp_path / "evaluation", one.only(["image"]), label=None)
    assert metrics["elbo"].value <= metrics["log_likelihood"].value
    assert artifacts.load(tmp_path / "evaluation", "evaluation")["examples"] == 1


def test_no_test_examples_are_an_error(trained, tmp_path):
    examples = held_out()
    with pytest.raises(WorkError, match="test split is empty"):
        evaluate(trained, tmp_path, examples.head(0))


def test_an_evaluator_that_does_not_fit_the_model_is_an_error_that_names_it_and_the_features(trained):
    from elboflow.vae.evaluation.evaluate import chosen

    config = EvaluationConfig.model_validate({"evaluators": ["table_samples"]})
    with pytest.raises(
        WorkError, match=r"evaluation\.evaluators: 'table_samples' does not fit a model of image: image;"
    ):
        chosen(config, trained.model)


class Brightness(Evaluator):
    """The mean of each example, of which no model needs to be asked."""

    kind: Literal["brightness"] = "brightness"

    def __call__(self, seen):
        read = [seen.test.read(shard).features["image"] for shard in range(len(seen.test.counts))]
        return Result(per_example={"brightness": np.concatenate(read).mean(axis=(1, 2, 3))})


def test_a_metric_of_each_example_is_found_without_what_other_evaluators_need(trained, evaluation, monkeypatch):
    from elboflow.vae.evaluation import bounds
    from elboflow.vae.evaluation.evaluate import of_example
    from elboflow.vae.evaluation.evaluators import image_samples

    examples, data = held_out(), DatasetDescription("a" * 64, {"test": 40}, label="label")
    monkeypatch.setattr(image_samples.ImageSamples, "__call__", lambda *_: pytest.fail("a figure was drawn"))
    keys, values = of_example("log_likelihood", trained, InMemory(examples), data, CONFIG, 0)
    with np.load(evaluation / "examples.npz") as columns:
        np.testing.assert_array_equal(keys, columns["key"])
        np.testing.assert_allclose(values, columns["log_likelihood"], atol=1e-4)
    with pytest.raises(WorkError, match="no evaluator of this model gives 'brightness' for each example"):
        of_example("brightness", trained, InMemory(examples), data, CONFIG, 0)
    monkeypatch.setattr(bounds, "bounds", lambda *_: pytest.fail("bounds were computed"))
    config = CONFIG.model_copy(update={"evaluators": [Brightness()]})
    keys, values = of_example("brightness", trained, InMemory(examples), data, config, 0)
    np.testing.assert_array_equal(keys, examples.keys)
    np.testing.assert_allclose(values, examples.features["image"].mean(axis=(1, 2, 3)))


def test_an_evaluator_gives_the_columns_that_it_names(trained):
    from elboflow.vae.evaluation.evaluate import chosen
    from elboflow.vae.evaluation.evaluators import Seen

    test, train = InMemory(held_out()), InMemory(held_out(seed=1))
    seen = Seen(trained, test, DatasetDescription("a" * 64, {"test": 40}, label="label"), 2, 16, 200, 0, train)
    for evaluator in chosen(CONFIG, trained.model):
        assert set(evaluator(seen).per_example) == set(evaluator.columns), evaluator.kind


def test_generated_images_are_fixed_by_the_seed_and_the_first_of_more_are_the_same(trained):
    from elboflow.vae.evaluation import samples

    few, many, other = (
        samples.generate(trained.model, count, seed)["image"] for count, seed in [(3, 5), (100, 5), (3, 6)]
    )
    assert many.shape == (100, 8, 8, 1)
    np.testing.assert_allclose(many[:3], few, atol=1e-5)
    assert np.abs(other - few).max() > 1e-4


def test_a_reconstruction_is_decoded_from_the_posterior_mean(trained):
    from elboflow.vae.evaluation import samples
    from elboflow.vae.evaluation.bounds import bounds

    examples = held_out(count=70)
    means = bounds(trained.model, InMemory(examples), 1, 0, 100).posterior_mean
    expected = samples.decode(trained.model, (means,))["image"]
    np.testing.assert_allclose(samples.reconstruct(trained.model, examples, seed=0)["image"], expected, atol=1e-4)


class Renamed(ModelConfig):
    """One layer of latents, of another family."""

    kind: Literal["renamed"] = "renamed"
    units: int = 3
    decoder: Network = MLP(hidden=[8])
    prior: Prior = StandardNormal()
    posterior: Posterior = DiagonalGaussian()

    def build(self, specs, seed=0, policy="float32"):
        model = Flat(latent=self.units, encoder=self.decoder, decoder=self.decoder).build(specs, seed, policy)
        model.config = self
        return model

    def check(self, specs):
        pass

    def outcome_space(self, specs):
        return "any"


def test_every_model_of_one_layer_of_latents_is_traversed_and_one_of_several_is_not():
    from elboflow.vae.evaluation.evaluators import Seen
    from elboflow.vae.evaluation.evaluators.image_traversal import ImageTraversal
    from tests.stranger.wind_models import TwoLayers

    parts = {"likelihood": "bernoulli", "prior": "standard_normal", "objective": "elbo"}
    configs = [Renamed(input="image"), TwoLayers.model_validate({"input": "image", "top": 3, "bottom": 3, **parts})]
    test, figures = InMemory(held_out()), []
    for config in configs:
        trained = SimpleNamespace(model=config.build(image((8, 8, 1), 17)))
        seen = Seen(trained, test, DatasetDescription("a" * 64, {"test": 40}), 2, 16, 200, 0)
        assert seen.bounds.kl_by_unit is not None
        figures.append([figure.name for figure in ImageTraversal()(seen).figures])
    assert figures == [["traversal"], []]


def test_the_units_of_each_layer_of_latents_are_those_that_encoding_returns():
    from elboflow.vae.evaluation import samples
    from tests.stranger.wind_models import TwoLayers

    parts = {"likelihood": "bernoulli", "prior": "standard_normal", "objective": "elbo"}
    config = TwoLayers.model_validate({"input": "image", "top": 2, "bottom": 5, **parts})
    model = config.build(image((8, 8, 1), 17))
    assert samples.units(model, {}) == [z.shape[1] for z in samples.encode(model, held_out(), 0)] == [2, 5]


def test_a_traversal_moves_one_unit_at_a_time(monkeypatch):
    from elboflow.vae.evaluation import samples

    given = {"label": np.array([7])}
    monkeypatch.setattr(samples, "decode", lambda model, latents, condition: {"z": latents[0], **condition})
    units, values = np.array([2, 0]), np.array([-1.0, 1.0])
    path = samples.traverse(None, np.array([1.0, 2.0, 3.0]), units, values, given)
    np.testing.assert_array_equal(path["z"], [[1, 2, -1], [1, 2, 1], [-1, 2, 3], [1, 2, 3]])
    np.testing.assert_array_equal(path["label"], [7] * 4)
