"""Starting paths on which what is not measured follows what is."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from deepest.action._action import Action
from deepest.action._starts import interpolated

# Exponential steps of this many times the path's duration, by which the other components settle.
_SETTLING, _LONG = 5, 1e3
# An error of more than two deviations counts as two, so that the intervals that no draw explains decide nothing.
_MOST = 4.0


def following_paths(
    action: Action, members: int, key: PRNGKeyArray, *, draws: int = 4000
) -> tuple[Float[Array, "member time state"], Float[Array, "member parameter"]]:
    """Starting paths (members, N, D) and parameters (members, P) on which unmeasured components u follow data y:

        du/dt = F_u(t, y(t), u; θ),    cost(θ) = Σ_n min(R_m (y_{n+1} − y_n − δt F_y)², 4)

    Of `draws` random parameters those `members` with the lowest cost are kept: what the measured components' own
    equations leave along the data. For models in which little is measured and the rest is driven by it, such as a
    neuron's voltage and its gates, these are far better starts than random paths. u begins settled at the first time
    and at every break, moves by exponential steps with the diagonal of DF, and stays in its bounds.

    Raises `ValueError` with an operator, where no component is measured itself, where all are, and unless
    1 ≤ members ≤ draws.
    """
    if not 1 <= members <= draws:
        raise ValueError(f"Of {draws} draws between 1 and {draws} become members; received members={members}.")
    data, size = interpolated(action), action.estimable.dimension
    if not data or len(data) == size:
        raise ValueError("Paths can follow the data where some components of the state are measured, and others not.")
    measured = np.array(sorted(data))
    known = jnp.asarray(np.stack([data[c] for c in measured.tolist()], axis=1), jnp.result_type(float))
    keys = jax.random.split(key, (2, draws))
    estimable = action.estimable
    shared, varying = (jax.vmap(lambda k, v=v: estimable.draw(k, varying=v))(keys[int(v)]) for v in (False, True))
    follow = _Following(action, measured, known)
    costs = lax.map(lambda p: follow(*p)[1], (shared, varying), batch_size=64)
    best = jnp.argsort(jnp.where(jnp.isfinite(costs), costs, jnp.inf))[:members]
    paths = jax.vmap(lambda *p: follow(*p)[0])(shared[best], varying[best])
    return paths, shared[best]


class _Following:
    """One draw's path and its cost."""

    def __init__(self, action: Action, measured: np.ndarray, known: Array):
        self.estimable, self.measured, self.known = action.estimable, measured, known
        self.others = np.setdiff1d(np.arange(action.estimable.dimension), measured)
        self.lower, self.upper = np.asarray(action.limits[0])[:, self.others]
        self.times, self.precision = jnp.asarray(action.grid.times, known.dtype), action.reference
        self.anew = jnp.asarray(np.isin(np.arange(action.grid.size), action.grid.locate(action.breaks)))

    def __call__(self, shared: Array, varying: Array) -> tuple[Array, Array]:
        def rates(t, y, u):
            state = jnp.zeros(self.estimable.dimension, y.dtype).at[self.measured].set(y).at[self.others].set(u)
            return self.estimable(t, jnp.concatenate([state, varying]), shared)

        def move(t, y, u, step):
            own = lambda u: rates(t, y, u)[self.others]
            slope = jnp.minimum(jnp.diag(jax.jacfwd(own)(u)), -1e-6)
            return jnp.clip(u + jnp.expm1(slope * step) / slope * own(u), self.lower, self.upper)

        def settled(t, y):
            long = _LONG * (self.times[-1] - self.times[0])
            return lax.fori_loop(0, _SETTLING, lambda _, u: move(t, y, u, long), middle)

        def leg(u, ends):
            t, step, y, after, new = ends
            half, between = t + 0.5 * step, 0.5 * (y + after)
            ahead = move(half, between, u, step)
            error = after - y - step * rates(half, between, 0.5 * (u + ahead))[self.measured]
            ahead = jnp.where(new, settled(t + step, after), ahead)
            share = jnp.sum(jnp.minimum(self.precision * error**2, _MOST))
            return ahead, (ahead, jnp.where(new, jnp.zeros_like(share), share))

        finite = np.isfinite(self.upper - self.lower)
        middle = np.where(finite, 0.5 * (np.where(finite, self.lower, 0.0) + np.where(finite, self.upper, 0.0)), 0.0)
        middle = jnp.clip(jnp.asarray(middle, self.known.dtype), self.lower, self.upper)
        first = settled(self.times[0], self.known[0])
        ends = self.times[:-1], jnp.diff(self.times), self.known[:-1], self.known[1:], self.anew[1:]
        _, (later, costs) = lax.scan(leg, first, ends)
        path = jnp.zeros((self.times.size, self.estimable.size), self.known.dtype)
        path = path.at[:, self.measured].set(self.known)
        path = path.at[:, self.others].set(jnp.concatenate([first[None], later]))
        return path.at[:, self.estimable.dimension :].set(varying), jnp.sum(costs)
