"""Two-point boundary value problems against closed forms, other solvers, and each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import SLOW, some
from scipy import integrate, optimize

from deepest import boundary, mechanics
from deepest.boundary import (
    Annealed,
    Gauss,
    Guess,
    Lobatto,
    MultipleShooting,
    Obreshkov,
    Refine,
    SingleShooting,
    Status,
    System,
)

# ---- First-order systems with closed forms ----


def bratu(strength=1.0):
    """y″ + λ e^y = 0 with y(0) = y(1) = 0: two solutions for λ < 3.51."""
    problem = System(lambda t, y, q: jnp.stack([y[1], -strength * jnp.exp(y[0])]))
    return problem, boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0], yb[0]]))


BRATU = bratu()  # one function, so that it is compiled once


def bratu_exact(t, branch, strength=1.0):
    """y and y′ with θ = √(2λ) cosh(θ/4), which has two roots."""
    bracket = [(0.1, 4.79), (4.8, 20.0)][branch]
    theta = optimize.brentq(lambda x: x - np.sqrt(2 * strength) * np.cosh(x / 4), *bracket, xtol=1e-14)
    value = -2 * np.log(np.cosh((t - 0.5) * theta / 2) / np.cosh(theta / 4))
    return np.stack([value, -theta * np.tanh((t - 0.5) * theta / 2)], axis=-1)


def bump(times, height):
    shape = np.sin(np.pi * times)
    return np.stack([height * shape, height * np.pi * np.cos(np.pi * times)], axis=1)


@some("gauss", "lobatto")
@pytest.mark.parametrize(("branch", "height"), [(0, 0.1), (1, 4.0)])
def test_both_branches_of_bratus_problem(method, branch, height):
    times = np.linspace(0.0, 1.0, 33)
    solution = boundary.solve(*BRATU, method, Guess(times, bump(times, height)))
    assert Status(int(solution.status)) == Status.converged, solution.sentence
    np.testing.assert_allclose(solution.y, bratu_exact(np.asarray(solution.times), branch), rtol=0, atol=2e-7)
    if branch == 0 and not isinstance(method, SingleShooting):
        between = np.array([0.013, 0.4, 0.777])
        np.testing.assert_allclose(solution(between), bratu_exact(between, branch), rtol=0, atol=2e-5)


COLLOCATION = [
    (Gauss(2), 4),
    (Obreshkov(2), 4),
    pytest.param(Obreshkov(3), 6, marks=SLOW),
    *(pytest.param(Gauss(s), 2 * s, marks=SLOW) for s in (1, 3)),
    *(pytest.param(Lobatto(s), 2 * s - 2, marks=SLOW) for s in (2, 3, 4)),
]


@pytest.mark.parametrize(("method", "order"), COLLOCATION, ids=lambda x: str(x))
def test_collocation_has_its_order_at_the_nodes(method, order):
    steep = bratu(3.0)

    def error(count):
        times = np.linspace(0.0, 1.0, count + 1)
        solution = boundary.solve(*steep, method, Guess(times, bump(times, 0.5)), tolerance=1e-12)
        assert int(solution.status) == Status.converged
        return np.max(np.abs(solution.y - bratu_exact(times, 0, 3.0)))

    counts = np.array([4, 8]) * (2 if order < 6 else 1)
    coarse, fine = (error(count) for count in counts)
    assert abs(np.log2(coarse / fine) - order) < 0.35


@pytest.mark.parametrize(("method", "other"), [(Obreshkov(1), Lobatto(2)), (Obreshkov(3), Gauss(3))], ids=str)
def test_derivatives_at_the_nodes_are_other_methods_where_these_are_the_same(method, other):
    """One derivative is the trapezoid for every problem; on y′ = A y k of them are Padé's e^{hA}, as k Gauss points."""
    linear = System(lambda t, y, q: jnp.stack([y[1], -3.0 * y[0] - 0.5 * y[1]])), BRATU[1]
    given = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0] - 1.0, yb[0] - 2.0]))
    problem = BRATU if method.derivatives == 1 else (linear[0], given)
    times = np.array([0.0, 0.1, 0.35, 0.6, 1.0])
    ours, theirs = (
        boundary.solve(*problem, m, Guess(times, bump(times, 0.1)), tolerance=1e-13) for m in (method, other)
    )
    assert int(ours.status) == int(theirs.status) == Status.converged
    np.testing.assert_allclose(ours.y, theirs.y, rtol=0, atol=1e-12)


