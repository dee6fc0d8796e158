"""Axes of other codes: the same minimum, on their numbers, from their own formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp

N, D, L, DT = 9, 4, 2, 0.05


def _problem(convention: str) -> tuple[dp.Action, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    times, path = DT * np.arange(N), rng.normal(size=(N, D))
    data = path[:, :L] + 0.1 * rng.normal(size=(N, L))
    observations = dp.Observations(times, data, noise=0.5)
    action = dp.Action(dp.models.Lorenz96(D, 8.0), observations, dp.HermiteSimpson(), convention=convention)
    f = np.roll(path, 1, 1) * (np.roll(path, -1, 1) - np.roll(path, 2, 1)) - path + 8.0
    # varanneal writes both rules with the data spacing: 2δ is the interval's width.
    a, m, b, fa, fm, fb = path[:-1:2], path[1::2], path[2::2], f[:-1:2], f[1::2], f[2::2]
    simpson = b - a - 2 * DT / 6 * (fa + 4 * fm + fb)
    hermite = m - 0.5 * (a + b) - 2 * DT / 8 * (fa - fb)
    return action, path, data - path[:, :L], np.stack([simpson, hermite])


@pytest.mark.parametrize("convention", ["interval", "continuum"])
def test_varanneal(convention):
    """R_m Σ d²/(L N) + R_f Σ c²/(D (N − 1)), evaluated on its own, is our level on its axes."""
    action, path, misfit, defects = _problem(convention)
    ours = 3.0
    theirs, _ = dp.action.varanneal(action).convert(ours, 0.0)
    r_m = 4.0
    written = r_m * (misfit**2).sum() / (L * N) + theirs * r_m * (defects**2).sum() / (D * (N - 1))
    cost = action.at(ours).cost(action.pack(jnp.asarray(path), jnp.zeros(0)))
    np.testing.assert_allclose(dp.action.varanneal(action).convert(ours, action.level(cost))[1], written, rtol=1e-12)


@pytest.mark.parametrize("convention", ["interval", "continuum"])
def test_minaone(convention):
    """(Σ d² + R_f Σ c²)/N, evaluated on its own, is our level on its axes."""
    action, path, misfit, defects = _problem(convention)
    axes = dp.action.minaone(action)
    theirs, _ = axes.convert(3.0, 0.0)
    written = ((misfit**2).sum() + theirs * (defects**2).sum()) / N
    cost = action.at(3.0).cost(action.pack(jnp.asarray(path), jnp.zeros(0)))
    np.testing.assert_allclose(axes.convert(3.0, action.level(cost))[1], written, rtol=1e-12)
    np.testing.assert_allclose(axes.back(*axes.convert(3.0, 0.7)), (3.0, 0.7), rtol=1e-15)


def test_the_example_of_varanneal_starts_where_we_say():
    """R_f0 = 4e-6 with R_m = 4 on 161 points of 20 variables, 8 measured, is R_f/R_m = 4.025e-7 in ½ sums."""
    times = 0.025 * np.arange(161)
    observations = dp.Observations(times, np.ones((161, 8)), noise=0.5)
    action = dp.Action(dp.models.Lorenz96(20, 8.17), observations, dp.HermiteSimpson())
    np.testing.assert_allclose(dp.action.varanneal(action).back(4e-6 / 4, 1.0)[0], 4.025e-7, rtol=1e-12)


def test_uneven_continuum_is_refused():
    times = np.array([0.0, 0.1, 0.2, 0.4, 0.6])
    observations = dp.Observations(times, np.ones((5, 1)), noise=0.5)
    action = dp.Action(dp.models.Lorenz96(D, 8.0), observations, dp.HermiteSimpson(), convention="continuum")
    with pytest.raises(ValueError, match="no single R_f per interval"):
        dp.action.minaone(action)
