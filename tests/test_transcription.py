"""Transcriptions: measured orders, and gradients and Hessian blocks against automatic differentiation."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.linalg import block_diag

from deepest.linalg import BlockVector, Leading, Trailing
from deepest.paths import Grid
from deepest.transcription import (
    CollocationTableau,
    Euler,
    HermiteSimpson,
    ImplicitMidpoint,
    OneStep,
    PathProblem,
    RungeKutta4,
    Trapezoid,
    Weight,
    energy,
    points,
    unpoints,
)

# Both sides are sums of the same few hundred products in another order: far below √eps.
RTOL = float(np.sqrt(jnp.finfo(jnp.result_type(float)).eps))
IRREGULAR = np.array([0.0, 0.1, 0.3, 0.35, 0.6])


def runge_kutta(field, t, h, x):
    """The classical map, written as a user would."""
    one = field(t, x)
    two = field(t + h / 2.0, x + h / 2.0 * one)
    three = field(t + h / 2.0, x + h / 2.0 * two)
    return x + h / 6.0 * (one + 2.0 * two + 2.0 * three + field(t + h, x + h * three))


# What is tried with which weight and how many parameters: all where the code is its own.
KINDS = [("diagonal", 2), ("full an interval", 2), ("diagonal an interval", 0), ("full", 0)]
EACH = {
    Euler(): KINDS[:1],
    Trapezoid(): KINDS[2:],
    HermiteSimpson(): KINDS[:3],
    ImplicitMidpoint(): KINDS[1:3],
    RungeKutta4(): [],
}
QUADRATICS = [(transcription, *kind, False) for transcription, kinds in EACH.items() for kind in kinds]
# Where a node is two stations, or an interval ends just before its end.
QUADRATICS += [
    (HermiteSimpson(), *KINDS[1], True),
    (Trapezoid(), *KINDS[2], True),
    (ImplicitMidpoint(), *KINDS[2], True),
]
label = lambda x: type(x).__name__ if not isinstance(x, str | int) else str(x)


def close(actual, desired):
    desired = np.asarray(desired)
    np.testing.assert_allclose(actual, desired, rtol=0, atol=RTOL * max(np.max(np.abs(desired), initial=0), 1e-30))


def pendulum(t, x, p):
    """Nonlinear, damped and driven, so that every argument of F matters."""
    del p
    return jnp.stack([x[1], -jnp.sin(x[0]) - 0.1 * x[1] + 0.5 * jnp.cos(2.0 * t)])


def switched(t, x, p):
    """The same, with a force that is switched at 0.75, 1.5 and 2.25, where it has the value after the switch."""
    return pendulum(t, x, p).at[1].add(jnp.where((t // 0.75) % 2.0 == 1.0, 0.8, -0.8) * x[0])


def clock(times, stride):
    """The times and widths of a problem."""
    times = jnp.asarray(times, float)
    return times, jnp.diff(times[::stride])


def march(field, transcription, duration, count, x):
    """The state after `count` intervals, on each of which c = 0 is solved by Newton from the left end."""
    stride, h, size = transcription.stride, duration / jnp.asarray(count, float), x.size

    def interval(k, x):
        times = (jnp.asarray(k, float) + jnp.arange(stride + 1.0) / stride) * h
        problem = PathProblem(field, *clock(times, stride), Weight(jnp.ones((1, size))), jumps=field is switched)

        def defects(u):
            z = BlockVector(jnp.stack([x, u[-size:]]), u[None, :-size], jnp.zeros(0))
            return transcription.residuals(problem, z).ravel()

        newton = lambda _, u: u - jnp.linalg.solve(jax.jacfwd(defects)(u), defects(u))
        return lax.fori_loop(0, 6, newton, jnp.tile(x, stride))[-size:]

    return lax.fori_loop(0, count, interval, x)


def slope(field, transcription, exact):
    """The log-log slope of the error at T = 3; above 1e-11, where Newton and the reference round off."""
    counts, start = np.array([16, 32, 64, 128]), jnp.array([2.0, 0.0])
    end = jax.jit(lambda count: march(field, transcription, 3.0, count, start))
    errors = np.array([np.abs(end(count) - exact).max() for count in counts])
    good = errors > 1e-11
    assert good.sum() >= 3
    return np.polyfit(np.log(3.0 / counts[good]), np.log(errors[good]), 1)[0]


def reference(field, pieces):
    """The state at T = 3 from (2, 0), integrated from piece to piece, in each with the force of its middle."""
    x, inside = np.array([2.0, 0.0]), jax.jit(field)
    for a, b in itertools.pairwise(pieces):
        within = lambda t, x, a=a, b=b: inside(np.clip(t, a + 1e-9, b - 1e-9), x, np.zeros(0))
        x = solve_ivp(within, (a, b), x, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    return x


@pytest.mark.parametrize("transcription", [*EACH, OneStep(runge_kutta)], ids=label)
def test_solutions_of_zero_defect_converge_at_the_declared_order(transcription):
    """Within 0.35."""
    declared = 4 if isinstance(transcription, OneStep) else transcription.order
    assert abs(slope(pendulum, transcription, reference(pendulum, [0.0, 3.0])) - declared) < 0.35


@pytest.mark.parametrize("transcription", [Trapezoid(), HermiteSimpson(), OneStep(runge_kutta)], ids=label)
def test_the_order_stays_where_the_field_jumps_at_nodes(transcription):
    """Without limits from inside, every jump would cost its interval an error of h times a part of the jump."""
    declared = 4 if isinstance(transcription, OneStep) else transcription.order
    exact = reference(switched, [0.0, 0.75, 1.5, 2.25, 3.0])
    assert abs(slope(switched, transcription, exact) - declared) < 0.35


def bent(t, x, p):
    """Nonlinear in state and parameters, and of time."""
    a, b = (p[0], p[1]) if p.size else (1.3, 0.7)
    return jnp.stack([a * (x[1] - x[0]) + jnp.sin(t), x[0] * (b - x[2]) - x[1] + a * b, x[0] * x[1] - a**2 * x[2]])


def torn(t, x, p):
    """The same, twice as strong from the third node on."""
    return jnp.where(t >= IRREGULAR[2], 2.0, 1.0) * bent(t, x, p)


def precision(kind, count, size=3):
    """R_f of one kind, with different numbers wherever the kind has room for them."""
    root = np.random.default_rng(3).normal(size=(count, size, size))
    full = np.eye(size) + root @ root.swapaxes(1, 2)
    return {
        "scalar": 2.0 * np.ones((1, size)),
        "diagonal": full[:1].diagonal(axis1=1, axis2=2),
        "diagonal an interval": full.diagonal(axis1=1, axis2=2),
        "full": full[:1],
        "full an interval": full,
    }[kind]


@pytest.mark.float32
@pytest.mark.parametrize(("transcription", "kind", "parameters", "jumps"), QUADRATICS, ids=label)
def test_quadratic_is_what_automatic_differentiation_gives(transcription, kind, parameters, jumps):
    """c, ½ cᵀ W c, its gradient, JᵀWJ, the exact Hessian, J and JᵀJ times a generic vector, in both layouts."""
    stride = transcription.stride
    times = Grid(IRREGULAR).refine(stride).times
    weight, rng = precision(kind, len(IRREGULAR) - 1), np.random.default_rng(1)
    path, shared = rng.normal(size=(len(times), 3)), rng.normal(size=parameters)
    z = unpoints(jnp.asarray(path, float), jnp.asarray(shared, float), stride)
    flat, at = ravel_pytree(z)
    vector = jnp.asarray(rng.normal(size=flat.size), float)
    blocks = np.broadcast_to(weight, (len(IRREGULAR) - 1, *weight.shape[1:]))
    blocks = np.stack([np.diag(w) for w in blocks]) if blocks.ndim == 2 else blocks
    wide = jnp.asarray(block_diag(*np.repeat(blocks, transcription.defects, axis=0)), float)
    field, weight = torn if jumps else bent, Weight(jnp.asarray(weight, float))
    problem = PathProblem(field, *clock(times, stride), weight, jumps=jumps)

    @eqx.filter_jit
    def automatic(problem):
        residuals = lambda u: transcription.residuals(problem, at(u)).ravel()
        cost = lambda u: 0.5 * residuals(u) @ wide @ residuals(u)
        gradient, exact = jax.jvp(jax.grad(cost), (flat,), (vector,))
        c, pushed = jax.jvp(residuals, (flat,), (vector,))
        pull = jax.vjp(residuals, flat)[1]
        return c, cost(flat), gradient, pull(wide @ pushed)[0], exact, pushed, pull(pushed)[0]

    @eqx.filter_jit
    def ours(problem):
        z, v, each = at(flat), at(vector), []
        for layout in (Leading(), Trailing()):
            c, g, h = transcription.quadratic(problem, z, layout)
            bent = transcription.bend(problem, z, problem.weight.apply(c.mT).mT, h)
            same, rows = transcription.equations(problem, z)
            pushed = rows.mv(v)
            mine = (c, energy(problem.weight, same), g, h.mv(v), bent.mv(v), pushed, rows.tmv(pushed))
            each.append([ravel_pytree(x)[0] for x in mine])
        return each

    for values in ours(problem):
        for one, other in zip(values, automatic(problem), strict=True):
            close(one, jnp.ravel(other))


@pytest.mark.float32
def test_a_one_step_map_is_the_transcription_of_that_map():
    """With a Runge-Kutta map it is RungeKutta4; with F itself a discrete-time model."""
    path = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), float)
    problem = PathProblem(bent, *clock(IRREGULAR, 1), Weight(jnp.ones((1, 3))))
    z = unpoints(path, jnp.asarray(np.array([1.5, 0.5]), float), 1)
    own, built_in = (
        jax.jit(lambda t=t: t.quadratic(problem, z, Leading()))() for t in (OneStep(runge_kutta), RungeKutta4())
    )
    jax.tree.map(close, own, built_in)
    discrete = OneStep(lambda field, t, h, x: field(t, x)).residuals(problem, z)
    by_hand = [path[k + 1] - bent(problem.times[k], path[k], z.shared) for k in range(4)]
    close(discrete[:, 0], np.stack(by_hand))


@pytest.mark.float32
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_points_and_unpoints_are_inverses(stride):
    path, shared = jnp.arange(21.0).reshape(7, 3), jnp.arange(2.0)
    z = unpoints(path, shared, stride)
    assert [x.shape for x in (z.nodes, z.interior)] == [(6 // stride + 1, 3), (6 // stride, 3 * (stride - 1))]
    np.testing.assert_array_equal(z.nodes, path[::stride])
    np.testing.assert_array_equal(z.shared, shared)
    np.testing.assert_array_equal(points(z, stride), path)


SIMPSON = HermiteSimpson.tableau


@pytest.mark.parametrize(
    ("alpha", "beta", "exactness", "power"),
    [
        (SIMPSON.alpha, SIMPSON.beta, (5, 3), 5),
        (SIMPSON.alpha, SIMPSON.beta, (4, 4), 4),
        (SIMPSON.alpha, -SIMPSON.beta, (4, 3), 1),
        (SIMPSON.alpha + np.array([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]), SIMPSON.beta, (4, 3), 0),
    ],
    ids=["too exact", "interior too exact", "wrong sign", "inconsistent"],
)
def test_a_tableau_refuses_coefficients_that_do_not_reach_their_exactness(alpha, beta, exactness, power):
    CollocationTableau(SIMPSON.points, SIMPSON.alpha, SIMPSON.beta, (4, 3))
    with pytest.raises(ValueError, match=rf"defect .* on t\^{power}"):
        CollocationTableau(SIMPSON.points, alpha, beta, exactness)
