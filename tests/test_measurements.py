"""How many measurements are needed: what is masked was never measured, and what is told of many runs they did."""

import csv
import dataclasses
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from jaxtyping import Array
from typer.testing import CliRunner

import deepest as dp
from deepest.cli import app
from deepest.twin import (
    Measurements,
    component_sets,
    lorenz63,
    measurements,
    median_interval,
    run,
    wilson,
)

SETTING = dataclasses.replace(lorenz63(), members=8)
SETS = [[0], [2, 0], [0, 1, 2]]
TIMES = 0.05 * np.arange(21)


def key(seed=0):
    return jax.random.key(seed)


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """No figure stays open, and nothing of a command's set-up reaches the next test."""
    monkeypatch.setattr("deepest.cli._session._cache", lambda folder: None)
    before = jax.config.jax_enable_x64
    yield
    plt.close("all")
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(scope="module")
def runs():
    """Three sets, two realisations, and all the outcomes as they came."""
    outcomes = []
    keep = lambda s, outcome: outcomes.append((s, outcome))
    tried = measurements(SETTING, SETS, realisations=2, key=key(3), each=keep)
    return tried, outcomes


# ---- Masking is dropping ----

MATRIX = np.array([[2.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.5]])
PRECISIONS = {"a scalar": 4.0, "a number a component": np.array([4.0, 1.0, 0.25])[None], "a matrix": MATRIX}


def observed(components, precision):
    values = np.random.default_rng(0).normal(size=(TIMES.size, 3))
    values[4, 0] = np.nan
    if np.shape(precision) == (3, 3):
        # Fewer components have the precision of a part of the covariance.
        precision = np.linalg.inv(np.linalg.inv(precision)[np.ix_(components, components)])
    elif np.ndim(precision):
        precision = precision[:, components] * np.ones((TIMES.size, 1))
    return dp.Observations(TIMES, values[:, components], components=components, precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("components", [[0, 2], [1]])
def test_an_action_of_some_components_is_that_of_never_having_measured_the_others(components, precision):
    build = lambda chosen: dp.Action(dp.models.Lorenz63(), observed(chosen, precision), dp.HermiteSimpson())
    masked, dropped = build([0, 1, 2]).only(components), build(components)
    path = jnp.asarray(np.random.default_rng(1).normal(size=(TIMES.size, 3)))
    costs = [action.at(2.0).cost(action.pack(path, jnp.zeros(0))) for action in (masked, dropped)]
    assert float(costs[0]) == pytest.approx(float(costs[1]), rel=1e-12)
    assert (masked.count, masked.observations.measured) == (dropped.count, tuple(components))
    assert float(masked.reference) == pytest.approx(float(dropped.reference), rel=1e-12)


def test_masking_twice_is_masking_once():
    whole = observed([0, 1, 2], MATRIX)
    twice, once = whole.only([0, 2]).only([2]), whole.only([2])
    np.testing.assert_allclose(twice.weight, once.weight, rtol=1e-12)
    np.testing.assert_array_equal(twice.masked(), once.masked())


def test_annealing_cannot_tell_what_is_masked_from_what_was_dropped(runs):
    """The starts are the same too: a column without a value is scattered like one that was not measured."""
    outcome = runs[1][1][1]
    twin, values = outcome.twin, outcome.twin.action.observations.masked()[:, [0, 2]]
    observations = dp.Observations(twin.times, values, components=[0, 2], noise=SETTING.noise)
    action = dp.Action(SETTING.estimated, observations, SETTING.transcription)
    _, starts = jax.random.split(jax.random.fold_in(key(3), 0))
    for masked, dropped in zip(
        *(dp.initial_paths(one, 8, starts, spread=SETTING.spread) for one in (twin.action, action)), strict=True
    ):
        np.testing.assert_array_equal(masked, dropped)
    result = dp.anneal(action, members=8, key=starts, spread=SETTING.spread)
    assert result.best.level == pytest.approx(outcome.level, rel=1e-8)
    np.testing.assert_allclose(result.best.path, outcome.result.best.path, atol=1e-5)


@pytest.mark.parametrize(
    ("components", "sentence"),
    [([1], r"Components \[0, 2\] were measured; received \[1\]"), ([], "At least one measured value")],
)
def test_only_what_was_measured_can_be_left(components, sentence):
    with pytest.raises(ValueError, match=sentence):
        observed([0, 2], 1.0).only(components)
    operator = dp.Observations(TIMES, TIMES[:, None], operator=lambda x: x[:1], noise=1.0)
    with pytest.raises(ValueError, match="An operator was measured"):
        operator.only(components)


# ---- Which sets ----


def test_small_states_have_all_their_subsets():
    assert component_sets(3) == ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    assert len(component_sets(4)) == 15
    assert component_sets(4, [1, 4, 1]) == ((0,), (1,), (2,), (3,), (0, 1, 2, 3))


@pytest.mark.parametrize("dimension", [5, 8, 10, 20, 33])
def test_sets_are_nested_and_as_even_as_nested_sets_can_be(dimension):
    """A power of two of them cuts the circle into arcs that differ by one; any number into arcs of about twofold."""
    sets = component_sets(dimension)
    assert [len(one) for one in sets] == list(range(1, dimension + 1))
    assert all(set(small) < set(large) for small, large in itertools.pairwise(sets))
    for one in sets:
        arcs = np.diff([*one, one[0] + dimension])
        exact = len(one) & (len(one) - 1) == 0
        assert arcs.max() <= (arcs.min() + 1 if exact else 2 * arcs.min() + 1)
    assert component_sets(dimension, [2, 4]) == (sets[1], sets[3])


# ---- Intervals ----


@pytest.mark.parametrize(("reached", "count", "low", "high"), [(10, 10, 0.722, 1.0), (0, 4, 0.0, 0.490)])
def test_wilsons_interval_closes_at_the_ends(reached, count, low, high):
    """1/(1 + z²/n), and its complement."""
    assert wilson(reached, count) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    for wrong in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="at least one outcome"):
            wilson(*wrong)


