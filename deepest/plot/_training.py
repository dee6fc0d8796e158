"""How a training went."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from deepest.networks import Score, Trained
from deepest.plot._style import accent, ink, legend, panels


def training(trained: Trained, scores: Sequence[Score] = (), ax: Sequence[Axes] | np.ndarray | None = None):
    """Errors and mean end costs of the forward pass, stage by stage, on the training and on the held-out pairs.

    `scores` are of other methods on the same held-out pairs, and stand as lines. Stages of a finite R_f/R_m are named
    by it. Drawn into `ax`, two Axes, or into a figure of its own; returns the Axes (2,).
    """
    axes = panels(ax, 1, 2, 2)
    h = trained.history
    stages = np.arange(1, h.ratio.size + 1)
    series = (("error", h.error, h.held_out_error), ("loss", h.loss, h.held_out_loss))
    for one, (name, own, held) in zip(axes, series, strict=True):
        one.plot(stages, own, color=ink(), alpha=0.6, linewidth=1.0, marker=".", label="training pairs")
        one.plot(stages, held, color=accent(0), linewidth=2.0, marker="o", markersize=3.5, label="held-out pairs")
        for k, score in enumerate(scores, 1):
            value = getattr(score, name)
            if np.isfinite(value):
                one.axhline(value, color=accent(k), linestyle="--", linewidth=1.2, label=score.name)
        one.set(xlabel="stage", ylabel=name, yscale="log")
        if np.any(own <= 0) or np.any(held <= 0):
            # No error at all has its place below the smallest one.
            one.set_yscale("symlog", linthresh=_decade(own, held), linscale=0.8)
            one.set_ylim(bottom=0.0)
        if np.isfinite(h.ratio).any():
            names = [f"{ratio:.2g}" if np.isfinite(ratio) else "∞" for ratio in h.ratio]
            one.set_xticks(stages, names, fontsize="small")
            one.set_xlabel("$R_f / R_m$")
    legend(axes, own=ax is None)
    return axes


def _decade(*series: np.ndarray) -> float:
    """The power of ten below the smallest positive number of some series, where a logarithmic scale ends."""
    together = np.concatenate(series)
    return float(10.0 ** np.floor(np.log10(together[together > 0].min()))) if (together > 0).any() else 1.0
