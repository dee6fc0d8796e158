"""Paths of least action by three roads: the action's minimum, Euler and Lagrange's equation, Hamilton's equations."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import some
from scipy import special

import deepest as dp
from deepest import boundary, mechanics
from deepest.boundary import Gauss, Guess, Lobatto, Status
from deepest.symplectic import Galerkin

# ---- Two-point actions with closed forms ----


def oscillator(t, x, v, args=None):
    return 0.5 * jnp.vdot(v, v) - 0.5 * 1.3**2 * jnp.vdot(x, x)


def pendulum(t, x, v, args=None):
    return 0.5 * jnp.vdot(v, v) + jnp.sum(jnp.cos(x))


def pendulum_exact(t):
    """x = 2 arcsin(k sn u), v = 2 k cn u with u = t + 0.4 and k = 0.8."""
    sn, cn, _, _ = special.ellipj(t + 0.4, 0.8**2)
    return 2.0 * np.arcsin(0.8 * sn), 2.0 * 0.8 * cn


@some("gauss")
def test_the_harmonic_two_point_action(method):
    """The path, and momenta that are the slopes of Hamilton's principal function along both ends."""
    w, until, first, last = 1.3, 1.5, 0.7, -0.4
    times = np.linspace(0.0, until, 17)
    problem = boundary.Variational(mechanics.Quadratic(oscillator), dimension=1)
    solution = boundary.solve(problem, boundary.fixed([first], [last]), method, Guess(times, np.ones((17, 1))))
    t = np.asarray(solution.times)
    exact = (first * np.sin(w * (until - t)) + last * np.sin(w * t)) / np.sin(w * until)
    np.testing.assert_allclose(solution.path[:, 0], exact, rtol=0, atol=1e-7)
    principal = lambda a, b: w * ((a**2 + b**2) * np.cos(w * until) - 2 * a * b) / (2 * np.sin(w * until))
    before, after = jax.grad(principal, argnums=(0, 1))(first, last)
    np.testing.assert_allclose(solution.momenta[[0, -1], 0], [-before, after], rtol=0, atol=1e-7)


@some("gauss")
def test_the_pendulums_two_point_action(method):
    times = np.linspace(0.0, 2.0, 17)
    exact = pendulum_exact(times)[0]
    problem = boundary.Variational(mechanics.Quadratic(pendulum), dimension=1)
    ends = boundary.fixed(exact[:1], exact[-1:])
    solution = boundary.solve(problem, ends, method, Guess(times, np.ones((17, 1))))
    x, v = pendulum_exact(np.asarray(solution.times))
    np.testing.assert_allclose(solution.y, np.stack([x, v], axis=1), rtol=0, atol=1e-7)


# ---- Three roads ----

A = np.array([[-0.5, 1.0], [-2.0, 0.3]])


class Case:
    """A Lagrangian, given ends or costs of them, and a path to begin at."""

    def __init__(self, lagrangian, until, ends, costs, start):
        self.lagrangian, self.until, self.ends, self.costs, self.start = lagrangian, until, ends, costs, start

    @property
    def boundary(self):
        return boundary.fixed(*self.ends) if self.costs is None else boundary.end_costs(*self.costs)

    def path(self, times):
        return np.asarray(self.start(times / self.until))


def cost(value, precision):
    return lambda x: 0.5 * precision * jnp.sum((x - jnp.asarray(value)) ** 2)


def straight(first, last):
    first, last = np.asarray(first, float), np.asarray(last, float)
    return lambda share: first + share[:, None] * (last - first)


PULL = lambda t, x, args: 0.5 * 1.7 * (x[0] - jnp.sin(t)) ** 2
FIRST, LAST = [1.0, 2.0, 20.0], [1.5, 3.0, 15.0]
CASES = {
    "pendulum": Case(
        mechanics.Quadratic(pendulum),
        2.0,
        (pendulum_exact(0.0)[0][None], pendulum_exact(2.0)[0][None]),
        None,
        straight(pendulum_exact(0.0)[0][None], pendulum_exact(2.0)[0][None]),
    ),
    "linear": Case(
        mechanics.ModelError(lambda t, x, args: jnp.asarray(A) @ x, np.array([2.0, 3.0]), PULL),
        2.0,
        None,
        (cost([1.0, 0.0], 4.0), cost([-1.0, 0.5], 5.0)),
        straight([1.0, 0.0], [-1.0, 0.5]),
    ),
    "lorenz63": Case(
        mechanics.ModelError(dp.models.Lorenz63(), 40.0),
        0.2,
        None,
        (cost(FIRST, 11.0), cost(LAST, 11.0)),
        straight(FIRST, LAST),
    ),
}


