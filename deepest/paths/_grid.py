"""The axis on which a path is laid out."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float


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

    def refine(self, steps: int) -> "Grid":
        """The grid with every interval cut into `steps` equal ones."""
        if steps < 1:
            raise ValueError(f"A grid is refined into at least 1 step an interval; received {steps}.")
        fractions = np.arange(steps) / steps
        inner = self.times[:-1, None] + np.diff(self.times)[:, None] * fractions[None]
        return Grid(np.append(inner.ravel(), self.times[-1]))

    def locate(self, times: ArrayLike | Sequence) -> np.ndarray:
        """Indices of the grid points at `times`; `ValueError` names the first time that is none."""
        times = np.asarray(times, float)
        index = np.clip(np.searchsorted(self.times, times), 1, self.size - 1)
        index = index - (times - self.times[index - 1] < self.times[index] - times)
        away = np.abs(self.times[index] - times)
        # Times that come through files and through float32 agree to about 1e-6 of a step, not to rounding.
        allowed = 1e-4 * np.min(np.diff(self.times)) + 4.0 * np.spacing(np.abs(times))
        off = ~(away <= allowed)
        if np.any(off):
            k = int(np.argmax(off))
            raise ValueError(
                f"Every observation time must lie on the grid; time {times[k]:g} is {away[k]:.3g} from the nearest "
                f"grid point {self.times[index[k]]:g}. Refine the grid with steps=, or pass a grid= that contains it."
            )
        if np.unique(index).size < index.size:
            k = int(np.argmin(np.diff(index)))
            raise ValueError(
                f"Times {times[k]:g} and {times[k + 1]:g} fall on the same grid point {self.times[index[k]]:g}; refine "
                "the grid, or average the two observations."
            )
        return index


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
