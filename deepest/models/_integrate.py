"""Running a model forward."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def integrate(
    model: Callable, start: Float[Array, " state"], times: Float[ArrayLike, " time"], args: Any = None
) -> Float[Array, "time state"]:
    """The model's path (T, D) from `start` (D,) at times[0], by diffrax's Dopri8 to about rounding (1e-10 in float64).

    States from where the integration failed on are infinite; nothing is raised.
    """
    dtype = start.dtype
    times = jnp.asarray(times, dtype)
    tolerance = max(1e-10, 50.0 * float(jnp.finfo(dtype).eps))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(model),
        diffrax.Dopri8(),
        times[0],
        times[-1],
        None,
        start,
        args,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=None,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    return jnp.asarray(solution.ys)
