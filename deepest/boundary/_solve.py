"""From a problem, its boundary and a guess to a solution."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from deepest.boundary._collocation import AbstractCollocation
from deepest.boundary._conditions import AbstractBoundary
from deepest.boundary._method import AbstractMethod, Annealed
from deepest.boundary._newton import Equations, Found, implicit, newton
from deepest.boundary._problem import AbstractProblem
from deepest.boundary._refine import Refine
from deepest.boundary._solution import Guess, Solution
from deepest.boundary._status import Status
from deepest.linalg import BlockVector

# A rung of annealing needs its solution only well enough to start the next one.
_ROUGH = 1e-3
# Shooting that misses the end by more than this, relative, by errors of its own has not solved anything.
_MISSED = 1e-3


def solve(
    problem: AbstractProblem,
    boundary: AbstractBoundary,
    method: AbstractMethod | Annealed,
    guess: Guess,
    *,
    tolerance: float = 1e-8,
    limit: int = 100,
    refine: Refine | None = None,
) -> Solution:
    """Solve dy/dt = f(t, y, q) with g(y(t_0), y(t_1), q) = 0 on the mesh of the guess, or on one refined from it.

    - `tolerance`: Newton's method ends where its correction is smaller, relative to each component's largest magnitude;
      not less than a hundred times rounding.
    - `limit`: the most Newton steps, on each rung of `Annealed`.
    - `refine`: for collocation, how small a defect to refine the mesh to. Happens on the host, so not inside `jit`.

    Without `refine` it is a pure function, for `jit`, for `vmap` over guesses or data, and with derivatives by whatever
    problem, boundary or conditions hold, from the implicit function theorem at the solution, of every order. How it
    ended is told in `Solution.status`; nothing is raised for a solution that is not found. Raises `ValueError` where
    the guess, the boundary and the problem do not fit each other.
    """
    base = method.method if isinstance(method, Annealed) else method
    times = base.mesh(guess.times)
    every = jnp.asarray(guess.times, guess.path.dtype)
    guessed = problem.start(every, guess.path, guess.momenta, guess.parameters)
    y = guessed[np.searchsorted(guess.times, times)]
    _check(problem, boundary, times, y, guess.parameters)
    if refine is not None and not isinstance(base, AbstractCollocation):
        raise ValueError("Only collocation has a defect to refine by; shooting controls its own steps.")
    limits = (jnp.asarray(max(tolerance, 100.0 * float(jnp.finfo(y.dtype).eps)), y.dtype), jnp.asarray(limit))
    start = (jnp.asarray(times, y.dtype), y, guess.parameters)
    rungs = method.rungs if isinstance(method, Annealed) else np.ones(1)
    solution = _solve(problem, boundary, base, rungs, *start, *limits, (every, guessed))
    while isinstance(base, AbstractCollocation) and refine is not None and _worse(solution, refine):
        mesh = refine.mesh(np.asarray(solution.times), np.asarray(solution.defects), base.tableau.nodes.size)
        if mesh is None:
            return eqx.tree_at(lambda s: s.status, solution, jnp.asarray(int(Status.mesh_limit)))
        times, steps = jnp.asarray(mesh, y.dtype), solution.steps
        y = solution(times)
        # What was annealed once begins where it ended.
        start = (times, y, solution.parameters)
        solution = _solve(problem, boundary, base, np.ones(1), *start, *limits, (times, y))
        solution = eqx.tree_at(lambda s: s.steps, solution, solution.steps + steps)
    return solution


def _worse(solution: Solution, refine: Refine) -> bool:
    return int(solution.status) == Status.converged and float(jnp.max(solution.defects)) > refine.tolerance


def _check(problem, boundary, times, y, parameters) -> None:
    like = lambda *shape: jax.ShapeDtypeStruct(shape, y.dtype)
    size, count = y.shape[1], parameters.shape[0]
    rates = jax.eval_shape(problem.rates, like(), like(size), like(count))
    if rates.shape != (size,):
        raise ValueError(f"The problem must return dy/dt of shape ({size},); it returned {rates.shape}.")
    residual = jax.eval_shape(lambda *ends: boundary.residual(problem, *ends), like(size), like(size), like(count))
    if residual.shape != (size + count,):
        raise ValueError(
            f"{size} unknowns and {count} parameters need {size + count} conditions, as an array of shape "
            f"({size + count},); received {residual.shape}."
        )


@eqx.filter_jit
def _solve(problem, boundary, method: AbstractMethod, rungs, times, y, parameters, tolerance, limit, guess) -> Solution:
    equations = lambda problem: _equations(problem, boundary, method, times, y, parameters)
    exact = equations(problem)
    still = _still(exact)
    z = BlockVector(y, method.inside(still.rates, times, y, parameters), parameters)

    def rung(z, inputs):
        ratio, tolerance = inputs
        found = newton(_still(equations(problem.softened(ratio))), z, tolerance, limit)
        return found.z, found

    z = jax.tree.map(lax.stop_gradient, z)
    if rungs.size == 1:
        found = newton(still, z, tolerance, limit)
        spent = found.steps
    else:
        tolerances = jnp.full(rungs.shape, _ROUGH, y.dtype).at[-1].set(tolerance)
        _, climbed = lax.scan(rung, z, (jnp.asarray(rungs, y.dtype), tolerances))
        found, spent = jax.tree.map(lambda x: x[-1], climbed), jnp.sum(climbed.steps)
    growth = method.growth(still.rates, jax.tree.map(lax.stop_gradient, guess), times, found.z)
    return Solution(
        problem=problem,
        method=method,
        times=times,
        z=implicit(found.z, exact),
        status=_status(problem, method, found, growth),
        steps=spent,
        correction=found.correction,
        growth=growth,
        defects=method.defects(exact.rates, times, found.z),
    )


def _equations(problem, boundary, method, times, y, parameters) -> Equations:
    """With everything that functions close over as arrays of their own, so that it can be differentiated by."""
    rates = eqx.filter_closure_convert(problem.rates, times[0], y[0], parameters)
    conditions = lambda *ends: boundary.residual(problem, *ends)
    return Equations(rates, eqx.filter_closure_convert(conditions, y[0], y[-1], parameters), method, times)


def _still(equations: Equations) -> Equations:
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, equations)


def _status(problem, method: AbstractMethod, found: Found, growth) -> Array:
    status = found.status
    if method.noise > 0:
        noise = max(method.noise, float(jnp.finfo(growth.dtype).eps))
        status = jnp.where(growth * noise > _MISSED, Status.growth, status)
    outside = (status == Status.converged) & ~problem.within(found.z.shared)
    return jnp.where(outside, Status.outside, status)
