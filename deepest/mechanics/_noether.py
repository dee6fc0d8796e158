"""Symmetries and what they keep."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepest.mechanics._lagrangian import Lagrangian, energy, momentum


class Symmetry(eqx.Module):
    """An infinitesimal transformation x → x + ε ξ(t, x), t → t + ε τ(t, x), under which 𝓛 dt changes by ε dK.

    `shift` is ξ, of shape (D,); `delay` τ and `gauge` K are scalars, zero where not given. All are called as (t, x).
    """

    shift: Callable
    delay: Callable | None = None
    gauge: Callable | None = None

    def _scalar(self, function, t, x):
        return jnp.zeros_like(x[0]) if function is None else function(t, x)


def noether(
    lagrangian: Lagrangian,
    symmetry: Symmetry,
    t,
    x: Float[Array, " state"],
    v: Float[Array, " state"],
    args: Any = None,
) -> Float[Array, ""]:
    """The quantity Q = p · ξ − E τ − K, a scalar, that every motion with x, v (D,) keeps if `symmetry` is one."""
    delay, gauge = symmetry._scalar(symmetry.delay, t, x), symmetry._scalar(symmetry.gauge, t, x)
    moved = jnp.vdot(momentum(lagrangian, t, x, v, args), symmetry.shift(t, x))
    return moved - energy(lagrangian, t, x, v, args) * delay - gauge


def variation(
    lagrangian: Lagrangian,
    symmetry: Symmetry,
    t,
    x: Float[Array, " state"],
    v: Float[Array, " state"],
    args: Any = None,
) -> Float[Array, ""]:
    """How fast the transformation changes 𝓛 dt, less dK: a scalar, zero at all x, v (D,) exactly for a symmetry.

    τ ∂𝓛/∂t + ξ · ∂𝓛/∂x + (dξ/dt − v dτ/dt) · ∂𝓛/∂v + 𝓛 dτ/dt − dK/dt
    """
    t = jnp.asarray(t, x.dtype)
    total = lambda function: jax.jvp(function, (t, x), (jnp.ones_like(t), v))
    shift, shift_rate = total(symmetry.shift)
    delay, delay_rate = total(lambda *at: symmetry._scalar(symmetry.delay, *at))
    _, gauge_rate = total(lambda *at: symmetry._scalar(symmetry.gauge, *at))
    bent = shift_rate - v * delay_rate
    value, change = jax.jvp(lambda *at: lagrangian(*at, args), (t, x, v), (delay, shift, bent))
    return change + value * delay_rate - gauge_rate