@some("lobatto")
def test_an_eigenvalue_is_an_unknown_parameter(method):
    """y″ + k² y = 0, y(0) = y(1) = 0, y′(0) = k: k = 2π and y = sin 2πt near the guess."""
    problem = System(lambda t, y, q: jnp.stack([y[1], -(q[0] ** 2) * y[0]]))
    conditions = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0], yb[0], ya[1] - q[0]]))
    times = np.linspace(0.0, 1.0, 25)
    path = np.stack([np.sin(6.0 * times), 6.0 * np.cos(6.0 * times)], axis=1)
    solution = boundary.solve(problem, conditions, method, Guess(times, path, parameters=[6.0]))
    assert int(solution.status) == Status.converged
    np.testing.assert_allclose(solution.parameters, [2 * np.pi], rtol=1e-7)
    np.testing.assert_allclose(solution.y[:, 0], np.sin(2 * np.pi * np.asarray(solution.times)), rtol=0, atol=1e-6)


def test_the_period_of_van_der_pols_oscillator():
    """With μ = 1 it is 6.6632868593231; time is counted in periods, and x = 0 at its start."""
    problem = System(lambda t, y, q: q[0] * jnp.stack([y[1], (1.0 - y[0] ** 2) * y[1] - y[0]]))
    conditions = boundary.Conditions(lambda ya, yb, q: jnp.concatenate([yb - ya, ya[:1]]))
    times = np.linspace(0.0, 1.0, 65)
    path = 2.0 * np.stack([np.sin(2 * np.pi * times), np.cos(2 * np.pi * times)], axis=1)
    solution = boundary.solve(problem, conditions, Gauss(4), Guess(times, path, parameters=[6.0]), tolerance=1e-11)
    assert int(solution.status) == Status.converged
    np.testing.assert_allclose(solution.parameters[0], 6.6632868593231, rtol=1e-10)


def test_a_forced_oscillator_swings_with_its_force():
    """x″ + x/5 + 2x = cos t, periodic over 2π: x = (cos t + sin t/5)/(1 + 1/25)."""
    problem = System(lambda t, y, q: jnp.stack([y[1], jnp.cos(t) - 0.2 * y[1] - 2.0 * y[0]]))
    times = np.linspace(0.0, 2 * np.pi, 41)
    solution = boundary.solve(problem, boundary.Periodic(), Gauss(3), Guess(times, np.zeros((41, 2))))
    exact = (np.cos(times) + 0.2 * np.sin(times)) / 1.04
    np.testing.assert_allclose(solution.y[:, 0], exact, rtol=0, atol=1e-8)
    assert int(solution.steps) == 1  # a linear problem


# ---- Refinement ----


def layer(width):
    """ε² y″ = y with y(0) = 1, y(1) = 0: a layer of width ε at the start."""
    problem = System(lambda t, y, q: jnp.stack([y[1], y[0] / width**2]))
    conditions = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0] - 1.0, yb[0]]))
    exact = lambda t: np.sinh((1.0 - t) / width) / np.sinh(1.0 / width)
    return problem, conditions, exact


def test_the_mesh_is_refined_where_the_layer_is():
    problem, conditions, exact = layer(0.01)
    times = np.linspace(0.0, 1.0, 11)
    solution = boundary.solve(
        problem, conditions, Lobatto(3), Guess(times, np.zeros((11, 2))), refine=Refine(tolerance=1e-4)
    )
    assert int(solution.status) == Status.converged
    assert float(jnp.max(solution.defects)) <= 1e-4
    fine = np.linspace(0.0, 1.0, 500)
    np.testing.assert_allclose(solution(fine)[:, 0], exact(fine), rtol=0, atol=1e-6)
    widths = np.diff(solution.times)
    assert widths[0] < 0.05 * widths[-1]
    even = boundary.solve(
        problem, conditions, Lobatto(3), Guess(np.linspace(0.0, 1.0, widths.size + 1), np.zeros((widths.size + 1, 2)))
    )
    assert float(jnp.max(even.defects)) > 30 * float(jnp.max(solution.defects))


