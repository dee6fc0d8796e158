"""Steps of Representers and Conjugate: the dense normal equations of all unknowns, and the gradient of the action."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jax.flatten_util import ravel_pytree
from nets import KINDS, action, scattered

from deepest.linalg import dot
from deepest.minimise import Conjugate, Joint, Representers, Samples

DAMPING, PROXIMAL = 0.3, 2.0
TO_THE_END = {"iterations": 3000, "tolerance": 1e-14}

ENTROPY, NOISY, PARTLY, MASKED = {"entropy": True}, {"inputs": "noisy"}, {"inputs": "partly"}, {"masked": True}
QUICK = [("chain", ENTROPY | PARTLY, 10.0), ("chain", NOISY | MASKED, jnp.inf)]
DATA = [ENTROPY | NOISY, PARTLY | MASKED, {}]
SLOW = [
    (kind, DATA[(k + turn) % 3], (0.1, 100.0)[k % 2] if turn == 0 else jnp.inf)
    for turn in (0, 1)
    for k, kind in enumerate(KINDS)
]


def name(value):
    if isinstance(value, dict):
        return "-".join(str(v) if k == "inputs" else k for k, v in value.items()) or "exact"
    return str(value)


CASES = [pytest.param(*case, id="-".join(map(name, case))) for case in QUICK] + [
    pytest.param(*case, id="-".join(map(name, case)), marks=pytest.mark.slow) for case in SLOW
]


def place(problem, start):
    """Weights, and states away from the model by errors that are zero only where Q is."""
    weights, compliance = scattered(start.weights), Samples(problem).compliance()
    errors = scattered(jax.tree.map(jnp.zeros_like, compliance), seed=2)
    errors = jax.tree.map(lambda e, q: jnp.where(q > 0, e, jnp.zeros_like(e)), errors, compliance)
    return Joint(weights, Samples(problem).states(weights, errors)), errors


def by_errors(problem, z, errors, where, stiff, damping, proximal):
    """The minimum of the local model over weights and errors, from dense Jacobians: changes of both.

    g·δz + ½ |Bᵀ δz|² + ½ |e + δe|²_Q⁻¹ + ½ proximal |δe|²_Q⁻¹ + ½ μ |W − W_0 + δW|² + ½ δWᵀ damping δW
    """
    samples, (weights, rebuild), (e, recover) = Samples(problem), ravel_pytree(z.weights), ravel_pytree(errors)
    outputs = lambda w, e: samples.outputs(rebuild(w), recover(e)).ravel()
    by_weights, by_error = jax.jacfwd(outputs, (0, 1))(weights, e)
    jacobian = jnp.concatenate([by_weights, by_error[:, where]], axis=1)
    end = samples.end_cost(samples.outputs(z.weights, errors))
    factor = jax.scipy.linalg.block_diag(*end.factor)
    diagonal = jnp.concatenate([damping + problem.decay, (1.0 + proximal) * stiff])
    prior = jnp.concatenate([problem.decay * ravel_pytree(problem.away(z.weights))[0], stiff * e[where]])
    matrix = jacobian.T @ factor @ factor.T @ jacobian + jnp.diag(diagonal)
    found = jnp.linalg.solve(matrix, -jacobian.T @ end.gradient.ravel() - prior)
    return rebuild(found[: weights.size]), recover(jnp.zeros_like(e).at[where].set(found[weights.size :]))


def by_states(problem, z, where, stiff, damping):
    """The same over weights and states, with e(W, X) linearised and no proximal term: (J_eᵀ Q⁻¹ J_e + …) δ = −∇A."""
    samples, (weights, rebuild), (x, recover) = Samples(problem), ravel_pytree(z.weights), ravel_pytree(z.states)
    errors = lambda w, x: ravel_pytree(samples.errors(rebuild(w), recover(x)))[0][where]
    outputs = lambda w, x: jax.vmap(problem.output)(recover(x)).ravel()
    both = lambda f: jnp.concatenate(jax.jacfwd(f, (0, 1))(weights, x), axis=1)
    keep = jnp.concatenate([jnp.arange(weights.size), weights.size + where])
    of_errors, of_outputs = both(errors)[:, keep], both(outputs)[:, keep]
    end = samples.end_cost(jax.vmap(problem.output)(z.states))
    factor = jax.scipy.linalg.block_diag(*end.factor)
    diagonal = jnp.concatenate([damping + problem.decay, jnp.zeros(where.size)])
    matrix = of_errors.T @ (stiff[:, None] * of_errors) + of_outputs.T @ factor @ factor.T @ of_outputs
    gradient = ravel_pytree(jax.grad(problem.cost)(z))[0][keep]
    found = jnp.linalg.solve(matrix + jnp.diag(diagonal), -gradient)
    return Joint(rebuild(found[: weights.size]), recover(jnp.zeros_like(x).at[where].set(found[weights.size :])))


def stepped(form, problem, z):
    """One step, and how it damped each weight."""
    local = form.model(problem, z, jnp.zeros((0, 0)), False)
    step = form.step(problem, z, jnp.zeros((0, 0)), local, jnp.asarray(DAMPING))
    damping = local.kronecker.each(lambda x, s: DAMPING * s + jnp.zeros_like(x), z.weights, local.kronecker.scale)
    return step, ravel_pytree(damping)[0]


def unknowns(problem, errors):
    """Which numbers of all errors, or of all states, are unknowns: those with Q > 0; and 1/Q there."""
    compliance = jax.tree.map(lambda q, e: jnp.broadcast_to(q, e.shape), Samples(problem).compliance(), errors)
    flat = ravel_pytree(compliance)[0]
    where = jnp.flatnonzero(flat > 0)
    return where, 1.0 / flat[where]


def close(a, b, tolerance=1e-9):
    a, b = ravel_pytree(a)[0], ravel_pytree(b)[0]
    return float(jnp.max(jnp.abs(a - b))) <= tolerance * float(jnp.max(jnp.abs(b)))


def minus(a, b):
    return jax.tree.map(jnp.subtract, a, b)


@pytest.mark.parametrize(("kind", "data", "ratio"), CASES)
def test_a_step_of_representers_solves_the_normal_equations_of_all_unknowns(kind, data, ratio):
    """At every R_f, infinity included: conjugate gradients run to the end give what dense algebra gives."""
    of = action(kind, **data)
    problem, form = of.at(ratio), Representers(proximal=PROXIMAL, **TO_THE_END)
    z, errors = place(problem, of.start())
    where, stiff = unknowns(problem, errors)

    @eqx.filter_jit
    def run(problem, z, errors):
        samples = Samples(problem)
        step, damping = stepped(form, problem, z)
        change = by_errors(problem, z, errors, where, stiff, damping, PROXIMAL * DAMPING)
        _, along = jax.jvp(samples.states, (z.weights, errors), change)
        weights = jax.tree.map(jnp.add, z.weights, change[0])
        linear = jax.tree.map(jnp.add, z.states, along)
        rolled = samples.states(weights, jax.tree.map(jnp.add, errors, change[1]))
        slope = jax.grad(lambda a: problem.cost(Joint(a[0], samples.states(*a))))((z.weights, errors))
        costs = [problem.cost(problem.settled(Joint(weights, states))) for states in (linear, rolled)]
        return step, weights, (linear, rolled), dot(slope, change), costs, samples.errors(z.weights, z.states)

    step, weights, states, slope, costs, back = run(problem, z, errors)
    assert close(step.z.weights, weights)
    assert close(step.cost, min(costs))
    if jnp.isfinite(ratio):
        assert close(step.z.states, states[int(jnp.argmin(jnp.stack(costs)))])
    assert close(step.slope, slope)
    assert close(back, errors, 1e-12)  # the errors of the states that errors made


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "data", "ratio"), [case for case in CASES if jnp.isfinite(case.values[2])])
def test_a_step_of_conjugate_solves_the_normal_equations_of_all_unknowns(kind, data, ratio):
    """Whatever share of it costs least."""
    of = action(kind, **data)
    problem, form = of.at(ratio), Conjugate(**TO_THE_END)
    z, errors = place(problem, of.start())
    where, stiff = unknowns(problem, errors)

    @eqx.filter_jit
    def run(problem, z):
        step, damping = stepped(form, problem, z)
        change = by_states(problem, z, where, stiff, damping)
        ends = [jax.tree.map(lambda a, b, s=s: a + s * b, z, change) for s in (1.0, 0.5, 0.2, 0.05)]
        return step, change, [problem.cost(end) for end in ends], dot(jax.grad(problem.cost)(z), minus(step.z, z))

    step, change, costs, slope = run(problem, z)
    best = (1.0, 0.5, 0.2, 0.05)[int(jnp.argmin(jnp.stack(costs)))]
    assert close(minus(step.z, z), jax.tree.map(lambda x: best * x, change))
    assert close(step.slope, slope) and close(step.cost, min(costs))
