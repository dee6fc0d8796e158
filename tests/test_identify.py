"""How well parameters are known: the action's curvature, its sloppy combinations, and the spread of estimates."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import deepest as dp
from deepest.minimise import Status, precision
from deepest.models import Lorenz63, integrate

TIMES = 0.02 * np.arange(41)


def lorenz63(**model):
    path = np.asarray(integrate(Lorenz63(), jnp.array([-8.0, -7.0, 27.0]), TIMES))
    values = path[:, [0, 2]] + 0.3 * np.random.default_rng(0).normal(size=(41, 2))
    observations = dp.Observations(TIMES, values, components=[0, 2], noise=0.3)
    action = dp.Action(Lorenz63(**model), observations, dp.HermiteSimpson())
    truth = [{"sigma": 10.0, "rho": 28.0, "beta": 8.0 / 3.0}[name] for name in action.estimable.names]
    starts = path[None], np.array([truth])
    return dp.anneal(action, dp.Ladder(1.0, 10.0, 4), starts=starts, prune=None, stop=False)


THREE = {"sigma": dp.Unknown(5.0, 20.0), "rho": dp.Unknown(15.0, 45.0), "beta": dp.Unknown(1.0, 5.0)}


@pytest.mark.parametrize("saddle", [False, True], ids=["normal equations", "primal–dual"])
def test_the_precision_is_the_schur_complement_of_the_gauss_newton_hessian(saddle):
    """JᵀJ of all weighed residuals, dense, from automatic differentiation."""
    result = lorenz63(**THREE)
    problem = result.action.at(result.ratios[-1])
    z = result.action.pack(jnp.asarray(result.paths[0]), jnp.asarray(result.parameters[0]))
    flat, back = ravel_pytree(z)
    action = result.action
    weigh = lambda weight, x: jnp.sqrt(weight) * x

    def residuals(u):
        path = action.unpack(back(u))[0]
        defects = action.transcription.residuals(problem.problem, back(u))
        measured = problem.measurement.residuals(path)
        parts = weigh(problem.measurement.weight, measured), weigh(problem.problem.weight.value[:, None], defects)
        return jnp.concatenate([part.ravel() for part in parts])

    jacobian = jax.jit(jax.jacfwd(residuals))(flat)
    dense = jacobian.T @ jacobian
    path, own = slice(0, -3), slice(-3, None)
    schur = dense[own, own] - dense[own, path] @ jnp.linalg.solve(dense[path, path], dense[path, own])
    ours = jax.jit(lambda z: precision(problem, z, saddle=saddle))(z)
    # The dense solve loses the condition number of 1e3 R_m against the least curvature.
    np.testing.assert_allclose(ours, schur, rtol=1e-6)


def test_a_well_measured_parameter_has_the_deviation_that_repetitions_show():
    """100 noise realisations, one estimate each: their spread, whose own error is 7 %, against Laplace's."""
    times, noise = np.linspace(0.0, 2.0, 41), 0.05
    clean = np.exp(-1.5 * times)[:, None]
    model = lambda t, x, rate: -rate * x
    observations = dp.Observations(times, clean, noise=noise)
    action = dp.Action(model, observations, dp.HermiteSimpson(), args=dp.Unknown(0.1, 5.0), dimension=1)
    values = clean + noise * np.random.default_rng(0).normal(size=(100, 41, 1))
    ladder = dp.Ladder(1.0, 10.0, 6)
    start = jnp.asarray(clean)[None], jnp.full((1, 1), 1.5)
    rates = jax.jit(jax.vmap(lambda y: dp.climb(action.observe(y), *start, ladder)[0].z.shared[0, 0]))(values)
    known = dp.anneal(action, ladder, starts=start, prune=None, stop=False).identify()
    assert np.std(rates) == pytest.approx(known.deviations[0], rel=0.2)
    assert known.loose == ()
    assert known.deviations[0] == pytest.approx(known.covariance[0, 0] ** 0.5)


def test_only_the_product_of_two_factors_is_known():
    """dx/dt = −a b x: one combination is known, and of the other, across it, the data say nothing."""
    times = np.linspace(0.0, 2.0, 41)
    model = lambda t, x, p: -p["a"] * p["b"] * x
    both = {"a": dp.Unknown(0.5, 1.5), "b": dp.Unknown(0.5, 1.5)}
    observations = dp.Observations(times, np.exp(-times)[:, None], noise=0.02)
    action = dp.Action(model, observations, dp.HermiteSimpson(), args=both, dimension=1)
    starts = np.exp(-times)[None, :, None], np.ones((1, 2))
    known = dp.anneal(action, dp.Ladder(1.0, 10.0, 6), starts=starts, prune=None, stop=False).identify()
    spreads, vectors = known.directions
    np.testing.assert_allclose(known.before, 1.0 / np.sqrt(12.0))
    np.testing.assert_allclose(np.abs(vectors[0]), np.sqrt(0.5), rtol=1e-2)
    assert vectors[0].prod() < 0.0 < vectors[1].prod()
    assert spreads[0] == pytest.approx(1.0, abs=0.01) and spreads[1] < 0.2
    assert known.loose == ("a", "b")
    assert "Hardly known from these data: a, b." in str(known)


