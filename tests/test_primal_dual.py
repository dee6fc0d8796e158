"""The momenta beside the path: saddle points against dense solves, the same steps, and R_f without limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.flatten_util import ravel_pytree

import deepest as dp
from deepest.linalg import BlockVector, BorderedTridiagonal, Equations, Leading, Saddle
from deepest.minimise import DampedNewton, Penalty, PrimalDual, Status, implicit

PRIMAL_DUAL = DampedNewton(form=PrimalDual())
EPS = float(jnp.finfo(jnp.result_type(float)).eps)
flat = lambda z: np.asarray(ravel_pytree(z)[0])


def saddle(count, size, inside, width, slack):
    """All blocks drawn, none zero; the rows' own blocks near the identity, so that they can be solved."""
    rng = np.random.default_rng(2)
    draw = lambda *shape: jnp.asarray(rng.uniform(-0.5, 0.5, shape), float)
    even = lambda a: 0.5 * (a + a.mT)
    hessian = BorderedTridiagonal(
        diagonal=even(draw(count + 1, size, size)),
        upper=draw(count, size, size),
        border=draw(count + 1, size, width),
        interior=even(draw(count, inside, inside)),
        left=draw(count, size, inside),
        right=draw(count, size, inside),
        inner=draw(count, inside, width),
        corner=even(draw(width, width)),
        layout=Leading(),
    )
    rows = size + inside
    eye = lambda first: jnp.eye(rows, dtype=float)[None, :, first]
    equations = Equations(
        left=draw(count, rows, size),
        inside=draw(count, rows, inside) + 2.0 * eye(slice(size, None)),
        right=draw(count, rows, size) + 2.0 * eye(slice(0, size)),
        shared=draw(count, rows, width),
    )
    root = draw(*((count, size, size) if slack == "full" else (1, size)))
    squared = root @ root.mT if slack == "full" else root**2
    gamma = 0.0 * squared if slack == "none" else squared
    return (
        Saddle(hessian, equations, gamma),
        BlockVector(draw(count + 1, size), draw(count, inside), draw(width)),
        draw(count, rows),
    )


