"""Running a model forward."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float

# More steps than this from one saved time to the next mean that there is no getting there.
_STEPS = 100_000


def integrate(
    model: Callable, start: Float[Array, " state"], times: Float[ArrayLike, " time"], args: Any = None
) -> Float[Array, "time state"]:
    """The model's path (T, D) from `start` (D,) at times[0], by diffrax's Dopri8 to about rounding (1e-10 in float64).

    States from where the integration failed on are infinite; nothing is raised.
    """
    return _flow(model, start, jnp.asarray(times, start.dtype), args)


@eqx.filter_jit
def _flow(model, start, times, args):
    def leg(state, ends):
        state, arrived = advance(model, diffrax.Dopri8(), ends, state, args, 1e-10)
        state = jnp.where(arrived, state, jnp.inf)
        return state, state

    _, path = lax.scan(leg, start, jnp.stack([times[:-1], times[1:]], axis=1))
    return jnp.concatenate([start[None], path])


def advance(
    field: Callable, solver: diffrax.AbstractSolver, ends: Float[Array, "2"], y: Any, args: Any, tolerance: float
) -> tuple[Any, Bool[Array, ""]]:
    """y, arrays of one dtype, from ends[0] to ends[1] to a tolerance, in float32 to about rounding; and whether it got
    there from finite numbers.

    One solve an interval: diffrax's own checks of SaveAt(ts=…) are host callbacks, which jax's cache does not keep.
    """
    tolerance = max(tolerance, 50.0 * float(jnp.finfo(ends.dtype).eps))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(part)) for part in jax.tree.leaves(y)]))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        ends[0],
        ends[1],
        None,
        jax.tree.map(lambda part: jnp.where(finite, part, jnp.zeros_like(part)), y),
        args,
        saveat=diffrax.SaveAt(t1=True),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=_STEPS,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    return jax.tree.map(lambda part: part[0], solution.ys), finite & (solution.result == diffrax.RESULTS.successful)
