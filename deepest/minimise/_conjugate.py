"""Gauss–Newton steps of a forced problem by conjugate gradients on weights and states together."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, PyTree

from deepest.linalg import dot
from deepest.minimise._forced import AbstractForcedProblem, EndCost, Joint, Samples, stiffness
from deepest.minimise._form import AbstractForm, Step
from deepest.minimise._kronecker import Kronecker

# How much of a step is tried; the best is taken.
_SHARES = (1.0, 0.5, 0.2, 0.05)


class Conjugated(eqx.Module):
    """What does not change while the damping of a step is sought: cost, gradient, compliance Q, derivatives of the end
    cost, and the preconditioners of the weights and of the states."""

    cost: Float[Array, ""]
    gradient: Joint
    compliance: PyTree[Array]
    end: EndCost
    kronecker: Kronecker
    diagonal: PyTree[Array]


class Conjugate(AbstractForm[Conjugated]):
    """Steps in weights and states together by truncated conjugate gradients, for many outputs.

        (J_eᵀ Q⁻¹ J_e + J_zᵀ B Bᵀ J_z + μ + λD) δ(W, X) = −∂A/∂(W, X),   μ and D on the weights only

    A product is one derivative of the errors forward and one backward, all layers side by side, whatever the number of
    outputs. Of the system's matrix the preconditioner has `Kronecker` factors for the weights and the diagonal for the
    states, both from `probes` products. Few `iterations` leave the states' stiff directions for the next step, which is
    all the damping they have; D is the mean diagonal of the weights' block by array and layer, and of a step the share
    that costs least is taken. Memory is linear in samples × depth × width.

    Errors and states must have one shape, each state its own error plus what the model makes of those before. Where
    Q = 0 nothing may depend on the state, as on inputs known exactly; where a layer is exact, as all are at R_f = ∞,
    this form does not apply, and it ends at once as `not_finite`.
    """

    iterations: int = 30
    tolerance: float = 0.01
    probes: int = 8
    scaled: ClassVar[bool] = True

    def start(self, problem: AbstractForcedProblem, z):
        cost, gradient = jax.value_and_grad(problem.cost)(z)
        depends = lambda q, g: jnp.any((q == 0) & (g != 0))
        exact = jax.tree.leaves(jax.tree.map(depends, Samples(problem).compliance(), gradient.states))
        return jnp.zeros((0, 0), cost.dtype), jnp.where(jnp.any(jnp.stack(exact)), jnp.nan, cost)

    def model(self, problem: AbstractForcedProblem, z, momenta, curvature):
        if curvature is not False:
            raise ValueError("Conjugate is of Gauss–Newton's Hessian; it cannot honour curvature=.")
        samples = Samples(problem)
        compliance = samples.compliance()
        errors, pull = jax.vjp(samples.errors, z.weights, z.states)
        outputs, pull_output = jax.vjp(jax.vmap(problem.output), z.states)
        end = samples.end_cost(outputs)
        by_weights, by_states = pull(stiffness(compliance, errors))
        by_weights = jax.tree.map(lambda g, w: g + problem.decay * w, by_weights, problem.away(z.weights))
        by_states = jax.tree.map(jnp.add, by_states, pull_output(end.gradient)[0])

        def probe(key):
            """A sample whose covariance is the weights' block, and squares whose mean is the states' diagonal."""
            one, other = jax.random.split(key)
            signs = _signs(one, errors)
            force = jax.tree.map(lambda q, s: s * jnp.sqrt(stiffness(q, jnp.ones_like(q))), compliance, signs)
            by_weights, by_states = pull(force)
            after = jax.tree.map(lambda a, b: jnp.mean((a - b) ** 2, axis=0), by_states, force)
            ends = pull_output(jnp.einsum("kab,kb->ka", end.factor, _signs(other, outputs)))[0]
            return by_weights, after, jax.tree.map(jnp.square, ends)

        weights, after, ends = lax.map(probe, jax.random.split(jax.random.key(0), self.probes))
        mean = lambda tree: jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), tree)
        own = stiffness(compliance, jax.tree.map(jnp.ones_like, errors))
        diagonal = jax.tree.map(lambda q, a, e: q + a[None] + e, own, mean(after), mean(ends))
        kronecker = Kronecker.of(weights, problem.stacked(z.weights))
        gradient = Joint(by_weights, by_states)
        return Conjugated(problem.cost(z), gradient, compliance, end, kronecker, diagonal)

    def step(self, problem: AbstractForcedProblem, z, momenta, local, damping):
        shift = jax.tree.map(lambda scale: damping * scale + problem.decay, local.kronecker.scale)
        inverse = local.kronecker.inverse(shift)
        product = _hessian(problem, z, local)
        weighed = lambda v, scale: local.kronecker.each(lambda v, s: s * v, v, scale)

        def damped(v: Joint) -> Joint:
            bent = product(v)
            held = weighed(v.weights, jax.tree.map(lambda scale: damping * scale, local.kronecker.scale))
            return Joint(jax.tree.map(jnp.add, bent.weights, held), bent.states)

        def precondition(v: Joint) -> Joint:
            states = jax.tree.map(lambda x, d: x / jnp.where(d > 0, d, jnp.ones_like(d)), v.states, local.diagonal)
            return Joint(inverse(v.weights), states)

        right = jax.tree.map(jnp.negative, local.gradient)
        d, _ = cg(damped, right, tol=self.tolerance, maxiter=self.iterations, M=precondition)
        share, end, cost = _best(problem, z, d)
        d = jax.tree.map(lambda x: share * x, d)
        held = damping * dot(weighed(d.weights, local.kronecker.scale), d.weights)
        slope, bend = dot(local.gradient, d), dot(d, product(d))
        return Step(end, momenta, local.cost, cost, cost, held, slope, -slope - 0.5 * bend, jnp.asarray(True))


def _hessian(problem: AbstractForcedProblem, z: Joint, local: Conjugated):
    """v ↦ H v, Gauss–Newton's, without damping."""
    samples = Samples(problem)
    _, push = jax.linearize(samples.errors, z.weights, z.states)
    pull = jax.linear_transpose(push, z.weights, z.states)
    _, push_output = jax.linearize(jax.vmap(problem.output), z.states)
    pull_output = jax.linear_transpose(push_output, z.states)

    def product(v: Joint) -> Joint:
        by_weights, by_states = pull(stiffness(local.compliance, push(v.weights, v.states)))
        bent = jnp.einsum("kab,kcb,kc->ka", local.end.factor, local.end.factor, push_output(v.states))
        states = jax.tree.map(jnp.add, by_states, pull_output(bent)[0])
        weights = jax.tree.map(lambda g, w: g + problem.decay * w, by_weights, v.weights)
        return Joint(weights, states)

    return product


def _best(problem: AbstractForcedProblem, z: Joint, d: Joint) -> tuple[Float[Array, ""], Joint, Float[Array, ""]]:
    """The share of a step that costs least, where it leads, and what it costs there."""
    moved = lambda share: jax.tree.map(lambda a, b: a + share * b, z, d)
    shares = jnp.asarray(_SHARES, jnp.result_type(float))
    costs = lax.map(lambda share: problem.cost(moved(share)), shares)
    best = jnp.argmin(jnp.where(jnp.isfinite(costs), costs, jnp.inf))
    return shares[best], moved(shares[best]), costs[best]


def _signs(key, tree: PyTree[Array]) -> PyTree[Array]:
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.rademacher(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)
