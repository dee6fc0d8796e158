"""R_f as users give it, on the intervals of a grid."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from deepest.paths import Observations


def ranged(word: str, limits: np.ndarray, observations: Observations) -> np.ndarray:
    """R_f (D,) by the squares of the components' ranges, from limits (2, D), in units of the measured ones' mean."""
    if word != "range":
        raise ValueError(f'The model precision is numbers, or "range"; received "{word}".')
    width = limits[1] - limits[0]
    if not np.all(np.isfinite(width) & (width > 0)):
        raise ValueError('A model precision by "range" needs finite bounds= of every component, lower below upper.')
    measured = width if observations.components is None else width[list(observations.components)]
    return (np.mean(measured) / width) ** 2


def heaviest(shape: np.ndarray, limits: np.ndarray, observations: Observations) -> float:
    """The largest relative R_f (1 or K, D) or (1 or K, D, D), in states in units of their ranges, from limits (2, D),
    and measurements in those of the measured ones' mean; in the states' own units where not all ranges are known."""
    size = shape.shape[1]
    largest = np.max(shape if shape.ndim == 2 else np.diagonal(shape, axis1=1, axis2=2), axis=0)
    width = (limits[1] - limits[0])[:size]
    if not np.all(np.isfinite(width) & (width > 0)):
        return float(np.max(largest))
    return float(np.max(largest / ranged("range", limits[:, :size], observations)))


def relative(given: ArrayLike | Sequence, widths: np.ndarray, size: int, convention: str) -> Array:
    """The relative R_f as (1 or K, D) or (1 or K, D, D)."""
    given, count = np.asarray(given, float), widths.size
    allowed = {(): (1, 1), (size,): (1, size), (count, size): (count, size)}
    full = {(size, size): (1, size, size), (count, size, size): (count, size, size)}
    if not np.all(np.isfinite(given)):
        raise ValueError("The model precision must be finite.")
    if given.shape == (size, size) == (count, size) and size > 1:
        raise ValueError(
            f"With {count} intervals and {size} components, a model precision of shape {given.shape} could be one "
            f"matrix or one row an interval; give a matrix as ({count}, {size}, {size}), or one row as ({size},)."
        )
    if given.shape in full and given.shape not in allowed:
        value = given.reshape(full[given.shape])
        check_positive(value, full=True)
    elif given.shape in allowed:
        value = given.reshape(allowed[given.shape]) * np.ones(size)
        check_positive(value, full=False)
    else:
        raise ValueError(
            f"The model precision must be a scalar, ({size},), ({size}, {size}), ({count}, {size}) or "
            f"({count}, {size}, {size}); received shape {given.shape}."
        )
    if convention not in ("interval", "continuum"):
        raise ValueError(f'The convention is "interval" or "continuum"; received "{convention}".')
    if convention == "continuum":
        uniform = np.allclose(widths, widths[0], rtol=1e-6)
        steps = widths[:1] if uniform else widths
        value = value / steps.reshape(-1, *(1,) * (value.ndim - 1))
    return jnp.asarray(value, jnp.result_type(float))


def check_positive(value: np.ndarray, *, full: bool) -> None:
    """Raise `ValueError` unless R_f is positive: every number (..., D), or every matrix (..., D, D) where `full`."""
    if not full and not np.all(value > 0):
        raise ValueError("The model precision must be positive.")
    if full and not (np.allclose(value, np.swapaxes(value, -1, -2)) and np.all(np.linalg.eigvalsh(value) > 0)):
        raise ValueError("A full-matrix model precision must be symmetric and positive definite.")


def joined(states: Float[Array, "..."], drift: Float[Array, "interval varying"]) -> Float[Array, "..."]:
    """R_f of the states beside the fixed random-walk precision of the varying unknowns."""
    if drift.shape[1] == 0:
        return states
    count = drift.shape[0]
    states = jnp.broadcast_to(states, (count, *states.shape[1:]))
    if states.ndim == 2:
        return jnp.concatenate([states, drift], axis=1)
    return jax.vmap(jax.scipy.linalg.block_diag)(states, jax.vmap(jnp.diag)(drift))
