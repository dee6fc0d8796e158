"""What the pictures have in common."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

# Inches: a lone panel, a panel of a column that share their time axis, a panel among columns.
_LONE, _STACKED, _TILED = (6.4, 4.2), (6.8, 1.5), (3.6, 2.5)


def ink() -> str:
    """The colour that the style in force writes with: black on light, white on dark."""
    return to_hex(rcParams["text.color"])


def accent(k: int) -> str:
    """The k-th colour of the style's cycle."""
    colours = rcParams["axes.prop_cycle"].by_key().get("color", [ink()])
    return to_hex(colours[k % len(colours)])


def panels(ax: Axes | Sequence[Axes] | np.ndarray | None, rows: int, columns: int, count: int) -> np.ndarray:
    """`count` axes as an array: those given, or those of a new figure of rows × columns.

    Raises `ValueError` where another number of axes is given.
    """
    if ax is not None:
        given = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if given.size != count:
            raise ValueError(f"This picture has {count} panels, one Axes each; received {given.size}.")
        return given
    width, height = _LONE if count == 1 else _STACKED if columns == 1 else _TILED
    size = (width * columns, height * rows + (0.8 if count > 1 else 0.0))
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, sharex="col")
    for k, spare in enumerate(grid.ravel()[count:], count):
        grid.ravel()[k - columns].xaxis.set_tick_params(labelbottom=True)
        spare.remove()
    return grid.ravel()[:count]


def legend(axes: np.ndarray, own: bool) -> None:
    """One legend for all panels: above them in a figure of our own, the labels of which it also lines up; else in the
    first."""
    entries: dict[str, object] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not own:
        axes[0].legend(entries.values(), entries.keys(), fontsize="small")
        return
    columns = len(entries) if len(entries) <= 4 else 3
    style = {"ncols": columns, "frameon": False, "fontsize": "small"}
    axes[0].figure.legend(entries.values(), entries.keys(), loc="outside upper center", **style)
    axes[0].figure.align_ylabels()