@pytest.mark.float32
@pytest.mark.parametrize(
    ("count", "size", "inside", "width", "slack"),
    [(5, 3, 3, 2, "full"), (4, 2, 4, 1, "none"), (7, 2, 0, 0, "diagonal")],
)
def test_a_saddle_point_is_the_dense_solution(count, size, inside, width, slack):
    matrix, gradient, defects = saddle(count, size, inside, width, slack)
    start, at = ravel_pytree(gradient)
    columns = lambda f, n: np.asarray(jax.jit(jax.vmap(f, out_axes=1))(jnp.eye(n, dtype=float)), float)
    h = columns(lambda u: ravel_pytree(matrix.hessian.mv(at(u)))[0], start.size)
    j = columns(lambda u: matrix.equations.mv(at(u)).ravel(), start.size)
    gamma = matrix.slack if slack == "full" else jax.vmap(jnp.diag)(matrix.slack)
    blocks = np.broadcast_to(np.asarray(gamma, float), (count, size, size))
    dense = np.block([[h, j.T], [j, np.zeros((j.shape[0], j.shape[0]))]])
    for k in range(j.shape[0] // size):
        place = slice(start.size + k * size, start.size + (k + 1) * size)
        dense[place, place] = -blocks[k // (1 + inside // size)]
    right = -np.concatenate([start, defects.ravel()])
    found = jax.jit(lambda m, g, c: m.solve(g, c))(matrix, gradient, defects)
    exact = np.linalg.solve(dense, right)
    product = np.concatenate([flat(x) for x in jax.jit(lambda m, d, p: m.mv(d, p))(matrix, gradient, defects)])
    np.testing.assert_allclose(product, -dense @ right, rtol=0, atol=100 * EPS)
    error = np.concatenate([flat(found[0]), found[1].ravel()]) - exact
    assert np.max(np.abs(error)) < 20.0 * EPS * np.linalg.cond(dense) * np.max(np.abs(exact))


def short(transcription=None, upper=50.0, **options):
    """Lorenz63 over 0.75 time units, x and y measured, ρ unknown and at most `upper`; near the truth."""
    model, times = dp.models.Lorenz63(), 0.05 * np.arange(16)
    path = np.asarray(dp.models.integrate(model, jnp.array([-5.0, -6.0, 22.0]), times))
    wave = lambda rate, *shape: np.sin(rate * np.arange(np.prod(shape))).reshape(shape)
    observations = dp.Observations(times, path[:, :2] + 0.5 * wave(37.0, 16, 2), noise=0.5)
    unknown = dp.models.Lorenz63(rho=dp.Unknown(10.0, upper, prior=dp.Normal(27.0, 5.0)))
    transcription = dp.RungeKutta4() if transcription is None else transcription
    action = dp.Action(unknown, observations, transcription, steps=transcription.stride, **options)
    fine = np.asarray(dp.models.integrate(model, jnp.array([-5.0, -6.0, 22.0]), action.grid.times))
    start = action.pack(jnp.asarray(fine + 0.3 * wave(11.0, *fine.shape)), jnp.full(1, 27.0))
    return action, start


def step(x, rho, h=0.05):
    """One step of the classical Runge–Kutta method for Lorenz63."""
    field = lambda x: dp.models.Lorenz63(rho=rho)(jnp.zeros(()), x, None)
    one = field(x)
    two = field(x + 0.5 * h * one)
    three = field(x + 0.5 * h * two)
    return x + h / 6.0 * (one + 2.0 * two + 2.0 * three + field(x + h * three))


def fly(x, rho, steps):
    """The states after each step."""

    def further(x, _):
        x = step(x, rho)
        return x, x

    return lax.scan(further, x, None, length=steps)[1]


@pytest.mark.parametrize("curvature", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_steps_are_those_of_the_normal_equations(curvature):
    """With Gauss–Newton's matrix the momenta are eliminated to the same equations; with Σ p·∇²c from the second on,
    where p is the last step's instead of R_f c, they only end at the same minimum."""
    root = np.array([[1.0, 0.0, 0.0], [0.4, 1.5, 0.0], [-0.3, 0.2, 0.8]])
    action, z = short(dp.HermiteSimpson(), model_precision=root @ root.T)
    run = lambda form: jax.jit(
        lambda tolerance: DampedNewton(100, form).minimise(
            action.at(20.0), z, tolerance=tolerance, damping=1e-3, curvature=curvature
        )
    )
    forms = run(Penalty()), run(PrimalDual())
    one, other = (form(jnp.inf) for form in forms)  # content with whatever the first step gains
    assert (int(one.steps), int(other.steps)) == (1, 1)
    if not curvature:
        np.testing.assert_allclose(flat(other.z), flat(one.z), rtol=0, atol=1e-8)
        assert one.momenta.size == 0
    ends = [form(1e-13) for form in forms]
    assert [Status(int(end.status)) for end in ends] == [Status.converged] * 2
    np.testing.assert_allclose(flat(ends[1].z), flat(ends[0].z), rtol=0, atol=1e-6)
    np.testing.assert_allclose(ends[1].cost, ends[0].cost, rtol=1e-12)
    residuals = action.transcription.residuals(action.at(20.0).problem, ends[1].z)
    pull = np.einsum("ij,kdj->kdi", 20.0 * float(action.reference) * root @ root.T, residuals)
    np.testing.assert_allclose(ends[1].momenta, pull.reshape(ends[1].momenta.shape), rtol=0, atol=1e-6)


def test_a_strong_constraint_is_multiple_shooting_and_its_momenta_backpropagation():
    """R_f = ∞ against Newton's method for the states that start five shots and ρ; then x_{n+1} = f(x_n) exactly, and
    p_{n+1} = −∂C/∂x_{n+1} for the cost C of all that follows, by automatic differentiation."""
    action, z = short()
    ladder = dp.Ladder(start=1e2, factor=10.0, rungs=3)
    result = dp.anneal(action, ladder, starts=(action.unpack(z)[0][None], z.shared[None]), stop=False, prune=None)
    ours = result.strong_constraint()
    assert ours.status == Status.converged
    path, rho = ours.estimate.path, ours.estimate.parameters["rho"]
    shots, width = 5, 3
    values = jnp.asarray(action.observations.values)

    def cost(x, rho, first):
        """½ Σ R_m (x − y)² from point `first` on, after a forward pass from there; beyond the data nothing counts."""
        flown = jnp.concatenate([x[None], fly(x, rho, 15)])
        misses = flown[:, :2] - jnp.roll(values, -first, axis=0)
        return 2.0 * jnp.sum(jnp.where((jnp.arange(16) < 16 - first)[:, None], misses, 0.0) ** 2)

    def shot(u):
        states = u[:-1].reshape(shots, 3)
        return jnp.concatenate([states[:, None], jax.vmap(lambda x: fly(x, u[-1], width))(states)], axis=1)

    def total(u):
        flown = shot(u)
        each = jnp.concatenate([flown[:, :width].reshape(-1, 3), flown[-1:, -1]])
        return 2.0 * jnp.sum((each[:, :2] - values) ** 2) + 0.5 * ((u[-1] - 27.0) / 5.0) ** 2

    def gaps(u):
        return (shot(u)[:-1, -1] - u[:-1].reshape(shots, 3)[1:]).ravel()

    @jax.jit
    def newton(v):
        """A step of Newton's method for the shots' states, ρ and the multipliers of the gaps."""
        lagrangian = lambda v: total(v[: 3 * shots + 1]) + v[3 * shots + 1 :] @ gaps(v[: 3 * shots + 1])
        return v - jnp.linalg.solve(jax.hessian(lagrangian)(v), jax.grad(lagrangian)(v))

    theirs = np.concatenate([np.asarray(action.unpack(z)[0])[:15:width].ravel(), [27.0], np.zeros(3 * shots - 3)])
    for _ in range(30):
        before, theirs = theirs, np.asarray(newton(theirs))
    np.testing.assert_allclose(theirs, before, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.append(path[:15:width].ravel(), rho), theirs[: 3 * shots + 1], rtol=0, atol=1e-8)
    level = float(2.0 / values.size * total(theirs[: 3 * shots + 1]))
    np.testing.assert_allclose(ours.estimate.level, level, rtol=1e-12)
    flown = fly(jnp.asarray(path[0]), jnp.asarray(rho), 15)
    np.testing.assert_allclose(path[1:], flown, atol=1e-10)
    at = np.array([0, 1, 7, 15])
    back = np.asarray(jax.jit(jax.vmap(jax.grad(cost), in_axes=(0, None, 0)))(path[at], rho, at))
    np.testing.assert_allclose(back[0], 0.0, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.momenta[[0, 6, 14], 0], -back[1:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("upper", [pytest.param(50.0, marks=pytest.mark.slow), 26.5])
def test_derivatives_of_a_strong_constraint_are_those_of_its_initial_state(upper):
    """R_f = ∞: path, ρ and cost by the data, against u = (x_0, ρ) that minimises the cost C of its own flow,

        du = −(∇²C)⁻¹ ∂_y ∇C dy,  dC = ∂_y C dy,

    dense; with ρ free and at its bound, in both modes, in a batch and one after the other.
    """
    action, z = short(upper=upper)
    values, exact = jnp.asarray(action.observations.values), action.at(jnp.inf)
    end = jax.jit(lambda z: PRIMAL_DUAL.minimise(exact, z, tolerance=1e-14, damping=1e-6, curvature=True))(z)

    def ours(values):
        z, cost = implicit(action.observe(values).at(jnp.inf), end.z, end.cost)
        path, rho = action.unpack(z)
        return jnp.concatenate([path.ravel(), rho, cost[None]])

    def flown(u):
        return jnp.concatenate([u[:3], fly(u[:3], u[3], 15).ravel(), u[3:]])

    def cost(u, values):
        measured = flown(u)[:-1].reshape(16, 3)[:, :2]
        return 2.0 * jnp.sum((measured - values) ** 2) + 0.5 * ((u[3] - 27.0) / 5.0) ** 2

    @jax.jit
    def dense(u, values):
        """∂_u C, ∂_y C, ∇²C, ∂_y ∇C and the flow's own derivative."""
        slope = jax.grad(cost)
        bend, mixed = jax.jacfwd(slope, argnums=(0, 1))(u, values)
        return slope(u, values), jax.grad(cost, argnums=1)(u, values), bend, mixed, jax.jacfwd(flown)(u)

    u = jnp.concatenate([action.unpack(end.z)[0][0], end.z.shared])
    held = float(u[3]) == upper
    assert held == (upper < 27.0)
    free = np.arange(3 if held else 4)
    slope, rise, bend, mixed, carried = (np.asarray(x) for x in dense(u, values))
    np.testing.assert_allclose(slope[free], 0.0, rtol=0, atol=1e-5)  # of a Hessian's entries near 1e2 and more
    moved = np.zeros(mixed.shape)
    moved[free] = -np.linalg.solve(bend[np.ix_(free, free)], mixed[free].reshape(free.size, -1)).reshape(-1, 16, 2)
    theirs = np.concatenate([np.tensordot(carried, moved, 1), rise[None]])
    pair = jnp.stack([values, values])
    for each in (jax.vmap(jax.jacrev(ours)), lambda pair: lax.map(jax.jacfwd(ours), pair)):
        for one in jax.jit(each)(pair):
            np.testing.assert_allclose(one, theirs, rtol=0, atol=1e-6 * np.max(np.abs(theirs)))
    np.testing.assert_array_equal(
        ours(values), jnp.concatenate([*map(jnp.ravel, action.unpack(end.z)), end.cost[None]])
    )


@pytest.mark.slow
def test_derivatives_of_a_minimum_are_those_of_the_dense_hessian():
    """Finite R_f, a full matrix: dz = −(∇²A)⁻¹ ∂_y ∇A dy by a factor of the data and by one of R_f."""
    root = np.array([[1.0, 0.0, 0.0], [0.4, 1.5, 0.0], [-0.3, 0.2, 0.8]])
    action, z = short(dp.HermiteSimpson(), model_precision=root @ root.T)
    values, factors = jnp.asarray(action.observations.values), jnp.ones(2)
    problem = lambda y: action.observe(y[0] * values).at(20.0 * y[1])
    minimise = lambda z: DampedNewton().minimise(problem(factors), z, tolerance=1e-14, damping=1e-3, curvature=True)
    end = jax.jit(minimise)(z)
    start, at = ravel_pytree(end.z)
    cost = lambda u, y: problem(y).cost(at(u))
    slopes = jax.grad(cost, argnums=(0, 1))
    (_, rise), (dense, mixed) = jax.jit(lambda *at: (slopes(*at), jax.jacfwd(lambda *at: slopes(*at)[0], (0, 1))(*at)))(
        start, factors
    )
    ours = lambda y: ravel_pytree(implicit(problem(y), end.z, end.cost))[0]
    theirs = np.concatenate([-np.linalg.solve(dense, mixed), rise[None]])
    for mode in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jax.jit(mode(ours))(factors), theirs, rtol=0, atol=1e-6 * np.max(np.abs(theirs)))


def test_float32_climbs_as_high_as_float64():
    """To R_f/R_m = 1.2e10: the path to 1e-4 of its size, where normal equations would hold nothing but R_f."""
    ladder, model = dp.Ladder(rungs=24), dp.models.Lorenz96(8, 8.17)
    times, rng = 0.05 * np.arange(31), np.random.default_rng(3)
    truth = np.asarray(dp.models.integrate(model, jnp.asarray(rng.normal(size=8)), np.append(0.0, 12.0 + times)))[1:]
    values = truth[:, ::2] + 0.3 * rng.normal(size=(31, 4))
    starts = (truth[None] + 1.0 * rng.normal(size=(2, 31, 8)), np.full((2, 1), 7.0))

    def climbed():
        observations = dp.Observations(times, values, components=(0, 2, 4, 6), noise=0.3)
        action = dp.Action(dp.models.Lorenz96(8, dp.Unknown(6.0, 10.0)), observations, dp.HermiteSimpson())
        return dp.anneal(action, ladder, starts=starts, prune=None, stop=False)

    double = climbed()
    with jax.enable_x64(False):
        single = climbed()
    assert single.paths.dtype == np.float32
    size = np.linalg.norm(double.paths, axis=(1, 2))
    assert np.all(np.linalg.norm(single.paths - double.paths, axis=(1, 2)) < 1e-4 * size)
    np.testing.assert_allclose(single.levels[-1], double.levels[-1], rtol=1e-4)
    assert np.all(single.status == Status.converged)
