"""Running a model forward."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

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
    tolerance = max(1e-10, 50.0 * float(jnp.finfo(start.dtype).eps))
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)

    # One solve an interval: diffrax's own checks of SaveAt(ts=…) are host callbacks, which jax's cache does not keep.
    def leg(state, ends):
        before = jnp.all(jnp.isfinite(state))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(model),
            diffrax.Dopri8(),
            ends[0],
            ends[1],
            None,
            jnp.where(before, state, jnp.zeros_like(state)),
            args,
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=controller,
            max_steps=_STEPS,
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )
        arrived = before & (solution.result == diffrax.RESULTS.successful)
        state = jnp.where(arrived, jnp.asarray(solution.ys)[0], jnp.inf)
        return state, state

    _, path = lax.scan(leg, start, jnp.stack([times[:-1], times[1:]], axis=1))
    return jnp.concatenate([start[None], path])