def test_the_mesh_of_derivatives_is_refined_too():
    """Its defect is as small as is asked, and its polynomial as near between the nodes as at them."""
    problem, conditions, exact = layer(0.01)
    times, fine = np.linspace(0.0, 1.0, 11), np.linspace(0.0, 1.0, 500)
    solution = boundary.solve(problem, conditions, Obreshkov(3), Guess(times, np.zeros((11, 2))), refine=Refine(1e-4))
    assert int(solution.status) == Status.converged
    assert float(jnp.max(solution.defects)) <= 1e-4
    at_nodes = np.max(np.abs(solution.y[:, 0] - exact(np.asarray(solution.times))))
    between = np.max(np.abs(solution(fine)[:, 0] - exact(fine)))
    assert between < max(2.0 * at_nodes, 1e-9)


@pytest.mark.parametrize("method", [Obreshkov(3), pytest.param(Gauss(3), marks=SLOW)], ids=str)
def test_a_coarse_mesh_first_takes_most_of_the_steps(method):
    """Troesch's problem: the same solution, and on all the nodes one or two steps are left."""
    problem = System(lambda t, y, q: jnp.stack([y[1], 5.0 * jnp.sinh(5.0 * y[0])]))
    conditions = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0], yb[0] - 1.0]))
    times = np.linspace(0.0, 1.0, 49) ** 0.5
    guess = Guess(times, np.stack([times, np.ones(49)], axis=1))
    few = Guess(times[::4], guess.path[::4])
    alone, after = (boundary.solve(problem, conditions, method, guess, tolerance=1e-10, coarse=c) for c in (None, 12))
    coarse = boundary.solve(problem, conditions, method, few, tolerance=1e-3)
    assert int(alone.status) == int(after.status) == int(coarse.status) == Status.converged
    np.testing.assert_allclose(after.y, alone.y, rtol=1e-8, atol=1e-8)
    assert int(after.steps) - int(coarse.steps) <= 2 < int(alone.steps)


def test_a_mesh_that_may_not_grow_is_said():
    problem, conditions, _ = layer(0.001)
    guess = Guess(np.linspace(0.0, 1.0, 11), np.zeros((11, 2)))
    solution = boundary.solve(problem, conditions, Lobatto(3), guess, refine=Refine(tolerance=1e-6, intervals=19))
    assert int(solution.status) == Status.mesh_limit
    assert "intervals=" in solution.sentence


def test_scipys_solver_agrees():
    """A nonlinear problem of its documentation, to the tolerance of both."""
    times = np.linspace(0.0, 1.0, 33)
    guess = np.zeros((33, 2))
    guess[:, 0] = 3.0
    ours = boundary.solve(*BRATU, Lobatto(4), Guess(times, guess), refine=Refine(tolerance=1e-6))
    theirs = integrate.solve_bvp(
        lambda x, y: np.vstack([y[1], -np.exp(y[0])]), lambda a, b: np.array([a[0], b[0]]), times, guess.T, tol=1e-6
    )
    fine = np.linspace(0.0, 1.0, 100)
    np.testing.assert_allclose(ours(fine), theirs.sol(fine).T, rtol=0, atol=1e-6)


# ---- Derivatives, batches ----


@some("gauss")
def test_derivatives_are_those_of_the_closed_form(method):
    """dy(½)/dλ and d²y(½)/dλ² of Bratu's problem."""
    times = np.linspace(0.0, 1.0, 17)

    def middle(strength):
        solution = boundary.solve(*bratu(strength), method, Guess(times, bump(times, 0.1)), tolerance=1e-12)
        return solution(0.5)[0]

    exact = lambda strength: bratu_exact(np.asarray(0.5), 0, strength)[0]
    step = 1e-3
    first = (exact(1 + step) - exact(1 - step)) / (2 * step)
    second = (exact(1 + step) - 2 * exact(1.0) + exact(1 - step)) / step**2
    one, slope = jnp.asarray(1.0), jax.grad(middle)
    if isinstance(method, (Gauss, Lobatto)):
        found, bend = jax.jit(lambda strength: jax.jvp(slope, (strength,), (one,)))(one)
        np.testing.assert_allclose(found, first, rtol=2e-6)
        np.testing.assert_allclose(bend, second, rtol=1e-4)
    else:
        np.testing.assert_allclose(jax.jit(slope)(one), first, rtol=2e-6)