@pytest.mark.parametrize("count", [6, 7, 10, 25, 40])
def test_the_medians_interval_is_the_shortest_symmetric_one_of_95_percent(count):
    """Of k … n+1−k ordered values, the coverage is the binomial's between, Σ_{j=k}^{n−k} C(n, j)/2ⁿ."""
    values = np.random.default_rng(count).permutation(count) + 1.0
    k, last = median_interval(values)
    assert last == count + 1 - k
    covered = lambda k: sum(math.comb(count, j) for j in range(int(k), count - int(k) + 1)) / 2.0**count
    assert covered(k) >= 0.95 > covered(k + 1)


def test_few_values_have_their_range_and_none_nothing():
    assert median_interval(np.array([3.0, 1.0, 2.0])) == (1.0, 3.0)
    assert np.isnan(median_interval(np.zeros(0))).all()


# ---- Whole experiments ----


def test_every_set_sees_the_same_truth_and_is_scored_as_a_run_of_its_own(runs):
    tried, outcomes = runs
    assert [s for s, _ in outcomes] == [0, 1, 2, 0, 1, 2]
    assert [outcome.twin.measured for _, outcome in outcomes[:3]] == [(0,), (0, 2), (0, 1, 2)]
    for r in range(2):
        mine = [outcome for _, outcome in outcomes[3 * r : 3 * r + 3]]
        for s, outcome in enumerate(mine):
            np.testing.assert_array_equal(outcome.twin.truth, mine[0].twin.truth)
            assert tried.reached[s, r] == outcome.reached
            assert (tried.horizon[s, r], tried.outlasted[s, r]) == (outcome.skill.horizon, outcome.skill.outlasted)
            assert tried.error[s, r] == max(error for _, _, error in outcome.parameters.values())
            gap = outcome.result.report.gap
            assert np.isnan(tried.gap[s, r]) if gap is None else tried.gap[s, r] == gap
    assert np.any(outcomes[0][1].twin.truth[0] != outcomes[3][1].twin.truth[0])
    assert tried.sets == ((0,), (0, 2), (0, 1, 2)) and (tried.dimension, tried.members, tried.realisations) == (3, 8, 2)
    assert tried.reached.all()


def test_no_set_compiles_again_what_another_compiled(runs, caplog):
    twin = runs[1][0][1].twin
    whole = dataclasses.replace(SETTING, components=(0, 1, 2)).simulate(key(9))
    with jax.log_compiles():
        run(whole.only([1, 2]), members=8, key=key(), spread=SETTING.spread)
    compiled = [record.getMessage() for record in caplog.records if "Finished XLA compilation" in record.getMessage()]
    assert twin.action.observations.values.shape == whole.action.observations.values.shape
    assert compiled == []


