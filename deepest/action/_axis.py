"""The axis of a path: its grid, where intervals lie on it, and where it begins anew."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from deepest.paths import Grid
from deepest.transcription import AbstractTranscription

# Each adds nodes or is the last but one: a few are enough.
_ROUNDS = 100


def lay_out(
    times: np.ndarray,
    transcription: AbstractTranscription,
    *,
    steps: int,
    step: float | None,
    grid: Grid | ArrayLike | Sequence | None,
    jumps: np.ndarray,
    breaks: np.ndarray,
) -> tuple[Grid, np.ndarray]:
    """A grid that holds all `times` (K,), with a node at every jump and break, and the numbers of the intervals (B,)
    that the model does not link, because the path begins anew where they end."""
    stride = transcription.stride
    if sum((grid is not None, steps != 1, step is not None)) > 1:
        raise ValueError("Give one of steps=, step= and grid=.")
    if grid is not None:
        base = grid if isinstance(grid, Grid) else Grid(grid)
    else:
        parts = Grid(times).insert(breaks, exact=True)
        base = _cut(parts, stride, steps, step, _ended(parts.times, breaks))
    check_intervals(base, transcription)
    # Where an interval is cut, what lay on a point inside it may lie on none, and a jump that nothing saw be seen. What
    # does not change any more is also what comes out of itself, as when a file is loaded.
    for _ in range(_ROUNDS):
        before, base = base, base.insert(breaks, stride=stride, exact=True)
        base = base.insert(acting(jumps, base.times[::stride], breaks), stride=stride, exact=True)
        base = base.insert(times, stride=stride)
        if base.size == before.size:
            base = base.insert(_lost(times, base, stride, breaks), stride=stride, exact=True)
        if np.array_equal(base.times, before.times):
            break
    _check_precision(base)
    return base, _ended(base.times[::stride], breaks)


def check_breaks(breaks: ArrayLike | Sequence, times: np.ndarray) -> np.ndarray:
    """The times (B,) at which the path begins anew: after the first of the observations' `times` (K,), and up to the
    last but for rounding."""
    breaks = np.asarray(breaks, float)
    if breaks.ndim != 1 or not np.all(np.isfinite(breaks)) or not np.all(np.diff(breaks) > 0):
        raise ValueError(f"breaks are finite times that increase; received {breaks}.")
    near = 1e-4 * np.diff(times)
    if np.any(np.diff(breaks) < np.min(near)):
        k = int(np.argmin(np.diff(breaks)))
        raise ValueError(f"Nothing lies between the breaks at {breaks[k]} and {breaks[k + 1]}; give one of them.")
    inside = (breaks > times[0] + near[0]) & (breaks <= times[-1] + near[-1])
    if not np.all(inside):
        raise ValueError(
            f"A path can begin anew after the first observation, at {times[0]:g}, and up to the last, at "
            f"{times[-1]:g}; received a break at {breaks[np.argmin(inside)]:g}."
        )
    return np.minimum(breaks, times[-1])


def check_intervals(grid: Grid, transcription: AbstractTranscription) -> None:
    """Raise `ValueError` unless the grid is one of whole intervals with evenly spaced points inside."""
    stride, name = transcription.stride, type(transcription).__name__
    if (grid.size - 1) % stride:
        raise ValueError(
            f"{name} takes {stride} grid steps an interval, so their number must be a multiple of {stride}; received "
            f"{grid.size - 1} steps. Cut each into {stride} with steps={stride}, or give the longest step, step=."
        )
    nodes = grid.times[::stride]
    widths = np.diff(nodes)
    for j in range(1, stride):
        place = (grid.times[j::stride] - nodes[:-1]) / widths
        if np.any(np.abs(place - j / stride) > 1e-4 + 4.0 * np.spacing(np.abs(nodes[:-1])) / widths):
            k = int(np.argmax(np.abs(place - j / stride)))
            raise ValueError(
                f"{name} needs its interior points evenly spaced; time {grid.times[k * stride + j]:g} is not midway "
                f"between {nodes[k]:g} and {nodes[k + 1]:g}. Use steps={stride}."
            )


def acting(jumps: np.ndarray, nodes: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """The jumps that the model sees: those that do not lie inside of intervals that nothing links."""
    between = np.clip(np.searchsorted(nodes, jumps, side="right") - 1, 0, nodes.size - 2)
    return jumps[~np.isin(between, _ended(nodes, breaks)) | np.isin(jumps, nodes)]


def _lost(times: np.ndarray, grid: Grid, stride: int, breaks: np.ndarray) -> np.ndarray:
    """The times on points inside of intervals that nothing links, where an observation would belong to no path."""
    index = grid.locate(times)
    unlinked = np.isin(index // stride, _ended(grid.times[::stride], breaks))
    return times[(index % stride != 0) & unlinked]


def _check_precision(grid: Grid) -> None:
    """Raise `ValueError` where the dtype that is computed in cannot tell the grid's times apart."""
    dtype = jnp.result_type(float)
    same = np.diff(grid.times.astype(dtype)) <= 0
    if np.any(same):
        k = int(np.argmax(same))
        raise ValueError(
            f"In {np.dtype(dtype).name} the grid's times {grid.times[k]:.9g} and {grid.times[k + 1]:.9g} are one: let "
            "the clock begin near 0, or compute in float64."
        )


def _cut(grid: Grid, stride: int, steps: int, step: float | None, ended: np.ndarray) -> Grid:
    """The grid with every interval cut but those that nothing links, which stay whole."""
    if ended.size == 0:
        return grid.refine(steps) if step is None else grid.within(step, stride=stride)
    counts = np.full(grid.size - 1, steps)
    if step is not None:
        counts = np.diff(np.searchsorted(grid.within(step, stride=stride).times, grid.times))
    counts[ended] = stride
    return grid.refine(counts)


def _ended(nodes: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """The intervals between nodes within which, or at whose end, a break lies."""
    return np.searchsorted(nodes, breaks - 1e-4 * np.min(np.diff(nodes))) - 1
