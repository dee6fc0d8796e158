"""Derivatives of a minimum by whatever the problem depends on."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from deepest.linalg import BlockVector, Saddle
from deepest.minimise._problem import AbstractBlockProblem, AbstractConstrainedProblem

# The curvature, in units of damping, that holds a path where nothing else does.
_HELD = 1e-10
# Right sides that are solved for side by side.
_COLUMNS = 64


@eqx.filter_custom_jvp
def implicit(
    problem: AbstractBlockProblem, z: BlockVector, cost: Float[Array, ""]
) -> tuple[BlockVector, Float[Array, ""]]:
    """The minimum z and its cost, as given, with first derivatives by the implicit function theorem.

    At a minimum ∇A(z; y) = 0, so that dz = −H⁻¹ ∂_y ∇A dy with the exact Hessian H. Where A = m + ½ cᵀ Γ⁻¹ c,

        ∇m + Jᵀp = 0,  c − Γp = 0:   [[W, Jᵀ], [J, −Γ]] (dz, dp) = −∂_y (∇m + Jᵀp, c − Γp) dy,   W = ∇²(m + pᵀc),

    which holds at Γ = 0 too, and loses nothing to rounding on the way there. Forward and reverse mode solve the same
    symmetric system, and never go through the iterations that found z. The cost changes by ∂_y A dy alone. Components
    at a bound have derivative zero.
    """
    del problem
    return z, cost


@implicit.def_jvp
def _derivatives(primals, tangents):
    problem, z, cost = primals
    free = jax.tree.map(jnp.ones_like, z) if problem.bounds is None else problem.bounds.inside(z)
    constrained = isinstance(problem, AbstractConstrainedProblem)
    point, product, solve = (_saddle_point if constrained else _minimum)(problem, z, free)
    function = _lagrangian if constrained else lambda problem, z: problem.cost(z)

    def slope(problem):
        value, (pull, *rest) = jax.value_and_grad(lambda u: function(problem, *u))(point)
        return value, (jax.tree.map(jnp.multiply, pull, free), *rest)

    here, change = eqx.filter_jvp(slope, (problem,), (tangents[0],))
    some = lambda change, here: jnp.zeros_like(here) if change is None else change
    rise, force = jax.tree.map(some, change, here, is_leaf=lambda x: x is None)
    moved, *_ = _symmetric(product, solve, jax.tree.map(jnp.negative, force))
    return (z, cost), (moved, rise)


def precision(
    problem: AbstractConstrainedProblem, z: BlockVector, *, saddle: bool
) -> Float[Array, "parameter parameter"]:
    """What the neighbourhood of z says of the shared unknowns, all others being free: S = C − Bᵀ H⁻¹ B of the
    Gauss–Newton Hessian

        [[H, B], [Bᵀ, C]],

    which is never negative; the inverse covariance of those unknowns in Laplace's approximation. Rows of components at
    a bound are zero. With `saddle` from the primal–dual system, which carries it at every R_f, and at R_f = ∞; without,
    with a curvature added that holds what nothing else does, 1e-10 of the largest.
    """
    free = jax.tree.map(jnp.ones_like, z) if problem.bounds is None else problem.bounds.inside(z)
    fixed = BlockVector(free.nodes, free.interior, jnp.zeros_like(free.shared))
    if saddle:
        local = problem.constrained(z, jnp.zeros_like(problem.defects(z)), False)
        system = local.saddle.restrict(free)
        product, solve = system.mv, lambda right: _solve_alone(system.alone(), right)
        beside = (jnp.zeros_like(local.defects),)
    else:
        local, beside = problem.quadratic(z, False), ()
        # Where bounds hold much of the path, directions may be left that nothing holds but this.
        hessian = local.hessian.shift(jax.tree.map(lambda unit: _HELD * unit, local.scale))
        product = lambda u: (hessian.restrict(free).mv(u),)
        solve = lambda right: (problem.kernel.solve(hessian.restrict(fixed), *right),)
    path = jax.tree.map(jnp.zeros_like, z)
    with_shared = lambda v, shared: BlockVector(v.nodes, v.interior, shared)

    def column(unit):
        pushed, *rest = product(with_shared(path, unit), *beside)
        back, *multipliers = jax.tree.map(jnp.negative, solve((with_shared(pushed, path.shared), *rest)))
        return product(with_shared(back, unit), *multipliers)[0].shared

    # Some at a time, for each of which the matrix is factored once.
    return lax.map(column, jnp.diag(free.shared), batch_size=_COLUMNS)


def _minimum(problem: AbstractBlockProblem, z: BlockVector, free: BlockVector):
    """The stationary point, and the product with its matrix and the inverse."""
    hessian = problem.quadratic(z, True).hessian.restrict(free)
    return (z,), lambda u: (hessian.mv(*u),), lambda b: (problem.kernel.solve(hessian, *b),)


def _saddle_point(problem: AbstractConstrainedProblem, z: BlockVector, free: BlockVector):
    """The same with the momenta: at a minimum an undamped step leads nowhere, and finds them."""
    local = problem.constrained(z, jnp.zeros_like(problem.defects(z)), False)
    right = jax.tree.map(jnp.multiply, local.gradient, free), local.defects
    _, p = _solve(local.saddle.restrict(free), jax.tree.map(jnp.negative, right))
    saddle = problem.constrained(z, p, True).saddle.restrict(free)
    return (z, p), lambda u: saddle.mv(*u), lambda b: _solve(saddle, b)


def _lagrangian(problem: AbstractConstrainedProblem, z: BlockVector, p: Float[Array, "interval row"]):
    """m + pᵀc − ½ pᵀΓp, which at the minimum is A, and stationary."""
    return 2.0 * problem.dual(z, jnp.zeros_like(p)) - problem.dual(z, p) + jnp.vdot(p, problem.defects(z))


def _solve(saddle: Saddle, right: tuple[BlockVector, Float[Array, "interval row"]]):
    """The solution, corrected once: in float32 elimination alone leaves 1e-3 of it."""

    def correct(_, u):
        rest = jax.tree.map(jnp.subtract, saddle.mv(*u), right)
        return jax.tree.map(jnp.add, u, saddle.solve(*rest))

    return lax.fori_loop(0, 2, correct, jax.tree.map(jnp.zeros_like, right))


def _solve_alone(saddle: Saddle, right: tuple[BlockVector, Float[Array, "interval row"]]):
    """The solution of a system without shared unknowns, with zeros for them."""
    force, rows = right
    moved, p = _solve(saddle, (BlockVector(force.nodes, force.interior, force.shared[:0]), rows))
    return BlockVector(moved.nodes, moved.interior, jnp.zeros_like(force.shared)), p


def _symmetric(product: Callable, solve: Callable, right: Any) -> Any:
    """The solution of a symmetric system, whose transpose is solved the same way."""
    flat, at = ravel_pytree(right)
    wrap = lambda f: lambda v: ravel_pytree(f(at(v)))[0]
    return at(lax.custom_linear_solve(wrap(product), flat, lambda _, b: wrap(solve)(b), symmetric=True))
