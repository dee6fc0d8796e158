"""Measurements: values, times, what was measured, and how precisely."""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from deepest.paths._grid import check_times


class Observations(eqx.Module):
    """Noisy measurements y_k = h(x(t_k)) + noise of some components, or of an operator h.

    - `times` (K,): increasing, in the model's time units; spacing is free.
    - `values` (K, L): NaN means missing; `mask` (K, L), True where measured, says the same.
    - `components`: which L state components were measured; or `operator`: h(x) of shape (L,), differentiable.
      Without either, the L values are the first L components.
    - `noise`: standard deviation of the measurement error, a scalar, (L,) per value, (K,) given as (K, 1),
      or (K, L); or `precision` R_m = 1/noise²: the same shapes, or full matrices (L, L) or (K, L, L).

    Where values are missing, a full matrix is replaced by the precision of those present,
    ((R_m⁻¹)_oo)⁻¹, so that masking is the same as never having measured.

    Raises `ValueError`: times not finite or not increasing, shapes that disagree, no value at all, precision
    negative or not symmetric positive definite, component out of range (by `check`).
    """

    times: Float[np.ndarray, " observation"]
    values: Float[np.ndarray, "observation measured"]
    present: Bool[np.ndarray, "observation measured"]
    weight: Float[np.ndarray, "observation measured"] | Float[np.ndarray, "observation measured measured"]
    components: tuple[int, ...] | None = eqx.field(static=True)
    operator: Callable | None

    def __init__(
        self,
        times: ArrayLike | Sequence,
        values: ArrayLike | Sequence,
        *,
        components: Sequence[int] | None = None,
        operator: Callable[[Float[Array, " state"]], Float[Array, " measured"]] | None = None,
        noise: ArrayLike | Sequence | None = None,
        precision: ArrayLike | Sequence | None = None,
        mask: ArrayLike | Sequence | None = None,
    ):
        self.times, values = np.asarray(times, float), np.asarray(values, float)
        check_times(self.times, "Observations")
        if values.ndim != 2 or values.shape[0] != self.times.size:
            raise ValueError(
                f"Observations at {self.times.size} times need values of shape ({self.times.size}, L); "
                f"received shape {values.shape}."
            )
        self.present = np.isfinite(values)
        if np.any(np.isinf(values)):
            raise ValueError("Observed values must be finite, or NaN where missing; received an infinite value.")
        if mask is not None:
            mask = np.asarray(mask, bool)
            if mask.shape != values.shape:
                raise ValueError(f"The mask must have the values' shape {values.shape}; received {mask.shape}.")
            self.present = self.present & mask
        if not np.any(self.present):
            raise ValueError("Every observed value is missing; at least one is needed.")
        self.values = np.where(self.present, values, 0.0)
        if components is not None and operator is not None:
            raise ValueError("Give components= or operator=, not both.")
        self.operator = operator
        self.components = None if operator else _component_list(components, values.shape[1])
        self.weight = _mask_precision(
            _precision(noise, precision, values.shape), self.present, np.ones_like(self.present)
        )

    @property
    def count(self) -> int:
        """The number of measured values that are not missing."""
        return int(self.present.sum())

    @property
    def measured(self) -> tuple[int, ...]:
        """The components of which at least one value is not missing; none where an operator was measured."""
        seen = np.any(self.present, axis=0).tolist()
        return tuple(c for c, any_value in zip(self.components or (), seen, strict=False) if any_value)

    @property
    def reference_precision(self) -> float:
        """Mean of R_m over the measured values: the R_m in which a ladder's R_f/R_m is counted."""
        diagonal = self.weight if self.weight.ndim == 2 else np.diagonal(self.weight, axis1=1, axis2=2)
        return float(diagonal[self.present].mean())

    def check(self, dimension: int) -> None:
        """Raise `ValueError` unless every measured component exists in a state of that dimension."""
        for c in self.components or ():
            if not 0 <= c < dimension:
                raise ValueError(
                    f"Components must lie between 0 and {dimension - 1}, the state's dimension being {dimension}; "
                    f"received {c}."
                )

    def measure(self, state: Float[Array, " state"]) -> Float[Array, " measured"]:
        """h(x): the measured quantities of one state."""
        if self.operator is not None:
            return self.operator(state)
        return state[np.asarray(self.components)]

    def select(self, window: slice) -> "Observations":
        """The observations of a window of times, for example `slice(0, 100)`; for scoring on what was held back."""
        keep = lambda array: array[window]
        return eqx.tree_at(
            lambda o: (o.times, o.values, o.present, o.weight),
            self,
            (keep(self.times), keep(self.values), keep(self.present), keep(self.weight)),
        )

    @staticmethod
    def join(sets: Sequence["Observations"], *, pause: float | None = None) -> "Joined":
        """Several experiments, each on a clock of its own, one after the other on one clock, to share parameters.

        `pause` is the time between the last observation of one and the first of the next, by default as long as the
        last interval. Raises `ValueError` where they do not measure the same quantities.
        """
        if not sets:
            raise ValueError("Observations are joined from at least one set; received none.")
        if pause is not None and not pause > 0:
            raise ValueError(f"The pause between two experiments is positive; received {pause}.")
        if pause is None and any(one.times.size < 2 for one in sets[:-1]):
            raise ValueError("After a set of one time nothing says how long to wait: pass pause=.")
        first = sets[0]
        same = lambda o: (o.components, o.operator, o.weight.shape[1:])
        if any(same(other) != same(first) for other in sets):
            raise ValueError("Sets that are joined measure the same components or operator, with one kind of noise.")
        shifts = [0.0]
        for before, after in itertools.pairwise(sets):
            between = float(before.times[-1] - before.times[-2]) if pause is None else pause
            shifts.append(float(before.times[-1] + shifts[-1] + between - after.times[0]))
        times = [one.times + shift for one, shift in zip(sets, shifts, strict=True)]
        parts = lambda get: np.concatenate([get(one) for one in sets])
        observations = eqx.tree_at(
            lambda o: (o.times, o.values, o.present, o.weight),
            first,
            (np.concatenate(times), parts(lambda o: o.values), parts(lambda o: o.present), parts(lambda o: o.weight)),
        )
        return Joined(observations, np.array(shifts), np.array([t[0] for t in times[1:]]))

    def only(self, components: Sequence[int]) -> "Observations":
        """The same with nothing but these components measured: other values become missing, and all shapes stay.

        Raises `ValueError` where a component was not measured, none is left, or an operator was measured.
        """
        if self.components is None:
            raise ValueError("An operator was measured, of which no components can be chosen.")
        chosen = [operator.index(c) for c in components]
        strange = [c for c in chosen if c not in self.components]
        if strange:
            raise ValueError(
                f"Components {list(self.components)} were measured; received {strange}, to keep only these."
            )
        present = self.present & np.isin(self.components, chosen)
        if not np.any(present):
            raise ValueError(f"At least one measured value must be left; none of components {chosen} has any.")
        weight = _mask_precision(self.weight, present, self.present)
        where = lambda o: (o.values, o.present, o.weight)
        return eqx.tree_at(where, self, (np.where(present, self.values, 0.0), present, weight))

    def masked(self) -> Float[np.ndarray, "observation measured"]:
        """The values with NaN where they are missing, as one would plot them."""
        return np.where(self.present, self.values, np.nan)