def test_an_estimate_at_its_bound_is_taken_as_it_is():
    free, held = (lorenz63(sigma=dp.Unknown(5.0, 20.0), rho=dp.Unknown(15.0, high)).identify() for high in (45.0, 27.0))
    assert not free.at_bound.any() and held.at_bound.tolist() == [False, True]
    assert held.deviations[1] == 0.0 and "rho = 27 ± 0, at its bound" in str(held)
    alone = lorenz63(sigma=dp.Unknown(5.0, 20.0), rho=27.0).identify()
    assert held.deviations[0] == pytest.approx(alone.deviations[0], rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"convention": "continuum"},
        pytest.param({"model_precision": np.array([1.0, 1e3, 1e5])}, marks=pytest.mark.slow),
    ],
    ids=["continuum", "components"],
)
def test_single_precision_says_the_same_where_the_model_weighs_more_than_its_ratio(options):
    """R_f/R_m up to 1.2e5 times 20, or 1e5: more than normal equations carry in float32."""
    path = np.asarray(integrate(Lorenz63(), jnp.array([-8.0, -7.0, 27.0]), 0.05 * np.arange(21)))
    values = path + 0.3 * np.random.default_rng(0).normal(size=(21, 3))
    truth = np.array([[10.0, 28.0, 8.0 / 3.0]])

    def known():
        observations = dp.Observations(0.05 * np.arange(21), values, components=[0, 1, 2], noise=0.3)
        action = dp.Action(Lorenz63(**THREE), observations, dp.HermiteSimpson(), **options)
        result = dp.anneal(action, dp.Ladder(1.2e3, 10.0, 3), starts=(path[None], truth), prune=None, stop=False)
        return result.levels[-1, 0], result.identify()

    level, double = known()
    with jax.enable_x64(False):
        rough, single = known()
    assert rough == pytest.approx(level, rel=1e-4)
    np.testing.assert_allclose(single.deviations, double.deviations, rtol=1e-4)


def test_what_rounding_makes_of_a_path_that_bounds_hold_is_not_taken_for_knowledge():
    """Beside a break, at R_f/R_m = 1e9, on a random path half of which stands at bounds: what the normal equations say,
    whichever of the two systems carries it: the momenta's does not, and is not symmetric."""
    times, rng = 0.5 * np.arange(9), np.random.default_rng(0)
    observations = dp.Observations(times, rng.normal(size=(9, 1)), components=[0], noise=0.1)
    options = {"dimension": 2, "steps": 2, "breaks": [2.0], "initial": dp.Normal(0.0, 2.0), "bounds": (-1.0, 1.0)}
    rates = {"a": dp.Unknown(-1.0, 1.0), "b": dp.Unknown(0.0, 2.0)}

    def field(t, x, p):
        return jnp.stack([p["a"] * jnp.sin(x[1]) + x[0] * x[1] - p["b"] * x[0], p["a"] * x[0] - x[1] * p["b"]])

    action = dp.Action(field, observations, dp.Euler(), args=rates, **options)
    path = np.clip(rng.normal(size=(action.grid.size, 2)), -1.0, 1.0)
    estimate, none = np.array([0.3, 0.8]), np.zeros((1, 1))
    z, problem = action.pack(jnp.asarray(path), jnp.asarray(estimate)), action.at(1e9)
    saddle, normal = (np.asarray(jax.jit(lambda z, s=s: precision(problem, z, saddle=s))(z)) for s in (True, False))
    assert np.max(np.abs(saddle - saddle.T)) > 1e-3 * np.max(np.abs(saddle))
    pieces = {"levels": none + 1.0, "steps": none.astype(int), "estimates": estimate[None, None]}
    ladder, status = dp.Ladder(1e9, 10.0, 1), np.array([Status.converged])
    run = dp.Result(action, ladder, **pieces, status=status, paths=path[None], parameters=estimate[None])
    expected = np.linalg.inv(normal + np.diag([3.0, 3.0]))  # of ranges of 2
    np.testing.assert_allclose(run.identify().covariance, expected, rtol=1e-9)


def straight(slope, **options):
    """x' = a, from values that rise by `slope`."""
    times = np.linspace(0.0, 1.0, 11)
    observations = dp.Observations(times, (slope * (times - 0.5))[:, None], noise=0.1)
    action = dp.Action(lambda t, x, a: a * jnp.ones_like(x), observations, dp.Euler(), dimension=1, **options)
    starts = np.zeros((1, 11, 1)), np.array([[slope]])
    return dp.anneal(action, dp.Ladder(1.0, 10.0, 6), starts=starts, prune=None, stop=False).identify()


def test_without_any_range_a_slope_has_the_deviation_of_least_squares():
    """σ²(a) = R_m⁻¹/Σ(t − t̄)², also where a is estimated as 0, whose size is no scale."""
    expected = 0.1 / np.sqrt(1.1)
    for slope, said in ((2.0, r"args = 2 ± 0\.095 \(5% of its size\)"), (0.0, r"args = 0 ± 0\.095")):
        known = straight(slope, args=dp.Unknown())
        assert known.deviations[0] == pytest.approx(expected, rel=1e-3)
        assert re.fullmatch(said, str(known).splitlines()[0])


def test_what_a_range_leaves_no_room_for_is_known():
    known = straight(1.0, args=dp.Unknown(1.0, 1.0))
    assert str(known) == "args = 1 ± 0, at its bound"
    assert known.shares.tolist() == [0.0] and known.loose == ()


def test_a_run_without_parameters_has_nothing_to_identify():
    with pytest.raises(ValueError, match="no parameters to identify"):
        lorenz63().identify()
