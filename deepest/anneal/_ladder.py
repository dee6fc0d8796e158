"""The annealing schedule."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from deepest.minimise import AbstractMinimiser


class Ladder(eqx.Module):
    """R_f/R_m = start · factor^β for β = 0 … rungs − 1.

    The ratio is per interval, in the ½-sum form of the action (dimension: state units in the measurement's).
    The default climbs from 1e-6 to 7.6e5. Large factors cost nothing as long as each rung starts in the basin of the
    previous minimum; 3 to 5 has kept every basin that 1.5 keeps. So `anneal` leaves out rungs of a finer ladder: R_f
    grows by up to `largest` at once, as far as the tangent of its branch says, for half of the members, that the level
    falls by no more than 1 on the way to the new minimum. A fine ladder with a large `largest` is an adaptive one, such
    as `Ladder(factor=1.5, rungs=68, largest=100)`; `largest=1` climbs every rung. Raises `ValueError` unless start > 0,
    factor > 1, rungs ≥ 1 and largest ≥ 1. Source: [ye2015].
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
        if self.rungs < 1:
            raise ValueError(f"A ladder has at least one rung; received rungs={self.rungs}.")
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

    def check(self, dtype: type | np.dtype, minimiser: AbstractMinimiser) -> None:
        """Raise `ValueError` where the ladder ends higher than a minimiser carries in `dtype`."""
        highest = minimiser.highest(dtype)
        if self.ratios[-1] > highest:
            fits = int(np.sum(self.ratios <= highest))
            raise ValueError(
                f"In {np.dtype(dtype).name} normal equations carry R_f/R_m up to about {highest:.1g}, and the ladder "
                f"ends at {self.ratios[-1]:.1g}: use float64, rungs={fits}, or no minimiser=."
            )