def test_the_exponents_are_those_of_the_driven_truth(runs):
    """x and z leave dδy/dt = −δy; x alone is Pecora's and Carroll's; nothing is left when all are measured."""
    tried, _ = runs
    assert tried.exponents[1] == pytest.approx(-1.0, abs=1e-6)
    # 180 time units of Lorenz63: an uncertainty of 0.05 of either.
    assert tried.exponents[0] == pytest.approx(-1.79, abs=0.15) and tried.free == pytest.approx(0.906, abs=0.15)
    assert tried.exponents[2] == -np.inf


class Broken(eqx.Module):
    """What explains nothing."""

    dimension: int = 3

    def __call__(self, t, x, args) -> Array:
        return x * jnp.nan


def test_runs_in_which_nobody_finishes_have_no_forecast():
    setting = dataclasses.replace(SETTING, estimated=Broken(), members=2)
    tried = measurements(setting, [[0]], realisations=1, ladder=dp.Ladder(rungs=2), key=key())
    assert (tried.reached[0, 0], tried.horizon[0, 0], tried.outlasted[0, 0]) == (False, 0.0, False)
    assert np.isnan([tried.gap[0, 0], tried.error[0, 0], tried.gaps[0], tried.errors[0]]).all()
    assert tried.enough is None


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: measurements(SETTING, [], key=key()), "At least one set"),
        (lambda: measurements(SETTING, [[0], []], key=key()), r"0 to 2, each once; received \[\]"),
        (lambda: measurements(SETTING, [[0, 3]], key=key()), r"received \[0, 3\]"),
        (lambda: measurements(SETTING, [[1, 1]], key=key()), r"received \[1, 1\]"),
        (lambda: measurements(SETTING, [[0]], realisations=0, key=key()), "received realisations=0"),
        (lambda: component_sets(5, [6]), r"1 to 5 can be measured; received \[6\]"),
        (lambda: component_sets(5, []), "received none"),
    ],
)
def test_what_cannot_be_measured_is_said(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# ---- What is told ----


def made(sets=((0,), (2,), (0, 1, 2)), count=10):
    """Numbers that nobody computed: with the second set the minimum is found, and the forecast fails."""
    rng, shape = np.random.default_rng(0), (len(sets), count)
    horizon = rng.uniform(1.0, 3.0, shape)
    horizon[1, : count // 2 + 3] = 0.0
    gap = rng.uniform(10.0, 20.0, shape)
    gap[0] = np.nan
    return Measurements(
        name="made",
        dimension=3,
        members=4,
        sets=tuple(sets),
        reached=np.arange(count)[None] < np.array([4, count, count])[:, None],
        gap=gap,
        horizon=horizon,
        outlasted=horizon > 2.5,
        error=rng.uniform(0.0, 0.1, shape),
        exponents=np.array([0.3, -0.1, -np.inf]),
        free=0.9,
    )


def test_rates_and_medians_stand_with_their_intervals():
    tried = made()
    np.testing.assert_allclose(tried.rates, [0.4, 1.0, 1.0])
    np.testing.assert_allclose(tried.rate_intervals[1], wilson(10, 10))
    for k in range(3):
        ordered = np.sort(tried.horizon[k])
        assert tried.horizons[k] == pytest.approx(0.5 * (ordered[4] + ordered[5]))
        np.testing.assert_array_equal(tried.horizon_intervals[k], [ordered[1], ordered[8]])
    assert np.isnan(tried.gaps[0]) and tried.gaps[2] == pytest.approx(np.median(tried.gap[2]))


def test_enough_is_what_finds_the_minimum_and_forecasts_too():
    assert made().enough == (0, 1, 2)
    assert dataclasses.replace(made(), horizon=np.full((3, 10), np.nan)).enough == (2,)


def test_a_table_is_saved_whole_or_not_at_all(tmp_path):
    tried, file = made(), tmp_path / "tried.csv"
    tried.save(file)
    with open(file, encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["measured"] for row in rows] == ["0", "2", "0 1 2"]
    assert [int(row["found"]) for row in rows] == [4, 10, 10]
    assert float(rows[2]["horizon"]) == pytest.approx(tried.horizons[2], rel=1e-5)
    assert (rows[0]["gap"], rows[2]["conditional_exponent"]) == ("", "-inf")
    for row, line in zip(rows, str(tried).splitlines()[1:], strict=True):
        assert line.startswith(f"{row['measured']}: found {row['found']} (")
    with pytest.raises(FileExistsError):
        tried.save(file)
    assert [path.name for path in tmp_path.iterdir()] == ["tried.csv"]


# ---- The picture ----


@pytest.mark.parametrize("look", ["default", "dark_background"])
@pytest.mark.parametrize("nested", [True, False])
def test_the_picture_shows_the_numbers_and_their_intervals(nested, look):
    tried = made(((0,), (0, 1), (0, 1, 2)) if nested else ((0,), (2,), (0, 1, 2)))
    with plt.style.context(look):
        axes = dp.plot.measurements(tried)
        axes[0].figure.canvas.draw()
    x = [1, 2, 3] if nested else [0, 1, 2]
    shown = [[text.get_text() for text in axes[2].get_xticklabels()], axes[2].get_xlabel()]
    assert shown[0] == (["1", "2", "3"] if nested else ["0", "2", "0, 1, 2"]) and "measured components" in shown[1]
    pairs = ((tried.rates, tried.rate_intervals), (tried.horizons, tried.horizon_intervals))
    for ax, (middle, intervals) in zip(axes, pairs, strict=False):
        (line, _, (bars,)) = ax.containers[0]
        np.testing.assert_allclose(line.get_xydata(), np.stack([x, middle], axis=1))
        np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], intervals)
        # Numbers join, and sets do not.
        assert (line.get_linestyle() == "-") == nested
    drawn = {line.get_label(): line for line in axes[2].lines}
    np.testing.assert_array_equal(drawn["largest conditional exponent"].get_xdata(), x[:2])
    assert drawn["−∞, all measured"].get_xdata().tolist() == [x[2]]
    assert drawn["nothing measured"].get_ydata()[0] == 0.9


