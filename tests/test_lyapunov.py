"""Lyapunov exponents against matrices, identities, and published numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from deepest.models import (
    Lorenz63,
    Lorenz96,
    Unknown,
    conditional_exponents,
    integrate,
    lyapunov_exponents,
)

LONG = 0.2 * np.arange(3001)  # 600 time units, of which 540 count


def settled(model, dimension, seed=0):
    """A state on the attractor."""
    start = jnp.asarray(np.random.default_rng(seed).normal(1.0, 1.0, dimension), float)
    return integrate(model, start, np.array([0.0, 50.0]))[-1]


@pytest.fixture(scope="module")
def lorenz():
    return settled(Lorenz63(), 3)


def flow(t, x, args):
    return args.astype(x.dtype) @ x


# ---- Matrices ----

TIMES = 0.5 * np.arange(401)
TURN = np.array([[1.0, 0.3, -0.4], [0.2, 1.0, 0.3], [-0.3, 0.1, 1.0]])


def turned(matrix):
    return jnp.asarray(TURN @ matrix @ np.linalg.inv(TURN))


REAL = turned(np.diag([0.5, -0.2, -1.5]))


def test_a_matrix_has_the_real_parts_of_its_eigenvalues():
    """Once the directions have turned into the Schur vectors, every interval gives log |e^(λ δt)|, to 1e-8 a step."""
    found = lyapunov_exponents(flow, np.zeros(3), TIMES, REAL)
    # 20 of 200 time units turn the directions: e^(−0.7 · 20) ≈ 1e-6 is left of the others at first, and soon nothing.
    np.testing.assert_allclose(found, [0.5, -0.2, -1.5], atol=1e-6)


@pytest.mark.float32
def test_a_rotation_counts_its_real_part_twice():
    """0.3 ± 2i and −1, mixed: a spiral that is not round gives 0.3 to log(condition)/T, and the trace is exact."""
    spiral = turned(np.array([[0.3, 2.0, 0.0], [-2.0, 0.3, 0.0], [0.0, 0.0, -1.0]]))
    found = lyapunov_exponents(flow, np.zeros(3), TIMES, spiral)
    np.testing.assert_allclose(found, [0.3, 0.3, -1.0], atol=np.log(np.linalg.cond(TURN)) / 180.0)
    assert found.sum() == pytest.approx(float(jnp.trace(spiral)), abs=1e-6 if found.dtype == spiral.dtype else 1e-4)


@pytest.mark.parametrize("driven", [[0], [2]])
def test_conditional_exponents_of_a_matrix_are_those_of_its_blocks(driven):
    """DF_uu is the block of the rows and columns that are free."""
    free = [c for c in range(3) if c not in driven]
    eigenvalues = np.sort(np.linalg.eigvals(np.asarray(REAL)[np.ix_(free, free)]).real)[::-1]
    found = lyapunov_exponents(flow, np.zeros(3), TIMES, REAL, driven=driven)
    np.testing.assert_allclose(found, eigenvalues, atol=1e-6)
    largest = conditional_exponents(flow, np.zeros(3), TIMES, [driven, [], [0, 1, 2]], REAL)
    np.testing.assert_allclose(largest, [eigenvalues[0], 0.5, -np.inf], atol=1e-6)


# ---- Lorenz ----


def test_lorenz63_has_its_published_spectrum(lorenz):
    """0.9056, 0, −14.5723 at σ = 10, ρ = 28, β = 8/3, a number known from far longer runs.

    Over 540 time units the largest is uncertain by 0.013, the second by a bounded number over 540; the divergence is
    constant.
    """
    found = lyapunov_exponents(Lorenz63(), lorenz, LONG)
    np.testing.assert_allclose(found, [0.9056, 0.0, -14.5723], atol=0.04)
    assert abs(found[1]) < 0.01
    assert found.sum() == pytest.approx(-(10.0 + 1.0 + 8.0 / 3.0), abs=1e-6)


def test_lorenz63_driven_by_one_component_is_as_pecora_and_carroll_found():
    """Their table: x drives −1.81, −1.86; y drives −2.67, −9.99; z drives +0.0108, −11.01, at ρ = 60.

    For y the free block is triangular, −σ and −β; for z it is linear in (x, y) and the path itself solves it, so that
    its exponent is 0 and +0.0108 is what their finite time left.
    """
    model = Lorenz63(10.0, 60.0, 8.0 / 3.0)
    start = settled(model, 3)
    x, y, z = (lyapunov_exponents(model, start, LONG, driven=[k]) for k in range(3))
    np.testing.assert_allclose(x, [-1.81, -1.86], atol=0.03)
    np.testing.assert_allclose(y, [-8.0 / 3.0, -10.0], atol=1e-6)
    np.testing.assert_allclose(z, [0.0, -11.0], atol=0.01)  # log of the path's largest over its least, by T
    sums = [-1.0 - 8.0 / 3.0, -10.0 - 8.0 / 3.0, -11.0]
    np.testing.assert_allclose([x.sum(), y.sum(), z.sum()], sums, atol=1e-6)


def test_sets_in_one_run_are_what_each_is_alone(lorenz):
    """A driven set's exponent is its own, whatever stands beside it, and that of no set the free model's."""
    largest = conditional_exponents(Lorenz63(), lorenz, LONG, [[0], [], [0, 1, 2], [0, 2]])
    alone = [lyapunov_exponents(Lorenz63(), lorenz, LONG, driven=one)[0] for one in ([0], [])]
    np.testing.assert_allclose(largest[:2], alone, atol=0.05)  # of different stretches of the same attractor
    assert largest[2] == -np.inf
    assert largest[3] == pytest.approx(-1.0, abs=1e-6)  # y alone is free: dδy/dt = −δy


def test_measuring_more_of_lorenz96_makes_it_forget():
    """λ_1 of a chaos with none; less with a half; −1, exactly, where sites left free do not touch: −x_a is all then."""
    model = Lorenz96(6, 8.17)
    sets = [[], [0, 1, 2], [0, 1, 3, 4], [0, 1, 2, 3, 4]]
    free, half, *rest = conditional_exponents(model, settled(model, 6), 0.1 * np.arange(1001), sets)
    assert free > 0.5 > half > -0.9
    np.testing.assert_allclose(rest, -1.0, atol=1e-6)


# ---- What cannot be ----


def test_a_path_that_blows_up_has_no_exponents():
    """dx/dt = x² from 1 is infinite at t = 1; nothing is raised, as `integrate` raises nothing."""
    assert np.isnan(conditional_exponents(lambda t, x, args: x**2, np.ones(2), np.arange(4.0), [[], [0]])).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"start": np.ones((1, 3))}, r"shape \(D,\); received shape \(1, 3\)"),
        ({"times": np.zeros(1)}, "at least two times"),
        ({"times": np.array([0.0, 0.0])}, "that increase"),
        ({"count": 4}, "1 to 3 exponents; received count=4"),
        ({"driven": [0, 1], "count": 2}, "1 to 1 exponents; received count=2"),
        ({"driven": [0, 1, 2]}, "received count=0"),
        ({"driven": [3]}, "between 0 and 2; received 3"),
        ({"model": Lorenz63(Unknown(5.0, 20.0))}, "numbers everywhere; this one has an Unknown"),
    ],
)
def test_what_cannot_be_is_said(changes, sentence):
    given = {"model": Lorenz63(), "start": np.ones(3), "times": np.arange(3.0), **changes}
    with pytest.raises(ValueError, match=sentence):
        lyapunov_exponents(given.pop("model"), given.pop("start"), given.pop("times"), **given)
