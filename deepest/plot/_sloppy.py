"""How well parameters are known."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from deepest.anneal import Identifiability
from deepest.plot._style import accent, ink, panels


def identifiability(
    known: Identifiability, directions: int = 4, ax: Sequence[Axes] | np.ndarray | None = None
) -> np.ndarray:
    """What the data say of each parameter, and the sloppiest combinations of them.

    - Left: each deviation as a part of what it was without data, in grey where the data say nothing; estimates at a
      bound are marked.
    - Right: the sloppiest `directions` as columns of weights between −1 and 1, each over its own deviation.

    Drawn into `ax`, two Axes, or into a figure of its own; returns the Axes (2,).
    """
    axes = panels(ax, 1, 2, 2)
    count, places = len(known.names), np.arange(len(known.names))
    if ax is None:
        axes[0].figure.set_size_inches(7.2, 1.4 + 0.24 * count)
    _bars(axes[0], known, places)
    spreads, vectors = known.directions
    shown = min(directions, spreads.size)
    image = axes[1].imshow(vectors[:shown].T, cmap="coolwarm", vmin=-1.0, vmax=1.0, aspect="auto")
    axes[1].set_xticks(range(shown), [f"{spread:.2g}" for spread in spreads[:shown]])
    axes[1].set_yticks(places, [] if ax is None else known.names)
    axes[1].set_xlabel("deviation along it")
    axes[1].set_title("sloppiest combinations", fontsize="medium")
    axes[1].figure.colorbar(image, ax=axes[1], label="weight")
    return axes


def _bars(ax: Axes, known: Identifiability, places: np.ndarray) -> None:
    shares = np.where(known.at_bound, np.nan, known.shares)
    loose = np.isin(known.names, known.loose)
    lowest = float(np.nanmin(shares, initial=1.0)) / 3.0
    ax.barh(places, np.nan_to_num(shares), color=np.where(loose, accent(1), accent(0)), height=0.6)
    for place in places[known.at_bound]:
        ax.text(lowest * 1.1, place, "at its bound", va="center", fontsize="small", color=ink())
    ax.axvline(0.5, color=ink(), alpha=0.4, linestyle="--", linewidth=0.9)
    ax.set_xscale("log")
    ax.set(xlim=(lowest, 1.3), ylim=(places[-1] + 0.6, -0.6), xlabel="deviation, 1 without data")
    ax.set_yticks(places, known.names)
    ax.set_title("each parameter", fontsize="medium")
