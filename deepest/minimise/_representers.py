"""Gauss–Newton steps of a forced problem, its states eliminated exactly by representers."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, PyTree

from deepest.linalg import dot, inverse_root
from deepest.minimise._forced import AbstractForcedProblem, EndCost, Joint, Samples, flexibility, stiffness
from deepest.minimise._form import AbstractForm, Step
from deepest.minimise._kronecker import Kronecker

Squares = Float[Array, "sample output output"]


class Represented(eqx.Module):
    """What does not change while the damping of a step is sought: cost, errors E and their compliance Q, derivatives of
    the end cost, C = J_e Q J_eᵀ and −J_e e of every sample, and the weights' preconditioner."""

    cost: Float[Array, ""]
    errors: PyTree[Array]
    compliance: PyTree[Array]
    end: EndCost
    representer: Squares
    response: Float[Array, "sample output"]
    kronecker: Kronecker


class Representers(AbstractForm[Represented]):
    """Steps in weights and states together, at the price of a few gradients, for few outputs.

    With δz = J_W δW + J_e δe the linear response of the outputs, the errors that minimise the local model are
    e⁺ = −Q p, with p = J_eᵀ q the backpropagation of a filtered output error q, and the weights solve

        (J_Wᵀ K H J_W + μ + λD) δW = −J_Wᵀ K (g + H c) − μ (W − W_0),   K = (1 + H C)⁻¹,   C = J_e Q J_eᵀ,
        q = K (g + H (c + J_W δW)),   c = −J_e e,

    one matrix C of outputs × outputs a sample, so that everything is linear in samples and layers. It solves the normal
    equations of all unknowns exactly, at every Q; where Q = 0 it is Gauss–Newton's step by backpropagation, with K = 1.

    The weights' system is solved by conjugate gradients, to `tolerance` or in `iterations` products, preconditioned by
    `Kronecker` factors from `probes` products. λ damps the weights in units of D, the mean diagonal of J_Wᵀ K H J_W by
    array and layer, and the errors by ½ λ·proximal |e⁺ − e|² / Q, without which the states would move too far where Q
    is large. A step ends in the states of the linear response, or in those that the errors e⁺ make with the new
    weights, whichever cost less. Memory is linear in samples × depth × width, and for C in `chunk` × outputs of those.
    """

    iterations: int = 30
    tolerance: float = 0.1
    probes: int = 8
    proximal: float = 100.0
    chunk: int = 256
    scaled: ClassVar[bool] = False

    def start(self, problem: AbstractForcedProblem, z):
        cost = problem.cost(z)
        return jnp.zeros((0, 0), cost.dtype), cost

    def model(self, problem: AbstractForcedProblem, z, momenta, curvature):
        if curvature is not False:
            raise ValueError("Representers are of Gauss–Newton's Hessian; they cannot honour curvature=.")
        samples = Samples(problem)
        errors = samples.errors(z.weights, z.states)
        outputs, pull = jax.vjp(lambda weights: samples.outputs(weights, errors), z.weights)
        end = samples.end_cost(outputs)
        representer, response = _representers(problem, z.weights, errors, self.chunk)
        # Samples whose covariance is J_Wᵀ K H J_W: random signs, backpropagated.
        signs = jax.random.rademacher(jax.random.key(0), (self.probes, *outputs.shape), outputs.dtype)
        half = _half(end.factor, representer)
        probe = lambda signs: pull(jnp.einsum("kab,ka->kb", half, signs))[0]
        kronecker = Kronecker.of(lax.map(probe, signs), problem.stacked(z.weights))
        return Represented(problem.cost(z), errors, samples.compliance(), end, representer, response, kronecker)

    def step(self, problem: AbstractForcedProblem, z, momenta, local, damping):
        samples, end, held_back = Samples(problem), local.end, self.proximal * damping
        give = 1.0 / (1.0 + held_back)
        half = _half(end.factor, give * local.representer)
        filtered = lambda v: jnp.einsum("kba,kbc,kc->ka", half, half, v)
        still = end.gradient - filtered(give * jnp.einsum("kab,kb->ka", local.representer, end.gradient))
        force = lambda v: still + filtered(v)  # K (g + H v)

        response = give * local.response
        moved = self._weights(problem, z, local, damping, filtered, force(response))
        push = lambda weights: samples.outputs(weights, local.errors)
        _, more = jax.jvp(push, (z.weights,), (moved,))
        _, back = jax.vjp(lambda errors: samples.outputs(z.weights, errors), local.errors)
        forces = flexibility(local.compliance, back(force(response + more))[0])
        errors = jax.tree.map(lambda e, f: held_back * give * e - give * f, local.errors, forces)
        change = jax.tree.map(jnp.subtract, errors, local.errors)

        _, along = jax.jvp(samples.states, (z.weights, local.errors), (moved, change))
        weights, states = (jax.tree.map(jnp.add, old, more) for old, more in ((z.weights, moved), (z.states, along)))
        linear, rolled = Joint(weights, states), Joint(weights, samples.states(weights, errors))
        best, cost = _better(problem, problem.settled(linear), rolled)

        stiff = dot(stiffness(local.compliance, change), change)
        weighed = local.kronecker.each(lambda v, s: s * v, moved, local.kronecker.scale)
        held = damping * dot(weighed, moved) + held_back * stiff
        bent = jax.vmap(problem.output)(along)
        slope = jnp.vdot(end.gradient, bent) + dot(stiffness(local.compliance, local.errors), change)
        slope = slope + problem.decay * dot(problem.away(z.weights), moved)
        bend = jnp.sum(jnp.einsum("kab,ka->kb", end.factor, bent) ** 2) + stiff + problem.decay * dot(moved, moved)
        return Step(best, momenta, local.cost, cost, cost, held, slope, -slope - 0.5 * bend, jnp.asarray(True))

    def _weights(self, problem, z, local, damping, filtered, force) -> PyTree[Array]:
        """δW by preconditioned conjugate gradients."""
        _, push = jax.linearize(lambda weights: Samples(problem).outputs(weights, local.errors), z.weights)
        pull = jax.linear_transpose(push, z.weights)
        right = jax.tree.map(lambda a, w: -a - problem.decay * w, pull(force)[0], problem.away(z.weights))
        shift = jax.tree.map(lambda scale: damping * scale + problem.decay, local.kronecker.scale)

        def product(v):
            shifted = local.kronecker.each(lambda v, s: s * v, v, shift)
            return jax.tree.map(jnp.add, pull(filtered(push(v)))[0], shifted)

        inverse = local.kronecker.inverse(shift)
        return cg(product, right, tol=self.tolerance, maxiter=self.iterations, M=inverse)[0]