def test_the_pictures_axes_may_be_given():
    _, given = plt.subplots(1, 3)
    drawn = dp.plot.measurements(made(), ax=given)
    assert list(drawn) == list(given)
    with pytest.raises(ValueError, match="3 panels"):
        dp.plot.measurements(made(), ax=given[0])


# ---- The command ----


def deepest(*arguments):
    return CliRunner().invoke(app, ["measurements", *map(str, arguments), "--no-cache"])


def test_the_command_tables_draws_and_writes(tmp_path, runs):
    out = tmp_path / "tried.csv"
    sets = ("--set", "0", "--set", "0,2")
    said = deepest("lorenz63", "--members", 8, "--realisations", 2, "--seed", 3, *sets, "-o", out)
    assert said.exit_code == 0, said.stderr
    with open(out, encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["measured"] for row in rows] == ["0", "0 2"]
    # The same truths, noise and starts as in the library, whatever other sets there are.
    assert [float(row["horizon"]) for row in rows] == pytest.approx(runs[0].horizons[:2], rel=1e-5)
    assert (tmp_path / "tried.png").read_bytes().startswith(b"\x89PNG")
    assert "2/2" in said.stdout and "34–100" in said.stdout and "tried.png" in said.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lorenz36"], 'There is no experiment "lorenz36"; did you mean'),
        (["perceptron"], 'There is no experiment "perceptron"'),
        (["lorenz63", "--counts", "1,x"], "--counts takes whole numbers"),
        (["lorenz63", "--counts", "4"], "Of 3 components 1 to 3 can be measured; received [4]"),
        (["lorenz63", "--most", 4], "received [4]"),
        (["lorenz63", "--set", "0,3"], "names one or more of 0 to 2, each once; received [0, 3]"),
        (["lorenz63", "--set", "0", "--most", 2], "--most and --set both say what to measure"),
        (["lorenz63", "-o", "run.nc"], "whose name ends in .csv; received run.nc"),
        (["lorenz63", "--noise", "-1"], "The noise is a positive standard deviation"),
    ],
)
def test_what_the_command_cannot_do_it_says(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = deepest(*arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert sentence in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_overwrites_with_force_only(tmp_path):
    (tmp_path / "tried.png").write_text("precious", "utf-8")
    said = deepest("lorenz63", "-o", tmp_path / "tried.csv")
    assert said.exit_code == 2 and "tried.png exists already" in said.stderr
    assert (tmp_path / "tried.png").read_text("utf-8") == "precious"
