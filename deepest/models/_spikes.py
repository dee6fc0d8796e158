"""Spikes in a voltage, and how far two trains of them agree."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float


def spike_times(
    times: Float[ArrayLike, " time"] | Sequence, voltage: Float[ArrayLike, " time"] | Sequence, threshold: float = -20.0
) -> Float[np.ndarray, " spike"]:
    """When a voltage crosses the threshold upwards, linear between its samples.

    `times` (T,) and `voltage` (T,), in mV as `threshold` is. A sample at the threshold counts as above it. Raises
    `ValueError` for shapes that differ and for a voltage that is not finite.
    """
    t, v = np.asarray(times, float), np.asarray(voltage, float)
    if t.ndim != 1 or t.shape != v.shape:
        raise ValueError(f"Spikes are sought in a voltage (T,) at times (T,); received shapes {v.shape} and {t.shape}.")
    if not np.all(np.isfinite(v)):
        k = int(np.argmin(np.isfinite(v)))
        raise ValueError(f"The voltage must be finite; number {k} is {v[k]}.")
    up = np.flatnonzero((v[:-1] < threshold) & (v[1:] >= threshold))
    return t[up] + (threshold - v[up]) / (v[up + 1] - v[up]) * (t[up + 1] - t[up])


def coincidence(
    predicted: Float[ArrayLike, " predicted"] | Sequence,
    measured: Float[ArrayLike, " measured"] | Sequence,
    *,
    window: float,
    duration: float,
) -> float:
    """The coincidence factor Γ of two spike trains: 1 where they agree, 0 as far as a Poisson train would.

        Γ = (n − 2νΔ N_measured) / (½ (N_predicted + N_measured) (1 − 2νΔ)),   ν = N_predicted/duration

    n counts the pairs of a predicted and a measured spike that are at most the `window` Δ apart, each spike in one pair
    at most. Spike times, `window` and `duration`, the time in which both were counted, are in one unit. Two empty
    trains agree, and of an empty and another Γ is 0. It may be negative. Raises `ValueError` unless 2νΔ < 1, above
    which chance alone explains everything, and for times that decrease. Source: [kistler1997], [jolivet2008].
    """
    p, q = np.asarray(predicted, float), np.asarray(measured, float)
    for train in (p, q):
        if train.ndim != 1 or not np.all(np.diff(train) >= 0):
            raise ValueError(f"A spike train is a vector of increasing times; received shape {train.shape}.")
    if not (window > 0 and duration > 0):
        raise ValueError(f"The window and the duration are positive; received {window} and {duration}.")
    if not p.size or not q.size:
        return float(p.size == q.size)
    chance = 2.0 * window * p.size / duration
    if chance >= 1.0:
        raise ValueError(
            f"A window of {window:g} is too wide for {p.size} predicted spikes in {duration:g}: chance alone explains "
            f"all. Take one below {duration / (2.0 * p.size):g}."
        )
    return float((_pairs(p, q, window) - chance * q.size) / (0.5 * (p.size + q.size) * (1.0 - chance)))


def _pairs(p: np.ndarray, q: np.ndarray, window: float) -> int:
    """The most pairs that can be made: in order of time, every spike takes the earliest partner that is left."""
    i = j = count = 0
    while i < p.size and j < q.size:
        if abs(p[i] - q[j]) <= window:
            i, j, count = i + 1, j + 1, count + 1
        elif p[i] < q[j]:
            i += 1
        else:
            j += 1
    return count
