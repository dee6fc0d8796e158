"""Paths of least action as boundary value problems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import METHODS, SLOW, some
from scipy import linalg

import deepest as dp
from deepest import boundary, mechanics
from deepest.boundary import Annealed, Gauss, Guess, MultipleShooting, SingleShooting, Status
from deepest.minimise import DampedNewton

A, R, M = np.array([[-0.5, 1.0], [-2.0, 0.3]]), np.array([2.0, 3.0]), 1.7


def linear(target=1.0, rate=1.0):
    """𝓛 = ½ (v − A x)ᵀ R (v − A x) + ½ m (x_0 − target)²."""
    running = lambda t, x, args: 0.5 * M * (x[0] - target) ** 2
    field = lambda t, x, args: rate * jnp.asarray(A) @ x
    return boundary.Variational(mechanics.ModelError(field, R, running), dimension=2)


def linear_exact(times, conditions, shift):
    """Hamilton's equations are y′ = G y + g: by matrix exponentials, with conditions C_0 y(0) + C_1 y(1) = shift."""
    generator, force = np.zeros((5, 5)), np.zeros((4, 4))
    force[:2, :2], force[:2, 2:], force[2:, 2:] = A, np.diag(1.0 / R), -A.T
    force[2, 0] = M
    generator[:4, :4], generator[2, 4] = force, -M
    flow = lambda t: linalg.expm(t * generator)
    whole = flow(times[-1])
    matrix = conditions[0] + conditions[1] @ whole[:4, :4]
    start = np.linalg.solve(matrix, shift - conditions[1] @ whole[:4, 4])
    return np.stack([(flow(t) @ np.append(start, 1.0))[:4] for t in times])


def at(*components):
    return np.eye(4)[list(components)]


ENDS = {
    "natural": (boundary.natural(), (at(2, 3), at(2, 3)), np.zeros(4)),
    "fixed": (boundary.fixed([1.0, -1.0], [0.5, 2.0]), (at(0, 1), at(0, 1)), np.array([1.0, -1.0, 0.5, 2.0])),
    "mixed": (boundary.mixed({1: 0.7}, {0: -0.2}), (at(2, 1), at(0, 3)), np.array([0.0, 0.7, -0.2, 0.0])),
    "end costs": (
        boundary.end_costs(
            lambda x: 0.5 * 4.0 * jnp.sum((x - 1.0) ** 2), lambda x: 0.5 * 5.0 * jnp.sum((x + 1.0) ** 2)
        ),
        (at(2, 3) - 4.0 * at(0, 1), at(2, 3) + 5.0 * at(0, 1)),
        np.array([-4.0, -4.0, -5.0, -5.0]),
    ),
    "periodic": (boundary.Periodic(), (-np.eye(4), np.eye(4)), np.zeros(4)),
}


QUICK = {
    ("natural", "gauss"),
    ("fixed", "obreshkov"),
    ("mixed", "multiple"),
    ("end costs", "gauss"),
    ("periodic", "lobatto"),
}
PAIRS = [
    pytest.param(ends, METHODS[name], id=f"{ends} {name}", marks=[] if (ends, name) in QUICK else SLOW)
    for ends in ENDS
    for name in METHODS
]


@pytest.mark.parametrize(("ends", "method"), PAIRS)
def test_every_boundary_with_every_method_on_a_linear_model(ends, method):
    given, (first, last), shift = ENDS[ends]
    if first.shape[0] == 2:
        first, last = np.vstack([first, np.zeros((2, 4))]), np.vstack([np.zeros((2, 4)), last])
    times = np.linspace(0.0, 2.0, 21)
    solution = boundary.solve(linear(), given, method, Guess(times, np.ones((21, 2))))
    assert int(solution.status) == Status.converged, solution.sentence
    exact = linear_exact(np.asarray(solution.times), (first, last), shift)
    np.testing.assert_allclose(solution.y, exact, rtol=0, atol=1e-7 * np.max(np.abs(exact)))
    np.testing.assert_allclose(solution.momenta, solution.y[:, 2:], rtol=0, atol=0)