@pytest.mark.parametrize("method", [Obreshkov(3), pytest.param(Gauss(3), marks=SLOW)], ids=str)
def test_a_batch_is_each_alone_with_its_derivatives(method):
    """Over λ, with problems that need different numbers of Newton's steps, one of which has no solution."""
    times, strengths = np.linspace(0.0, 1.0, 17), jnp.asarray([0.1, 1.0, 3.0, 4.0])

    def middle(strength):
        solution = boundary.solve(*bratu(strength), method, Guess(times, bump(times, 0.1)), tolerance=1e-12)
        return solution(0.5)[0], solution.status

    (values, status), slopes = jax.jit(jax.vmap(jax.value_and_grad(middle, has_aux=True)))(strengths)
    assert status.tolist()[:3] == [Status.converged] * 3
    assert int(status[3]) in (Status.stalled, Status.singular, Status.step_limit)
    exact = np.array([[bratu_exact(np.asarray(0.5), 0, s + d)[0] for d in (-1e-4, 0.0, 1e-4)] for s in (0.1, 1.0, 3.0)])
    np.testing.assert_allclose(values[:3], exact[:, 1], rtol=1e-7)
    np.testing.assert_allclose(slopes[:3], (exact[:, 2] - exact[:, 0]) / 2e-4, rtol=2e-6)


def oscillator(frequency):
    """x″ + x/5 + 2x = cos ωt with period 2π/ω, in ωt."""
    force = lambda t, y, q: jnp.stack([y[1], jnp.cos(t) - 0.2 * y[1] - 2.0 * y[0]]) / frequency
    return System(force), boundary.Periodic()


def test_a_batch_of_linear_problems_keeps_its_solutions():
    """One matrix for all guesses; whole solutions come out of `vmap`, and can be evaluated between the nodes."""
    times = np.linspace(0.0, 2 * np.pi, 101)
    start = lambda path: boundary.solve(*oscillator(1.0), Obreshkov(3), Guess(times, path))
    guesses = jnp.asarray(np.random.default_rng(0).normal(size=(8, 101, 2)))
    solutions = eqx.filter_vmap(start)(guesses)
    at = np.array([0.5, 3.21])
    exact = (np.cos(at) + 0.2 * np.sin(at)) / 1.04
    assert np.all(np.asarray(solutions.status) == Status.converged)
    values = eqx.filter_vmap(lambda s: s(at))(solutions)
    np.testing.assert_allclose(values[:, :, 0], np.broadcast_to(exact, (8, 2)), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="a batch of solutions"):
        solutions(0.5)


def test_a_lane_that_is_not_finite_leaves_the_others_alone():
    """Four unknowns, two Bratu problems in one; NaN in one guess, infinite slopes at another's."""
    times = np.linspace(0.0, 1.0, 9)
    field = lambda t, y, q: jnp.stack([y[1], -jnp.exp(y[0]), y[3], -jnp.exp(y[2])])
    four = System(field), boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0], yb[0], ya[2], yb[2]]))
    path = jnp.asarray(np.tile(bump(times, 0.1), 2))
    paths = jnp.stack([path, path.at[3, 1].set(jnp.nan), 0.5 * path])
    y, status = jax.vmap(lambda p: (lambda s: (s.y, s.status))(boundary.solve(*four, Obreshkov(3), Guess(times, p))))(
        paths
    )
    assert status.tolist() == [Status.converged, Status.not_finite, Status.converged]
    for lane in (0, 2):
        np.testing.assert_allclose(y[lane], np.tile(bratu_exact(times, 0), 2), rtol=0, atol=1e-7)
    root = System(lambda t, y, q: jnp.stack([y[1], -jnp.sqrt(y[0]) - 1.0]))
    solution = boundary.solve(root, BRATU[1], Gauss(2), Guess(times, np.zeros((9, 2))))
    assert int(solution.status) == Status.not_finite