def least(case, times):
    """The minimum of Σ h 𝓛 at midpoints and the ends' costs, by Newton's method on all of the path at once."""
    start = jnp.asarray(case.path(times))
    steps, middle = jnp.diff(times), 0.5 * (times[1:] + times[:-1])
    free = slice(None) if case.costs is not None else slice(1, -1)

    def action(inner):
        x = start.at[free].set(inner)
        rate, here = jnp.diff(x, axis=0) / steps[:, None], 0.5 * (x[1:] + x[:-1])
        total = steps @ jax.vmap(lambda t, x, v: case.lagrangian(t, x, v, None))(middle, here, rate)
        return total if case.costs is None else total + case.costs[0](x[0]) + case.costs[1](x[-1])

    local = jax.jit(lambda inner: (jax.grad(action)(inner), jax.hessian(action)(inner)))
    inner = np.asarray(start[free])
    for _ in range(30):
        slope, bend = (np.asarray(x) for x in local(inner))
        matrix = bend.reshape(inner.size, inner.size)
        step = np.linalg.solve(matrix, slope.ravel()).reshape(inner.shape)
        inner = inner - step
        if np.max(np.abs(step)) < 1e-11:
            break
    assert np.min(np.linalg.eigvalsh(matrix)) > 0
    return np.asarray(start.at[free].set(inner))


def hamiltons(case, times, method, path):
    problem = boundary.Variational(case.lagrangian, dimension=path.shape[1])
    solution = boundary.solve(problem, case.boundary, method, Guess(times, path), tolerance=1e-11)
    assert int(solution.status) == Status.converged, solution.sentence
    return solution


def euler_lagrange(case, times, method, path):
    """dx/dt = v, dv/dt = a(t, x, v), with the momenta of both ends."""
    size, lagrangian = path.shape[1], case.lagrangian

    def field(t, y, q):
        return jnp.concatenate([y[size:], mechanics.acceleration(lagrangian, t, y[:size], y[size:])])

    def ends(ya, yb, q):
        if case.costs is None:
            return jnp.concatenate([ya[:size] - case.ends[0], yb[:size] - case.ends[1]])
        at = jnp.asarray(times)[jnp.array([0, -1])]
        p = [mechanics.momentum(lagrangian, t, y[:size], y[size:], None) for t, y in zip(at, (ya, yb), strict=True)]
        slopes = [jax.grad(c)(y[:size]) for c, y in zip(case.costs, (ya, yb), strict=True)]
        return jnp.concatenate([p[0] - slopes[0], p[1] + slopes[1]])

    guess = np.concatenate([path, np.gradient(path, times, axis=0)], axis=1)
    solution = boundary.solve(
        boundary.System(field), boundary.Conditions(ends), method, Guess(times, guess), tolerance=1e-11
    )
    assert int(solution.status) == Status.converged, solution.sentence
    return np.asarray(solution.y[:, :size])


