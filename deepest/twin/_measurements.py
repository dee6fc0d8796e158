"""How many measurements are needed, and of which components."""

import csv
import dataclasses
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from deepest.anneal import Ladder, Progress, Prune
from deepest.io import atomic
from deepest.models import Estimable, conditional_exponents
from deepest.twin._outcome import Outcome, median_interval, wilson
from deepest.twin._run import draws, run
from deepest.twin._settings import Setting
from deepest.twin._simulate import Twin

# States as small as this have few enough subsets to try them all.
_SMALL = 4
# The conditional exponents are those of a path as long as this many windows of data.
_WINDOWS = 50


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What twin experiments found with other and other components measured, S sets and R realisations of each.

    Realisation r has the same truth, noise and starts in every set, which differ in what is measured of it alone.

    - `name`: the setting's; `sets`: the measured components, a tuple each; `dimension`: the state's; `members`: the
      starts of a run.
    - `reached` (S, R): whether the global minimum was found, a level not above that from the truth.
    - `gap` (S, R): A₁ − A₀ to the second lowest level, NaN where all members at the top share the lowest.
    - `horizon` (S, R): for how long the forecast held, as `Skill.horizon`; 0 where no member reached the top, NaN where
      the setting does not go on beyond the data; `outlasted` (S, R): whether it held to the end of the window.
    - `error` (S, R): relative error of the parameter that is furthest off, NaN where there is none.
    - `exponents` (S,): the largest Lyapunov exponent of the model driven by the true measured components
      [pecora1990], in inverse time units; −inf where all are measured; `free`: that of the model alone.
    """

    name: str
    dimension: int
    members: int
    sets: tuple[tuple[int, ...], ...]
    reached: Bool[np.ndarray, "set realisation"]
    gap: Float[np.ndarray, "set realisation"]
    horizon: Float[np.ndarray, "set realisation"]
    outlasted: Bool[np.ndarray, "set realisation"]
    error: Float[np.ndarray, "set realisation"]
    exponents: Float[np.ndarray, " set"]
    free: float

    @property
    def realisations(self) -> int:
        """How often each set was tried."""
        return self.reached.shape[1]

    @property
    def rates(self) -> Float[np.ndarray, " set"]:
        """The share of the experiments in which the global minimum was found."""
        return self.reached.mean(axis=1)

    @property
    def rate_intervals(self) -> Float[np.ndarray, "set 2"]:
        """Wilson's 95 % intervals of these rates."""
        return np.array([wilson(int(row.sum()), row.size) for row in self.reached])

    @property
    def horizons(self) -> Float[np.ndarray, " set"]:
        """The median forecast horizon, in time units; at least the window where half of the forecasts outlast it."""
        return np.median(self.horizon, axis=1)

    @property
    def horizon_intervals(self) -> Float[np.ndarray, "set 2"]:
        """95 % intervals of these medians, by order statistics; for fewer than six experiments the range."""
        return np.array([median_interval(row) for row in self.horizon])

    @property
    def gaps(self) -> Float[np.ndarray, " set"]:
        """The median gap over the experiments that have a second level; NaN where none has."""
        return np.array([_median(row) for row in self.gap])

    @property
    def errors(self) -> Float[np.ndarray, " set"]:
        """The median of the largest relative parameter error; NaN without parameters, or where no run finished."""
        return np.array([_median(row) for row in self.error])

    @property
    def enough(self) -> tuple[int, ...] | None:
        """The smallest set with which most experiments succeed and most forecasts hold for a while; None if none.

        The intervals of rate and horizon lie above ½ and 0. A level alone is not enough: where a symmetry of the model
        leaves what is measured alone, as that of Lorenz63 leaves z, the mirrored path has the same one.
        """
        pairs = zip(self.sets, self.rate_intervals, self.horizon_intervals, strict=True)
        able = [one for one, (low, _), (early, _) in pairs if low > 0.5 and not early <= 0.0]
        return min(able, key=len, default=None)

    def rows(self) -> Iterator[dict[str, int | float | str]]:
        """One row a set, of plain numbers by name; `measured` are its components, separated by spaces."""
        for k, components in enumerate(self.sets):
            (low, high), (early, late) = self.rate_intervals[k].tolist(), self.horizon_intervals[k].tolist()
            yield {
                "measured": " ".join(map(str, components)),
                "count": len(components),
                "realisations": self.realisations,
                "found": int(self.reached[k].sum()),
                "rate_low": low,
                "rate_high": high,
                "horizon": float(self.horizons[k]),
                "horizon_low": early,
                "horizon_high": late,
                "outlasted": int(self.outlasted[k].sum()),
                "gap": float(self.gaps[k]),
                "second_levels": int(np.isfinite(self.gap[k]).sum()),
                "parameter_error": float(self.errors[k]),
                "conditional_exponent": float(self.exponents[k]),
            }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.realisations} experiments a set, {self.members} starts each"]
        for row in self.rows():
            lines.append(
                f"{row['measured']}: found {row['found']} ({row['rate_low']:.0%} to {row['rate_high']:.0%}), horizon "
                f"{row['horizon']:.3g} ({row['horizon_low']:.3g} to {row['horizon_high']:.3g}), gap {row['gap']:.3g}, "
                f"parameter error {row['parameter_error']:.2g}, conditional exponent {row['conditional_exponent']:.3g}"
            )
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the rows to a CSV file; NaN is an empty cell.

        Raises `FileExistsError` where it exists, unless `force`. The file is whole or absent.
        """
        rows = list(self.rows())
        with atomic(path, force=force) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            for row in rows:
                table.writerow({name: _cell(value) for name, value in row.items()})


def component_sets(dimension: int, counts: Sequence[int] | None = None) -> tuple[tuple[int, ...], ...]:
    """Which components to try to measure, L = 1 … D of D, or those numbers `counts` of them.

    All subsets of a state of up to four components. Of a larger one a set each L, every next one with one component
    more, which are taken in the order of van der Corput's sequence, ⌊D · 0.b₀b₁b₂…⌋ with the bits of 0, 1, 2, …: as
    even as nested sets can be. Raises `ValueError` for numbers out of 1 … D.
    """
    counts = range(1, dimension + 1) if counts is None else [operator.index(count) for count in counts]
    strange = [count for count in counts if not 1 <= count <= dimension]
    if strange or not counts:
        raise ValueError(f"Of {dimension} components 1 to {dimension} can be measured; received {strange or 'none'}.")
    wanted = sorted(set(counts))
    if dimension <= _SMALL:
        return tuple(one for count in wanted for one in itertools.combinations(range(dimension), count))
    bits = (dimension - 1).bit_length()
    reversed_bits = (int(f"{k:0{bits}b}"[::-1], 2) for k in range(2**bits))
    order = list(dict.fromkeys(dimension * r >> bits for r in reversed_bits))
    return tuple(tuple(sorted(order[:count])) for count in wanted)


def check_sets(dimension: int, sets: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """The same sets as tuples in order. Raises `ValueError` for none, or one that a state cannot have."""
    chosen = tuple(tuple(sorted(map(operator.index, one))) for one in sets)
    if not chosen:
        raise ValueError("At least one set of measured components is needed; received none.")
    for one in chosen:
        if not one or len(set(one)) != len(one) or not 0 <= one[0] <= one[-1] < dimension:
            raise ValueError(
                f"A set of measured components names one or more of 0 to {dimension - 1}, each once; received "
                f"{list(one)}."
            )
    return chosen


def measurements(
    setting: Setting,
    sets: Sequence[Sequence[int]] | None = None,
    *,
    realisations: int = 10,
    members: int | None = None,
    ladder: Ladder | None = None,
    key: PRNGKeyArray,
    prune: Prune | None = Prune(),
    progress: Callable[[Progress], None] | None = None,
    each: Callable[[int, Outcome], None] | None = None,
) -> Measurements:
    """Repeat a setting with other components measured, and say how often each set of them was enough.

    `sets` are the measured components, those of `component_sets` by default; the setting's own are not looked at.
    Truths, noise and starts are those of `repeat` with the same `key` for a setting in which all components are
    measured; what a set leaves out is masked, so that all sets have the same shapes and compile once. The rest is
    `repeat`'s; `each` is called after every run, with the number of its set and the outcome.

    Raises `ValueError` for an empty set, or a component that does not exist or is named twice, and as `repeat` does.
    """
    size = Estimable(setting.estimated).dimension
    chosen = component_sets(size) if sets is None else check_sets(size, sets)
    members, ladder = members or setting.members, ladder or setting.ladder
    whole = dataclasses.replace(setting, components=tuple(range(size)))
    scores, exponents = np.empty((len(chosen), realisations, 5)), np.empty(0)
    for r, (twin, starts) in enumerate(draws(whole, realisations, key)):
        exponents = exponents if r else _exponents(twin, chosen)
        for s, components in enumerate(chosen):
            outcome = run(
                twin.only(components), ladder, members=members, key=starts, spread=setting.spread, prune=prune,
                progress=progress,
            )  # fmt: skip
            scores[s, r] = _scores(outcome)
            if each is not None:
                each(s, outcome)
    reached, gap, horizon, outlasted, error = np.moveaxis(scores, 2, 0)
    return Measurements(
        name=setting.name,
        dimension=size,
        members=members,
        sets=chosen,
        reached=reached > 0,
        gap=gap,
        horizon=horizon,
        outlasted=outlasted > 0,
        error=error,
        exponents=exponents[1:],
        free=float(exponents[0]),
    )


def _exponents(twin: Twin, sets: Sequence[Sequence[int]]) -> Float[np.ndarray, " set"]:
    """Of the free model, and of it driven by each set, along a path that begins with the truth."""
    step = float(np.ptp(twin.times)) / (twin.times.size - 1)
    times = twin.times[0] + step * np.arange(_WINDOWS * (twin.times.size - 1) + 1)
    return conditional_exponents(twin.model, twin.truth[0], times, [(), *sets], twin.args)


def _scores(outcome: Outcome) -> tuple[float, ...]:
    """Whether it was reached, gap, horizon, whether that was outlasted, and largest parameter error."""
    gap = outcome.result.report.gap if outcome.finished else None
    skill, without = outcome.skill, 0.0 if outcome.twin.beyond_times.size > 1 else np.nan
    horizon, outlasted = (without, False) if skill is None else (skill.horizon, skill.outlasted)
    errors = [error for _, _, error in outcome.parameters.values() if np.isfinite(error)]
    worst = max(errors, default=np.nan)
    return float(outcome.reached), np.nan if gap is None else gap, horizon, float(outlasted), worst


def _cell(value: int | float | str) -> int | str:
    return value if not isinstance(value, float) else "" if np.isnan(value) else f"{value:.6g}"


def _median(values: Float[np.ndarray, " value"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
