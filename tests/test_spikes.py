"""Spike times and the coincidence factor."""

import numpy as np
import pytest

from deepest import models


def test_a_crossing_is_where_the_line_between_samples_meets_the_threshold():
    times = np.array([0.0, 1.0, 3.0, 4.0, 5.0])
    voltage = np.array([-60.0, 20.0, -60.0, -20.0, 10.0])
    assert np.allclose(models.spike_times(times, voltage, -20.0), [0.5, 4.0], rtol=1e-15)
    assert models.spike_times(times, voltage, 30.0).size == 0


def test_crossings_of_a_sine_converge_with_the_square_of_the_step():
    errors = []
    for count in (401, 801):
        t = np.linspace(0.0, 40.0, count)
        exact = np.arcsin(0.3) + 2.0 * np.pi * np.arange(7)
        errors.append(np.abs(models.spike_times(t, np.sin(t), 0.3)[:7] - exact).max())
    # The remainder of linear interpolation, h² |v''| / (8 |v'|).
    assert errors[1] <= 0.05**2 * 0.3 / (8.0 * np.cos(np.arcsin(0.3))) * 1.1 and errors[1] < errors[0]


def test_a_perfect_prediction_scores_one_and_a_shift_within_the_window_changes_nothing():
    train = np.array([3.0, 10.0, 11.5, 30.0, 55.0])
    score = lambda other: models.coincidence(other, train, window=2.0, duration=100.0)
    assert score(train) == pytest.approx(1.0, abs=1e-15)
    assert score(train + 1.9) == pytest.approx(1.0, abs=1e-15)
    # No pair is left: Γ = −2νΔ N / (N (1 − 2νΔ)), with 2νΔ = 0.2.
    far = np.array([70.0, 75.0, 80.0, 85.0, 90.0])
    assert score(far) == pytest.approx(-0.25, abs=1e-15)


def test_it_is_the_formula_on_a_case_counted_by_hand():
    predicted, measured = np.array([1.0, 2.0, 8.0]), np.array([1.4, 5.0])
    # One pair (1, 1.4): 2 has no partner left. 2νΔ = 2 · 3/20 · 1 = 0.3.
    expected = (1.0 - 0.3 * 2.0) / (0.5 * 5.0 * 0.7)
    assert models.coincidence(predicted, measured, window=1.0, duration=20.0) == pytest.approx(expected, rel=1e-14)


def test_trains_with_as_many_spikes_score_the_same_in_both_directions():
    random = np.random.default_rng(0)
    one, two = np.sort(random.uniform(0.0, 500.0, (2, 40)), axis=1)
    forth = models.coincidence(one, two, window=2.0, duration=500.0)
    assert forth == models.coincidence(two, one, window=2.0, duration=500.0)


def test_poisson_trains_score_nothing_on_average():
    random = np.random.default_rng(1)
    draw = lambda: np.sort(random.uniform(0.0, 4000.0, random.poisson(60)))
    scores = [models.coincidence(draw(), draw(), window=1.0, duration=4000.0) for _ in range(400)]
    # n is about Poisson with mean 2νΔN = 1.8: a score has the deviation √1.8/60 and their mean a twentieth of it. The
    # spikes that two partners compete for are 3 % of the pairs, at most 0.001.
    assert abs(np.mean(scores)) < 4.0 * np.sqrt(1.8) / 60.0 / 20.0 + 1e-3


def test_a_train_without_spikes_agrees_with_another_such_only():
    none, some = np.zeros(0), np.array([1.0, 2.0])
    assert models.coincidence(none, none, window=1.0, duration=10.0) == 1.0
    assert models.coincidence(none, some, window=1.0, duration=10.0) == 0.0
    assert models.coincidence(some, none, window=1.0, duration=10.0) == 0.0


def test_what_does_not_fit_is_refused():
    train = np.array([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="shapes"):
        models.spike_times([0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        models.spike_times(np.arange(3.0), np.array([0.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match="increasing"):
        models.coincidence(train[::-1], train, window=0.1, duration=10.0)
    with pytest.raises(ValueError, match="positive"):
        models.coincidence(train, train, window=0.0, duration=10.0)
    with pytest.raises(ValueError, match="too wide"):
        models.coincidence(train, train, window=2.0, duration=10.0)
