"""Grids and observations: what they say of themselves, and what they refuse."""

import jax.numpy as jnp
import numpy as np
import pytest

from deepest.paths import Grid, Observations

TIMES, VALUES = np.array([0.0, 0.5, 1.5, 1.75]), np.arange(8.0).reshape(4, 2)
COVARIANCE = np.array([[2.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 0.5]])
# Sums and inverses of numbers near one, in numpy's double precision whatever JAX's is.
RTOL = 1e-12
pytestmark = pytest.mark.float32


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("times", [TIMES, np.linspace(-3.0, 7.0, 11)], ids=["irregular", "regular"])
def test_a_refined_grid_cuts_every_interval_evenly_and_keeps_its_times(times, steps):
    fine = Grid(times).refine(steps)
    assert fine.size == steps * (len(times) - 1) + 1
    np.testing.assert_array_equal(fine.times[::steps], times)
    np.testing.assert_allclose(np.diff(fine.times), np.repeat(np.diff(times) / steps, steps), rtol=RTOL)
    np.testing.assert_array_equal(fine.locate(times), steps * np.arange(len(times)))
    np.testing.assert_allclose(Grid(times).refine(2).refine(3).times, Grid(times).refine(6).times, rtol=RTOL)


def test_locate_finds_times_that_went_through_single_precision():
    grid = Grid(np.linspace(0.0, 4.0, 161))
    some = grid.times[[0, 3, 77, 160]]
    np.testing.assert_array_equal(grid.locate(some.astype(np.float32)), [0, 3, 77, 160])
    np.testing.assert_array_equal(Grid(TIMES).locate(TIMES[::-1]), [3, 2, 1, 0])


def refusals(*rows):
    return pytest.mark.parametrize(("make", "sentence"), rows, ids=[f"{k} {row[1]}" for k, row in enumerate(rows)])


