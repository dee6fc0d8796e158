"""Newton's method on the equations of all intervals and both ends, and derivatives of what it finds."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from deepest.boundary._method import AbstractMethod
from deepest.boundary._status import Status
from deepest.linalg import BlockVector, Rows, Staircase

# Where a share of Newton's step as short as this is refused, no shorter one is tried.
_SHORTEST = 1e-6


class Equations(eqx.Module):
    """A problem made finite: `rates`(t, y, q) and `conditions`(ya, yb, q), a method, and the nodes' times."""

    rates: Callable
    conditions: Callable
    method: AbstractMethod
    times: Float[Array, " node"]

    def residual(self, z: BlockVector) -> Rows:
        """What must be zero."""
        ends = self.conditions(z.nodes[0], z.nodes[-1], z.shared)
        return Rows(self.method.residual(self.rates, self.times, z), ends)

    def linearise(self, z: BlockVector) -> tuple[Rows, Staircase]:
        """What must be zero, and its slopes."""
        rows, slopes = self.method.linearise(self.rates, self.times, z)
        at = (z.nodes[0], z.nodes[-1], z.shared)
        ends = jax.jacfwd(self.conditions, argnums=(0, 1, 2))(*at)
        return Rows(rows, self.conditions(*at)), Staircase(*slopes, *ends)


class Found(eqx.Module):
    """Where Newton's method ended, after how many steps, refused ones among them, and the size of the correction that
    is left there, relative."""

    z: BlockVector
    steps: Array
    correction: Float[Array, ""]
    status: Array


class _State(eqx.Module):
    z: BlockVector
    share: Float[Array, ""]
    correction: Float[Array, ""]
    steps: Array
    status: Array
    running: Bool[Array, ""]


def newton(equations: Equations, z: BlockVector, tolerance: Float[Array, ""], limit: Array) -> Found:
    """Damped Newton steps until the correction is below `tolerance`, relative to each component's largest magnitude.

    A share s of a step is taken if it makes the next correction, by the same slopes, smaller by s/4 of itself: a test
    that does not depend on how the equations are scaled. A share that is refused is halved in the next step, from the
    same place: that costs more than to halve it within the step, but happens seldom, and leaves one plain loop, in
    which the problems of a batch need not wait for each other. Source: [deuflhard2004].
    """
    finite = _finite(equations.residual(z))
    one = jnp.ones((), z.nodes.dtype)
    status = jnp.where(finite, Status.step_limit, Status.not_finite)
    # In a batch all go on until the last has ended, and LAPACK is slow with what is not finite.
    begun = jax.tree.map(lambda x: jnp.where(finite, x, jnp.zeros_like(x)), z)
    start = _State(begun, one, jnp.inf * one, jnp.asarray(0), status, finite)

    def body(state):
        rows, matrix = equations.linearise(state.z)
        factor = matrix.factor(constant=True)
        step, weight = factor.solve(rows), _weight(state.z)
        size = _size(step, weight)
        trial = jax.tree.map(lambda a, d: a - state.share * d, state.z, step)
        remaining = _size(factor.solve(equations.residual(trial)), weight)
        accepted = (remaining <= (1.0 - 0.25 * state.share) * size) | (size <= tolerance)
        converged = accepted & (state.share == 1.0) & ((remaining <= tolerance) | (size <= tolerance))
        bad = jnp.where(_finite(matrix), Status.singular, Status.not_finite)
        good, hopeless = jnp.isfinite(size), ~accepted & (state.share < _SHORTEST)
        status = jnp.where(converged, Status.converged, jnp.where(hopeless, Status.stalled, Status.step_limit))
        return _State(
            z=jax.tree.map(lambda new, old: jnp.where(accepted, new, old), trial, state.z),
            share=jnp.where(accepted, jnp.minimum(2.0 * state.share, 1.0), 0.5 * state.share),
            correction=jnp.where(accepted, remaining, size),
            steps=state.steps + 1,
            status=jnp.where(good, status, bad),
            running=~converged & ~hopeless & good,
        )

    end = lax.while_loop(lambda s: s.running & (s.steps < limit), body, start)
    found = jax.tree.map(lambda new, old: jnp.where(finite, new, old), end.z, z)
    return Found(found, end.steps, end.correction, end.status)


def _finite(tree: PyTree[Array]) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _weight(z: BlockVector) -> BlockVector:
    """One over the largest magnitude of every component, over the path, or over a thousandth of all components'."""
    inverse = lambda x, least: 1.0 / jnp.maximum(x, jnp.where(least > 0, least, 1.0))
    size = jnp.max(jnp.abs(z.nodes), axis=0, keepdims=True)
    own = jnp.abs(z.shared)
    nodes = inverse(size, 1e-3 * jnp.max(size))
    return BlockVector(nodes, jnp.ones_like(z.interior[:1]), inverse(own, 1e-3 * jnp.max(own, initial=0.0)))


def _size(step: BlockVector, weight: BlockVector) -> Float[Array, ""]:
    """Root mean square of the nodes' and parameters' relative changes."""
    nodes, shared = step.nodes * weight.nodes, step.shared * weight.shared
    return jnp.sqrt((jnp.sum(nodes**2) + jnp.sum(shared**2)) / (nodes.size + shared.size))


@eqx.filter_custom_jvp
def implicit(z: BlockVector, equations: Equations) -> BlockVector:
    """A solution z with derivatives, of every order, by what the equations depend on.

    R(z; d) = 0 gives dz = −(∂R/∂z)⁻¹ ∂R/∂d · dd: one structured solve, forward or transposed, and nothing of how z was
    found.
    """
    del equations
    return z


@implicit.def_jvp
def _(primals, tangents):
    z, equations = primals
    z = implicit(z, equations)
    method, where = equations.method.transposable(), lambda equations: equations.method
    tangent = eqx.tree_at(where, tangents[1], jax.tree.map(lambda leaf: None, method))
    equations = eqx.tree_at(where, equations, method)
    value, push = eqx.filter_jvp(lambda equations: equations.residual(z), (equations,), (tangent,))
    push = jax.tree.map(lambda t, v: jnp.zeros_like(v) if t is None else t, push, value, is_leaf=lambda t: t is None)
    _, matrix = equations.linearise(z)
    factor = lax.stop_gradient(matrix).factor()
    _, rows = ravel_pytree(push)
    _, unknowns = ravel_pytree(z)
    flat = lambda tree: ravel_pytree(tree)[0]
    product = lambda v: flat(matrix.mv(unknowns(v)))
    solve = lambda b: flat(factor.solve(rows(b)))
    turned = lambda b: jax.linear_transpose(solve, b)(b)[0]
    moved = lax.custom_linear_solve(product, flat(push), lambda _, b: solve(b), lambda _, b: turned(b))
    return z, jax.tree.map(jnp.negative, unknowns(moved))
