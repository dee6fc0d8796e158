"""From a problem, its boundary and a guess to a solution."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from deepest.boundary._collocation import AbstractCollocation
from deepest.boundary._conditions import AbstractBoundary
from deepest.boundary._method import AbstractMethod, Annealed
from deepest.boundary._newton import Equations, Found, implicit, newton
from deepest.boundary._problem import AbstractProblem
from deepest.boundary._refine import Refine
from deepest.boundary._solution import Guess, Solution
from deepest.boundary._status import Status
from deepest.linalg import BlockVector

# A rung of annealing, or a coarse mesh, needs its solution only well enough to start the next one.
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
    coarse: int | None = None,
    refine: Refine | None = None,
) -> Solution:
    """Solve dy/dt = f(t, y, q) with g(y(t_0), y(t_1), q) = 0 on the mesh of the guess, or on one refined from it.

    - `tolerance`: Newton's method ends where its correction is smaller, relative to each component's largest magnitude;
      not less than a hundred times rounding.
    - `limit`: the most Newton steps, refused ones among them, on each rung of `Annealed`.
    - `coarse`: for collocation, a number of the guess's intervals to solve on first, rungs and all, which takes most of
      the steps; the whole mesh is then begun at that solution, if there is one, and else at the guess. On a coarse mesh
      Newton's method often finds its way also where it does not on a fine one.
    - `refine`: for collocation, how small a defect to refine the mesh to. Happens on the host, so not inside `jit`.

    Without `refine` it is a pure function, for `jit`, for `vmap` over guesses or data, and with derivatives by whatever
    problem, boundary or conditions hold, from the implicit function theorem at the solution, of every order. How it
    ended is told in `Solution.status`; nothing is raised for a solution that is not found. A problem with a new
    function in it is compiled anew. Raises `ValueError` where the guess, the boundary and the problem do not fit each
    other.
    """
    base = method.method if isinstance(method, Annealed) else method
    index = base.mesh(guess.times.shape[0])
    times = guess.times[index]
    every = jnp.asarray(guess.times, guess.path.dtype)
    rungs = method.rungs if isinstance(method, Annealed) else np.ones(1)
    # Momenta that are not given are those of the R_f at which the search begins.
    begun = problem if rungs.size == 1 else problem.softened(jnp.asarray(rungs[0], guess.path.dtype))
    guessed = begun.start(every, guess.path, guess.momenta, guess.parameters)
    y = guessed[index]
    _check(problem, boundary, times, y, guess.parameters)
    if (refine is not None or coarse is not None) and not isinstance(base, AbstractCollocation):
        raise ValueError("Only collocation takes refine= and coarse=; shooting controls its own steps.")
    stages = _stages(times.size - 1, coarse, rungs)
    least = 100.0 * float(jnp.finfo(y.dtype).eps)
    limits = (jnp.maximum(jnp.asarray(tolerance, y.dtype), least), jnp.asarray(limit))
    start = (jnp.asarray(times, y.dtype), y, guess.parameters)
    solution = _solve(problem, boundary, base, stages, *start, *limits, (every, guessed))
    if refine is not None and isinstance(solution.status, Tracer):
        raise ValueError(
            "Meshes are refined on the host: use refine= outside of jit, vmap and grad, and its times inside."
        )
    while refine is not None and isinstance(base, AbstractCollocation) and _worse(solution, refine):
        mesh = refine.mesh(np.asarray(solution.times), np.asarray(solution.defects), base.power)
        if mesh is None:
            return eqx.tree_at(lambda s: s.status, solution, jnp.asarray(int(Status.mesh_limit)))
        times, steps = jnp.asarray(mesh, y.dtype), solution.steps
        y = solution(times)
        # What was annealed once begins where it ended.
        start = (times, y, solution.parameters)
        solution = _solve(
            problem, boundary, base, _stages(times.size - 1, None, np.ones(1)), *start, *limits, (times, y)
        )
        solution = eqx.tree_at(lambda s: s.steps, solution, solution.steps + steps)
    return solution


class _Stage(eqx.Module):
    """So many intervals of the guess, and the fractions of R_f at which the problem is solved on them in turn."""

    intervals: int
    rungs: Float[np.ndarray, " rung"]


def _stages(count: int, coarse: int | None, rungs: np.ndarray) -> list[_Stage]:
    if coarse is None:
        return [_Stage(count, rungs)]
    if not (isinstance(coarse, int) and 1 <= coarse <= count):
        raise ValueError(f"The guess has {count} intervals, of which coarse= may take 1 to {count}; received {coarse}.")
    return [_Stage(coarse, rungs), *_stages(count, None, np.ones(1))]


def _worse(solution: Solution, refine: Refine) -> bool:
    return int(solution.status) == Status.converged and float(jnp.max(solution.defects)) > refine.tolerance


def _check(problem, boundary, times, y, parameters) -> None:
    like = lambda *shape: jax.ShapeDtypeStruct(shape, y.dtype)
    size, count = y.shape[1], parameters.shape[0]
    rates = jax.eval_shape(problem.rates, like(), like(size), like(count))
    _check_array(rates, size, y.dtype, "The problem must return dy/dt")
    residual = jax.eval_shape(lambda *ends: boundary.residual(problem, *ends), like(size), like(size), like(count))
    _check_array(residual, size + count, y.dtype, f"{size} unknowns and {count} parameters need their conditions")


def _check_array(given, size: int, dtype, what: str) -> None:
    if not isinstance(given, jax.ShapeDtypeStruct):
        raise ValueError(f"{what} as one array, as jnp.stack([…]) makes it; received a {type(given).__name__}.")
    if given.shape != (size,) or given.dtype != dtype:
        raise ValueError(f"{what} as {dtype}[{size}]; received {given.dtype}{[*given.shape]}.")


@eqx.filter_jit
def _solve(
    problem, boundary, method: AbstractMethod, stages: list[_Stage], times, y, parameters, tolerance, limit, guess
) -> Solution:
    equations = lambda problem, times: _equations(problem, boundary, method, times, y, parameters)

    def solved(stage, nodes, q, tolerance):
        index = np.linspace(0, times.size - 1, stage.intervals + 1).round().astype(int)
        at = times[index]
        here = lambda ratio: _still(equations(problem if ratio is None else problem.softened(ratio), at))
        rates = here(None).rates
        z = BlockVector(nodes[index], method.inside(rates, at, nodes[index], q), q)
        found = _climb(here, stage.rungs, z, tolerance, limit)
        return at, rates, found

    *coarse, whole = stages
    nodes, q, steps = lax.stop_gradient(y), lax.stop_gradient(parameters), jnp.asarray(0)
    for stage in coarse:
        at, rates, found = solved(stage, nodes, q, jnp.maximum(tolerance, _ROUGH))
        between = jax.vmap(functools.partial(method.evaluate, rates, at, found.z))(times)
        good, steps = found.status == Status.converged, steps + found.steps
        nodes, q = jnp.where(good, between, nodes), jnp.where(good, found.z.shared, q)
    _, rates, found = solved(whole, nodes, q, tolerance)
    exact = equations(problem, times)
    growth, z = method.growth(rates, jax.tree.map(lax.stop_gradient, guess), times, found.z), implicit(found.z, exact)
    status = _status(problem, method, found, growth)
    return Solution(
        problem=problem,
        rates=exact.rates,
        method=method,
        times=times,
        z=z,
        status=jnp.where(jnp.all(jnp.isfinite(y)), status, Status.not_finite),
        steps=steps + found.steps,
        correction=found.correction,
        growth=growth,
        defects=method.defects(exact.rates, times, z),
    )


def _climb(equations: Callable, rungs, z: BlockVector, tolerance, limit) -> Found:
    """The solution at the last of the rungs, and the steps of all."""
    if rungs.size == 1:
        return newton(equations(None), z, tolerance, limit)

    def rung(z, inputs):
        ratio, tolerance = inputs
        found = newton(equations(ratio), z, tolerance, limit)
        return found.z, found

    tolerances = jnp.full(rungs.shape, _ROUGH, z.nodes.dtype).at[-1].set(tolerance)
    _, climbed = lax.scan(rung, z, (jnp.asarray(rungs, z.nodes.dtype), tolerances))
    found = jax.tree.map(lambda x: x[-1], climbed)
    return eqx.tree_at(lambda f: f.steps, found, jnp.sum(climbed.steps))


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