@refusals(
    (lambda: Grid(np.array([0.0, 2.0, 1.0])), "increasing times; received 2 followed by 1"),
    (lambda: Grid(np.array([0.0, 1.0, 1.0])), "increasing times"),
    (lambda: Grid(np.array([0.0, np.nan, 1.0])), "finite times; number 1 is not"),
    (lambda: Grid(np.array([0.0, np.inf])), "finite times"),
    (lambda: Grid(np.array([0.0])), r"at least two times.*\(1,\)"),
    (lambda: Grid(np.array([[0.0, 1.0]])), r"received shape \(1, 2\)"),
    (lambda: Grid(TIMES).refine(0), "at least 1 step"),
    (lambda: Grid(TIMES).locate(np.array([0.6])), "time 0.6 is 0.1 from the nearest"),
    (lambda: Grid(TIMES).locate(np.array([-1.0])), "must lie on the grid"),
    (lambda: Grid(TIMES).locate(np.array([9.0])), "must lie on the grid"),
    (lambda: Grid(TIMES).locate(np.array([np.nan])), "must lie on the grid|finite"),
)
def test_a_grid_refuses(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_missing_value_is_nan_or_masked_with_no_weight_whatever_stands_there():
    gone = np.array([[False, True], [True, True], [False, False], [False, True]])
    by_nan = Observations(TIMES, np.where(gone, np.nan, VALUES), noise=0.5)
    by_mask = Observations(TIMES, VALUES, mask=~gone, noise=0.5)
    for one in (by_nan, by_mask):
        np.testing.assert_array_equal(one.present, ~gone)
        np.testing.assert_array_equal(one.weight, np.where(gone, 0.0, 4.0))
        np.testing.assert_array_equal(one.masked(), np.where(gone, np.nan, VALUES))
        assert (one.count, one.reference_precision) == (4, 4.0)
    np.testing.assert_array_equal(by_nan.values, by_mask.values)


PRECISIONS = {
    "scalar": {"precision": 4.0},
    "vector": {"precision": np.array([4.0, 4.0])},
    "matrix": {"precision": 4.0 * np.eye(2)},
    "per time": {"precision": np.full((4, 1), 4.0)},
    "per value": {"precision": np.full((4, 2), 4.0)},
    "matrix per time": {"precision": np.tile(4.0 * np.eye(2), (4, 1, 1))},
    "noise": {"noise": 0.5},
    "noise vector": {"noise": np.array([0.5, 0.5])},
    "noise per time": {"noise": np.full((4, 1), 0.5)},
    "noise per value": {"noise": np.full((4, 2), 0.5)},
}


@pytest.mark.parametrize("form", PRECISIONS)
def test_every_form_of_precision_says_the_same(form):
    values = np.where(VALUES == 3.0, np.nan, VALUES)
    observations = Observations(TIMES, values, **PRECISIONS[form])
    weight = (
        observations.weight if observations.weight.ndim == 3 else np.stack([np.diag(w) for w in observations.weight])
    )
    expected = np.stack([np.diag(4.0 * here) for here in observations.present])
    np.testing.assert_allclose(weight, expected, rtol=RTOL)
    assert observations.reference_precision == pytest.approx(4.0, rel=RTOL)


def test_different_numbers_stand_where_they_were_given():
    at, each = np.arange(1.0, 5.0)[:, None], np.array([1.0, 3.0])
    np.testing.assert_array_equal(Observations(TIMES, VALUES, precision=at).weight, at * np.ones(2))
    np.testing.assert_array_equal(Observations(TIMES, VALUES, precision=each).weight, np.ones((4, 1)) * each)
    np.testing.assert_array_equal(Observations(TIMES, VALUES, precision=at * each).weight, at * each)
    np.testing.assert_allclose(Observations(TIMES, VALUES, noise=at * each).weight, (at * each) ** -2.0, rtol=RTOL)


@pytest.mark.parametrize("kept", [[0], [0, 2], [1, 2], [0, 1, 2]])
def test_masking_a_full_matrix_is_dropping_the_measurement(kept):
    """The precision of what is left is the inverse of its covariance, not a block of the precision."""
    values = np.full((4, 3), np.nan)
    values[:, kept] = 1.0
    full = Observations(TIMES, values, precision=np.linalg.inv(COVARIANCE)).weight
    small = Observations(TIMES, np.ones((4, len(kept))), precision=np.linalg.inv(COVARIANCE[np.ix_(kept, kept)]))
    dense = small.weight if small.weight.ndim == 3 else small.weight[:, :, None]
    np.testing.assert_allclose(full[:, kept][:, :, kept], dense, rtol=1e2 * RTOL)
    gone = np.setdiff1d(np.arange(3), kept)
    assert not np.any(full[:, gone]) and not np.any(full[:, :, gone])


def test_operator_and_components_measure():
    state = jnp.asarray(np.array([3.0, -1.0, 2.0]), float)
    np.testing.assert_array_equal(Observations(TIMES, VALUES, noise=1.0).measure(state), state[:2])
    np.testing.assert_array_equal(Observations(TIMES, VALUES, components=[2, 0], noise=1.0).measure(state), [2.0, 3.0])
    summed = Observations(TIMES, VALUES, operator=lambda x: x[:2] * x[2], noise=1.0)
    np.testing.assert_array_equal(summed.measure(state), [6.0, -2.0])


def test_a_window_selects_times_values_and_weights():
    window = Observations(TIMES, VALUES, precision=VALUES + 1.0).select(slice(1, 3))
    np.testing.assert_array_equal(window.times, TIMES[1:3])
    np.testing.assert_array_equal(window.values, VALUES[1:3])
    np.testing.assert_array_equal(window.weight, VALUES[1:3] + 1.0)


def refused(times=TIMES, values=VALUES, **rest):
    return lambda: Observations(np.array(times), np.array(values), **{"noise": 1.0} | rest)


SKEW = np.array([[1.0, 0.5], [0.2, 1.0]])


@refusals(
    (refused(times=[0.0, 1.0, 1.0, 2.0]), "increasing times; received 1 followed by 1"),
    (refused(times=[0.0, np.nan, 1.0, 2.0]), "finite times; number 1"),
    (refused(times=[0.0, 1.0]), r"values of shape \(2, L\); received shape \(4, 2\)"),
    (refused(values=VALUES[:, 0]), r"received shape \(4,\)"),
    (refused(values=np.full((4, 2), np.nan)), "Every observed value is missing"),
    (refused(mask=np.zeros((4, 2))), "Every observed value is missing"),
    (refused(values=np.where(VALUES == 3.0, np.inf, VALUES)), "finite, or NaN where missing"),
    (refused(mask=np.ones(4)), r"values' shape \(4, 2\); received \(4,\)"),
    (refused(components=[0, 1, 2]), "3 components were named, but the values have 2 columns"),
    (refused(components=[1, 1]), r"measured once; received \[1, 1\]"),
    (refused(components=[0, 1], operator=lambda x: x), "components= or operator=, not both"),
    (refused(noise=None), "Give the measurement error once"),
    (refused(precision=1.0), "Give the measurement error once"),
    (refused(noise=0.0), "positive standard deviations"),
    (refused(noise=-1.0), "positive standard deviations"),
    (refused(noise=np.nan), "must be finite"),
    (refused(noise=np.ones((4, 2, 2))), r"received shape \(4, 2, 2\)"),
    (refused(noise=np.ones(3)), r"received shape \(3,\)"),
    (refused(noise=np.array([[0.5, 1.0], [1.0, 0.5]])), r"received shape \(2, 2\)"),
    (refused(noise=None, precision=-1.0), "must be finite, not negative"),
    (refused(noise=None, precision=np.nan), "must be finite"),
    (refused(noise=None, precision=np.zeros(2)), "zero|positive"),
    (refused(noise=None, precision=SKEW), "must be symmetric"),
    (refused(noise=None, precision=np.array([[1.0, 2.0], [2.0, 1.0]])), "positive definite"),
    (refused(noise=None, precision=np.tile(SKEW, (4, 1, 1))), "must be symmetric"),
    (refused(noise=None, precision=np.tile(np.eye(2), (3, 1, 1))), r"\(4, 2, 2\); received \(3, 2, 2\)"),
    (
        refused(times=TIMES[:2], values=VALUES[:2], noise=None, precision=np.array([[1.0, 0.5], [0.5, 1.0]])),
        r"\(2, 2\)",
    ),
)
def test_observations_refuse(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("component", [-1, 3])
def test_a_component_out_of_range_is_named(component):
    observations = Observations(TIMES, VALUES, components=[0, component], noise=1.0)
    with pytest.raises(ValueError, match=f"between 0 and 2.*received {component}"):
        observations.check(3)
