"""Pictures by epoch in MLflow: of a training while it runs, and of the registered model."""

import logging
from pathlib import Path

import numpy as np
import pytest

from components.binding.datasets import open_for
from components.tracking import live, store
from components.tracking.live import Tracking
from components.tracking.pictures import stored
from elboflow.vae import folder
from elboflow.vae.evaluation import gallery
from tests.components.runs import Champion, Run

pytestmark = pytest.mark.xdist_group("tensorflow")

PICTURE = np.zeros((8, 8, 3), np.uint8)


def test_pictures_come_into_the_run_also_those_before_it_was_found_and_none_twice(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FLUSH_SECONDS", 60.0)
    place = Tracking(tracking_uri, "digits", "night-1"), tmp_path / "saved", tmp_path / "model", "this training"
    for epochs in ((1, 2), (2, 3)):  # as one that was killed, and resumed after epoch 1
        with live.curves(*place) as (run,):
            for epoch in epochs:
                run("validation", epoch, 10 * epoch, {"elbo": -1.0})
                run.show("validation/samples", epoch, PICTURE)
    client = store.connect(tracking_uri)
    (found,) = client.search_runs(["1"])
    assert stored(client, found.info.run_id) == {("validation/samples", epoch) for epoch in (1, 2, 3)}
    assert len(list(tmp_path.rglob("validation~samples*.png"))) == 3


@pytest.fixture
def shown(trained: Run) -> tuple[gallery.Gallery, folder.ModelFolder, list[tuple[str, int, tuple[int, ...]]]]:
    """A gallery of the trained model, and what it has shown: names, epochs and sizes."""
    found: list[tuple[str, int, tuple[int, ...]]] = []
    model = folder.load(trained.model)
    examples = open_for(model.config, trained.dataset).head("validation", gallery.EXAMPLES)

    def show(name: str, epoch: int, picture: np.ndarray) -> None:
        found.append((name, epoch, picture.shape))

    return gallery.Gallery(examples, 0, show), model, found


def test_epochs_with_pictures_grow_apart(shown: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "SHARE", 1e9)
    draw, trained, found = shown
    for epoch in range(1, 13):
        draw(epoch, trained.model)
    assert [epoch for name, epoch, _ in found if name == "validation/samples"] == [1, 2, 3, 4, 5, 6, 8, 10, 12]
    sizes = {name: size for name, _, size in found}
    assert sizes["validation/reconstructions"] == (4 * 66 + 2, 4 * 66 + 2, 3)
    assert sizes["validation/samples"] == (2 * 66 + 2, 4 * 66 + 2, 3)


def test_a_short_training_spends_no_time_on_pictures(shown: tuple) -> None:
    draw, trained, found = shown
    for epoch in range(1, 4):
        draw(epoch, trained.model)
    assert not found


def test_what_goes_wrong_with_a_picture_is_told_once(
    shown: tuple, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gallery, "SHARE", 1e9)
    draw, _, found = shown
    with caplog.at_level(logging.WARNING, "elboflow.training"):
        for epoch in (1, 2, 3):
            draw(epoch, None)
    assert not found
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("no more pictures of this training in MLflow: ")


def test_a_registered_model_shows_its_test_images_at_its_best_epoch(champion: Champion, trained: Run) -> None:
    best = folder.load(trained.model).best_epoch
    pictures = stored(store.connect(champion.tracking_uri), champion.registration.run_id)
    assert pictures == {("test/reconstructions", best), ("test/samples", best)}


def test_a_registration_that_is_done_again_shows_no_image_twice(
    trained: Run, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_text", stop)
        with pytest.raises(KeyboardInterrupt):
            trained.register(tracking_uri)
    trained.register(tracking_uri)
    assert len(list(tmp_path.rglob("test~*.png"))) == 2
