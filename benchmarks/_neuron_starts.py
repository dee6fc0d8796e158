"""Starting paths whose unmeasured states follow the measured one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepest.action import Action


def following(action: Action, draws: int, members: int, key) -> tuple[jax.Array, jax.Array]:
    """Paths (member, N, D) and parameters (member, P): of so many random draws of the parameters those for which the
    equation of the first component, which is measured, holds best along the data.

        du/dt = F_u(y(t), u; θ),   cost = Σ min((y_{n+1} − y_n − δt F_y)², 4)

    The other components u begin settled at every break, and move by exponential Euler steps with the diagonal of DF.
    """
    times = jnp.asarray(action.grid.times)
    held = action.observations
    data = jnp.asarray(np.interp(action.grid.times, held.times[held.present[:, 0]], held.values[held.present[:, 0], 0]))
    anew = jnp.asarray(np.isin(action.grid.times, action.breaks))
    model, size = action.estimable, action.estimable.dimension
    lower, upper = (jnp.asarray(b)[1:] for b in np.asarray(action.limits[0]))

    def one(parameters):
        def rates(t, y, u):
            return model(t, jnp.concatenate([y[None], u]), parameters)

        def move(t, y, u, h):
            slope = jnp.minimum(jnp.diag(jax.jacfwd(lambda u: rates(t, y, u)[1:])(u)), -1e-6)
            return jnp.clip(u + jnp.expm1(slope * h) / slope * rates(t, y, u)[1:], lower, upper)

        def settled(t, y):
            return lax.fori_loop(0, 5, lambda _, u: move(t, y, u, 1e4), 0.5 * (lower + upper))

        def step(u, ends):
            t, h, y, after, new = ends
            middle, half = 0.5 * (y + after), t + 0.5 * h
            ahead = move(half, middle, u, h)
            error = after - y - h * rates(half, middle, 0.5 * (u + ahead))[0]
            ahead = jnp.where(new, settled(t + h, after), ahead)
            return ahead, (ahead, jnp.where(new, 0.0, jnp.minimum(error**2, 4.0)))

        first = settled(times[0], data[0])
        ends = (times[:-1], jnp.diff(times), data[:-1], data[1:], anew[1:])
        _, (rest, errors) = lax.scan(step, first, ends)
        return jnp.concatenate([first[None], rest]), jnp.sum(errors)

    drawn = jax.vmap(lambda k: model.draw(k, varying=False))(jax.random.split(key, draws))
    costs = lax.map(lambda p: one(p)[1], drawn, batch_size=64)
    best = drawn[jnp.argsort(jnp.where(jnp.isfinite(costs), costs, jnp.inf))[:members]]
    others = jax.vmap(lambda p: one(p)[0])(best)
    assert others.shape[2] == size - 1
    first = jnp.broadcast_to(data[None, :, None], (members, data.size, 1))
    return jnp.concatenate([first, others], axis=2), best
