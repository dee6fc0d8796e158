"""The axis on which a path is laid out."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

# Times closer than this, in steps, are one.
_SAME = 1e-9


class Grid(eqx.Module):
    """Times t_0 < t_1 < … < t_{N−1} at which a path has a state, in the model's time units.

    Spacing need not be uniform. `times` has shape (N,). Raises `ValueError` for fewer than two times,
    times that are not finite, or times that do not increase.
    """

    times: Float[np.ndarray, " time"] = eqx.field(converter=lambda t: np.asarray(t, float))

    def __check_init__(self):
        check_times(self.times, "A grid")

    @property
    def size(self) -> int:
        """The number of times N."""
        return self.times.size

    def refine(self, steps: int | Int[np.ndarray, " interval"]) -> "Grid":
        """The grid with every interval cut into `steps` equal ones, a whole number, or one an interval (N − 1,)."""
        counts = np.broadcast_to(np.asarray(steps), (self.size - 1,))
        if np.min(counts) < 1:
            raise ValueError(f"A grid is refined into at least 1 step an interval; received {np.min(counts)}.")
        starts, widths, parts = (np.repeat(x, counts) for x in (self.times[:-1], np.diff(self.times), counts))
        within = np.arange(parts.size) - np.repeat(np.cumsum(counts) - counts, counts)
        inner = starts + widths * (within / parts)
        return Grid(np.append(inner, self.times[-1]))

    def within(self, step: float, *, stride: int = 1) -> "Grid":
        """The grid with every interval cut into as few equal steps as are no longer than `step`, and a multiple of
        `stride`: long gaps are filled, and short intervals are left whole."""
        if not step > 0:
            raise ValueError(f"A grid's longest step is positive; received step={step}.")
        # A width that is a multiple of the step but for rounding takes no step more.
        counts = np.ceil(np.diff(self.times) / (step * stride) - 1e-6).astype(int)
        return self.refine(stride * np.maximum(counts, 1))

    def insert(self, times: ArrayLike | Sequence, *, stride: int = 1, exact: bool = False) -> "Grid":
        """The grid with a node at each of `times` (K,) that lies between its ends and on no point of it.

        Every `stride`-th point is a node, and the points between two of them are evenly spaced: those inside an
        interval that is cut move. Where `exact`, all of `times` become nodes to the bit: interior points that lie
        there, and nodes that lie there but for rounding, but not the two ends. Of times that are one but for rounding
        the latest is taken; of several that lie where one node does, the latest moves it.
        """
        times = np.unique(np.asarray(times, float))
        times = times[(times > self.times[0]) & (times < self.times[-1])]
        steps = np.diff(self.times)[np.searchsorted(self.times, times, side="right") - 1]
        apart = np.diff(times) > np.maximum(_rounding(times[1:]), _SAME * steps[1:])
        times = times[np.append(apart, np.ones(min(times.size, 1), bool))]
        index, on = self._nearest(times)
        nodes = self.times[::stride].copy()
        if exact:
            on = on & (index % stride == 0)
            inner = on & (index > 0) & (index < self.size - 1)
            early = np.append(inner[:-1] & inner[1:] & (np.diff(index) == 0), np.zeros(min(index.size, 1), bool))
            on, moved = on & ~early, inner & ~early
            nodes[index[moved] // stride] = times[moved]
        if np.all(on) and np.array_equal(nodes, self.times[::stride]):
            return self
        return Grid(np.sort(np.concatenate([nodes, times[~on]]))).refine(stride)

    def locate(self, times: ArrayLike | Sequence) -> np.ndarray:
        """Indices of the grid points at `times` (K,); `ValueError` names the first time that is none."""
        times = np.asarray(times, float)
        index, on = self._nearest(times)
        if not np.all(on):
            k = int(np.argmin(on))
            away = abs(self.times[index[k]] - times[k])
            raise ValueError(
                f"Every observation time must lie on the grid; time {times[k]:g} is {away:.3g} from the nearest "
                f"grid point {self.times[index[k]]:g}. Pass a grid= that spans all of them."
            )
        if np.unique(index).size < index.size:
            k = int(np.argmin(np.diff(index)))
            raise ValueError(
                f"Times {times[k]:g} and {times[k + 1]:g} fall on the same grid point {self.times[index[k]]:g}; refine "
                "the grid, or average the two observations."
            )
        return index

    def _nearest(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the nearest grid points, and whether the times lie on them."""
        index = np.clip(np.searchsorted(self.times, times), 1, self.size - 1)
        index = index - (times - self.times[index - 1] < self.times[index] - times)
        # Times that come through files and through float32 agree to about 1e-6 of a step, not to rounding.
        steps = np.diff(self.times)
        beside = np.minimum(np.append(steps, np.inf), np.append(np.inf, steps))
        return index, np.abs(self.times[index] - times) <= 1e-4 * beside[index] + _rounding(times)


def _rounding(times: np.ndarray) -> np.ndarray:
    """How far apart times are one but for rounding, in the precision that is computed in."""
    return 4.0 * np.spacing(np.abs(times).astype(jnp.result_type(float))).astype(float)


def check_times(times: np.ndarray, what: str) -> None:
    """Raise `ValueError` unless `times` is a vector of at least two finite, increasing numbers."""
    if times.ndim != 1 or times.size < 2:
        raise ValueError(f"{what} must have at least two times in a vector; received shape {times.shape}.")
    if not np.all(np.isfinite(times)):
        raise ValueError(f"{what} must have finite times; number {int(np.argmin(np.isfinite(times)))} is not.")
    if not np.all(np.diff(times) > 0):
        k = int(np.argmin(np.diff(times) > 0))
        raise ValueError(
            f"{what} must have increasing times; received {times[k]:g} followed by {times[k + 1]:g} (number {k})."
        )