class Joined(NamedTuple):
    """Several experiments on one clock: what was observed in all of them, how far each one's clock was put on,
    `shifts` (S,), and when each but the first begins, `breaks` (S − 1,), as `Action` takes them."""

    observations: Observations
    shifts: Float[np.ndarray, " set"]
    breaks: Float[np.ndarray, " break"]


def _component_list(components: Sequence[int] | None, count: int) -> tuple[int, ...]:
    chosen = tuple(range(count)) if components is None else tuple(operator.index(c) for c in components)
    if len(chosen) != count:
        raise ValueError(f"{len(chosen)} components were named, but the values have {count} columns.")
    if len(set(chosen)) != count:
        raise ValueError(f"Every component may be measured once; received {list(chosen)}.")
    return chosen


def _precision(noise, precision, shape: tuple[int, int]) -> np.ndarray:
    """R_m as (K, L) or (K, L, L), from either way of giving it."""
    if (noise is None) == (precision is None):
        raise ValueError("Give the measurement error once: noise= (standard deviation) or precision= (1/noise²).")
    count, width = shape
    diagonal = f"a scalar, ({width},), ({count}, 1) or ({count}, {width})"
    given = np.asarray(noise if precision is None else precision, float)
    if not np.all(np.isfinite(given)):
        raise ValueError("The measurement error must be finite.")
    square = given.shape == (width, width) and width > 1
    if precision is not None and (given.ndim == 3 or (square and count != width)):
        return _matrices(given, count, width)
    if precision is not None and square:
        raise ValueError(
            f"With {count} times and {width} columns, a precision of shape {given.shape} could be one matrix or one "
            f"row a time; give a matrix as ({count}, {width}, {width}), or noise= for one row a time."
        )
    try:
        full = np.broadcast_to(given, shape)
    except ValueError:
        full = None
    if full is None or given.ndim > 2 or (square and count != width):
        raise ValueError(
            f"The measurement error must be {diagonal}, or a precision= of shape ({width}, {width}) or "
            f"({count}, {width}, {width}); received shape {given.shape}."
        )
    if noise is not None:
        if not np.all(full > 0):
            raise ValueError("The noise must be positive standard deviations.")
        largest = float(np.finfo(jnp.result_type(float)).max) ** 0.5
        if not np.all((full > 1.0 / largest) & (full < largest)):
            raise ValueError(f"The noise must lie between {1.0 / largest:.2g} and {largest:.2g}, as it is squared.")
        return full**-2.0
    if not np.all((full >= 0) & (full < np.inf)) or not np.any(full > 0):
        raise ValueError("The precision must be finite, not negative, and not zero everywhere.")
    return full


def _matrices(given: np.ndarray, count: int, width: int) -> np.ndarray:
    if given.shape not in ((width, width), (count, width, width)):
        raise ValueError(
            f"A full-matrix precision must be ({width}, {width}) or ({count}, {width}, {width}); received "
            f"{given.shape}."
        )
    if not np.allclose(given, np.swapaxes(given, -1, -2), rtol=1e-8, atol=0.0):
        raise ValueError("A full-matrix precision must be symmetric.")
    if np.any(np.linalg.eigvalsh(given) <= 0):
        raise ValueError("A full-matrix precision must be positive definite.")
    return np.broadcast_to(given, (count, width, width))


def _mask_precision(weight: np.ndarray, present: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Zero weight for what is missing; full matrices, which say something of what is `known`, are marginalised."""
    if weight.ndim == 2:
        return np.where(present, weight, 0.0)
    masked = np.zeros_like(weight)
    for k, parts in enumerate(zip(known, present, strict=True)):
        whole, kept = (np.ix_(part, part) for part in parts)
        covariance = np.zeros_like(weight[k])
        covariance[whole] = np.linalg.inv(weight[k][whole])
        masked[k][kept] = np.linalg.inv(covariance[kept])
    return masked
