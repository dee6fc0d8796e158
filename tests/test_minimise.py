"""Minimisers against dense solves, smoothers and scipy, and what they say when they cannot."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from deepest.action import Action
from deepest.linalg import AbstractKernel, BlockVector, BorderedTridiagonal, Leading, Sweep, dot
from deepest.minimise import AbstractBlockProblem, Box, DampedNewton, Penalty, PrimalDual, Quadratic, Status, implicit
from deepest.models import Lorenz63, Normal, Unknown
from deepest.paths import Observations
from deepest.transcription import HermiteSimpson, OneStep, Trapezoid

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
flat = lambda z: ravel_pytree(z)[0]
array = lambda x: jnp.asarray(np.asarray(x), float)


class Quadric(AbstractBlockProblem):
    """½ zᵀ H z − bᵀ z + 9, on three nodes of two, interiors of one, one parameter; `honest` = −1 lies about ∇."""

    load: BlockVector
    honest: jax.Array
    system: BorderedTridiagonal
    kernel: AbstractKernel = Sweep()
    bounds: Box | None = None

    def cost(self, z):
        return 0.5 * dot(z, self.system.mv(z)) - dot(self.load, z) + 9.0

    def quadratic(self, z, curvature):
        gradient = jax.tree.map(lambda a, b: self.honest * (a - b), self.system.mv(z), self.load)
        return Quadratic(self.cost(z), gradient, self.system, jax.tree.map(jnp.ones_like, gradient))


def quadric(load, honest=1.0):
    """Diagonally dominant, with different numbers everywhere, and its Hessian as a dense matrix."""
    rng = np.random.default_rng(4)
    draw = lambda *shape: array(rng.uniform(-0.5, 0.5, shape))
    symmetric = lambda a: 0.5 * (a + a.mT) + 6.0 * jnp.eye(a.shape[-1])[None]
    shapes = {"upper": (2, 2, 2), "border": (3, 2, 1), "left": (2, 2, 1), "right": (2, 2, 1), "inner": (2, 1, 1)}
    system = BorderedTridiagonal(
        diagonal=symmetric(draw(3, 2, 2)),
        interior=symmetric(draw(2, 1, 1)),
        corner=symmetric(draw(1, 1, 1))[0],
        **{name: draw(*shape) for name, shape in shapes.items()},
        layout=Leading(),
    )
    return Quadric(load, array(honest), system)


ZERO = BlockVector(array(np.zeros((3, 2))), array(np.zeros((2, 1))), array(np.zeros(1)))
LOAD = BlockVector(array([[1.0, -2.0], [0.5, 3.0], [-1.0, 1.0]]), array([[2.0], [-1.0]]), array([0.7]))


def dense(problem):
    times = lambda unit: flat(problem.system.mv(ravel_pytree(ZERO)[1](unit)))
    return np.asarray(jax.jit(jax.vmap(times, out_axes=1))(jnp.eye(flat(ZERO).size)))


@pytest.mark.float32
def test_one_step_solves_a_quadratic_problem():
    """The condition number is below 10: the step is the dense solution to a few eps."""
    problem = quadric(LOAD)
    step = jax.jit(lambda z: DampedNewton(limit=1).minimise(problem, z, tolerance=100 * EPS, damping=0.0))(ZERO)
    np.testing.assert_allclose(flat(step.z), np.linalg.solve(dense(problem), flat(LOAD)), rtol=100 * EPS)
    assert (int(step.steps), Status(int(step.status))) == (1, Status.converged)


def test_every_member_of_a_batch_ends_with_its_own_status():
    """A good start; one that is not finite; a gradient that points uphill; a far one; a damping that stops all."""
    problem, far = quadric(LOAD), np.array([0.0, np.nan, 0.0, 3.0, 3.0])
    starts = jax.tree.map(lambda x: jnp.stack([x + shift for shift in array(far)]), ZERO)
    honest, damping = array([1.0, 1.0, -1.0, 1.0, 1.0]), array([0.1, 0.1, 0.1, 0.1, 1e9])

    def run(z, sign, damping):
        lying = eqx.tree_at(lambda p: p.honest, problem, sign)
        return DampedNewton().minimise(lying, z, tolerance=1e-3, damping=damping)

    end = jax.jit(jax.vmap(run))(starts, honest, damping)
    expected = [Status.converged, Status.not_finite, Status.stalled, Status.converged]
    assert [Status(int(s)) for s in end.status[:4]] == expected
    np.testing.assert_array_equal(end.z.nodes[2], ZERO.nodes)
    best = problem.cost(ravel_pytree(ZERO)[1](array(np.linalg.solve(dense(problem), flat(LOAD)))))
    for status, cost in zip(end.status, end.cost, strict=True):
        # A tolerance of 1e-3 of the cost, for steps that gain a factor of ten each.
        assert status != Status.converged or abs(cost - best) < 1e-3 * best
    assert all(status.sentence.endswith(".") for status in Status)


@pytest.mark.float32
def test_the_implicit_minimum_has_the_derivative_of_the_dense_solution():
    """z* = H⁻¹ b, so that ∂z*/∂b = H⁻¹, in forward and in reverse mode, and its value is the z given."""
    problem, at = quadric(LOAD), ravel_pytree(ZERO)[1]
    best = at(array(np.linalg.solve(dense(problem), flat(LOAD))))
    solve = lambda b: flat(implicit(eqx.tree_at(lambda p: p.load, problem, at(b)), best, array(0.0))[0])
    inverse = np.linalg.inv(dense(problem))
    modes = jax.jit(lambda b: (solve(b), jax.jacfwd(solve)(b), jax.jacrev(solve)(b)))
    value, *derivatives = modes(flat(LOAD))
    np.testing.assert_allclose(value, flat(best), rtol=100 * EPS)
    for derivative in derivatives:
        np.testing.assert_allclose(derivative, inverse, atol=100 * EPS)
    cost = lambda b: implicit(eqx.tree_at(lambda p: p.load, problem, at(b)), best, array(3.0))[1]
    value, slope = jax.jit(jax.value_and_grad(cost))(flat(LOAD))
    np.testing.assert_allclose(value, 3.0)
    np.testing.assert_allclose(slope, -flat(best), rtol=100 * EPS)


PHI, Q, R = np.array([[0.9, 0.3], [-0.2, 0.95]]), np.array([[0.2, 0.05], [0.05, 0.1]]), 0.25
MEAN, DEVIATION = np.array([1.0, -0.5]), np.array([0.8, 1.5])


def smoother(values):
    """Kalman's filter forward, Rauch, Tung and Striebel's backward: means of x given all of y = x_0 + noise."""
    m, p, filtered = MEAN, np.diag(DEVIATION**2), []
    for k, y in enumerate(values):
        if k:
            m, p = PHI @ m, PHI @ p @ PHI.T + Q
        if np.isfinite(y):
            gain = p[:, 0] / (p[0, 0] + R)
            m, p = m + gain * (y - m[0]), p - np.outer(gain, p[0])
        filtered.append((m, p))
    means = [m]
    for m, p in filtered[-2::-1]:
        back = p @ PHI.T @ np.linalg.inv(PHI @ p @ PHI.T + Q)
        means.append(m + back @ (means[-1] - PHI @ m))
    return np.array(means[::-1])


def test_the_minimum_of_a_linear_gaussian_action_is_the_smoother_mean():
    """x_{n+1} = Φ x_n + N(0, Q): to rounding, at condition numbers near 1e3."""
    values = np.random.default_rng(5).normal(0.0, 1.0, 15)
    values[[3, 4, 9]] = np.nan
    observations = Observations(np.arange(15.0), values[:, None], components=[0], precision=1.0 / R)
    options = {"model_precision": np.linalg.inv(Q), "initial": Normal(MEAN, DEVIATION)}
    field, step = lambda t, x, args: jnp.asarray(PHI) @ x, OneStep(lambda field, t, h, x: field(t, x))
    action = Action(field, observations, step, dimension=2, **options)
    start = action.pack(jnp.zeros((15, 2)), jnp.zeros(0))
    end = jax.jit(lambda z: DampedNewton().minimise(action.at(R), z, tolerance=1e-12, damping=0.0))(start)
    np.testing.assert_allclose(action.unpack(end.z)[0], smoother(values), rtol=0, atol=1e4 * EPS)
    assert (Status(int(end.status)), int(end.steps)) == (Status.converged, 1)


TIMES = np.linspace(0.0, 4.0, 9)
GROWTH = (1.0 / (1.0 + 9.0 * np.exp(-1.6 * TIMES)) + 0.1 * np.cos(7.0 * TIMES))[:, None]


@pytest.mark.parametrize(
    ("transcription", "curvature", "form"),
    [(Trapezoid(), False, Penalty()), (HermiteSimpson(), True, Penalty()), (HermiteSimpson(), True, PrimalDual())],
    ids=["first", "exact", "primal-dual"],
)
def test_bounds_are_kept_exactly_and_the_minimum_is_scipys(transcription, curvature, form):
    """Logistic growth that wants rate 1.6, capacity 1 and a start at 0.1, in a box that ends at 0.7, 0.8 and 0.2."""
    field, observations = lambda t, x, a: a * x * (1.0 - x), Observations(TIMES, GROWTH, noise=0.1)
    options = {"steps": transcription.stride, "dimension": 1, "args": Unknown(0.2, 0.7), "bounds": (0.2, 0.8)}
    action = Action(field, observations, transcription, **options)
    problem, at = action.at(1.0), ravel_pytree(action.pack(jnp.zeros((action.grid.size, 1)), jnp.zeros(1)))[1]
    starts = np.random.default_rng(6).uniform(-0.5, 1.5, (5, action.grid.size + 1))
    solver = DampedNewton(form=form)
    minimise = lambda u: solver.minimise(problem, at(u), tolerance=1e-14, curvature=curvature)
    end = jax.jit(jax.vmap(minimise))(jnp.asarray(starts))
    assert np.all(end.status == Status.converged)

    value = jax.jit(jax.value_and_grad(lambda u: problem.cost(at(u))))
    lower, upper = (np.asarray(flat(side)) for side in (problem.bounds.lower, problem.bounds.upper))
    theirs = minimize(
        lambda u: [np.asarray(x) for x in value(u)],
        np.clip(starts[0], lower, upper),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)),
        options={"ftol": 1e-15, "gtol": 1e-9},
    )
    np.testing.assert_allclose(end.cost, theirs.fun, rtol=1e-10)
    for z in np.asarray(jax.vmap(flat)(end.z)):
        assert np.all((z >= lower) & (z <= upper))
        # L-BFGS-B stops where the cost no longer changes: the square root of its 1e-15 in the unknowns.
        np.testing.assert_allclose(z, theirs.x, atol=1e-6)
        gradient, low, high = np.asarray(value(z)[1]), z == lower, z == upper
        assert high[-1] and low.sum() >= 1 and high.sum() >= 3
        assert np.all(gradient[low] > 0) and np.all(gradient[high] < 0)
        np.testing.assert_allclose(gradient[~low & ~high], 0.0, atol=1e-5)


def test_exact_second_order_converges_quadratically_to_the_minimum_of_first_order():
    """Undamped steps from near the minimum: each doubles the digits; Gauss-Newton's adds as many as the last."""
    lorenz, x, path = Lorenz63(), jnp.array([-5.0, -6.0, 22.0]), []
    advance = jax.jit(lambda x: x + 0.0125 * lorenz(jnp.zeros(()), x + 0.00625 * lorenz(jnp.zeros(()), x, None), None))
    for k in range(61):
        path, x = [*path, x] if k % 4 == 0 else path, advance(x)
    path, wave = np.stack(path), lambda rate, *shape: np.sin(rate * np.arange(np.prod(shape))).reshape(shape)
    observations = Observations(0.05 * np.arange(16), path[:, :2] + 2.0 * wave(37.0, 16, 2), noise=2.0)
    action = Action(Lorenz63(rho=Unknown(10.0, 50.0)), observations, Trapezoid())
    start = action.pack(jnp.asarray(path + 0.5 * wave(11.0, 16, 3)), jnp.full(1, 27.0))
    solver = DampedNewton(limit=1)
    step = jax.jit(
        lambda z, exact: solver.minimise(action.at(10.0), z, tolerance=1e-14, damping=0.0, curvature=exact).z
    )
    ways = {}
    for exact in (True, False):
        z, ways[exact] = start, []
        for _ in range(20):
            z = step(z, jnp.asarray(exact))
            ways[exact].append(np.asarray(flat(z)))
    away = {exact: np.array([np.abs(z - ways[True][-1]).max() for z in ways[exact]]) for exact in ways}
    newton = away[True][away[True] > 1e-12]
    orders = np.diff(np.log(newton))[1:] / np.diff(np.log(newton))[:-1]
    assert abs(orders[-1] - 2.0) < 0.35
    assert len(newton) <= 5 and np.sum(away[False] > 1e-12) >= 2 * len(newton)
    assert away[False][-1] < 1e-12
