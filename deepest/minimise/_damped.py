"""Damped Gauss–Newton and Newton steps in a box."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from deepest.linalg import BlockVector, dot
from deepest.minimise._problem import AbstractBlockProblem, AbstractMinimiser, Quadratic, Solution
from deepest.minimise._status import Status


class _Trial(eqx.Module):
    """One direction tried: the point, its cost, whether it is taken, and what it leaves of the decrease at most."""

    z: BlockVector
    cost: Float[Array, ""]
    predicted: Float[Array, ""]
    damping: Float[Array, ""]
    tries: Array
    accepted: Bool[Array, ""]
    left: Float[Array, ""]
    limited: Bool[Array, ""]


class _State(eqx.Module):
    z: BlockVector
    cost: Float[Array, ""]
    damping: Float[Array, ""]
    steps: Array
    status: Array
    running: Bool[Array, ""]


class DampedNewton(AbstractMinimiser):
    """Levenberg–Marquardt on the block structure: (H + λS) d = −g, projected onto the bounds.

    A step is taken if it decreases the cost by 1e-4 of what the local model predicts; λ falls by 8 where the model
    predicts well (ratio above ¾), grows by 3 where it predicts badly (below ¼) and by 6 at a rejection. A
    component at a bound whose gradient points outward is held there exactly, and released when the gradient turns.

    `limit` is the most factorisations one minimisation may take. Source: [nocedal2006].
    """

    limit: int = 200

    def minimise(self, problem, z, *, tolerance, damping=1e-3, floor=0.0, curvature=False) -> Solution:
        if problem.bounds is not None:
            z = problem.bounds.clip(z)
        cost = problem.cost(z)
        finite = jnp.isfinite(cost)
        status = jnp.where(finite, Status.step_limit, Status.not_finite)
        damping, floor, tolerance = (jnp.asarray(x, cost.dtype) for x in (damping, floor, tolerance))
        start = _State(z, cost, jnp.maximum(damping, floor), jnp.asarray(0), status, finite)

        def body(state):
            quadratic = problem.quadratic(state.z, curvature)
            trial = self._search(problem, state, quadratic)
            return self._judge(state, trial, floor, tolerance)

        end = lax.while_loop(lambda s: s.running & (s.steps < self.limit), body, start)
        return Solution(end.z, end.cost, end.damping, end.steps, end.status)

    def _search(self, problem: AbstractBlockProblem, state: _State, quadratic: Quadratic) -> _Trial:
        """Raise the damping until a step is accepted, or no step can be."""
        gradient, hessian = quadratic.gradient, quadratic.hessian
        scale = problem.scale(quadratic)
        if problem.bounds is not None:
            free = problem.bounds.free(state.z, gradient)
            gradient = jax.tree.map(jnp.multiply, gradient, free)
            scale = jax.tree.map(jnp.multiply, scale, free)
            hessian = hessian.restrict(free)
        slack = 20.0 * jnp.finfo(state.cost.dtype).eps * jnp.abs(quadratic.cost)

        def attempt(trial):
            damped = hessian.shift(jax.tree.map(lambda s: trial.damping * s, scale))
            step = problem.kernel.solve(damped, jax.tree.map(jnp.negative, gradient))
            z = jax.tree.map(jnp.add, state.z, step)
            if problem.bounds is not None:
                z = problem.bounds.clip(z)
                step = jax.tree.map(jnp.subtract, z, state.z)
            weighed = jax.tree.map(jnp.multiply, scale, step)
            held = trial.damping * dot(step, weighed)
            predicted = 0.5 * (held - dot(gradient, step))
            cost = problem.cost(z)
            accepted = quadratic.cost - cost >= 1e-4 * predicted - slack
            damping = jnp.where(accepted, trial.damping, jnp.maximum(6.0 * trial.damping, 1e-8))
            limited = held > -0.5 * dot(gradient, step)
            # A full step leaves what the model missed and what the damping held back, unless bounds cut it short.
            left = jnp.abs(predicted - quadratic.cost + cost) + held
            if problem.bounds is not None:
                left = jnp.where(problem.bounds.touches(z), jnp.inf, left)
            return _Trial(z, cost, predicted, damping, trial.tries + 1, accepted, left, limited)

        def unsettled(trial):
            left = (trial.damping < 1e12) & (state.steps + trial.tries < self.limit)
            return ~trial.accepted & left

        no, zero = jnp.asarray(False), jnp.zeros_like(state.cost)
        blank = _Trial(state.z, state.cost, zero, state.damping, jnp.asarray(0), no, zero, no)
        return lax.while_loop(unsettled, attempt, blank)

    def _judge(self, state: _State, trial: _Trial, floor, tolerance) -> _State:
        gained = state.cost - trial.cost
        ratio = gained / jnp.maximum(trial.predicted, jnp.finfo(gained.dtype).tiny)
        factor = jnp.where(ratio > 0.75, 0.125, jnp.where(ratio > 0.25, 1.0, 3.0))
        small = trial.accepted & (trial.predicted < tolerance * trial.cost) & (gained < tolerance * trial.cost)
        # A step that is short because it was damped is no sign of a minimum: lower the damping and look again,
        # unless only this much damping made a step acceptable.
        damped = small & trial.limited & (trial.damping > floor)
        stuck = damped & (trial.tries > 1)
        factor = jnp.where(damped, 0.125, factor)
        # Where the model holds and the step leaves next to nothing, no second step need show it.
        foreseen = trial.accepted & (ratio > 0.75) & ~trial.limited & (trial.left < tolerance * trial.cost)
        converged = foreseen | (small & ~damped)
        stalled = stuck | (~trial.accepted & (state.steps + trial.tries < self.limit))
        status = jnp.where(converged, Status.converged, jnp.where(stalled, Status.stalled, Status.step_limit))
        z, cost = jax.tree.map(
            lambda new, old: jnp.where(trial.accepted, new, old), (trial.z, trial.cost), (state.z, state.cost)
        )
        damping = jnp.maximum(jnp.where(trial.accepted, factor, 1.0) * trial.damping, floor)
        return _State(z, cost, damping, state.steps + trial.tries, status, trial.accepted & ~converged & ~stuck)
