"""Where members begin."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from deepest.action._action import Action


def initial_paths(
    action: Action,
    members: int,
    key: PRNGKeyArray,
    *,
    spread: tuple[ArrayLike | Sequence, ArrayLike | Sequence] | None = None,
) -> tuple[Float[Array, "member time state"], Float[Array, "member parameter"]]:
    """Random starting paths (members, N, D) and parameters (members, P).

    Measured components start at the data, interpolated in time where there are none; every other component at
    independent uniform values in `spread` = (lower, upper), scalars or (D,) in the state's units. Without `spread`
    a component's range is its bounds where they are finite, else the range of all the measured values.
    Parameters start uniformly in their range, or from their prior.
    Raises `ValueError` where nothing says how wide a component's range is.
    """
    size, dtype = action.estimable.dimension, jnp.result_type(float)
    lower, upper = _range(action, spread)
    keys = jax.random.split(key, 3)
    shape = (members, action.grid.size, size)
    # Drawn flat: the same numbers, and ten times faster to compile.
    uniform = jax.random.uniform(keys[0], (math.prod(shape),), dtype)
    paths = lower + (upper - lower) * uniform.reshape(shape)
    for component, values in _interpolated(action).items():
        paths = paths.at[:, :, component].set(jnp.asarray(values, dtype)[None])
    draw = lambda key, varying: jax.vmap(lambda k: action.estimable.draw(k, varying=varying))(
        jax.random.split(key, members)
    )
    varying = draw(keys[1], True)
    varying = jnp.broadcast_to(varying[:, None, :], (members, action.grid.size, varying.shape[1]))
    return jnp.concatenate([paths, varying], axis=2), draw(keys[2], False)


def _range(action: Action, spread) -> tuple[Array, Array]:
    size, dtype = action.estimable.dimension, jnp.result_type(float)
    if spread is not None:
        lower, upper = (np.broadcast_to(np.asarray(b, float), (size,)) for b in spread)
        if not (np.all(np.isfinite(lower)) and np.all(lower <= upper)):
            raise ValueError("A spread needs finite lower ≤ upper for every component.")
    else:
        lower, upper = np.asarray(action.limits[0])[:, :size]
        observations = action.observations
        seen = np.asarray(observations.values)[np.asarray(observations.present)]
        finite = np.isfinite(upper - lower)
        if observations.components is None and not np.all(finite):
            raise ValueError(
                "With an operator, nothing says in what range unmeasured components lie: pass spread=(lower, upper), "
                "or bounds= to the Action."
            )
        lower, upper = np.where(finite, lower, seen.min()), np.where(finite, upper, seen.max())
    return jnp.asarray(lower, dtype)[None, None], jnp.asarray(upper, dtype)[None, None]


def _interpolated(action: Action) -> dict[int, np.ndarray]:
    """Each measured component on the grid (N,), missing values filled in linearly; none for an operator."""
    observations = action.observations
    values, present = np.asarray(observations.values), np.asarray(observations.present)
    columns = zip(observations.components or (), values.T, present.T, strict=False)
    times = observations.times
    return {c: np.interp(action.grid.times, times[here], y[here]) for c, y, here in columns if here.any()}
