"""Damped Gauss–Newton and Newton steps in a box."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from deepest.minimise._form import AbstractForm, Momenta, Penalty, Step
from deepest.minimise._problem import AbstractMinimiser, AbstractProblem, Solution, carried
from deepest.minimise._status import Status


class _Trial(eqx.Module):
    """One direction tried: the step, the damping of the next, how many were tried, and whether it is taken."""

    step: Step
    damping: Float[Array, ""]
    tries: Array
    accepted: Bool[Array, ""]


class _State(eqx.Module):
    z: PyTree[Array]
    momenta: Momenta
    cost: Float[Array, ""]
    damping: Float[Array, ""]
    steps: Array
    status: Array
    running: Bool[Array, ""]


class DampedNewton(AbstractMinimiser):
    """Levenberg–Marquardt on the problem's structure, (H + λS) d = −g, projected onto the bounds.

    A step is taken if it decreases the merit, which is the cost or what `form` puts in its place, by 1e-4 of what the
    local model predicts; λ falls by 8 where the model predicts well (ratio above ¾), grows by 3 where it predicts badly
    (below ¼) and by 6 at a rejection. A component at a bound whose gradient points outward is held there exactly, and
    released when the gradient turns.

    `limit` is the most factorisations one minimisation may take; `form` is `Penalty` or `PrimalDual`, or for networks
    `Representers` or `Conjugate`.
    Source: [nocedal2006].
    """

    limit: int = 200
    form: AbstractForm = Penalty()

    def highest(self, dtype):
        return carried(dtype) if self.form.scaled else float("inf")

    def minimise(self, problem, z, *, tolerance, damping=1e-3, floor=0.0, curvature=False) -> Solution:
        if problem.bounds is not None:
            z = problem.bounds.clip(z)
        momenta, cost = self.form.start(problem, z)
        finite = jnp.isfinite(cost)
        status = jnp.where(finite, Status.step_limit, Status.not_finite)
        damping, floor, tolerance = (jnp.asarray(x, cost.dtype) for x in (damping, floor, tolerance))
        start = _State(z, momenta, cost, jnp.maximum(damping, floor), jnp.asarray(0), status, finite)

        def body(state):
            trial = self._search(problem, state, curvature)
            return self._judge(problem, state, trial, floor, tolerance)

        end = lax.while_loop(lambda s: s.running & (s.steps < self.limit), body, start)
        return Solution(end.z, end.cost, end.damping, end.steps, end.status, end.momenta)

    def _search(self, problem: AbstractProblem, state: _State, curvature: Bool[Array, ""] | bool) -> _Trial:
        """Raise the damping until a step is accepted, or no step can be."""
        local = self.form.model(problem, state.z, state.momenta, curvature)

        def attempt(trial):
            step = self.form.step(problem, state.z, state.momenta, local, trial.damping)
            slack = 20.0 * jnp.finfo(step.before.dtype).eps * jnp.abs(step.before)
            promising = step.convex & (step.predicted >= -slack)
            accepted = promising & (step.before - step.after >= 1e-4 * step.predicted - slack)
            damping = jnp.where(accepted, trial.damping, jnp.maximum(6.0 * trial.damping, 1e-8))
            return _Trial(step, damping, trial.tries + 1, accepted)

        def unsettled(trial):
            left = (trial.damping < 1e12) & (state.steps + trial.tries < self.limit)
            return ~trial.accepted & left

        no, zero = jnp.asarray(False), jnp.zeros_like(state.cost)
        still = Step(state.z, state.momenta, state.cost, state.cost, state.cost, zero, zero, zero, no)
        return lax.while_loop(unsettled, attempt, _Trial(still, state.damping, jnp.asarray(0), no))

    def _judge(self, problem: AbstractProblem, state: _State, trial: _Trial, floor, tolerance) -> _State:
        step, accepted = trial.step, trial.accepted
        gained, enough = step.before - step.after, tolerance * step.cost
        ratio = gained / jnp.maximum(step.predicted, jnp.finfo(gained.dtype).tiny)
        limited = step.held > -0.5 * step.slope
        factor = jnp.where(ratio > 0.75, 0.125, jnp.where(ratio > 0.25, 1.0, 3.0))
        small = accepted & (step.predicted < enough) & (gained < enough)
        # A step that is short because it was damped is no sign of a minimum: lower the damping and look again,
        # unless only this much damping made a step acceptable.
        damped = small & limited & (trial.damping > floor)
        stuck = damped & (trial.tries > 1)
        factor = jnp.where(damped, 0.125, factor)
        # A full step leaves what the model missed and what the damping held back, unless bounds cut it short. Where
        # the model holds and this is next to nothing, no second step need show it.
        left = jnp.abs(step.predicted - gained) + step.held
        if problem.bounds is not None:
            left = jnp.where(problem.bounds.touches(step.z), jnp.inf, left)
        foreseen = accepted & (ratio > 0.75) & ~limited & (left < enough)
        converged = foreseen | (small & ~damped)
        stalled = stuck | (~accepted & (state.steps + trial.tries < self.limit))
        status = jnp.where(converged, Status.converged, jnp.where(stalled, Status.stalled, Status.step_limit))
        kept = lambda new, old: jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, old)
        return _State(
            z=kept(step.z, state.z),
            momenta=kept(step.momenta, state.momenta),
            cost=kept(step.cost, state.cost),
            damping=jnp.maximum(jnp.where(accepted, factor, 1.0) * trial.damping, floor),
            steps=state.steps + trial.tries,
            status=status,
            running=accepted & ~converged & ~stuck,
        )
