"""Problems over weights that many samples share and states of their own, which errors force away from the model."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from deepest.minimise._problem import AbstractProblem


class Joint(eqx.Module):
    """The unknowns of a forced problem: weights W, any tree of arrays, and the states X of all samples."""

    weights: PyTree[Array]
    states: PyTree[Array]


class EndCost(eqx.Module):
    """Derivatives of a sample's cost by its n outputs: gradient g (n,), and a factor B (n, n) of the Hessian B Bᵀ."""

    gradient: Float[Array, "*sample output"]
    factor: Float[Array, "*sample output output"]


class AbstractForcedProblem(AbstractProblem):
    """A cost over weights W and the states X of M samples, each of them as far from the model as its errors E say:

        A(W, X) = Σ_k Φ_k(z_k) + ½ Σ_k e_kᵀ Q⁻¹ e_k + ½ μ |W − W_0|²

    Errors and states determine each other, x = `states`(W, e) and e = `errors`(W, x), and z = `output`(x) is what is
    measured of the states. Q ≥ 0 is diagonal; where it is zero the model is exact, and there is no error. The methods
    are of one sample, to which belongs its part of `data`, arrays with one leading axis for the samples.
    """

    data: eqx.AbstractVar[PyTree[Array]]
    decay: eqx.AbstractVar[Float[Array, ""]]  # μ

    @abc.abstractmethod
    def compliance(self, datum: PyTree[Array]) -> PyTree[Array]:
        """Q, of shapes that broadcast against those of e."""

    @abc.abstractmethod
    def errors(self, weights: PyTree[Array], states: PyTree[Array], datum: PyTree[Array]) -> PyTree[Array]:
        """e, zero where Q is."""

    @abc.abstractmethod
    def states(self, weights: PyTree[Array], errors: PyTree[Array], datum: PyTree[Array]) -> PyTree[Array]:
        """x, the inverse of `errors` at the same weights."""

    @abc.abstractmethod
    def output(self, states: PyTree[Array]) -> Float[Array, " output"]:
        """z, of what Φ is a function."""

    @abc.abstractmethod
    def end_cost(self, output: Float[Array, " output"], datum: PyTree[Array]) -> EndCost:
        """Derivatives of Φ, Gauss–Newton's or those of a convex Φ."""

    @abc.abstractmethod
    def exact(self) -> Bool[Array, ""]:
        """Whether no state may err, so that the weights and what is free of the first states decide them all."""

    @abc.abstractmethod
    def away(self, weights: PyTree[Array]) -> PyTree[Array]:
        """W − W_0, from where the weights are drawn to."""

    @abc.abstractmethod
    def stacked(self, weights: PyTree[Array]) -> PyTree[bool]:
        """For every array of W whether its first axis counts layers, each with unknowns of its own."""


class Samples(eqx.Module):
    """The methods of a forced problem for all samples at once, in arrays with a leading axis for them."""

    problem: AbstractForcedProblem

    def compliance(self) -> PyTree[Array]:
        """Q of all samples."""
        return jax.vmap(self.problem.compliance)(self.problem.data)

    def errors(self, weights, states) -> PyTree[Array]:
        """E of all states."""
        return jax.vmap(self.problem.errors, (None, 0, 0))(weights, states, self.problem.data)

    def states(self, weights, errors) -> PyTree[Array]:
        """X of all errors."""
        return jax.vmap(self.problem.states, (None, 0, 0))(weights, errors, self.problem.data)

    def outputs(self, weights, errors) -> Float[Array, "sample output"]:
        """The outputs that errors make."""
        one = lambda weights, errors, datum: self.problem.output(self.problem.states(weights, errors, datum))
        return jax.vmap(one, (None, 0, 0))(weights, errors, self.problem.data)

    def end_cost(self, outputs: Float[Array, "sample output"]) -> EndCost:
        """Derivatives of all end costs."""
        return jax.vmap(self.problem.end_cost)(outputs, self.problem.data)


def stiffness(compliance: PyTree[Array], errors: PyTree[Array]) -> PyTree[Array]:
    """Q⁻¹ e, and zero where Q = 0."""
    one = lambda q, e: jnp.where(q > 0, e / jnp.where(q > 0, q, jnp.ones_like(q)), jnp.zeros_like(e))
    return jax.tree.map(one, compliance, errors)


def flexibility(compliance: PyTree[Array], forces: PyTree[Array]) -> PyTree[Array]:
    """Q p."""
    return jax.tree.map(jnp.multiply, compliance, forces)
