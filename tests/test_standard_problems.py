"""The standard test set of boundary value problems [ascher1995] against scipy at a tight tolerance and known values."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from deepest import boundary
from deepest.boundary import Gauss, Guess, Refine, Status, System


def troesch(xp, t, y):
    return [y[1], 5.0 * xp.sinh(5.0 * y[0])]


def blasius(xp, t, y):
    return [y[1], y[2], -y[0] * y[2]]


def hiemenz(xp, t, y):
    return [y[1], y[2], -y[0] * y[2] - (1.0 - y[1] ** 2)]


def measles(xp, t, y):
    """Susceptible, latent and infective over a year, with a contact rate that has a season."""
    infected = 1575.0 * (1.0 + xp.cos(2.0 * np.pi * t)) * y[0] * y[2]
    return [0.02 - infected, infected - y[1] / 0.0279, y[1] / 0.0279 - y[2] / 0.01]


def swirl(xp, t, y):
    """ε f⁗ + f f‴ + g g′ = 0, ε g″ + f g′ − f′ g = 0 with ε = 0.01: flow between disks that turn against each other."""
    f, f1, f2, f3, g, g1 = (y[i] for i in range(6))
    return [f1, f2, f3, -(f * f3 + g * g1) / 0.01, g1, -(f * g1 - f1 * g) / 0.01]


def plate(ya, yb):
    return [ya[0], ya[1], yb[1] - 1.0]


def rise(t):
    return [t - 1.0 + np.exp(-t), 1.0 - np.exp(-t), np.exp(-t)]


# Field, ends, guess, until, and a component at the start with its value from the literature.
PROBLEMS = {
    "troesch": (troesch, lambda ya, yb: [ya[0], yb[0] - 1.0], lambda t: [t, 1.0], 1.0, (1, 0.0457504614)),
    "blasius": (blasius, plate, rise, 10.0, (2, 0.4695999884)),
    "hiemenz": (hiemenz, plate, rise, 10.0, (2, 1.2325876567)),
    "measles": (measles, lambda ya, yb: [yb[i] - ya[i] for i in range(3)], lambda t: [0.1, 0.005, 0.001], 1.0, None),
    "swirl": (
        swirl,
        lambda ya, yb: [ya[0], ya[1], ya[4] + 1.0, yb[0], yb[1], yb[4] - 1.0],
        lambda t: [0.0, 0.0, 0.0, 0.0, 2.0 * t - 1.0, 2.0],
        1.0,
        None,
    ),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "hiemenz")) for n in PROBLEMS])
def test_a_standard_problem_has_scipys_solution(name):
    field, ends, guess, until, known = PROBLEMS[name]
    times = np.linspace(0.0, until, 65)
    path = np.stack([x + 0.0 * times for x in guess(times)], axis=1)
    problem = System(lambda t, y, q: jnp.stack(field(jnp, t, y)))
    conditions = boundary.Conditions(lambda ya, yb, q: jnp.stack(ends(ya, yb)))
    ours = boundary.solve(problem, conditions, Gauss(4), Guess(times, path), tolerance=1e-11, refine=Refine(1e-6))
    assert int(ours.status) == Status.converged, ours.sentence
    theirs = integrate.solve_bvp(
        lambda t, y: np.vstack(field(np, t, y)),
        lambda a, b: np.array(ends(a, b)),
        times,
        path.T,
        tol=1e-9,
        max_nodes=20000,
    )
    assert theirs.success
    exact = theirs.sol(np.asarray(ours.times)).T
    size = np.max(np.abs(exact), axis=0)
    np.testing.assert_allclose(np.asarray(ours.y) / size, exact / size, rtol=0, atol=2e-7)
    if known is not None:
        component, value = known
        np.testing.assert_allclose(ours.y[0, component], value, rtol=0, atol=1e-9)