def test_one_gauss_point_is_the_minimum_of_the_midpoint_action():
    """Measured at its two ends only, Lorenz63: the same path and costates as `minimise` finds, to rounding."""
    times, precision, noise = np.linspace(0.0, 0.5, 26), 40.0, 0.3
    values = np.full((26, 3), np.nan)
    values[0], values[-1] = [1.0, 2.0, 20.0], [-3.0, -2.0, 22.0]
    observations = dp.Observations(times, values, components=(0, 1, 2), noise=noise)
    action = dp.Action(
        dp.models.Lorenz63(),
        observations,
        dp.ImplicitMidpoint(),
        model_precision=precision * noise**2,
        convention="continuum",
    )
    straight = jnp.asarray(values[0] + (times / 0.5)[:, None] * (values[-1] - values[0]), float)
    z = action.pack(straight, jnp.zeros(0))
    minimise = lambda z: DampedNewton().minimise(action.at(1.0), z, tolerance=1e-13, damping=1e-3, curvature=True)
    least = jax.jit(minimise)(z)
    cost = lambda value: lambda x: 0.5 * jnp.sum((x - jnp.asarray(value)) ** 2) / noise**2
    problem = boundary.Variational(mechanics.ModelError(dp.models.Lorenz63(), precision), dimension=3)
    ends = boundary.end_costs(cost(values[0]), cost(values[-1]))
    path = action.unpack(least.z)[0]
    # Another minimum may be nearer to a straight line than the one that a minimiser finds from there.
    solution = boundary.solve(problem, ends, Gauss(1), Guess(times, 1.01 * path), tolerance=1e-11)
    assert int(solution.status) == Status.converged
    np.testing.assert_allclose(solution.path, path, rtol=0, atol=1e-8)


# 𝓛 of a harmonic oscillator of unknown frequency, whose x is measured to be sin 2t all along.
OSCILLATOR = mechanics.ModelError(
    lambda t, x, args: jnp.stack([x[1], -(args**2) * x[0]]),
    8.0,
    lambda t, x, args: 0.5 * 30.0 * (x[0] - jnp.sin(2.0 * t)) ** 2,
)


def tracking(rate):
    """With its frequency between bounds, or given."""
    times = np.linspace(0.0, 1.5, 31)
    start = np.stack([np.sin(2 * times), 2 * np.cos(2 * times)], axis=1)
    return boundary.Variational(OSCILLATOR, dimension=2, args=rate), times, start


@some("gauss")
def test_the_action_is_stationary_in_an_unknown_parameter(method):
    """dA/dθ = 0 at what is found, with A by quadrature of paths that have θ held."""
    problem, times, start = tracking(dp.Unknown(0.0, 5.0, prior=dp.Normal(1.5, 0.4)))
    guess = Guess(times, start, parameters=[1.8])
    solution = boundary.solve(problem, boundary.natural(), method, guess)
    assert int(solution.status) == Status.converged, solution.sentence
    nodes, weights = np.polynomial.legendre.leggauss(40)
    at, weights = jnp.asarray(0.75 * (nodes + 1.0)), 0.75 * jnp.asarray(weights)

    @jax.jit
    def action(rate):
        held = tracking(rate)[0]
        found = boundary.solve(held, boundary.natural(), Gauss(4), Guess(times, start), tolerance=1e-11)
        x, p, _ = held.split(found(at))
        lagrangian, args = held.estimable.fill(jnp.zeros(0), jnp.zeros(0))
        velocities = jax.vmap(lambda t, x, p: mechanics.velocity(lagrangian, t, x, p, args))(at, x, p)
        density = jax.vmap(lambda t, x, v: lagrangian(t, x, v, args))(at, x, velocities)
        return weights @ density + 0.5 * ((rate - 1.5) / 0.4) ** 2

    low, here, high = (float(action(solution.parameters[0] + shift)) for shift in (-1e-3, 0.0, 1e-3))
    assert abs(high - low) < 1e-4 * (high - 2 * here + low) / 1e-3
    assert min(low, high) > here


