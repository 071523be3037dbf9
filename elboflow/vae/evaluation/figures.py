"""The figures of an evaluation, each from arrays to a PNG.

Colours are Paul Tol's "muted" scheme, which is safe for colour-blind readers (https://sintheta.github.io/). Figures use
matplotlib's object interface instead of pyplot: no global state, no display.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from elboflow.vae.compute.training_step import GRADIENT_NORM, LOSS
from elboflow.vae.curves import NO_MEASURES
from elboflow.vae.evaluation.diagnostics import Units
from elboflow.vae.terms import ELBO, KL, RECONSTRUCTION

_INK, _FAINT = "#333333", "#dddddd"
_FIRST, _SECOND = "#332288", "#cc6677"
_MUTED = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777")
_DOTS_PER_INCH = 144
WIDTH = 7.2
"""The width of a figure, in inches."""
_MOST_POINTS = 5000
_MOST_BARS = 64
_MOST_NAMES = 24  # names beside a colour bar
_LONGEST_NAME = 24  # characters
_MOST_PANELS, _MOST_IN_A_ROW = 6, 3  # of curves
_TITLES = {ELBO: "ELBO", KL: "KL"}

_Columns: TypeAlias = Mapping[str, np.ndarray]
_Line: TypeAlias = tuple[str, np.ndarray, np.ndarray, str]
"""Its label, the epochs, their values and its colour."""


def latent_map(posterior_mean: np.ndarray, labels: np.ndarray | None, classes: Sequence[str] | None = None) -> bytes:
    """Draws posterior means, projected on their first two principal components and coloured by label.

    Args:
        posterior_mean: `[examples, latent]`; one or two units are drawn without a projection.
        labels: int64 `[examples]`, or None.
        classes: The names of the labels, by label, or None.
    """
    points, names = _plane(posterior_mean[:_MOST_POINTS])
    figure, axes = _figure(6.4, 5.2)
    size = float(np.clip(6000 / len(points), 4, 28))
    kinds = np.unique(labels) if labels is not None else np.array([])
    drawn = []
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=size, color=_FIRST, alpha=0.7, linewidths=0)
    elif len(kinds) <= len(_MUTED):
        for label, colour in zip(kinds, _MUTED, strict=False):
            own = points[labels[: len(points)] == label]
            drawn.append(axes.scatter(own[:, 0], own[:, 1], s=size, color=colour, alpha=0.8, linewidths=0))
        named = [_name(label, classes) for label in kinds]
        # Explicit handles and names, because matplotlib leaves out labels that begin with an underscore.
        axes.legend(
            drawn, named, title="label", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=1.5
        )
    else:
        coloured = axes.scatter(
            points[:, 0], points[:, 1], s=size, c=labels[: len(points)], cmap="viridis", linewidths=0
        )
        bar = figure.colorbar(coloured, ax=axes, label="label")
        if classes is not None:
            ticks = kinds[:: -(-len(kinds) // _MOST_NAMES)].tolist()
            bar.set_ticks(ticks, labels=[_name(label, classes) for label in ticks])
    axes.set(xlabel=names[0], ylabel=names[1])
    return encoded(figure)


def curves(measured: Mapping[str, Mapping[str, list[float | None]]]) -> bytes:
    """Draws measures of training and validation over the epochs: ELBO, reconstruction and KL, then others.

    Each measure of the validation has a panel, then those that training alone has, up to six panels in all.

    Args:
        measured: The columns of the groups `train` and `validation` (`elboflow.vae.curves.Curves`).
    """
    train, validation = (
        {name: np.array(column, np.float64) for name, column in measured[group].items()}
        for group in ("train", "validation")
    )
    panels = _panels(train, validation)
    rows = 1 if len(panels) <= _MOST_IN_A_ROW else 2
    figure = Figure(figsize=(WIDTH * 1.25, 2.9 * rows), layout="constrained")
    best = validation["epoch"][int(np.nanargmax(validation[ELBO]))]
    places = figure.subplots(rows, -(-len(panels) // rows), squeeze=False).ravel()
    for axes, (name, lines) in zip(places, panels, strict=False):
        _style(axes)
        for label, epochs, values, colour in lines:
            marker = "o" if len(values) < 3 else None
            axes.plot(epochs, values, color=colour, linewidth=1.6, marker=marker, label=label)
        axes.axvline(best, color=_INK, linewidth=0.8, linestyle=":", label="best epoch")
        axes.set_title(_TITLES.get(name, name.replace("_", " ").replace("$", r"\$")), fontsize=10, color=_INK)
        axes.set_xlabel("epoch")
        axes.set_ylim(*_limits_without_start([values for _, _, values, _ in lines]))
        axes.xaxis.get_major_locator().set_params(integer=True)
        if name == ELBO:
            axes.set_ylabel("nats per example")
            axes.legend(fontsize=8, loc="lower right", facecolor="white", edgecolor="none", framealpha=0.9)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return encoded(figure)


def _panels(train: _Columns, validation: _Columns) -> list[tuple[str, list[_Line]]]:
    """Returns the names of measures, and the lines of each."""
    first = (ELBO, RECONSTRUCTION, KL)
    others = sorted(validation.keys() - {*first, *NO_MEASURES})
    validated = [name for name in first if name in validation] + others
    # Where there are several players, the measures of each have a prefix; only the players' own have a gradient.
    prefixes = [name.removesuffix(GRADIENT_NORM) for name in train if name.endswith(GRADIENT_NORM)] or [""]
    panels: list[tuple[str, list[_Line]]] = []
    for name in validated:
        trained = [prefix for prefix in prefixes if prefix + name in train]
        lines: list[_Line] = [
            (f"train {prefix}".rstrip(" _"), train["epoch"], train[prefix + name], colour)
            for prefix, colour in zip(trained, (_SECOND, *_MUTED[1:]), strict=False)
        ]
        panels.append((name, [*lines, ("validation", validation["epoch"], validation[name], _FIRST)]))
    drawn = {prefix + name for prefix in prefixes for name in (*validated, LOSS, GRADIENT_NORM)}
    for name in sorted(train.keys() - drawn - NO_MEASURES):
        panels.append((name, [("train", train["epoch"], train[name], _SECOND)]))
    return panels[:_MOST_PANELS]


def kl_by_unit(units: Units) -> bytes:
    """Draws the KL of each latent unit, largest first, with active and inactive units in different colours."""
    order = units.by_kl[:_MOST_BARS]
    active = units.active[order]
    figure, axes = _figure(6.4, 3.2)
    places = np.arange(len(order))
    for which, colour, name in ((active, _FIRST, "active"), (~active, _SECOND, "inactive")):
        if which.any():
            axes.bar(places[which], units.kl[order][which], color=colour, label=name, width=0.8)
    step = -(-len(order) // 32)
    axes.set_xticks(places[::step], [str(unit) for unit in order[::step]])
    cut = f", the {len(order)} largest of {len(units.kl)}" if len(order) < len(units.kl) else ""
    axes.set(xlabel=f"latent unit{cut}", ylabel="KL, nats per example", xlim=(-0.7, max(len(order), 4) - 0.3))
    axes.legend(frameon=False)
    return encoded(figure)


def _name(label: int, classes: Sequence[str] | None) -> str:
    """Returns the text of a label, shortened, and escaped so that matplotlib does not parse it as a formula."""
    if classes is None:
        return str(label)
    text = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in classes[label]
    )
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=8.5, width=0.8)
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _plane(means: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns points `[examples, 2]`, and the names of the two axes."""
    latent = means.shape[1]
    if latent == 1:
        return np.column_stack([means, np.arange(len(means))]), ("posterior mean of unit 0", "example")
    if latent == 2:
        return means, ("posterior mean of unit 0", "posterior mean of unit 1")
    centred = means - means.mean(axis=0)
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    components = vectors[:, [-1, -2]]  # eigenvalues come in ascending order
    # The sign of an eigenvector is arbitrary. Its largest entry is made positive, so that figures are reproducible.
    components = components * np.sign(components[np.abs(components).argmax(axis=0), [0, 1]])
    shares = variances[[-1, -2]] / max(float(variances.sum()), 1e-12)
    first, second = (
        f"{name} principal component ({share:.0%} of variance)"
        for name, share in zip(("first", "second"), np.maximum(shares, 0), strict=True)
    )
    return centred @ components, (first, second)


def _limits_without_start(series: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns axis limits without the first tenth of the epochs, whose outlying values would flatten the curves."""
    shown = np.concatenate([values[len(values) // 10 :] for values in series])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    margin = 0.05 * max(high - low, 1e-3)
    return low - margin, high + margin


def encoded(figure: Figure) -> bytes:
    """Returns the bytes of a PNG."""
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    # Without the software version, the same numbers give the same file.
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()
