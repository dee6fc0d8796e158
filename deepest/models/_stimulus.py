"""What drives a model, given on times of its own."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.interpolate import CubicSpline

from deepest.models._unknown import as_parameter

_KINDS = ("steps", "linear", "cubic")


class Stimulus(eqx.Module):
    """A known function of time s(t) through values at times of its own, which need not be those of any grid.

    - `times` (K,): increasing; `values` (K,) or (K, L), for a stimulus of shape () or (L,).
    - `continuity`: "steps", s = values[k] from times[k] up to the next, which jumps; "linear"; or "cubic", the spline
      with continuous second derivatives (not-a-knot).

    Beyond its times it keeps the first and the last value. `stimulus(t)` is the limit from the right where it jumps,
    and `stimulus.before(t)` that from the left. Raises `ValueError` for times that do not increase, values that are not
    finite or do not fit, and fewer than two of them (four for a spline).
    """

    times: Float[Array, " knot"]
    pieces: Float[Array, "knot power ..."]
    continuity: str = eqx.field(static=True)

    def __init__(self, times: ArrayLike | Sequence, values: ArrayLike | Sequence, continuity: str = "linear"):
        at, y = np.asarray(times, float), np.asarray(values, float)
        if continuity not in _KINDS:
            raise ValueError(f"A stimulus is continuous as {', '.join(_KINDS)}; received continuity={continuity!r}.")
        least = 4 if continuity == "cubic" else 2
        if at.ndim != 1 or at.size < least or not np.all(np.isfinite(at)):
            raise ValueError(f"A stimulus has at least {least} finite times that increase; received shape {at.shape}.")
        if not np.all(np.diff(at) > 0):
            k = int(np.argmin(np.diff(at) > 0))
            raise ValueError(f"A stimulus has times that increase; received {at[k]:g} followed by {at[k + 1]:g}.")
        if y.shape[:1] != at.shape or y.ndim > 2:
            raise ValueError(
                f"A stimulus at {at.size} times has as many values, numbers or vectors; received shape {y.shape}."
            )
        if not np.all(np.isfinite(y)):
            k = int(np.argmin(np.isfinite(y.reshape(at.size, -1)).all(axis=1)))
            raise ValueError(f"A stimulus has finite values; the one at {at[k]:g} is not.")
        # s = Σ_j pieces[k, j] (t − t_k)^j from t_k on.
        if continuity == "cubic":
            inner = np.moveaxis(CubicSpline(at, y).c[::-1], 0, 1)
        elif continuity == "linear":
            inner = np.stack([y[:-1], np.diff(y, axis=0) / np.diff(at).reshape(-1, *(1,) * (y.ndim - 1))], axis=1)
        else:
            inner = y[:-1, None]
        last = np.zeros_like(inner[:1])
        last[0, 0] = y[-1]
        dtype = jnp.result_type(float)
        self.times = jnp.asarray(at, dtype)
        self.pieces = jnp.asarray(np.concatenate([inner, last]), dtype)
        self.continuity = continuity

    @staticmethod
    def join(stimuli: Sequence["Stimulus"], shifts: ArrayLike | Sequence, breaks: ArrayLike | Sequence) -> "Stimulus":
        """The stimuli of several experiments on one clock, as `Observations.join` puts it on.

        Stimulus k is put on by `shifts` (S,) and holds up to `breaks` (S − 1,), where the next one takes over. The
        continuity is that within an experiment. Raises `ValueError` unless all have one continuity and shape.
        """
        shifts, breaks = np.asarray(shifts, float), np.asarray(breaks, float)
        if not len(stimuli) == shifts.size == breaks.size + 1:
            raise ValueError(f"{shifts.size} shifts and {breaks.size} breaks do not fit {len(stimuli)} stimuli.")
        first = stimuli[0]
        if any((s.continuity, s.pieces.shape[2:]) != (first.continuity, first.pieces.shape[2:]) for s in stimuli):
            raise ValueError("Stimuli that are joined have one continuity and one shape.")
        ends = np.concatenate([[-np.inf], breaks, [np.inf]])
        parts = [s._between(*window) for s, *window in zip(stimuli, shifts, ends[:-1], ends[1:], strict=True)]
        times, pieces = (jnp.concatenate(part) for part in zip(*parts, strict=True))
        return eqx.tree_at(lambda s: (s.times, s.pieces), first, (times, pieces))

    def _between(self, shift: float, begin: float, end: float) -> tuple[Array, Array]:
        """Times and pieces, put on by `shift`, from `begin` to before `end`, with a knot at `begin` where finite."""
        times = np.asarray(self.times, float) + shift
        inside = (times > begin) & (times < end)
        if not np.isfinite(begin) and inside.any():
            return jnp.asarray(times[inside], self.times.dtype), self.pieces[inside]
        begin = begin if np.isfinite(begin) else end - 1.0  # before its first time it is constant
        k = max(int(np.searchsorted(times, begin, side="right")) - 1, 0)
        knot = _about(np.asarray(self.pieces[k]), begin - times[k])
        return (
            jnp.asarray(np.append(begin, times[inside]), self.times.dtype),
            jnp.concatenate([jnp.asarray(knot, self.pieces.dtype)[None], self.pieces[inside]]),
        )

    @property
    def jumps(self) -> np.ndarray:
        """The times (J,) at which it jumps: none but in steps, and there only where the value changes."""
        values = np.asarray(self.pieces)[:, 0]
        changed = np.any(np.diff(values, axis=0).reshape(values.shape[0] - 1, -1) != 0.0, axis=1)
        return np.asarray(self.times, float)[1:][changed & (self.continuity == "steps")]

    def __call__(self, t: Float[Array, ""]) -> Float[Array, "..."]:
        return self._piece(t, jnp.searchsorted(self.times, t, side="right") - 1)

    def before(self, t: Float[Array, ""]) -> Float[Array, "..."]:
        """The limit from the left."""
        return self._piece(t, jnp.searchsorted(self.times, t, side="left") - 1)

    def _piece(self, t, index):
        index = jnp.clip(index, 0)
        powers = self.pieces[index]
        since = t - self.times[index]
        away = jnp.where(since >= 0.0, since, jnp.zeros_like(since))  # whose derivative at a knot is 1, not ½
        value = powers[-1]
        for j in reversed(range(powers.shape[0] - 1)):
            value = powers[j] + away * value
        return value


def _about(powers: np.ndarray, away: float) -> np.ndarray:
    """The coefficients (power, ...) of a polynomial about a point so far from the old one; constant before it."""
    if away < 0.0:
        return np.concatenate([powers[:1], np.zeros_like(powers[1:])])
    count = range(len(powers))
    return np.stack([sum(math.comb(i, j) * away ** (i - j) * powers[i] for i in count[j:]) for j in count])


def as_drive(value: Any) -> Any:
    """A model field's converter: a function of time stays, and what is none becomes a parameter."""
    return value if callable(value) else as_parameter(value)


def given(value: Any, t: Float[Array, ""]) -> Array:
    """A drive at time t: a function's value, or the number that it is."""
    return jnp.asarray(value(t) if callable(value) else value)
