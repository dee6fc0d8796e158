"""The annealing schedule."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

# More rungs than this are a slip of the pen.
_MOST = 100_000


class Ladder(eqx.Module):
    """R_f/R_m = start · factor^β for β = 0 … rungs − 1.

    The ratio is per interval, in the ½-sum form of the action (dimension: state units in the measurement's).
    The default climbs from 1e-6 to 7.6e5. Large factors cost nothing as long as each rung starts in the basin of the
    previous minimum; 3 to 5 has kept every basin that 1.5 keeps. So `anneal` leaves out rungs of a finer ladder: R_f
    grows by up to `largest` at once, as far as the tangent of its branch says, for half of the members, that the level
    falls by no more than 1 on the way to the new minimum. A fine ladder with a large `largest` is an adaptive one, such
    as `Ladder(factor=1.5, rungs=68, largest=100)`; `largest=1` climbs every rung. Raises `ValueError` unless start > 0,
    factor > 1, rungs from 1 to 10⁵, a last rung that is a number, and largest ≥ 1. Source: [ye2015].
    """

    start: float = 1e-6
    factor: float = 5.0
    rungs: int = 18
    largest: float = 5.0

    def __check_init__(self):
        if not (np.isfinite(self.start) and self.start > 0):
            raise ValueError(f"A ladder starts at a positive R_f/R_m; received start={self.start}.")
        if not (np.isfinite(self.factor) and self.factor > 1):
            raise ValueError(f"A ladder climbs by a factor above 1; received factor={self.factor}.")
        if not 1 <= self.rungs <= _MOST:
            raise ValueError(f"A ladder has between one rung and {_MOST}; received rungs={self.rungs}.")
        if np.log(self.start) + (self.rungs - 1) * np.log(self.factor) > np.log(np.finfo(float).max):
            raise ValueError(f"A ladder of {self.rungs} rungs by a factor of {self.factor:g} ends beyond all numbers.")
        if not self.largest >= 1:
            raise ValueError(f"A ladder's largest growth at once is 1 or more; received largest={self.largest}.")

    @property
    def ratios(self) -> Float[np.ndarray, " rung"]:
        """R_f/R_m on every rung."""
        return self.start * self.factor ** np.arange(self.rungs)

    @property
    def most(self) -> int:
        """How many rungs may be climbed at once."""
        return int(np.clip(np.log(self.largest) / np.log(self.factor) + 1e-9, 1.0, self.rungs))

    def stride(self, yielding: float) -> int:
        """How many rungs to climb next, where levels fall by this as R_f grows e-fold; by its square for more."""
        if not yielding > 0.0:
            return self.most if yielding == 0.0 else 1
        return int(np.clip(yielding**-0.5 / np.log(self.factor), 1.0, self.most))

    def check(self, dtype: type | np.dtype, highest: float = np.inf) -> None:
        """Raise `ValueError` where the ladder leaves the numbers of `dtype`, or what a minimiser carries in it."""
        if self.start < np.finfo(dtype).tiny or self.ratios[-1] > np.finfo(dtype).max:
            raise ValueError(
                f"The ladder goes from R_f/R_m = {self.start:.2g} to {self.ratios[-1]:.2g}, and {np.dtype(dtype).name} "
                f"from {np.finfo(dtype).tiny:.2g} to {np.finfo(dtype).max:.2g}."
            )
        if self.ratios[-1] > highest:
            fits = int(np.sum(self.ratios <= highest))
            raise ValueError(
                f"In {np.dtype(dtype).name} normal equations carry R_f/R_m up to about {highest:.1g}, and the ladder "
                f"ends at {self.ratios[-1]:.1g}: use float64, rungs={fits}, or no minimiser=."
            )
