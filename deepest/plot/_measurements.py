"""How many measurements are needed."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from deepest.plot._style import accent, ink, legend, panels

# As many numbers, or letters in all, stand side by side below a panel.
_TICKS, _LETTERS = 24, 50


@runtime_checkable
class Tried(Protocol):
    """What experiments with S sets of measured components found, such as `twin.measurements` gives."""

    @property
    def sets(self) -> tuple[tuple[int, ...], ...]:
        """The measured components."""
        ...

    @property
    def exponents(self) -> Float[np.ndarray, " set"]:
        """The largest Lyapunov exponent of the model driven by them."""
        ...

    @property
    def free(self) -> float:
        """That of the model alone."""
        ...

    @property
    def rates(self) -> Float[np.ndarray, " set"]:
        """The share of experiments that succeeded."""
        ...

    @property
    def rate_intervals(self) -> Float[np.ndarray, "set 2"]:
        """Its interval."""
        ...

    @property
    def horizons(self) -> Float[np.ndarray, " set"]:
        """The median forecast horizon, in time units."""
        ...

    @property
    def horizon_intervals(self) -> Float[np.ndarray, "set 2"]:
        """Its interval."""
        ...


def measurements(tried: Tried, ax: Axes | Sequence[Axes] | np.ndarray | None = None) -> np.ndarray:
    """Success rate, forecast horizon and conditional Lyapunov exponent against what is measured, a panel each.

    Against the number L of measured components where every set has another, else against the sets themselves. Bars are
    95 % intervals. Below the line at 0 the model, driven by the true measured components, forgets its start; the dotted
    line is its largest exponent without any; an exponent of −inf, all components measured, is an arrow at the bottom.
    Drawn into `ax`, three Axes, or into a figure of its own; returns the Axes (3,). Horizon and exponents are in the
    model's time units.
    """
    axes = panels(ax, 3, 1, 3)
    counts = [len(one) for one in tried.sets]
    nested = len(set(counts)) == len(counts)
    x = np.array(counts, float) if nested else np.arange(len(counts), dtype=float)
    joined = "-" if nested else "none"
    _bars(axes[0], x, tried.rates, tried.rate_intervals, joined, 0, "global minimum found, 95 % interval")
    axes[0].set(ylabel="success rate", ylim=(-0.05, 1.05))
    _bars(axes[1], x, tried.horizons, tried.horizon_intervals, joined, 1, "median forecast horizon, 95 % interval")
    axes[1].set(ylabel="forecast horizon\n(time units)")
    axes[1].set_ylim(bottom=0.0)
    _exponents(axes[2], x, tried, joined)
    for one in axes:
        _ticks(one, x, None if nested else [", ".join(map(str, components)) for components in tried.sets])
        one.grid(axis="y", alpha=0.2)
        one.set_xlim(x[0] - 0.6, x[-1] + 0.6)
    for one in axes[-1:] if ax is None else axes:
        one.set_xlabel("number of measured components" if nested else "measured components")
    legend(axes, own=ax is None)
    return axes


def _ticks(ax: Axes, x: np.ndarray, labels: list[str] | None) -> None:
    if labels is not None:
        slanted = {"rotation": 40.0, "ha": "right"} if len("".join(labels)) > _LETTERS else {}
        ax.set_xticks(x, labels, **slanted)
    elif x.size <= _TICKS:
        ax.set_xticks(x)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _bars(ax: Axes, x: np.ndarray, y: np.ndarray, intervals: np.ndarray, joined: str, k: int, label: str) -> None:
    bars = {"elinewidth": 1.0, "capsize": 2.5, "linestyle": joined}
    ax.errorbar(x, y, yerr=np.abs(intervals.T - y), label=label, **_dots(k), **bars)


def _dots(k: int) -> dict[str, Any]:
    return {"color": accent(k), "marker": "o", "markersize": 4.0, "linewidth": 1.4}


def _exponents(ax: Axes, x: np.ndarray, tried: Tried, joined: str) -> None:
    finite = np.isfinite(tried.exponents)
    ax.axhline(0.0, color=ink(), linewidth=0.8)
    ax.axhline(tried.free, color=ink(), linestyle=":", linewidth=1.2, alpha=0.7, label="nothing measured")
    label = "largest conditional exponent"
    ax.plot(x[finite], tried.exponents[finite], label=label, linestyle=joined, **_dots(2))
    endless = np.isneginf(tried.exponents)
    if endless.any():
        low, high = ax.get_ylim()
        bottom = low - 0.2 * (high - low)
        ends = {"color": accent(2), "marker": "v", "markersize": 6.0, "linestyle": "none", "clip_on": False}
        ax.plot(x[endless], np.full(endless.sum(), bottom), label="−∞, all measured", **ends)
        ax.set_ylim(bottom, high)
    ax.set_ylabel("exponent\n(1 / time unit)")
