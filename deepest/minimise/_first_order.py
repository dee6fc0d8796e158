"""Minimisers that use gradients only: the structure-free fallback, and scipy's as a reference on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from deepest.linalg import dot
from deepest.minimise._problem import AbstractMinimiser, AbstractProblem, Solution, carried
from deepest.minimise._status import Status


class LBFGS(AbstractMinimiser):
    """Projected limited-memory BFGS with optax's two-loop recursion and a backtracking search.

    For problems whose Hessian blocks are too dear to form; on path problems `DampedNewton` needs orders of magnitude
    fewer steps. Components at a bound whose gradient points outward are held there exactly. `memory` is the number of
    past steps kept, `limit` the most gradients one minimisation may take. It has no damping: the one it is given
    comes back unchanged. Source: [nocedal2006].
    """

    memory: int = 20
    limit: int = 20_000

    def highest(self, dtype):
        return carried(dtype)

    def minimise(self, problem, z, *, tolerance, damping=1e-3, floor=0.0, curvature=False) -> Solution:
        del floor
        if curvature is not False:
            raise ValueError("LBFGS uses gradients only; it cannot honour curvature=.")
        z = z if problem.bounds is None else problem.bounds.clip(z)
        rule = optax.scale_by_lbfgs(memory_size=self.memory)
        slope = jax.value_and_grad(problem.cost)
        cost, gradient = slope(z)
        finite = jnp.isfinite(cost)
        status = jnp.where(finite, Status.step_limit, Status.not_finite)

        def body(carry):
            z, cost, gradient, memory, steps, _, _ = carry
            free = _free(problem, z, gradient)
            held = jax.tree.map(jnp.multiply, gradient, free)
            with jax.numpy_dtype_promotion("standard"):  # optax mixes integer types in its counters
                direction, memory = rule.update(held, memory, z)  # pyright: ignore[reportArgumentType]
            direction = jax.tree.map(lambda d, f: -d * f, direction, free)
            downhill = dot(direction, held) < 0
            direction = jax.tree.map(lambda d, g: jnp.where(downhill, d, -g), direction, held)
            trial, new, accepted = _backtrack(problem, z, cost, direction, held)
            gained = cost - new
            small = gained <= tolerance * jnp.abs(new)
            code = jnp.where(accepted, jnp.where(small, Status.converged, Status.step_limit), Status.stalled)
            z = jax.tree.map(lambda a, b: jnp.where(accepted, a, b), trial, z)
            cost, gradient = slope(z)
            return z, cost, gradient, memory, steps + 1, code, accepted & ~small

        memory = rule.init(z)  # pyright: ignore[reportArgumentType]
        start = (z, cost, gradient, memory, jnp.asarray(0), status, finite)
        end = lax.while_loop(lambda c: c[6] & (c[4] < self.limit), body, start)
        return Solution(end[0], end[1], jnp.asarray(damping, cost.dtype), end[4], end[5])


def _free(problem: AbstractProblem, z: PyTree[Array], gradient: PyTree[Array]) -> PyTree[Array]:
    if problem.bounds is None:
        return jax.tree.map(jnp.ones_like, z)
    return problem.bounds.free(z, gradient)


def _backtrack(problem, z, cost, direction, gradient):
    """Halve the step until it brings 1e-4 of the decrease its slope promises, inside the bounds."""

    def attempt(carry):
        scale, _, _, _ = carry
        trial = jax.tree.map(lambda a, d: a + scale * d, z, direction)
        trial = trial if problem.bounds is None else problem.bounds.clip(trial)
        promised = dot(gradient, jax.tree.map(jnp.subtract, trial, z))
        new = problem.cost(trial)
        return 0.5 * scale, trial, new, cost - new >= -1e-4 * promised

    start = (jnp.ones_like(cost), z, cost, jnp.asarray(False))
    _, trial, new, accepted = lax.while_loop(lambda c: ~c[3] & (c[0] > 1e-12), attempt, start)
    return trial, new, accepted


def scipy_lbfgsb(
    problem: AbstractProblem, z: PyTree[Array], *, tolerance: float = 1e-8, limit: int = 1_000_000
) -> tuple[PyTree[Array], Float[Array, ""], Int[Array, ""]]:
    """The minimum, its cost and the number of gradients by scipy's L-BFGS-B on the host: the field's usual method.

    `tolerance` is scipy's ftol and gtol, as varanneal sets them. Not traceable.
    """
    flat, unravel = ravel_pytree(z)
    slope = jax.jit(jax.value_and_grad(lambda u: problem.cost(unravel(u))))
    bounds = None
    if problem.bounds is not None:
        lower, upper = (np.asarray(ravel_pytree(b)[0], float) for b in (problem.bounds.lower, problem.bounds.upper))
        bounds = scipy.optimize.Bounds(lower, upper)

    def host(u):
        cost, gradient = slope(u)
        return float(cost), np.asarray(gradient, float)

    options = {"ftol": tolerance, "gtol": tolerance, "maxiter": limit, "maxfun": limit}
    start = np.asarray(flat, float)
    found = scipy.optimize.minimize(host, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return unravel(jnp.asarray(found.x, flat.dtype)), jnp.asarray(found.fun, flat.dtype), jnp.asarray(found.nfev)
