"""From a Lagrangian to its momentum, its equation of motion, and its energy."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Called as (t, x, v, args).
Lagrangian = Callable[..., Float[Array, ""]]


class AbstractLagrangian(eqx.Module):
    """A Lagrangian 𝓛(t, x, v, args) that knows its velocities v(p) in closed form.

    Every function of this room takes any callable of that signature; what is not of this class is inverted by
    Newton's method.
    """

    @abc.abstractmethod
    def __call__(self, t, x: Float[Array, " state"], v: Float[Array, " state"], args: Any = None) -> Float[Array, ""]:
        """𝓛 at one state x (D,) and velocity v (D,), a scalar in units of action per time."""

    @abc.abstractmethod
    def velocity(self, t, x: Float[Array, " state"], p: Float[Array, " state"], args: Any = None) -> Array:
        """The v (D,) at which ∂𝓛/∂v = p."""


class Quadratic(AbstractLagrangian):
    """A Lagrangian of which one knows that it is quadratic in v, so that v = (∂²𝓛/∂v²)⁻¹ (p − ∂𝓛/∂v(v = 0)).

    `function` is 𝓛(t, x, v, args) → scalar, for x and v of shape (D,).
    """

    function: Lagrangian

    def __call__(self, t, x, v, args=None):
        return self.function(t, x, v, args)

    def velocity(self, t, x, p, args=None):
        rest = jnp.zeros_like(p)
        return solve(mass(self, t, x, rest, args), p - momentum(self, t, x, rest, args))


def momentum(
    lagrangian: Lagrangian, t, x: Float[Array, " state"], v: Float[Array, " state"], args: Any = None
) -> Float[Array, " state"]:
    """p = ∂𝓛/∂v, of shape (D,)."""
    return jax.grad(lagrangian, argnums=2)(t, x, v, args)


def mass(
    lagrangian: Lagrangian, t, x: Float[Array, " state"], v: Float[Array, " state"], args: Any = None
) -> Float[Array, "state state"]:
    """M = ∂²𝓛/∂v², of shape (D, D): mechanics' mass matrix, and R_f where 𝓛 is model error."""
    return jax.hessian(lagrangian, argnums=2)(t, x, v, args)


def residual(
    lagrangian: Lagrangian,
    t,
    x: Float[Array, " state"],
    v: Float[Array, " state"],
    a: Float[Array, " state"],
    args: Any = None,
) -> Float[Array, " state"]:
    """The Euler–Lagrange residual d/dt ∂𝓛/∂v − ∂𝓛/∂x (D,) of a motion with state x, velocity v and acceleration a (D,)
    each."""
    _, rate = _along(lagrangian, t, x, v, a, args)
    return rate - jax.grad(lagrangian, argnums=1)(t, x, v, args)


def acceleration(
    lagrangian: Lagrangian, t, x: Float[Array, " state"], v: Float[Array, " state"], args: Any = None
) -> Float[Array, " state"]:
    """The a (D,) at which the Euler–Lagrange residual vanishes: M a = ∂𝓛/∂x − ∂²𝓛/∂v∂t − ∂²𝓛/∂v∂x v.

    A runtime error where M is singular.
    """
    return -solve(mass(lagrangian, t, x, v, args), residual(lagrangian, t, x, v, jnp.zeros_like(v), args))


def energy(
    lagrangian: Lagrangian, t, x: Float[Array, " state"], v: Float[Array, " state"], args: Any = None
) -> Float[Array, ""]:
    """E = v · ∂𝓛/∂v − 𝓛, a scalar, which a motion keeps where 𝓛 does not depend on t."""
    return jnp.vdot(v, momentum(lagrangian, t, x, v, args)) - lagrangian(t, x, v, args)


def solve(matrix: Float[Array, "state state"], right: Float[Array, " state"]) -> Float[Array, " state"]:
    """M⁻¹ b, or a runtime error where M is singular to rounding."""
    factors, _, order = jax.lax.linalg.lu(matrix)
    pivots = jnp.abs(jnp.diagonal(factors))
    least = pivots.size * jnp.finfo(matrix.dtype).eps * jnp.max(pivots)
    factors = eqx.error_if(
        factors,
        ~(jnp.min(pivots) > least),
        "The Lagrangian's ∂²𝓛/∂v² is singular here: momenta do not determine velocities, and there is no Hamiltonian. "
        "Give every velocity a kinetic term (every component a model precision above zero).",
    )
    lower = jax.lax.linalg.triangular_solve(
        factors, right[order][:, None], left_side=True, lower=True, unit_diagonal=True
    )
    return jax.lax.linalg.triangular_solve(factors, lower, left_side=True, lower=False)[:, 0]


def _along(lagrangian, t, x, v, a, args):
    """The momentum, and its rate along a motion."""
    t = jnp.asarray(t, x.dtype)
    return jax.jvp(lambda t, x, v: momentum(lagrangian, t, x, v, args), (t, x, v), (jnp.ones_like(t), v, a))
