"""Following a model for as long as one likes, traced once."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepest.models import integrate

# Points a leg. Tracing diffrax takes longer than integrating the whole truth, so every call has the same shape.
_LEG = 512


def follow(
    model: Callable, start: Float[Array, " state"], times: Float[np.ndarray, " time"], args: Any
) -> Float[np.ndarray, "time state"]:
    """The model's path (T, D) from `start` at times[0], by `integrate` in legs of equal length."""
    legs, state = [np.asarray(start)[None]], start
    for first in range(0, times.size - 1, _LEG - 1):
        here = times[first : first + _LEG]
        padded = np.append(here, np.full(_LEG - here.size, here[-1]))
        path = integrate(model, state, padded, args)
        legs.append(np.asarray(path)[1 : here.size])
        state = jnp.asarray(path[here.size - 1])
    return np.concatenate(legs)
