"""What a person sees of a run and of a registered version in MLflow's pages, in a real browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from components.evaluate import evaluate
from components.preprocess import preprocess
from components.tracking import live
from components.train import Monitoring, train
from elboflow.testing.mlflow_server import serving
from elboflow.vae.evaluation import gallery
from preprocessing.config import DataConfig
from tests.browser import chromium
from tests.components.runs import QUICK_EVALUATION, SHORT_TRAINING, SMALL_MODEL, Run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("tensorflow"),
    pytest.mark.skipif(chromium.program() is None, reason="chromium is not installed"),
]

PATIENCE = 60_000
"""Milliseconds that a page may take on a busy machine."""


@dataclass(frozen=True)
class Seen:
    """A browser, and a run in an MLflow server."""

    page: "Page"
    experiment: str
    run: str


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, tensorflow_backend: None) -> Iterator[tuple[str, str]]:
    """An MLflow server with a run that was trained, evaluated and registered; and the run's id."""
    folder = tmp_path_factory.mktemp("browser")
    dataset, run = folder / "dataset", Run("night-1", folder / "dataset", folder / "model", folder / "evaluation")
    with serving(folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "FLUSH_SECONDS", 60.0)
        patch.setattr(gallery, "SHARE", 1e9)  # else a training of seconds has no pictures by epoch
        preprocess(DataConfig.model_validate({"source": "sklearn"}), dataset)
        monitoring = Monitoring(tracking=live.Tracking(server, "digits", run.name))
        train(dataset, run.model, SMALL_MODEL, SHORT_TRAINING, seed=0, monitoring=monitoring)
        evaluate(dataset, run.model, run.evaluation, QUICK_EVALUATION, seed=0)
        yield server, run.register(server).run_id


@pytest.fixture
def seen(address: tuple[str, str]) -> Iterator[Seen]:
    server, run_id = address
    with chromium.opened() as page:
        page.set_default_timeout(PATIENCE)
        experiment = f"{server}/#/experiments/1"
        yield Seen(page, experiment, f"{experiment}/runs/{run_id}")


def followed(page: "Page", link: str) -> "Page":
    """Follows a link of a description, which opens a page of its own."""
    with page.expect_popup() as popup:
        page.get_by_role("link", name=link, exact=True).click()
    popup.value.set_default_timeout(PATIENCE)
    return popup.value


def test_the_experiment_lists_the_run_whose_description_leads_to_version_and_report(seen: Seen) -> None:
    page = seen.page
    page.goto(f"{seen.experiment}/runs?workflowType=machine_learning")
    page.get_by_role("link", name="night-1").click()
    page.get_by_text("Promoted to champion when it was registered: no version of digits-vae").wait_for()
    page.get_by_text("Show more").first.click()
    page.get_by_role("cell", name="nats per example").first.wait_for()
    assert "elboflow <!--" not in page.content()
    report = followed(page, "report")
    report.frame_locator("iframe").get_by_text("digits-vae version 1: promoted to champion").wait_for()
    version = followed(page, "digits-vae version 1")
    version.get_by_title("champion").first.wait_for()
    version.get_by_text("train 1,442, validation 184, test 171 examples").wait_for()
    version.get_by_role("link", name="digits-vae").first.click()
    version.get_by_text("VAE of the experiment digits.").wait_for()


def test_curves_and_pictures_by_epoch_are_drawn(seen: Seen) -> None:
    page = seen.page
    page.goto(f"{seen.run}/model-metrics")
    page.locator(".js-plotly-plot").first.wait_for()
    chromium.search_chart(page, "test/samples")
    page.wait_for_function(
        "[...document.querySelectorAll('img')].some(img => /samples/.test(img.src) && img.naturalWidth)"
    )
    chromium.full_screen(page, "validation/reconstructions")
    chromium.slide(page, 2)
    picture = page.get_by_role("dialog").locator("img")
    picture.wait_for()
    page.wait_for_function("document.querySelector('[role=dialog] img').naturalWidth > 0")
    assert "step%2B2" in str(picture.get_attribute("src"))


def test_the_dataset_shows_its_features_and_the_table_of_metrics_its_intervals(seen: Seen) -> None:
    page = seen.page
    page.goto(seen.run)
    page.get_by_text("digits-train").first.click()
    page.get_by_text("8 × 8 × 1, 17 levels; mean 4.873, std 6.014, min 0, max 16").wait_for()
    page.get_by_role("dialog").get_by_text("label", exact=True).wait_for()
    page.goto(f"{seen.run}/artifacts/metrics.json")
    page.get_by_text("log_likelihood", exact=True).first.wait_for()
    page.get_by_text("low", exact=True).first.wait_for()