@pytest.mark.parametrize("name", ["pendulum", pytest.param("linear", marks=pytest.mark.slow), "lorenz63"])
def test_three_roads_that_are_one_discretisation(name):
    """The midpoint action's minimum, its discrete Euler–Lagrange equation, and one Gauss point for (x, p)."""
    case = CASES[name]
    times = np.linspace(0.0, case.until, 17)
    path = least(case, times)
    solution = hamiltons(case, times, Gauss(1), path)
    np.testing.assert_allclose(solution.path, path, rtol=0, atol=1e-8)
    term = mechanics.hamilton_term(mechanics.Legendre(case.lagrangian))
    run = diffrax.diffeqsolve(
        term,
        Galerkin(case.lagrangian),
        times[0],
        times[-1],
        None,
        (solution.path[0], solution.momenta[0]),
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.StepTo(ts=times),
    )
    assert run.ys is not None
    np.testing.assert_allclose(run.ys[0], path, rtol=0, atol=1e-8)
    np.testing.assert_allclose(run.ys[1], solution.momenta, rtol=0, atol=1e-7 * np.max(np.abs(solution.momenta)))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_three_roads_meet_as_the_grid_is_refined(name):
    """The midpoint action at order two, both differential equations at order four, towards one path."""
    case = CASES[name]
    fine = np.linspace(0.0, case.until, 33)
    exact = np.asarray(hamiltons(case, fine, Gauss(4), least(case, fine)).path)
    counts = np.array([8, 16, 32])
    gaps = []
    for count in counts:
        times = np.linspace(0.0, case.until, count + 1)
        path, there = least(case, times), exact[:: 32 // count]
        roads = path, euler_lagrange(case, times, Lobatto(3), path), hamiltons(case, times, Gauss(2), path).path
        gaps.append([np.max(np.abs(road - there)) for road in roads])
    slopes = -np.polyfit(np.log(counts), np.log(gaps), 1)[0]
    np.testing.assert_allclose(slopes, [2.0, 4.0, 4.0], rtol=0, atol=0.35)


# ---- Smoothing ----


def smoother(step, noise, measure, error, values, mean, spread):
    """Kalman's filter and Rauch, Tung and Striebel's smoother: x_{n+1} = F x_n + w, y_n = H x_n + e; NaN is missing."""
    means, spreads, ahead = [], [], []
    for y in values:
        here = ~np.isnan(y)
        h, r = measure[here], error[np.ix_(here, here)]
        gain = spread @ h.T @ np.linalg.inv(h @ spread @ h.T + r)
        mean, spread = mean + gain @ (y[here] - h @ mean), spread - gain @ h @ spread
        means.append(mean)
        spreads.append(spread)
        mean, spread = step @ mean, step @ spread @ step.T + noise
        ahead.append((mean, spread))
    for n in range(len(means) - 2, -1, -1):
        gain = spreads[n] @ step.T @ np.linalg.inv(ahead[n][1])
        means[n] = means[n] + gain @ (means[n + 1] - ahead[n][0])
    return np.array(means)


def test_one_gauss_point_is_rauch_tung_and_striebels_smoother():
    """The running cost measures midpoints, ½ (x_n + x_{n+1}), so that the smoother's state holds two neighbours."""
    case, times = CASES["linear"], np.linspace(0.0, 2.0, 41)
    h, eye = times[1], np.eye(2)
    inverse = np.linalg.inv(eye - 0.5 * h * A)
    move, noise = inverse @ (eye + 0.5 * h * A), h * inverse @ np.diag([1 / 2.0, 1 / 3.0]) @ inverse.T
    step, random = np.block([[move, 0 * eye], [eye, 0 * eye]]), np.zeros((4, 4))
    random[:2, :2] = noise
    # (x_n, x_{n−1}): the midpoint's first component, and at the far end the state.
    measure = np.array([[0.5, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    error = np.diag([1.0 / (1.7 * h), 1 / 5.0, 1 / 5.0])
    values = np.full((40, 3), np.nan)
    values[:, 0], values[-1, 1:] = np.sin(0.5 * (times[1:] + times[:-1])), [-1.0, 0.5]
    # The cost of the first end is the prior of x_0, one step of the pair on.
    first, spread = np.array([1.0, 0.0]), eye / 4.0
    mean = np.concatenate([move @ first, first])
    spread = np.block([[move @ spread @ move.T + noise, move @ spread], [spread @ move.T, spread]])
    pairs = smoother(step, random, measure, error, values, mean, spread)
    exact = np.concatenate([pairs[:1, 2:], pairs[:, :2]])
    solution = hamiltons(case, times, Gauss(1), case.path(times))
    np.testing.assert_allclose(solution.path, exact, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_smoothing_lorenz96():
    """Half of eight sites measured: two methods find one path, nearer to the truth than the noise."""
    model, noise = dp.models.Lorenz96(8, 8.0), 0.3
    times = np.arange(0.0, 1.001, 0.05)
    start = 8.0 * jnp.ones(8) + jnp.asarray(np.random.default_rng(0).normal(size=8))
    truth = np.asarray(dp.models.integrate(model, start, times))
    values = truth[:, ::2] + noise * np.random.default_rng(1).normal(size=(times.size, 4))
    tracking = mechanics.Tracking(dp.Observations(times, values, components=(0, 2, 4, 6), noise=noise))
    problem = boundary.Variational(mechanics.ModelError(model, 50.0, tracking), dimension=8)
    found = [boundary.solve(problem, boundary.natural(), m, Guess(times, truth)) for m in (Gauss(3), Lobatto(4))]
    assert [int(s.status) for s in found] == [Status.converged] * 2
    np.testing.assert_allclose(found[0].path, found[1].path, rtol=0, atol=1e-4)
    assert np.sqrt(np.mean((np.asarray(found[0].path) - truth) ** 2)) < noise
