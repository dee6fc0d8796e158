"""What an experiment found, beside what was true."""

import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from deepest.anneal import Result
from deepest.twin import _archive
from deepest.twin._simulate import Twin

# A level within this of the yardstick, relative, is the same minimum.
_SAME = 1e-3
# A normal number lies within this of its mean in 95 % of all cases.
_Z = 1.959964


@dataclasses.dataclass(frozen=True)
class Skill:
    """How well the estimate forecasts the truth on the window beyond the data.

    - `times` (T,), `path` (T, D): the forecast, from the end of the data on, in the model's units.
    - `error` (T,): root mean square over the components of the forecast's error, each in units of its climatological
      standard deviation.
    - `rmse`: root mean square error over the window and all components, in the state's units; `climatology` and
      `persistence`: the same for forecasting the climate's mean, and the true state at the end of the data.
    - `horizon`: the time after the end of the data at which `error` first exceeds ½; where it never does, the length of
      the window, and `outlasted` is true.
    """

    times: Float[np.ndarray, " forecast"]
    path: Float[np.ndarray, "forecast state"]
    error: Float[np.ndarray, " forecast"]
    rmse: float
    climatology: float
    persistence: float
    horizon: float
    outlasted: bool

    @staticmethod
    def of(twin: Twin, path: Float[np.ndarray, "forecast state"]) -> "Skill":
        """Score a forecast (T, D) on the twin's `beyond_times`; what is not finite is infinitely wrong."""
        wrong = np.where(np.isfinite(path), path - twin.beyond, np.inf)
        error = np.sqrt(np.mean((wrong / twin.climate.deviation) ** 2, axis=1))
        late = np.flatnonzero(error > 0.5)
        passed = twin.beyond_times - twin.beyond_times[0]
        return Skill(
            times=twin.beyond_times,
            path=path,
            error=error,
            rmse=_rms(wrong[1:]),
            climatology=_rms(twin.climate.mean - twin.beyond[1:]),
            persistence=_rms(twin.beyond[0] - twin.beyond[1:]),
            horizon=float(passed[late[0]] if late.size else passed[-1]),
            outlasted=not late.size,
        )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One experiment run to its end.

    - `result`: what annealing found; `yardstick`: the reduced level of the path started at the truth and taken up the
      same last rungs, which is what the global minimum looks like.
    - `skill`: of the forecast; None where no member reached the top or the twin has no window beyond the data.
    - `seconds`: wall time of annealing and scoring, compilation included.

    Scores are NaN where no member reached the top.
    """

    twin: Twin
    result: Result
    yardstick: float
    skill: Skill | None
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether any member reached the top of the ladder."""
        return self.result.order.size > 0

    @property
    def level(self) -> float:
        """The lowest reduced level."""
        return self.result.best.level if self.finished else float("nan")

    @property
    def reached(self) -> bool:
        """Whether the global minimum was found: a level not above the yardstick, within 1e-3."""
        return self.level <= self.yardstick * (1.0 + _SAME)

    @property
    def measured_error(self) -> float:
        """Root mean square error of the path in the measured components, on the data's window, in state units."""
        return self._path_error(self.twin.measured)

    @property
    def unmeasured_error(self) -> float:
        """The same in the components that were not measured; NaN where all were."""
        return self._path_error(self.twin.unmeasured)

    @property
    def parameters(self) -> dict[str, tuple[float, float, float]]:
        """Estimate, truth and relative error |estimate/truth − 1| of each unknown; NaN where the truth has none.

        A true value of 0 has its absolute error beside it.
        """
        found = self.result.best.parameters if self.finished else dict.fromkeys(self.twin.true_parameters, np.nan)
        return {name: _compared(float(found[name]), true) for name, true in self.twin.true_parameters.items()}

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write result and truth to one NetCDF-4 file, which `deepest.load` and `load_truth` read.

        Raises what `Result.save` raises. The file is whole or absent.
        """
        twin = self.twin
        truth = _archive.Truth(twin.truth, twin.true_parameters, twin.beyond_times, twin.beyond, self.yardstick)
        _archive.write(path, self.result, truth, force=force)

    def _path_error(self, components: Sequence[int]) -> float:
        if not (self.finished and components):
            return float("nan")
        columns = list(components)
        return _rms(self.result.best.path[:, columns] - self.twin.truth[:, columns])


def success(outcomes: Sequence[Outcome]) -> tuple[int, float, float]:
    """How many reached the global minimum, and the 95 % Wilson interval (two numbers in 0 … 1) of that rate.

    Raises `ValueError` for no outcomes at all.
    """
    reached = sum(outcome.reached for outcome in outcomes)
    return reached, *wilson(reached, len(outcomes))


def wilson(reached: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a rate of which `reached` of `count` were seen, two numbers in 0 … 1 [wilson1927].

    Raises `ValueError` unless 0 ≤ reached ≤ count and count ≥ 1.
    """
    if count < 1 or not 0 <= reached <= count:
        what = "none" if count == 0 else f"{reached} of {count}"
        raise ValueError(
            f"A success rate needs at least one outcome, and no more successes than these; received {what}."
        )
    rate, weight = reached / count, _Z**2 / count
    middle = (rate + weight / 2) / (1 + weight)
    half = np.sqrt(rate * (1 - rate) * weight + weight**2 / 4) / (1 + weight)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def median_interval(values: Float[np.ndarray, " value"]) -> tuple[float, float]:
    """An interval that holds the median of what the values were drawn from, with at least 95 %, whatever that is.

        P(x_(k) ≤ median ≤ x_(n+1−k)) ≥ 1 − 2 P(B ≤ k − 1),   B binomial of n and ½

    It needs six values; fewer have their range, which holds the median with 1 − 2^(1−n). NaN for no value.
    """
    ordered, n = np.sort(values), values.size
    if not n:
        return float("nan"), float("nan")
    below = np.cumsum([math.comb(n, k) for k in range(n // 2 + 1)]) / 2.0**n
    k = max(int(np.searchsorted(below, 0.025, side="right")), 1)
    return float(ordered[k - 1]), float(ordered[n - k])


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _compared(found: float, true: float) -> tuple[float, float, float]:
    return found, true, abs(found - true) / (abs(true) or 1.0)
