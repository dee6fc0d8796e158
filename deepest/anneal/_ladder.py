"""The annealing schedule."""

import equinox as eqx
import numpy as np
from jaxtyping import Float


class Ladder(eqx.Module):
    """R_f/R_m = start · factor^β for β = 0 … rungs − 1.

    The ratio is per interval, in the ½-sum form of the action (dimension: state units in the measurement's).
    The default climbs from 1e-6 to 7.6e5. Large factors cost nothing as long as each rung starts in the basin of the
    previous minimum; 3 to 5 has kept every basin that 1.5 keeps. Raises `ValueError` unless start > 0, factor > 1 and
    rungs ≥ 1. Source: [ye2015].
    """

    start: float = 1e-6
    factor: float = 5.0
    rungs: int = 18

    def __check_init__(self):
        if not (np.isfinite(self.start) and self.start > 0):
            raise ValueError(f"A ladder starts at a positive R_f/R_m; received start={self.start}.")
        if not (np.isfinite(self.factor) and self.factor > 1):
            raise ValueError(f"A ladder climbs by a factor above 1; received factor={self.factor}.")
        if self.rungs < 1:
            raise ValueError(f"A ladder has at least one rung; received rungs={self.rungs}.")

    @property
    def ratios(self) -> Float[np.ndarray, " rung"]:
        """R_f/R_m on every rung."""
        return self.start * self.factor ** np.arange(self.rungs)

    def check(self, dtype: type | np.dtype) -> None:
        """Raise `ValueError` where the ladder ends higher than `dtype` can carry.

        The normal equations lose the measurements to rounding when R_f/R_m approaches the reciprocal of the
        precision; measured on Lorenz96, float32 keeps 1e-4 accuracy to about 2e6 and breaks at 1e8.
        """
        highest = 0.25 / np.finfo(dtype).eps
        if self.ratios[-1] > highest:
            fits = int(np.sum(self.ratios <= highest))
            raise ValueError(
                f"{np.dtype(dtype).name} carries R_f/R_m up to about {highest:.1g}, and this ladder ends at "
                f"{self.ratios[-1]:.1g}: use float64 (jax.config.update('jax_enable_x64', True)), or rungs={fits}."
            )
