"""Figures: what is drawn where, and that every kind of model and data can be drawn."""

import io

import numpy as np
import pytest
from PIL import Image

from elboflow.vae.evaluation import figures, image_figures, images
from elboflow.vae.evaluation.diagnostics import Units


def opened(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def test_a_grid_holds_each_image_at_its_place():
    intensities = np.arange(5)[:, None, None, None] / 4 * np.ones((5, 2, 3, 1))
    grid = images.grid(intensities, columns=3, factor=2, gap=1)
    assert grid.shape == (2 * 5 + 1, 3 * 7 + 1, 3)
    for index in range(5):
        top, left = 1 + index // 3 * 5, 1 + index % 3 * 7
        assert (grid[top : top + 4, left : left + 6] == round(index / 4 * 255)).all()
    empty = grid[6:10, 15:21]
    assert (empty == grid[0, 0]).all()


def test_a_grid_keeps_colours_and_cuts_what_is_beyond_the_range():
    colour = np.array([1.0, 0.0, 2.0]) * np.ones((1, 4, 4, 3))
    assert (images.grid(colour, columns=1)[1:-1, 1:-1] == [255, 0, 255]).all()


@pytest.mark.parametrize("shape", [(4, 4, 4), (0, 4, 4, 1)])
def test_what_is_not_images_is_an_error_that_gives_the_shape(shape):
    with pytest.raises(ValueError, match="found shape"):
        images.grid(np.zeros(shape), columns=2)


def test_small_images_are_enlarged_and_large_ones_are_left_alone():
    assert opened(images.png(np.zeros((4, 8, 8, 1)))).shape[0] > 100
    assert opened(images.png(np.zeros((4, 64, 64, 3)), columns=4)).shape[1] < 4 * 70


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (64, 48, 3)])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_images_of_any_shape_and_number_are_drawn(shape, count):
    intensities = np.random.default_rng(0).random((count, *shape))
    for picture in (
        images.png(intensities),
        image_figures.reconstructions(intensities, intensities),
        image_figures.traversal(intensities, np.arange(count), np.ones(count), np.zeros(1)),
    ):
        assert 20 < min(opened(picture).shape[:2]) <= max(opened(picture).shape[:2]) < 4000


def test_the_original_stands_above_its_reconstruction():
    picture = opened(image_figures.reconstructions(np.ones((4, 8, 8, 1)), np.zeros((4, 8, 8, 1))))
    # The last image column: white stands for the original, black for its reconstruction.
    rows = picture.mean(axis=2).min(axis=1) > 100
    dark = np.flatnonzero((picture.mean(axis=2) < 10).sum(axis=1) > picture.shape[1] / 3)
    assert rows[: dark.min()].any()
    assert dark.min() > 0.4 * picture.shape[0]


@pytest.mark.parametrize("latent", [1, 2, 3, 40])
@pytest.mark.parametrize("labels", [None, 1, 10, 11], ids=["no labels", "one label", "ten labels", "many labels"])
def test_latents_of_any_size_are_mapped_with_any_labels(latent, labels):
    means = np.random.default_rng(0).normal(size=(30, latent))
    assert opened(figures.latent_map(means, None if labels is None else np.arange(30) % labels)).std() > 0


def test_a_collapsed_posterior_and_a_single_example_can_be_mapped():
    assert len(figures.latent_map(np.zeros((20, 4)), None))
    assert len(figures.latent_map(np.ones((1, 4)), np.array([3])))


@pytest.mark.parametrize("latent", [1, 16, 300])
def test_units_of_any_number_have_their_kl_drawn(latent):
    units = Units(kl=np.linspace(0, 2, latent), variance=np.linspace(0, 1, latent))
    assert units.by_kl[0] == latent - 1
    assert len(figures.kl_by_unit(units))


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_curves_of_any_number_of_epochs_are_drawn(epochs):
    columns = {name: list(range(1, epochs + 1)) for name in ("epoch", "elbo", "reconstruction", "kl")}

    assert len(figures.curves({"train": columns, "validation": columns}))


