"""Legendre's transform both ways, and what a Hamiltonian says."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from deepest.mechanics._lagrangian import AbstractLagrangian, Lagrangian, momentum, solve

# Called as (t, x, p, args).
Hamiltonian = Callable[..., Float[Array, ""]]
Observable = Hamiltonian

# The most steps of Newton's method, those that were too long included.
_STEPS = 100


def velocity(
    lagrangian: Lagrangian, t, x: Float[Array, " state"], p: Float[Array, " state"], args: Any = None
) -> Float[Array, " state"]:
    """The v (D,) at which ∂𝓛/∂v = p (D,).

    In closed form where the Lagrangian has one (`AbstractLagrangian`), by Newton's method from rest elsewhere; then it
    may be differentiated three times. A runtime error where ∂²𝓛/∂v² is singular, or where Newton's method does not
    converge.
    """
    if isinstance(lagrangian, AbstractLagrangian):
        return lagrangian.velocity(t, x, p, args)
    given = (jnp.asarray(t, p.dtype), x, p, args)
    mismatch = eqx.filter_closure_convert(lambda v, t, x, p, args: momentum(lagrangian, t, x, v, args) - p, p, *given)
    v = _root(*(jax.tree.map(_still, tree) for tree in (mismatch, given)))
    # A step of Newton's method doubles the digits, and makes 2k + 1 derivatives exact where k were: none are at first.
    # An implicit rule would differentiate as often, but not inside another root's search, as `InverseLegendre` needs.
    for _ in range(2):
        v = v - solve(jax.jacfwd(mismatch)(v, *given), mismatch(v, *given))
    return v


def _still(leaf):
    return lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf


def _root(mismatch: Callable, given) -> Float[Array, " state"]:
    """The v (D,) at which the momenta agree to half of their digits, by Newton's method from rest.

    Mismatches are counted as velocities, by the mass at rest. A step that makes theirs larger, or leaves the velocities
    at which 𝓛 is defined, is halved.
    """
    rest = jnp.zeros_like(given[2])
    least = jax.jacfwd(mismatch)(rest, *given)
    far = lambda v: jnp.max(jnp.abs(solve(least, mismatch(v, *given))))
    goal = jnp.finfo(rest.dtype).eps ** 0.5 * far(rest)

    def step(state):
        v, distance, share, count = state
        trial = v - share * solve(jax.jacfwd(mismatch)(v, *given), mismatch(v, *given))
        found = far(trial)
        better = found < distance  # not where it is no number
        share = jnp.where(better, jnp.minimum(2.0 * share, 1.0), 0.5 * share)
        return jnp.where(better, trial, v), jnp.where(better, found, distance), share, count + 1

    going = lambda state: (state[1] > goal) & (state[3] < _STEPS)
    v, distance, _, _ = lax.while_loop(going, step, (rest, far(rest), jnp.ones((), rest.dtype), 0))
    return eqx.error_if(
        v, ~(distance <= goal), "No velocity with this momentum was found: is p = ∂𝓛/∂v within the momenta that 𝓛 has?"
    )


class Legendre(eqx.Module):
    """H(t, x, p, args) = p · v − 𝓛 with v(p) from p = ∂𝓛/∂v: the Hamiltonian of a Lagrangian, a scalar."""

    lagrangian: Lagrangian

    def __call__(self, t, x: Float[Array, " state"], p: Float[Array, " state"], args: Any = None) -> Float[Array, ""]:
        v = velocity(self.lagrangian, t, x, p, args)
        return jnp.vdot(p, v) - self.lagrangian(t, x, v, args)


class InverseLegendre(eqx.Module):
    """𝓛(t, x, v, args) = p · v − H with p(v) from v = ∂H/∂p: the Lagrangian of a Hamiltonian, a scalar.

    The transform is its own inverse, so that p(v) is found as `velocity` finds v(p).
    """

    hamiltonian: Hamiltonian

    def __call__(self, t, x: Float[Array, " state"], v: Float[Array, " state"], args: Any = None) -> Float[Array, ""]:
        p = velocity(self.hamiltonian, t, x, v, args)
        return jnp.vdot(p, v) - self.hamiltonian(t, x, p, args)


def hamilton(
    hamiltonian: Hamiltonian, t, x: Float[Array, " state"], p: Float[Array, " state"], args: Any = None
) -> tuple[Float[Array, " state"], Float[Array, " state"]]:
    """Hamilton's equations: (dx/dt, dp/dt) = (∂H/∂p, −∂H/∂x), (D,) each."""
    slope_x, slope_p = jax.grad(hamiltonian, argnums=(1, 2))(t, x, p, args)
    return slope_p, -slope_x


def poisson_bracket(f: Observable, g: Observable) -> Observable:
    """{f, g} = ∂f/∂x · ∂g/∂p − ∂f/∂p · ∂g/∂x of two scalar functions of (t, x, p, args), x and p of shape (D,).

    Along a motion of H, df/dt = {f, H} + ∂f/∂t.
    """

    def bracket(t, x, p, args=None):
        f_x, f_p = jax.grad(f, argnums=(1, 2))(t, x, p, args)
        g_x, g_p = jax.grad(g, argnums=(1, 2))(t, x, p, args)
        return jnp.vdot(f_x, g_p) - jnp.vdot(f_p, g_x)

    return bracket


def symplectic_form(dimension: int) -> Float[Array, "phase phase"]:
    """Ω = [[0, 1], [−1, 0]] on phase space (x, p): (2D, 2D) for a state of dimension D, an integer."""
    identity = jnp.eye(dimension)
    return jnp.block([[jnp.zeros_like(identity), identity], [-identity, jnp.zeros_like(identity)]])


def symplectic_defect(
    function: Callable, x: Float[Array, " state"], p: Float[Array, " state"]
) -> Float[Array, "phase phase"]:
    """Jᵀ Ω J − Ω (2D, 2D) of a map (x, p) → (x, p), with J its Jacobian: zero where the map is symplectic."""
    size = x.size

    def flat(z):
        return jnp.concatenate(function(z[:size], z[size:]))

    jacobian, form = jax.jacfwd(flat)(jnp.concatenate([x, p])), symplectic_form(size).astype(x.dtype)
    return jacobian.T @ form @ jacobian - form