def _half(factor: Squares, representer: Squares) -> Squares:
    """T with K H = Tᵀ T: T = L⁻¹ Bᵀ, L Lᵀ = 1 + Bᵀ C B."""
    middle = factor.mT @ representer @ factor + jnp.eye(factor.shape[-1], dtype=factor.dtype)[None]
    return inverse_root(middle) @ factor.mT


def _better(problem: AbstractForcedProblem, one: Joint, other: Joint) -> tuple[Joint, Float[Array, ""]]:
    """Whichever costs less, and its cost; what is not finite is worse than anything."""
    costs = problem.cost(one), problem.cost(other)
    first = ~jnp.isfinite(costs[1]) | (costs[0] <= costs[1])
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other), jnp.where(first, *costs)


def _representers(problem: AbstractForcedProblem, weights, errors, chunk: int) -> tuple[Squares, Array]:
    """C = J_e Q J_eᵀ and −J_e e of every sample, so many samples at a time."""

    def one(given):
        errors, datum = given
        outputs, back = jax.vjp(lambda errors: problem.output(problem.states(weights, errors, datum)), errors)
        rows = jax.vmap(back)(jnp.eye(outputs.size, dtype=outputs.dtype))[0]
        flat = lambda tree: [leaf.reshape(outputs.size, -1) for leaf in jax.tree.leaves(tree)]
        weighted = jax.tree.map(lambda row, q: row * q[None], rows, problem.compliance(datum))
        square = sum(a @ b.T for a, b in zip(flat(rows), flat(weighted), strict=True))
        response = sum(a @ e.ravel() for a, e in zip(flat(rows), jax.tree.leaves(errors), strict=True))
        return square, -response

    return lax.map(one, (errors, problem.data), batch_size=min(chunk, len(jax.tree.leaves(errors)[0])))
