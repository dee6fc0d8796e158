"""Starting paths on which what is not measured follows what is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp
from deepest.action import following_paths


class Filter(eqx.Module):
    """dy/dt = cos t − u, du/dt = rate (y − u): u is y through a low pass."""

    rate: dp.Unknown | jax.Array
    dimension: int = eqx.field(static=True, default=2)

    def __call__(self, t, x, args):
        return jnp.stack([jnp.cos(t) - x[1], self.rate * (x[0] - x[1])])


def measured(breaks=(), count=201, step=0.05):
    times = step * np.arange(count)
    start = jnp.array([1.0, 1.0])
    path = np.asarray(dp.models.integrate(Filter(jnp.asarray(2.0)), start, times))
    observations = dp.Observations(times, path[:, :1], noise=1e-3)
    model = Filter(dp.Unknown(0.1, 10.0))
    bounds = (np.array([-10.0, -10.0]), np.array([10.0, 10.0]))
    return dp.Action(model, observations, dp.HermiteSimpson(), steps=2, bounds=bounds, breaks=breaks), path


def test_the_draw_nearest_to_the_truth_is_kept_and_its_path_is_the_truth_to_the_step_squared():
    action, path = measured()
    paths, parameters = following_paths(action, 2, jax.random.key(0), draws=400)
    # 400 draws on a range of 9.9 leave about 0.025 between neighbours.
    assert abs(float(parameters[0, 0]) - 2.0) < 0.1
    # Midpoints of the data: δt² |y''| / 8 at the grid's step of 0.025, times the rate, beside the parameter's error.
    assert np.abs(np.asarray(paths[0, ::2]) - path).max() < 5e-3 + abs(float(parameters[0, 0]) - 2.0)


def test_the_measured_component_is_the_data_and_the_shapes_are_those_of_random_starts():
    action, path = measured()
    paths, parameters = following_paths(action, 3, jax.random.key(1), draws=20)
    others = dp.action.initial_paths(action, 3, jax.random.key(1))
    assert paths.shape == others[0].shape and parameters.shape == others[1].shape
    assert np.allclose(np.asarray(paths[:, ::2, 0]), path[:, 0], rtol=0.0, atol=1e-12)


def test_the_other_components_begin_settled_at_the_start_and_at_every_break():
    action, path = measured(breaks=[5.0])
    paths, _ = following_paths(action, 2, jax.random.key(2), draws=10)
    begin = int(action.grid.locate([5.0])[0])
    # Settled is u = y.
    assert np.allclose(np.asarray(paths[:, [0, begin], 1]), np.asarray(paths[:, [0, begin], 0]), atol=1e-9)
    assert not np.allclose(np.asarray(paths[:, begin - 1, 1]), np.asarray(paths[:, begin - 1, 0]), atol=1e-2)


def test_annealing_from_them_finds_the_parameter():
    action, _ = measured()
    starts = following_paths(action, 1, jax.random.key(3), draws=20)
    found = dp.anneal(action, dp.Ladder(1.0, 10.0, 7), starts=starts)
    # Hermite–Simpson's error at this step is below 1e-6.
    assert found.best.parameters["rate"] == pytest.approx(2.0, rel=1e-4)


def test_what_cannot_be_followed_is_refused():
    action, path = measured()
    with pytest.raises(ValueError, match="draws"):
        following_paths(action, 5, jax.random.key(0), draws=4)
    both = dp.Observations(0.05 * np.arange(201), path, noise=0.1)
    with pytest.raises(ValueError, match="others not"):
        following_paths(dp.Action(Filter(dp.Unknown(0.1, 10.0)), both, dp.Trapezoid()), 1, jax.random.key(0))
