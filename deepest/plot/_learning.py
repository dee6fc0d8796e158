"""What a network learned along the ladder."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from deepest.networks import Climbed
from deepest.plot._style import accent, ink, legend, panels

_DASHES = ("--", ":", "-.", (0, (1, 3)))


def learning(
    climbed: Climbed,
    baselines: Mapping[str, float] | None = None,
    yardstick: float | None = None,
    ax: Sequence[Axes] | np.ndarray | None = None,
) -> np.ndarray:
    """Reduced levels 2A/n, and beside them held-out errors of the forward pass, against R_f/R_m, one line a start.

    The start with the lowest level at the top stands out in both. `baselines` are errors by name in the units of
    `climbed.held_out`, drawn as horizontal lines, and `yardstick` is a level, that of the truth. An infinite R_f/R_m is
    left out. Drawn into `ax`, two Axes, or into a figure of its own; returns the Axes (2,). Raises `ValueError` where
    nothing was held out.
    """
    held_out, levels = np.asarray(climbed.held_out), np.asarray(climbed.levels)
    if not np.isfinite(held_out).any():
        raise ValueError("There are no held-out errors to draw: climb with held_out=Pairs(…).")
    axes = panels(ax, 1, 2, 2)
    finite, best = np.isfinite(climbed.ratios), climbed.order[0]
    for one, series in zip(axes, (levels, held_out), strict=True):
        for member in (*climbed.order[:0:-1], best):
            lowest = member == best
            style = {"color": accent(0), "linewidth": 2.2, "zorder": 3.0} if lowest else {"color": ink(), "alpha": 0.5}
            label = "start with the lowest level" if lowest else "other starts"
            one.plot(climbed.ratios[finite], series[finite, member], label=label, **style)
    if yardstick is not None and np.isfinite(yardstick):
        axes[0].axhline(yardstick, color=accent(1), linestyle="--", linewidth=1.4, label="level from the truth")
    for k, (name, value) in enumerate((baselines or {}).items()):
        style = {"color": accent(2 + k), "linestyle": _DASHES[k % len(_DASHES)], "linewidth": 1.6, "zorder": 3.5}
        axes[1].axhline(value, label=name, **style)
    for one, name in zip(axes, ("action level 2A/n", "held-out error / σ²"), strict=True):
        one.set(xscale="log", yscale="log", xlabel="$R_f / R_m$  (per layer)", ylabel=name)
    legend(axes, own=ax is None)
    return axes
