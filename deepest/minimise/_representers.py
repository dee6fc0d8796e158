"""Gauss–Newton steps of a forced problem, its states eliminated exactly by representers."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from deepest.linalg import dot, inverse_root
from deepest.minimise._forced import AbstractForcedProblem, EndCost, Joint, Samples, flexibility, stiffness
from deepest.minimise._form import AbstractForm, Step
from deepest.minimise._kronecker import Kronecker

Squares = Float[Array, "sample output output"]


class Represented(eqx.Module):
    """What does not change while the damping of a step is sought: cost, errors E, derivatives of the end cost,
    C = J_e Q J_eᵀ and −J_e e of every sample, and the weights' preconditioner."""

    cost: Float[Array, ""]
    errors: PyTree[Array]
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
        # Where nothing may err, as with exact inputs at R_f = ∞, there is nothing to represent.
        give = jnp.any(jnp.stack([jnp.any(q > 0) for q in jax.tree.leaves(samples.compliance())]))
        none = lambda: (jnp.zeros_like(end.factor), jnp.zeros_like(outputs))
        whole = lambda: _representers(problem, z.weights, errors, self.chunk)
        representer, response = lax.cond(give, whole, none)
        # Samples whose covariance is J_Wᵀ K H J_W: random signs, backpropagated.
        signs = jax.random.rademacher(jax.random.key(0), (self.probes, *outputs.shape), outputs.dtype)
        half = _half(end.factor, representer)
        probe = lambda signs: pull(jnp.einsum("kab,ka->kb", half, signs))[0]
        kronecker = Kronecker.of(lax.map(probe, signs), problem.stacked(z.weights))
        return Represented(problem.cost(z), errors, end, representer, response, kronecker)

    def step(self, problem: AbstractForcedProblem, z, momenta, local, damping):
        samples, end, held_back = Samples(problem), local.end, self.proximal * damping
        give = 1.0 / (1.0 + held_back)
        half = _half(end.factor, give * local.representer)
        filtered = lambda v: jnp.einsum("kba,kbc,kc->ka", half, half, v)
        still = end.gradient - filtered(give * jnp.einsum("kab,kb->ka", local.representer, end.gradient))
        force = lambda v: still + filtered(v)  # K (g + H v)

        _, push = jax.linearize(samples.states, z.weights, local.errors)
        respond = lambda weights, errors: jax.vmap(problem.output)(push(weights, errors))
        pull = jax.linear_transpose(respond, z.weights, local.errors)
        none = jax.tree.map(jnp.zeros_like, local.errors)
        across, back = lambda v: respond(v, none), lambda q: pull(q)[0]
        maps, right = (across, back, filtered), force(give * local.response)
        moved, response = self._weights(problem, z, local, damping, maps, right)

        forces = flexibility(samples.compliance(), pull(force(give * local.response + response))[1])
        errors = jax.tree.map(lambda e, f: held_back * give * e - give * f, local.errors, forces)
        change = jax.tree.map(jnp.subtract, errors, local.errors)
        along = push(moved, change)
        weights, states = (jax.tree.map(jnp.add, old, more) for old, more in ((z.weights, moved), (z.states, along)))
        linear, rolled = Joint(weights, states), Joint(weights, samples.states(weights, errors))
        best, cost = _better(problem, linear, rolled)

        stiff = dot(stiffness(samples.compliance(), change), change)
        weighed = local.kronecker.each(lambda v, s: s * v, moved, local.kronecker.scale)
        held = damping * dot(weighed, moved) + held_back * stiff
        bent = jax.vmap(problem.output)(along)
        slope = jnp.vdot(end.gradient, bent) + dot(stiffness(samples.compliance(), local.errors), change)
        slope = slope + problem.decay * dot(problem.away(z.weights), moved)
        bend = jnp.sum(jnp.einsum("kab,ka->kb", end.factor, bent) ** 2) + stiff + problem.decay * dot(moved, moved)
        return Step(best, momenta, local.cost, cost, cost, held, slope, -slope - 0.5 * bend, jnp.asarray(True))

    def _weights(self, problem, z, local, damping, maps, force) -> tuple[PyTree[Array], Array]:
        """δW by preconditioned conjugate gradients, and J_W δW, which comes with it."""
        across, back, filtered = maps
        right = jax.tree.map(lambda a, w: -a - problem.decay * w, back(force), problem.away(z.weights))
        shift = jax.tree.map(lambda scale: damping * scale + problem.decay, local.kronecker.scale)
        inverse = local.kronecker.inverse(shift)
        enough = self.tolerance**2 * dot(right, right)

        def one(carry):
            n, x, y, r, p, gamma = carry
            seen = across(p)
            shifted = local.kronecker.each(lambda v, s: s * v, p, shift)
            bent = jax.tree.map(jnp.add, back(filtered(seen)), shifted)
            length = gamma / dot(p, bent)
            x, y, r = _along(x, length, p), y + length * seen, _along(r, -length, bent)
            ahead = inverse(r)
            new = dot(r, ahead)
            return n + 1, x, y, r, _along(ahead, new / gamma, p), new

        def unfinished(carry):
            n, _, _, r, _, gamma = carry
            return (n < self.iterations) & (dot(r, r) > enough) & (gamma > 0)

        none = jax.tree.map(jnp.zeros_like, right)
        first = inverse(right)
        start = (jnp.asarray(0), none, jnp.zeros_like(force), right, first, dot(right, first))
        _, moved, response, *_ = lax.while_loop(unfinished, one, start)
        return moved, response


def _along(x: PyTree[Array], length: Array, d: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x, d: x + length * d, x, d)


def _half(factor: Squares, representer: Squares) -> Squares:
    """T with K H = Tᵀ T: T = L⁻¹ Bᵀ, L Lᵀ = 1 + Bᵀ C B."""
    middle = factor.mT @ representer @ factor + jnp.eye(factor.shape[-1], dtype=factor.dtype)[None]
    return inverse_root(middle) @ factor.mT


def _better(problem: AbstractForcedProblem, one: Joint, other: Joint) -> tuple[Joint, Float[Array, ""]]:
    """Whichever costs less, and its cost; what is not finite is worse than anything. The states of a linear response
    err, so that they are none where the model is exact."""
    costs = lax.map(problem.cost, jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other))
    first = ~problem.exact() & (~jnp.isfinite(costs[1]) | (costs[0] <= costs[1]))
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other), jnp.where(first, costs[0], costs[1])


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