def lorenz63(until, noise=0.5):
    """A window of Lorenz63 with x measured."""
    model = dp.models.Lorenz63()
    times = np.arange(0.0, until + 1e-9, 0.04)
    truth = np.asarray(dp.models.integrate(model, jnp.asarray([-5.0, -6.0, 22.0]), times))
    values = truth[:, :1] + noise * np.random.default_rng(3).normal(size=(times.size, 1))
    tracking = mechanics.Tracking(dp.Observations(times, values, components=(0,), noise=noise))
    lagrangian = mechanics.ModelError(model, 50.0, tracking)
    return boundary.Variational(lagrangian, dimension=3), times, truth, values


@pytest.mark.slow  # the notebook on boundary value problems asserts as much
def test_single_shooting_fails_on_a_long_window_and_says_why():
    problem, times, truth, _ = lorenz63(4.0)
    single = boundary.solve(problem, boundary.natural(), SingleShooting(), Guess(times, truth))
    assert int(single.status) == Status.growth
    # Directions decay with rate 14.6 at the fastest, and so their partners grow.
    assert 10.0 < np.log(float(single.growth)) / 4.0 < 20.0
    assert "MultipleShooting" in single.sentence
    assert "e+" in single.sentence


@pytest.mark.slow
def test_many_short_shots_reach_what_collocation_finds():
    problem, times, truth, _ = lorenz63(4.0)
    multiple, gauss = (
        boundary.solve(problem, boundary.natural(), method, Guess(times, truth))
        for method in (MultipleShooting(), Gauss(3))
    )
    assert (int(multiple.status), int(gauss.status)) == (Status.converged, Status.converged)
    assert float(multiple.growth) < 100.0
    np.testing.assert_allclose(multiple.path, gauss.path, rtol=0, atol=1e-3)
    assert np.sqrt(np.mean((np.asarray(gauss.path) - truth) ** 2)) < 0.5


@pytest.mark.slow  # so does this
def test_annealing_finds_the_path_that_newton_misses():
    """From the measured values, and zeros for all that was not measured, plain steps end at another stationary path."""
    problem, times, truth, values = lorenz63(4.0)
    rough = Guess(times, np.pad(values, ((0, 0), (0, 2))), np.zeros((times.size, 3)))
    plain, near = (boundary.solve(problem, boundary.natural(), Gauss(2), g) for g in (rough, Guess(times, truth)))
    annealed = boundary.solve(problem, boundary.natural(), Annealed(Gauss(2), start=1e-2), rough)
    assert [int(s.status) for s in (plain, near, annealed)] == [Status.converged] * 3
    np.testing.assert_allclose(annealed.path, near.path, rtol=0, atol=1e-6)
    assert np.max(np.abs(plain.path - near.path)) > 10.0


def test_a_batch_of_data_and_guesses():
    """Each member has its own end, its own guess and its own status."""
    times = np.linspace(0.0, 2.0, 21)
    ends, starts = jnp.asarray([[0.5, 2.0], [1.0, -1.0], [0.0, 0.0]]), jnp.asarray([1.0, 0.0, jnp.nan])

    def run(end, start):
        given = boundary.fixed([1.0, -1.0], end)
        solution = boundary.solve(linear(), given, Gauss(2), Guess(times, start * jnp.ones((21, 2))))
        return solution.path, solution.status

    paths, status = jax.jit(jax.vmap(run))(ends, starts)
    assert [Status(int(s)) for s in status] == [Status.converged, Status.converged, Status.not_finite]
    middle = lambda end: run(end, jnp.asarray(0.0))[0][10]
    both = jax.jit(jax.jacrev(lambda end: (middle(end),) * 2, has_aux=True))  # derivative and value
    slope, here = both(ends[0])
    for alone, path in zip((here, both(ends[1])[1]), paths[:2, 10], strict=True):
        np.testing.assert_allclose(path, alone, rtol=0, atol=1e-12)
    moved = np.stack([both(ends[0] + shift)[1] - here for shift in jnp.eye(2)], axis=1)
    np.testing.assert_allclose(slope, moved, rtol=0, atol=1e-9)


def test_a_parameter_beyond_its_bounds_is_said():
    problem, times, start = tracking(dp.Unknown(3.0, 5.0, prior=dp.Normal(1.5, 0.4)))
    solution = boundary.solve(problem, boundary.natural(), Gauss(3), Guess(times, start, parameters=[1.8]))
    assert int(solution.status) == Status.outside