# ---- Bad input ----

TIMES, ONES = np.linspace(0.0, 1.0, 5), np.ones((5, 2))


def linear():
    return boundary.Variational(mechanics.ModelError(lambda t, x, args: -x, 1.0), dimension=2)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: Guess([0.0, 0.0], np.zeros((2, 1))), "must increase"),
        (lambda: Guess(TIMES, np.zeros((4, 1))), r"shape \(5, D\)"),
        (lambda: Gauss(0), "at least one point"),
        (lambda: Lobatto(1), "at least two points"),
        (lambda: Obreshkov(7), "1 to 6 derivatives"),
        (
            lambda: boundary.solve(*BRATU, Gauss(), Guess(TIMES, np.zeros((5, 2))), coarse=5),
            "has 4 intervals, of which coarse= may take 1 to 4; received 5",
        ),
        (
            lambda: boundary.solve(*BRATU, SingleShooting(), Guess(TIMES, np.zeros((5, 2))), coarse=2),
            "shooting controls its own steps",
        ),
        (
            lambda: jax.jit(lambda y: boundary.solve(*BRATU, Gauss(), Guess(TIMES, y), refine=Refine()))(
                np.zeros((5, 2))
            ),
            "refined on the host",
        ),
        (lambda: Annealed(Gauss(), start=2.0), "0 < start < 1"),
        (lambda: Refine(tolerance=0.0), "tolerance > 0"),
        (
            lambda: boundary.solve(*BRATU, Gauss(), Guess(TIMES, np.zeros((5, 3)))),
            r"must return dy/dt as float64\[3\]; received float64\[2\]",
        ),
        (
            lambda: boundary.solve(System(lambda t, y, q: [y[1], y[0]]), BRATU[1], Gauss(), Guess(TIMES, ONES)),
            "one array, as jnp.stack",
        ),
        (
            lambda: boundary.solve(
                BRATU[0], boundary.Conditions(lambda ya, yb, q: ya[:1]), Gauss(), Guess(TIMES, ONES)
            ),
            r"2 unknowns and 0 parameters need their conditions as float64\[2\]; received float64\[1\]",
        ),
        (lambda: boundary.solve(BRATU[0], boundary.natural(), Gauss(), Guess(TIMES, np.zeros((5, 2)))), "no momenta"),
        (lambda: boundary.solve(*BRATU, Annealed(Gauss()), Guess(TIMES, np.zeros((5, 2)))), "R_f to anneal"),
        (
            lambda: boundary.solve(*BRATU, MultipleShooting(), Guess(TIMES, np.zeros((5, 2))), refine=Refine()),
            "Only collocation",
        ),
        (
            lambda: boundary.solve(linear(), boundary.mixed({5: 0.0}), Gauss(), Guess(TIMES, np.zeros((5, 2)))),
            "Component 5",
        ),
        (
            lambda: boundary.solve(linear(), boundary.fixed([1.0], [1.0]), Gauss(), Guess(TIMES, np.zeros((5, 3)))),
            r"\(5, 2\)",
        ),
    ],
)
def test_bad_input_is_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        bad()


def test_a_singular_problem_is_said():
    """y(0) is asked for twice; and a resonant force has no periodic answer, which may only show as steps that fail."""
    times = np.linspace(0.0, 2 * np.pi, 41)
    guess, swing = Guess(times, np.ones((41, 2))), lambda t, y, q: jnp.stack([y[1], jnp.cos(t) - y[0]])
    twice = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0] - 1.0, ya[0] - 2.0]))
    assert int(boundary.solve(System(swing), twice, Gauss(3), guess).status) == Status.singular
    resonant = boundary.solve(System(swing), boundary.Periodic(), Gauss(3), guess)
    assert int(resonant.status) in (Status.singular, Status.stalled)
