"""Derivatives of a minimum by whatever the problem depends on."""

import jax
import jax.numpy as jnp
from jax import lax

from deepest.linalg import BlockVector
from deepest.minimise._problem import AbstractBlockProblem


def implicit(problem: AbstractBlockProblem, z: BlockVector) -> BlockVector:
    """The minimum z, with derivatives by the implicit function theorem.

    At a minimum ∇A(z; y) = 0, so that dz = −H⁻¹ ∂_y ∇A dy with the exact Hessian H. The value is z as given; forward
    and reverse mode both go through one block solve, never through the iterations that found z. Components held at
    a bound have derivative zero. R_f must be finite, and no higher than normal equations carry in the dtype.
    """
    z = jax.tree.map(lax.stop_gradient, z)
    quadratic = jax.tree.map(lax.stop_gradient, problem.quadratic(z, True))
    gradient = jax.grad(problem.cost)(z)
    hessian = quadratic.hessian
    if problem.bounds is not None:
        free = jax.tree.map(lax.stop_gradient, problem.bounds.free(z, quadratic.gradient))
        hessian = hessian.restrict(free)
        gradient = jax.tree.map(jnp.multiply, gradient, free)
    moving = jax.tree.map(lambda g: g - lax.stop_gradient(g), gradient)
    return jax.tree.map(jnp.subtract, z, problem.kernel.factor(hessian).solve(moving))
