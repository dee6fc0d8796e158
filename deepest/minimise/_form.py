"""The two forms in which a step is computed and judged: all by the cost, or with the momenta beside the path."""

import abc
from typing import ClassVar, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from deepest.linalg import BlockVector, dot
from deepest.minimise._problem import AbstractBlockProblem, AbstractConstrainedProblem, Constrained, Quadratic

Local = TypeVar("Local")
Momenta = Float[Array, "interval row"]


class Step(eqx.Module):
    """One step tried: where it leads, what its merit was and is, and what the local model said of it.

    `held` is λ dᵀS d, `slope` the merit's derivative along d, `predicted` the decrease that the model promises without
    damping; `cost` is that of the new point, and `convex` whether the damped model rises along d.
    """

    z: PyTree[Array]
    momenta: Momenta
    before: Float[Array, ""]
    after: Float[Array, ""]
    cost: Float[Array, ""]
    held: Float[Array, ""]
    slope: Float[Array, ""]
    predicted: Float[Array, ""]
    convex: Bool[Array, ""]


class AbstractForm(eqx.Module, Generic[Local]):
    """How a damped Newton step is computed and judged."""

    scaled: eqx.AbstractClassVar[bool]  # whether R_f enters as a factor, which rounding limits

    @abc.abstractmethod
    def start(self, problem, z: PyTree[Array]) -> tuple[Momenta, Float[Array, ""]]:
        """The momenta to begin with, (0, 0) where the form has none, and the cost at z."""

    @abc.abstractmethod
    def model(self, problem, z: PyTree[Array], momenta: Momenta, curvature: Bool[Array, ""] | bool) -> Local:
        """The local model at z, with components held that sit at a bound and want to leave the box."""

    @abc.abstractmethod
    def step(self, problem, z: PyTree[Array], momenta: Momenta, local: Local, damping: Float[Array, ""]) -> Step:
        """The step from z at this damping, ended at the bounds."""


class Penalty(AbstractForm[Quadratic]):
    """Steps of the normal equations (H + λS) d = −g, judged by the cost.

    R_f multiplies what these sum, so that rounding takes the measurements' part where R_f/R_m comes near the
    reciprocal of the precision.
    """

    scaled: ClassVar[bool] = True

    def start(self, problem: AbstractBlockProblem, z):
        cost = problem.cost(z)
        return jnp.zeros((0, 0), cost.dtype), cost

    def model(self, problem: AbstractBlockProblem, z, momenta, curvature):
        local = problem.quadratic(z, curvature)
        if problem.bounds is None:
            return local
        free = problem.bounds.free(z, local.gradient)
        gradient, scale = (jax.tree.map(jnp.multiply, x, free) for x in (local.gradient, local.scale))
        return Quadratic(local.cost, gradient, local.hessian.restrict(free), scale)

    def step(self, problem: AbstractBlockProblem, z, momenta, local, damping):
        damped = local.hessian.shift(jax.tree.map(lambda s: damping * s, local.scale))
        d = problem.kernel.solve(damped, jax.tree.map(jnp.negative, local.gradient))
        end, d = _inside(problem, z, d)
        held, slope = damping * _square(local.scale, d), dot(local.gradient, d)
        cost = problem.cost(end)
        return Step(end, momenta, local.cost, cost, cost, held, slope, 0.5 * (held - slope), jnp.asarray(True))


class PrimalDual(AbstractForm[Constrained]):
    """Steps in the path and its momenta p = R_f c together, from (W + λS) d + Jᵀ p⁺ = −∇m and J d − R_f⁻¹ p⁺ = −c.

    With Gauss–Newton's W these are the steps of `Penalty`, to rounding; but R_f enters by its inverse only, so that
    they keep their accuracy at every R_f, in float32 too, and R_f = ∞ is the model taken as exact. With `curvature`
    W holds Σ p·∇²c with the momenta of the last step. A step is judged by m + ½ (c + E p⁺)ᵀ (R_f⁻¹ + E)⁻¹ (c + E p⁺),
    whose stiffness is bounded: it lets steps cross the curved valley that the action becomes for large R_f.
    Source: [nocedal2006], chapters 17 and 18.
    """

    scaled: ClassVar[bool] = False

    def start(self, problem: AbstractConstrainedProblem, z):
        none = jnp.zeros_like(problem.defects(z))
        return none, problem.merit(z, none)

    def model(self, problem: AbstractConstrainedProblem, z, momenta, curvature):
        local = problem.constrained(z, momenta, curvature)
        if problem.bounds is None:
            return local
        pull = local.saddle.equations.tmv(problem.forces(local.defects, momenta))
        free = problem.bounds.free(z, jax.tree.map(jnp.add, local.gradient, pull))
        gradient, scale = (jax.tree.map(jnp.multiply, x, free) for x in (local.gradient, local.scale))
        return Constrained(gradient, local.defects, local.saddle.restrict(free), scale)

    def step(self, problem: AbstractConstrainedProblem, z, momenta, local, damping):
        saddle, weight = local.saddle, jax.tree.map(lambda s: damping * s, local.scale)
        d, momenta = saddle.shift(weight).solve(local.gradient, local.defects)
        end, d = _inside(problem, z, d)
        moved, held = saddle.equations.mv(d), damping * _square(local.scale, d)
        slope = dot(local.gradient, d) + jnp.vdot(problem.forces(local.defects, momenta), moved)
        bend = dot(d, saddle.hessian.mv(d)) + jnp.vdot(moved, problem.forces(moved, jnp.zeros_like(moved)))
        before, after = problem.merit(z, momenta), problem.merit(end, momenta)
        predicted = -slope - 0.5 * bend
        return Step(end, momenta, before, after, problem.dual(end, momenta), held, slope, predicted, bend + held > 0)


def _inside(problem: AbstractBlockProblem, z: BlockVector, d: BlockVector) -> tuple[BlockVector, BlockVector]:
    """z + d and d, ended at the bounds."""
    end = jax.tree.map(jnp.add, z, d)
    if problem.bounds is None:
        return end, d
    end = problem.bounds.clip(end)
    return end, jax.tree.map(jnp.subtract, end, z)


def _square(scale: BlockVector, d: BlockVector) -> Float[Array, ""]:
    """dᵀ S d."""
    return dot(d, jax.tree.map(jnp.multiply, scale, d))
