"""Where members begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp

TIMES = np.linspace(0.0, 4.0, 81)
VALUES = np.stack([2.0 + np.sin(TIMES), 2.0 - np.cos(2.0 * TIMES)], axis=1)
MEMBERS = 60


def build(values=VALUES, **options):
    observations = dp.Observations(TIMES, values, components=(0, 2), noise=0.5)
    return dp.Action(dp.models.Lorenz96(5, dp.Unknown(6.0, 10.0)), observations, dp.Trapezoid(), **options)


def starts(action, seed=0, **options):
    return dp.initial_paths(action, MEMBERS, jax.random.key(seed), **options)


@pytest.mark.float32
def test_measured_components_start_at_the_data_and_gaps_are_bridged():
    """In time linearly, held at the ends."""
    gap = np.where((np.arange(81) > 30) & (np.arange(81) < 40), np.nan, VALUES[:, 0])
    gap[-5:] = np.nan
    paths, parameters = starts(build(np.stack([gap, VALUES[:, 1]], axis=1)))
    here = np.isfinite(gap)
    np.testing.assert_allclose(paths[:, :, 2], np.broadcast_to(VALUES[:, 1], paths.shape[:2]), rtol=1e-6)
    np.testing.assert_allclose(
        paths[:, :, 0], np.broadcast_to(np.interp(TIMES, TIMES[here], gap[here]), (MEMBERS, 81)), rtol=1e-6
    )
    assert np.all((parameters >= 6.0) & (parameters <= 10.0))


@pytest.mark.float32
@pytest.mark.parametrize("given", ["spread", "bounds", "data"])
def test_the_others_scatter_within_their_range_each_member_by_its_own_width(given):
    """Widths fill (0, 1) evenly in every run of neighbours, and the range is nowhere left."""
    lower, upper = np.array([-1.0, -3.0, -1.0, -1.0, 0.0]), np.array([5.0, 5.0, 5.0, 2.0, 10.0])
    action, options = build(), {}
    if given == "spread":
        options = {"spread": (lower, upper)}
    elif given == "bounds":
        action = build(bounds=(lower, upper))
    else:
        lower, upper = (np.full(5, VALUES.mean() + sign * 5.0 * VALUES.std()) for sign in (-1.0, 1.0))
    free = np.array([1, 3, 4])
    paths = np.asarray(starts(action, **options)[0])[:, :, free]
    middle, half = 0.5 * (upper + lower)[free], 0.5 * (upper - lower)[free]
    apart = np.abs(paths - middle) / half
    assert apart.max() < 1.0
    # The scatter in time of 81 uniform numbers is 0.7 f/√3 within a few percent; averaged over three components.
    width = np.mean(np.std(paths, axis=1) / half, axis=1) * np.sqrt(3.0) / 0.7
    for first in range(0, MEMBERS - 12, 12):
        counts, _ = np.histogram(width[first : first + 12], bins=3, range=(0.0, 1.05))
        assert np.all(counts >= 2)
    # Levels differ by component, which a common shift of all would not do.
    levels = np.mean((paths - middle) / half, axis=1) / width[:, None]
    assert np.all(np.abs(np.corrcoef(levels.T)[np.triu_indices(3, 1)]) < 0.5)
    assert np.all(np.std(levels, axis=0) > 0.1)


def test_the_key_alone_decides():
    action = build()
    first, again, other = (np.asarray(starts(action, seed)[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.all(np.any(first != other, axis=(1, 2)))


def test_a_path_that_is_measured_throughout_needs_no_range():
    """Equal values say nothing about how wide a component wanders, which here nobody asks."""
    observations = dp.Observations(TIMES, np.full((81, 1), 3.0), noise=0.5)
    action = dp.Action(lambda t, x, rate: -rate * x, observations, dp.Euler(), args=dp.Unknown(0.0, 1.0), dimension=1)
    np.testing.assert_array_equal(starts(action)[0], 3.0)


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (np.full((81, 2), 3.0), {}, "all measured values are equal"),
        (VALUES, {"spread": (1.0, 0.0)}, "lower ≤ upper"),
        (VALUES, {"spread": (0.0, np.inf)}, "finite"),
    ],
)
def test_a_range_that_nobody_gave_is_asked_for(values, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        starts(build(values), **options)


def test_an_operator_leaves_the_range_to_be_given():
    observations = dp.Observations(TIMES, VALUES, operator=lambda x: x[:2] ** 2, noise=0.5)
    action = dp.Action(dp.models.Lorenz96(5, 8.0), observations, dp.Trapezoid())
    with pytest.raises(ValueError, match="With an operator"):
        starts(action)
    paths, _ = starts(action, spread=(-1.0, 1.0))
    assert jnp.max(jnp.abs(paths)) <= 1.0
