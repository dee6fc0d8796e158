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

    Measured components start at the data, interpolated in time where there are none. Every other component scatters
    about a level of its own,

        x_n = c + f w (0.3 v + 0.7 u_n),   v and u_n uniform on (−1, 1), v the same at all times,

    with f in (0, 1) another for each member, small and large ones alternating: members that start nearly constant are
    most likely to end in the global minimum, but where those all end in another, wide ones may find it. `spread` =
    (lower, upper) = (c − w, c + w), scalars or (D,) in the state's units. Without it c ± w are a component's bounds
    where they are finite, else the mean of all the measured values ± five of their standard deviations. Parameters
    start uniformly in their range, or from their prior.
    Raises `ValueError` where nothing says how wide a component's range is.
    """
    size, dtype = action.estimable.dimension, jnp.result_type(float)
    lower, upper = _range(action, spread)
    keys = jax.random.split(key, 4)
    level, scatter = (
        _uniform(k, (members, length, size)) for k, length in zip(keys[:2], (1, action.grid.size), strict=True)
    )
    middle, width = 0.5 * (lower + upper)[None, None], 0.5 * (upper - lower) * _fractions(members)[:, None, None]
    paths = jnp.asarray(middle, dtype) + jnp.asarray(width, dtype) * (0.3 * level + 0.7 * scatter)
    for component, values in interpolated(action).items():
        paths = paths.at[:, :, component].set(jnp.asarray(values, dtype)[None])
    draw = lambda key, varying: jax.vmap(lambda k: action.estimable.draw(k, varying=varying))(
        jax.random.split(key, members)
    )
    varying = draw(keys[2], True)
    varying = jnp.broadcast_to(varying[:, None, :], (members, action.grid.size, varying.shape[1]))
    return jnp.concatenate([paths, varying], axis=2), draw(keys[3], False)


def _uniform(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    """Uniform on (−1, 1). Drawn flat: the same numbers, and ten times faster to compile."""
    return jax.random.uniform(key, (math.prod(shape),), jnp.result_type(float), -1.0, 1.0).reshape(shape)


def _fractions(members: int) -> np.ndarray:
    """Numbers in (0, 1), evenly spread in every run of neighbours: multiples of the golden ratio, modulo 1."""
    return np.mod((np.arange(members) + 0.5) * 0.5 * (np.sqrt(5.0) - 1.0), 1.0)


def _range(action: Action, spread) -> tuple[np.ndarray, np.ndarray]:
    size = action.estimable.dimension
    if spread is not None:
        lower, upper = (np.broadcast_to(np.asarray(b, float), (size,)) for b in spread)
        if not (np.all(np.isfinite(upper - lower)) and np.all(lower <= upper)):
            raise ValueError("A spread needs finite lower ≤ upper for every component.")
    else:
        lower, upper = np.asarray(action.limits[0])[:, :size]
        observations = action.observations
        seen = np.asarray(observations.values)[np.asarray(observations.present)]
        finite = np.isfinite(upper - lower)
        told = finite | np.isin(np.arange(size), list(interpolated(action)))
        if not np.all(told) and (observations.components is None or seen.std() == 0.0):
            why = "With an operator" if observations.components is None else "Where all measured values are equal"
            raise ValueError(
                f"{why}, nothing says in what range unmeasured components lie: pass spread=(lower, upper), "
                "or bounds= to the Action."
            )
        middle, reach = seen.mean(), 5.0 * seen.std()
        lower, upper = np.where(finite, lower, middle - reach), np.where(finite, upper, middle + reach)
    return lower, upper


def interpolated(action: Action) -> dict[int, np.ndarray]:
    """Each measured component on the grid (N,), missing values filled in linearly; none for an operator."""
    observations = action.observations
    values, present = np.asarray(observations.values), np.asarray(observations.present)
    columns = zip(observations.components or (), values.T, present.T, strict=False)
    times = observations.times
    return {c: np.interp(action.grid.times, times[here], y[here]) for c, y, here in columns if here.any()}
