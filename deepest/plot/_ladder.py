"""What happened along the ladder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from deepest.anneal import Result, expected
from deepest.minimise import Status
from deepest.plot._style import accent, ink, legend, panels

# Longer names than this stand above their panels.
_BESIDE = 16

# How a line looks by what became of its member: label, then style.
_FATES: dict[str, dict[str, Any]] = {
    "lowest level": {"alpha": 1.0, "linewidth": 2.2, "zorder": 3.0},
    "reached the top": {"alpha": 0.75, "linewidth": 1.0, "zorder": 2.2},
    "left at an earlier rung": {"alpha": 0.3, "linewidth": 0.8, "zorder": 2.1},
    "failed": {"alpha": 0.6, "linewidth": 0.8, "zorder": 2.1},
}


def action_levels(result: Result, ax: Axes | None = None) -> Axes:
    """Reduced action levels 2A/n against R_f/R_m, both logarithmic, one line a member.

    The lowest level at the top stands out; lines of members that were left at an earlier rung are faint and end in a
    dot, those that failed in a cross. The band is what χ² allows at the end: about 1, the level at which the path
    misses the n data by their measurement error. Drawn into `ax`, a single Axes, or into a figure of its own.
    """
    (axes,) = panels(ax, 1, 1, 1)
    lowest, highest = expected(result.action)
    note = f"allowed by χ², n = {int(result.action.count)}"
    if lowest > 0:
        axes.axhspan(lowest, highest, color=accent(1), alpha=0.2, linewidth=0, label=note)
    axes.axhline(1.0, color=accent(1), linestyle="--", linewidth=1.2, label=None if lowest > 0 else note)
    for line in _draw(axes, result, result.levels):
        if line.get_label() == "lowest level":
            line.set_label(f"lowest level, {result.best.level:.4g} at the top")
    axes.set(xscale="log", yscale="log", xlabel=_ratio_label(result), ylabel="action level 2A/n")
    axes.legend(loc="best", fontsize="small")
    return axes


def parameters(
    result: Result,
    truth: Mapping[str, float] | Sequence[float] | None = None,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
) -> np.ndarray:
    """Every estimated parameter against R_f/R_m, a panel each, one line a member; finite bounds are dotted.

    `truth` holds true values by name, or in the order of `result.parameter_names`, NaN where there is none. Drawn into
    `ax`, one Axes a parameter (P,), or into a figure of its own; returns the Axes (P,). Raises `ValueError` where the
    model has no unknown that does not vary, or a true value has no parameter.
    """
    names = result.parameter_names
    if not names:
        raise ValueError("The model has no unknown parameters to draw (those that vary have a path: plot.path).")
    true = _true(names, truth)
    columns = 2 if len(names) == 4 else min(len(names), 3)
    axes = panels(ax, -(-len(names) // columns), columns, len(names))
    bounds, above = np.asarray(result.action.limits[1]), max(map(len, names)) > _BESIDE
    for k, (one, name) in enumerate(zip(axes, names, strict=True)):
        _draw(one, result, result.estimates[:, :, k])
        if np.isfinite(true.get(name, np.nan)):
            one.axhline(true[name], color=accent(1), linestyle="--", linewidth=1.4, label="truth")
        for bound in bounds[:, k][np.isfinite(bounds[:, k])]:
            one.axhline(bound, color=ink(), linestyle=":", linewidth=1.0, alpha=0.6, label="bounds")
        one.set_xscale("log")
        one.set_title(name, fontsize="small") if above else one.set_ylabel(name)
        if k >= len(names) - columns or ax is not None:
            one.set_xlabel(_ratio_label(result))
    legend(axes, own=ax is None)
    return axes


def _ratio_label(result: Result) -> str:
    how = "per interval" if result.action.convention == "interval" else "continuum"
    return f"$R_f / R_m$  ({how}, ½-sum form)"


def _fates(result: Result) -> list[str]:
    """What became of each member: a key of `_FATES`."""
    order = result.order.tolist()
    fates = ["left at an earlier rung"] * result.status.size
    for member in order:
        fates[member] = "reached the top"
    for member in np.flatnonzero(result.status == Status.not_finite):
        fates[member] = "failed"
    for member in order[:1]:
        fates[member] = "lowest level"
    return fates


def _draw(ax: Axes, result: Result, series: np.ndarray) -> list[Line2D]:
    """One line a member of a series (rung, member), labelled once a fate; `gid` says the member."""
    fates, lines, labelled = _fates(result), [], set()
    for member in sorted(range(len(fates)), key=lambda m: [*_FATES].index(fates[m])):
        fate = fates[member]
        colour = accent(0) if fate == "lowest level" else ink()
        known = np.flatnonzero(np.isfinite(series[:, member]))  # a line leads over rungs that were left out
        (line,) = ax.plot(result.ratios[known], series[known, member], color=colour, **_FATES[fate])
        line.set_gid(f"member {member}")
        if fate not in labelled:
            line.set_label(fate)
            labelled.add(fate)
        ended = fate in ("left at an earlier rung", "failed")
        if known.size and (ended or known.size == 1):
            line.set(marker="x" if fate == "failed" else "o", markersize=3.5, markevery=[known.size - 1])
        lines.append(line)
    return lines


def _true(names: Sequence[str], truth: Mapping[str, float] | Sequence[float] | None) -> dict[str, float]:
    if truth is None:
        return {}
    if not isinstance(truth, Mapping):
        if len(truth) != len(names):
            listed = ", ".join(names)
            raise ValueError(f"The model has {len(names)} parameters ({listed}); received {len(truth)} true values.")
        truth = dict(zip(names, truth, strict=True))
    strange = [name for name in truth if name not in names]
    if strange:
        raise ValueError(f'No parameter is called "{strange[0]}"; the model has {", ".join(names)}.')
    return dict(truth)
