"""How the R_f and level axes of other codes relate to ours."""

import dataclasses

import numpy as np
from jaxtyping import ArrayLike, Float

from deepest.action._action import Action


@dataclasses.dataclass(frozen=True)
class Axes:
    """Another code's axes for the same minimisation: its R_f/R_m = `ratio` × ours, its level = `level` × ours.

    Ours are the ladder's R_f/R_m of the action's own convention and the reduced level 2A/n.
    """

    ratio: float
    level: float

    def convert(self, ratios: Float[ArrayLike, "*any"], levels: Float[ArrayLike, "*any"]):
        """Our (R_f/R_m, level), arrays of any shape, on the other code's axes."""
        return np.asarray(ratios) * self.ratio, np.asarray(levels) * self.level

    def back(self, ratios: Float[ArrayLike, "*any"], levels: Float[ArrayLike, "*any"]):
        """The other code's (R_f/R_m, level), arrays of any shape, on our axes."""
        return np.asarray(ratios) / self.ratio, np.asarray(levels) / self.level


def minaone(action: Action) -> Axes:
    """minAone's axes: what its program minimises and writes, A = (Σ d² + R_f Σ c²)/N at N times, without ½ or R_m.

    So its R_f is ours over R_m, that of an interval; and with n measured values its level is n/(R_m N) times the
    reduced one, which is their misfit d² at one time. Its user guide has ½ sums instead, n/2 times the reduced level.
    """
    times = action.observations.times.size
    return Axes(ratio=_per_interval(action), level=float(action.count) / (float(action.reference) * times))


def varanneal(action: Action) -> Axes:
    """varanneal's axes: means without ½, A = R_m Σ d²/(L N) + R_f Σ c²/(D (N − 1)).

    With n = L N measured values and D (N − 1) defects, dividing by n/2 gives the reduced level at
    R_f(theirs) = R_f · D (N − 1)/n.
    """
    size, intervals = action.estimable.dimension, (action.grid.size - 1) // action.transcription.stride
    defects = size * intervals * action.transcription.defects
    return Axes(ratio=_per_interval(action) * defects / float(action.count), level=1.0)


def _per_interval(action: Action) -> float:
    """What turns the ladder's R_f into the precision of one interval's defect."""
    if action.convention == "interval":
        return 1.0
    widths = np.diff(np.asarray(action.grid.times)[:: action.transcription.stride])
    if not np.allclose(widths, widths[0], rtol=1e-6):
        raise ValueError(
            "On a grid of uneven intervals the continuum convention has no single R_f per interval to convert to; "
            'use convention="interval".'
        )
    return float(1.0 / widths[0])
