"""How fast nearby states part: Lyapunov exponents, of a model alone and of one that is driven by measurements."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float

from deepest.models._integrate import advance
from deepest.models._unknown import Unknown

# Far below what a finite time leaves uncertain: an exponent over T time units is good to about 1/T at best.
_TOLERANCE = 1e-8
# The first part of the times only turns the directions into those that grow fastest.
_TURNING = 10


def lyapunov_exponents(
    model: Callable,
    start: ArrayLike,
    times: ArrayLike,
    args: Any = None,
    *,
    count: int | None = None,
    driven: Sequence[int] = (),
) -> Float[np.ndarray, " exponent"]:
    """The largest Lyapunov exponents (count,), in inverse time units, the largest first; all by default.

        dU/dt = DF(t, x(t)) U,   U = Q R at every time,   λ_i = Σ log |R_ii| / T

    Along the model's path from `start` (D,) at times[0]; directions are orthonormalised at the `times` (T,), and what
    they grew by in the first tenth of these is not counted [benettin1980]. Take times from a state on the attractor
    over as many turns as the accuracy asks, and so close that no direction shrinks to rounding beside another in
    between: e^((λ_1 − λ_D) δt) well below 1/eps. The integrator chooses its own steps, to 1e-8 (float32: to about
    rounding).

    - `driven`: components that are not free but given by the path, by complete replacement: the rest follow dδu/dt =
      DF_uu δu, and their D − L exponents are the conditional ones [pecora1990].

    NaN where the path does not stay finite. Raises `ValueError` for a state or times of another form, a component or a
    count out of range, and a model with an `Unknown` in it.
    """
    start, times = _checked(model, args, start, times)
    (free,) = _free([driven], start.size)
    most = int(free.sum())
    count = most if count is None else operator.index(count)
    if not 1 <= count <= most:
        raise ValueError(f"{most} components that are free have 1 to {most} exponents; received count={count}.")
    masks = np.broadcast_to(free[:, None], (start.size, count))
    found = _grow(model, start, times, args, _directions(masks, start.dtype), jnp.asarray(masks), True)
    return np.sort(_rates(found, times))[::-1]


def conditional_exponents(
    model: Callable, start: ArrayLike, times: ArrayLike, sets: Sequence[Sequence[int]], args: Any = None
) -> Float[np.ndarray, " set"]:
    """The largest Lyapunov exponent (S,) of the model driven by each of `sets` of components, in inverse time units.

        dδu/dt = DF_uu(t, x(t)) δu,   λ = lim log |δu| / t

    The measured components are replaced by the true ones, and u is all the others [pecora1990]: where λ < 0, a copy of
    the model that is fed with the measurements forgets its start and finds the rest of the state; where λ > 0 it does
    not, however good the measurements. Without a component that is the free model's largest exponent; with all of them
    it is −inf, as nothing is left that could part. `start`, `times` and errors are those of `lyapunov_exponents`. All
    sets go along the same path, in one run.
    """
    start, times = _checked(model, args, start, times)
    free = _free(sets, start.size)
    found, open_sets = np.full(len(free), -np.inf), free.any(axis=1)
    if open_sets.any():
        masks = free[open_sets].T
        grown = _grow(model, start, times, args, _directions(masks, start.dtype), jnp.asarray(masks), False)
        found[open_sets] = _rates(grown, times)
    return found


def _checked(model: Callable, args: Any, start: ArrayLike, times: ArrayLike) -> tuple[Array, Array]:
    start, times = jnp.asarray(start, jnp.result_type(float)), np.asarray(times, float)
    if start.ndim != 1:
        raise ValueError(f"A path starts at a state of shape (D,); received shape {start.shape}.")
    if times.ndim != 1 or times.size < 2 or not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise ValueError(f"Exponents need at least two times (T,) that increase; received shape {times.shape}.")
    leaves = jax.tree.leaves((model, args), is_leaf=lambda x: isinstance(x, Unknown))
    if any(isinstance(leaf, Unknown) for leaf in leaves):
        raise ValueError("Exponents are those of a model with numbers everywhere; this one has an Unknown.")
    return start, jnp.asarray(times, start.dtype)


def _free(sets: Sequence[Sequence[int]], size: int) -> Bool[np.ndarray, "set state"]:
    """Which components each set leaves free."""
    free = np.ones((len(sets), size), bool)
    for row, components in zip(free, sets, strict=True):
        for c in map(operator.index, components):
            if not 0 <= c < size:
                raise ValueError(f"Components must lie between 0 and {size - 1}; received {c}.")
            row[c] = False
    return free


def _directions(masks: Bool[np.ndarray, "state direction"], dtype: Any) -> Float[Array, "state direction"]:
    """Directions within the masks that favour none: a special one might never turn to the fastest."""
    drawn = np.random.default_rng(0).standard_normal(masks.shape[0] * masks.shape[1]).reshape(masks.shape)
    within = np.where(masks, drawn, 0.0)
    return jnp.asarray(within / np.linalg.norm(within, axis=0), dtype)


def _rates(growth: Float[Array, "interval direction"], times: Float[Array, " time"]) -> np.ndarray:
    skipped, elapsed = growth.shape[0] // _TURNING, np.asarray(times, float)
    return np.asarray(growth, float)[skipped:].sum(axis=0) / (elapsed[-1] - elapsed[skipped])


def _orthonormal(u: Float[Array, "state direction"], masks: Bool[Array, "state direction"]) -> tuple[Array, Array]:
    q, r = jnp.linalg.qr(u)
    # What rounding puts into a driven component would stay there, while all that is free may decay beside it.
    return jnp.where(masks, q, jnp.zeros_like(q)), jnp.log(jnp.abs(jnp.diagonal(r)))


def _normal(u: Float[Array, "state direction"]) -> tuple[Array, Array]:
    length = jnp.linalg.norm(u, axis=0)
    return u / length[None], jnp.log(length)


@eqx.filter_jit
def _grow(model, start, times, args, directions, masks, together: bool) -> Float[Array, "interval direction"]:
    """Logarithms of what each direction grows by in each interval; `together` keeps them at right angles."""

    def field(t, y, args):
        rate, push = jax.linearize(lambda x: model(t, x, args), y[0])
        return rate, jnp.where(masks, jax.vmap(push, in_axes=1, out_axes=1)(y[1]), jnp.zeros_like(y[1]))

    def leg(y, ends):
        y, arrived = advance(field, diffrax.Tsit5(), ends, y, args, _TOLERANCE)
        state, grown = (jnp.where(arrived, part, jnp.full_like(part, jnp.nan)) for part in y)
        directions, growth = _orthonormal(grown, masks) if together else _normal(grown)
        return (state, directions), growth

    return lax.scan(leg, (start, directions), jnp.stack([times[:-1], times[1:]], axis=1))[1]