def panels(monkeypatch, train, validation):
    """The titles of the panels of curves, and the labels of the lines in each."""
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(figures, "encoded", lambda figure: drawn.append(figure) or b"")
    columns = {"epoch": [1, 2, 3], "step": [4, 8, 12]}
    own = dict.fromkeys(("learning_rate", "skipped_steps"), [0.0] * 3)
    figures.curves(
        {
            "train": columns | {name: [1.0, 2.0, 3.0] for name in train} | own,
            "validation": columns | {name: [1.0, 3.0, None] for name in validation},
        }
    )
    (figure,) = drawn
    assert isinstance(figure, Figure)
    return {
        axes.get_title(): [line.get_label() for line in axes.lines if line.get_label() != "best epoch"]
        for axes in figure.axes
        if axes.axison
    }


TERMS = ("kl", "elbo", "reconstruction")
BOTH = ["train", "validation"]


def test_curves_of_a_vae_are_its_bound_and_the_terms_of_it(monkeypatch):
    found = panels(monkeypatch, (*TERMS, "loss", "gradient_norm"), TERMS)
    assert list(found.items()) == [("ELBO", BOTH), ("reconstruction", BOTH), ("KL", BOTH)]


def test_what_layers_and_objectives_measure_is_drawn_after_the_bound_in_at_most_six_panels(monkeypatch):
    layers = ("kl_1", "kl_2")
    train = (*TERMS, *layers, "iwae", "loss", "gradient_norm")
    found = panels(monkeypatch, train, (*TERMS, *layers))
    assert list(found) == ["ELBO", "reconstruction", "KL", "kl 1", "kl 2", "iwae"]
    assert found["kl 2"] == BOTH
    assert found["iwae"] == ["train"]
    assert list(panels(monkeypatch, (*train, "other"), (*TERMS, *layers))) == list(found)


def test_what_players_measure_is_drawn_beside_what_the_validation_measures(monkeypatch):
    train = [f"vae_{name}" for name in (*TERMS, "distance", "loss", "gradient_norm")]
    found = panels(monkeypatch, [*train, "critic_error", "critic_loss", "critic_gradient_norm"], TERMS)
    assert list(found) == ["ELBO", "reconstruction", "KL", "critic error", "vae distance"]
    assert found["ELBO"] == ["train vae", "validation"]
    assert found["critic error"] == ["train"]


def test_the_same_numbers_draw_the_same_file():
    means = np.random.default_rng(0).normal(size=(30, 5))
    assert figures.latent_map(means, np.arange(30) % 3) == figures.latent_map(means, np.arange(30) % 3)


def test_figures_of_images_have_no_paper_so_that_dark_pages_show_them_as_they_are():
    pairs = np.linspace(0, 1, 2 * 64).reshape(2, 8, 8, 1)
    with Image.open(io.BytesIO(image_figures.reconstructions(pairs, pairs))) as drawn:
        assert drawn.mode == "RGBA"
        assert drawn.getpixel((0, 0))[3] == 0
        assert (0, 0, 0, 255) in {drawn.getpixel((x, y)) for x in range(drawn.width) for y in range(0, drawn.height, 9)}


def test_images_of_neither_one_nor_three_channels_are_drawn_as_the_grey_of_their_mean():
    four = np.array([0.0, 0.0, 1.0, 1.0]) * np.ones((1, 4, 4, 4))
    assert (images.grid(four, columns=1)[1:-1, 1:-1] == 128).all()


NAMES = ["_hidden", "$one$ and $x_", "\x1b[31mtwo", "n" * 300, "", "five"]


@pytest.mark.parametrize("kinds", [6, 40], ids=["a legend", "a colour bar"])
def test_classes_of_any_name_are_drawn_and_named(kinds):
    means = np.random.default_rng(0).normal(size=(200, 2))
    labels = np.arange(200) % kinds
    named = figures.latent_map(means, labels, (NAMES * 7)[:kinds])
    assert named != figures.latent_map(means, labels)
    assert opened(named).shape[1] < 1200
