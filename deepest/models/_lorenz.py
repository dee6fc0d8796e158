"""The two models on which data assimilation is tried first."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepest.models._unknown import as_parameter

# A number or an array; an `Unknown` only until the model is filled.
Parameter = Any


class Lorenz63(eqx.Module):
    """Lorenz's three-variable convection model.

        dx/dt = σ (y − x),   dy/dt = x (ρ − z) − y,   dz/dt = x y − β z

    State (3,), dimensionless, as are time and the three parameters. Each parameter is a number or an `Unknown`.
    Source: [lorenz1963].
    """

    sigma: Parameter = eqx.field(converter=as_parameter, default=10.0)
    rho: Parameter = eqx.field(converter=as_parameter, default=28.0)
    beta: Parameter = eqx.field(converter=as_parameter, default=8.0 / 3.0)
    dimension: int = eqx.field(static=True, default=3, init=False)

    def __call__(self, t: Float[Array, ""], x: Float[Array, "3"], args: Any) -> Float[Array, "3"]:
        del t, args
        u, v, w = x[0], x[1], x[2]
        return jnp.stack([self.sigma * (v - u), u * (self.rho - w) - v, u * v - self.beta * w])


class Lorenz96(eqx.Module):
    """Lorenz's model of waves on a latitude circle, D sites with periodic neighbours.

        dx_a/dt = x_{a−1} (x_{a+1} − x_{a−2}) − x_a + f

    State (dimension,), dimensionless; one time unit stands for about five days. `forcing` f is a number
    or an `Unknown`, the same for all sites or one a site; chaos from f ≈ 6 on, usual values 8 to 10.
    Raises `ValueError` for fewer than four sites. Source: [lorenz2006].
    """

    dimension: int = eqx.field(static=True, default=20)
    forcing: Parameter = eqx.field(converter=as_parameter, default=8.17)

    def __check_init__(self):
        if self.dimension < 4:
            raise ValueError(f"Lorenz96 needs a dimension of at least 4; received {self.dimension}.")

    def __call__(self, t: Float[Array, ""], x: Float[Array, " state"], args: Any) -> Float[Array, " state"]:
        del t, args
        return jnp.roll(x, 1) * (jnp.roll(x, -1) - jnp.roll(x, 2)) - x + self.forcing
