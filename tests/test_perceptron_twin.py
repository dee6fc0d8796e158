"""Networks to be found again: the ladder as one function, the twins, what stands beside them, and finer layers."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp
from deepest import twin
from deepest.io import read_tree
from deepest.minimise import LBFGS, Joint, Samples
from deepest.networks import Climbed, ContinuousNetwork, CrossEntropy, NetworkAction, Pairs, climb
from deepest.networks import perceptron as perceptron_of
from deepest.twin import Baselines, Finer, finer, learn, perceptron, preserving


def key(seed=0):
    return jax.random.key(seed)


def small(**changes):
    """Three maps, six pairs, a short ladder."""
    setting = preserving(layers=4, pairs=6, data_layers=4)
    return dataclasses.replace(setting, held_out=20, members=2, ladder=dp.Ladder(1e-2, 100.0, 3), **changes)


@pytest.fixture(scope="module")
def found():
    return learn(small().simulate(key()), key=key(1))


# ---- The ladder as one function ----


def test_levels_are_those_of_the_weights_found(found):
    """At the top the model errors are next to nothing: the level is that of a forward pass, and so is the error."""
    action, climbed = found.twin.action, found.climbed
    assert climbed.levels.shape == climbed.errors.shape == climbed.held_out.shape == (3, 2)
    weights = jax.tree.map(lambda leaf: leaf[0], climbed.weights)
    network = action.trained(weights)
    for pairs, errors in ((found.twin.training, climbed.errors), (found.twin.held_out, climbed.held_out)):
        made = jax.vmap(network)(jnp.asarray(pairs.inputs))
        expected = np.mean((np.asarray(made) - pairs.targets) ** 2) / found.twin.setting.noise**2
        assert errors[-1, 0] == pytest.approx(expected, rel=1e-10)


def test_a_start_alone_is_that_start_among_others(found):
    """And the others, even one that is no number, do it no harm."""
    starts = found.twin.starts(2, key(1))
    empty = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), starts[0])
    again = climb(found.twin.action, [empty, starts[1]], found.climbed.ratios, held_out=found.twin.held_out)
    np.testing.assert_array_equal(again.levels[:, 1], found.climbed.levels[:, 1])
    assert not np.isfinite(again.levels[:, 0]).any()
    assert again.order[0] == 1


def test_levels_count_as_distinct_by_their_distance():
    levels = jnp.array([[0.5, 0.505, 0.52, jnp.nan], [3.0, 3.02, 3.1, 3.0]])
    climbed = Climbed(np.array([1.0, 2.0]), levels, levels, levels, jnp.zeros((2, 4), int), None)
    low, high = climbed.distinct(0.01)
    np.testing.assert_array_equal(low, [0.5, 0.52])
    np.testing.assert_array_equal(high, [3.0, 3.1])


@pytest.mark.parametrize(
    ("ratios", "starts", "sentence"),
    [
        ([1.0, 1.0], 1, "ascend from above zero; received"),
        ([-1.0, 1.0], 1, "ascend from above zero; received"),
        ([], 1, "ascend from above zero; received"),
        ([1.0], 0, "at least one start; received none"),
    ],
    ids=["not ascending", "negative", "no rung", "no start"],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(found, ratios, starts, sentence):
    with pytest.raises(ValueError, match=sentence):
        climb(found.twin.action, [found.twin.action.start()] * starts, ratios)


# ---- The twins ----


@pytest.mark.parametrize("setting", [perceptron(pairs=7, measured=3), small()], ids=["released", "preserving"])
def test_pairs_are_those_of_the_data_network_and_its_noise(setting):
    setting = dataclasses.replace(setting, held_out=400)
    made = setting.simulate(key())
    assert made.training.count == setting.pairs and made.held_out.count == 400
    seen = np.isfinite(made.held_out.targets[0])
    assert seen.sum() == np.isfinite(made.held_out.inputs[0]).sum() == setting.measured
    np.testing.assert_allclose(made.training.noise, setting.noise)
    # One realisation is that of its key alone.
    again = setting.simulate(key())
    np.testing.assert_array_equal(made.training.targets, again.training.targets)
    assert not np.array_equal(made.training.targets, setting.simulate(key(1)).training.targets, equal_nan=True)


def test_the_released_network_forgets_its_input():
    """Its outputs are one constant and noise, so that the mean of M outputs errs by σ² (1 + 1/M)."""
    setting = dataclasses.replace(perceptron(pairs=50), held_out=400)
    made = setting.simulate(key())
    x = made.held_out.inputs
    for layer in made.truth.layers:
        x = 1.0 / (1.0 + np.exp(-x @ np.asarray(layer.weight).T))
    # Each of 99 layers contracts to less than a fifth: what is left is rounding.
    assert np.ptp(x, axis=0).max() < 1e-14
    baselines = Baselines.of(made.truth, made.training, made.held_out)
    # 4000 squares of one variance: 3 standard errors are 3 √(2/4000) = 0.07.
    assert baselines.mean == pytest.approx(1.0 + 1.0 / 50, abs=0.07)
    assert baselines.truth == pytest.approx(1.0, abs=0.07)


def test_the_other_one_does_not():
    """A linear map explains most of what the mean leaves, and the true network nearly all."""
    made = dataclasses.replace(preserving(pairs=200), held_out=400).simulate(key())
    baselines = Baselines.of(made.truth, made.training, made.held_out)
    assert baselines.truth < 0.1 * baselines.linear < 0.02 * baselines.mean
    wrong = (made.held_out.inputs - made.held_out.targets) / made.setting.noise
    assert baselines.identity == pytest.approx(np.mean(wrong**2))


def test_a_ridge_regression_finds_a_linear_map():
    """Exact data of few inputs, some of them not measured: the penalty goes to its least."""
    draw = np.random.default_rng(0)
    x, matrix = draw.normal(size=(60, 4)), draw.normal(size=(4, 2))
    y = x @ matrix + 3.0
    network = dp.networks.perceptron([4, 2], last=None, key=key())
    baselines = Baselines.of(network, Pairs(x[:30], y[:30]), Pairs(x[30:], y[30:]))
    assert baselines.linear < 1e-12
    assert np.isnan(baselines.identity)
    assert baselines.mean == pytest.approx(np.mean((y[30:] - y[:30].mean(axis=0)) ** 2))


def test_starts_are_where_the_setting_says():
    made = dataclasses.replace(perceptron(layers=4, pairs=3, measured=4), held_out=2).simulate(key())
    one, other = made.starts(2, key(1))
    states = np.asarray(one.states.runs[0])
    assert states.shape == (3, 3, 10)
    np.testing.assert_array_equal(states[:, -1, :4], made.training.targets[:, :4])
    rest = np.concatenate([states[:, :-1].ravel(), states[:, -1, 4:].ravel()])
    assert rest.min() >= 0.4 and rest.max() <= 0.6
    weights = [np.asarray(jax.tree.leaves(start.weights)[0]) for start in (one, other)]
    assert np.abs(weights).max() <= 0.1 and not np.array_equal(*weights)
    # Residual ones begin in a forward pass, without model error.
    made = small().simulate(key())
    (start,) = made.starts(1, key(2))
    errors = Samples(made.action.at(1.0)).errors(start.weights, start.states)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(errors)) < 1e-14
    assert isinstance(start, Joint)


def test_what_was_learned_stands_beside_its_baselines(found, tmp_path):
    """Levels rise with R_f; the truth's own is a level that a search may or may not reach."""
    assert (np.diff(found.lowest) > 0).all()
    np.testing.assert_array_equal(found.held_out, found.climbed.held_out[np.arange(3), found.climbed.levels.argmin(1)])
    assert np.isfinite(found.yardstick)
    assert found.gap == np.inf if len(found.climbed.distinct()[-1]) == 1 else found.gap > 0
    found.save(tmp_path / "learned.nc")
    groups, attributes = read_tree(tmp_path / "learned.nc")
    np.testing.assert_array_equal(groups["climbed"]["levels"][1], found.climbed.levels)
    assert attributes["baseline_mean"] == found.baselines.mean
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "learned.nc")


@pytest.mark.parametrize(
    ("make", "numbers", "sentence"),
    [
        (perceptron, {"layers": 1}, "layers must be 2 or more; received layers=1"),
        (perceptron, {"data_layers": 0}, "data_layers must be 2 or more"),
        (preserving, {"pairs": 0}, "pairs must be 1 or more; received pairs=0"),
        (preserving, {"measured": 11}, "Of 10 neurons in a layer 1 to 10 are measured; received measured=11"),
        (preserving, {"measured": 0}, "received measured=0"),
    ],
    ids=["one layer", "no data layer", "no pairs", "more than neurons", "none measured"],
)
def test_an_experiment_that_cannot_be_is_refused(make, numbers, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**numbers)


def test_noise_must_be_positive():
    with pytest.raises(ValueError, match="standard deviation, positive and finite; received noise=0"):
        small(noise=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [20, 100])
def test_as_released_there_is_one_level_and_nothing_to_learn(layers):
    """Whatever the depth: all starts end alike, and predict what the mean of the training outputs predicts."""
    found = learn(perceptron(layers=layers, pairs=10).simulate(key()), members=3, key=key(1))
    assert [len(levels) for levels in found.climbed.distinct()] == [1] * 19
    assert found.held_out[-1] == pytest.approx(found.baselines.mean, rel=1e-3)


# ---- Deeper is finer ----


def test_the_continuous_truth_costs_the_same_in_finer_layers():
    """At given weights the output converges at the solver's order: errors by 4 with Heun, by 2 with Euler."""
    field = twin.TanhField(jnp.array([[0.3, -1.0], [0.8, 0.2]]), jnp.array([0.1, -0.2]))
    x = jnp.array([0.7, -0.4])
    exact = ContinuousNetwork(field, 1.0, 200, solver=diffrax.Tsit5())(x)
    for solver, order in ((diffrax.Euler(), 1), (diffrax.Heun(), 2)):
        errors = [np.abs(ContinuousNetwork(field, 1.0, n, solver=solver)(x) - exact).max() for n in (20, 40)]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "order"), [(diffrax.Euler(), 1), (diffrax.Heun(), 2)], ids=["Euler", "Heun"])
def test_levels_converge_with_the_layers(solver, order):
    """At R_f = ∞ at the solver's order; at a finite R_f at the first, because errors enter at the ends of layers."""
    found = finer((40, 80, 160), (1.0, np.inf), solver=solver, key=key())
    np.testing.assert_allclose(Finer.orders(found.levels)[0], [1.0, order], atol=0.35)


def test_orders_are_read_off_doubled_layers():
    """a + b/N^p, for p = 1 and 2."""
    n = np.array([5.0, 10.0, 20.0, 40.0])[:, None]
    np.testing.assert_allclose(Finer.orders(3.0 + 2.0 / n ** np.array([1, 2])), [[1, 2], [1, 2]], rtol=1e-9)


# ---- The picture ----


def test_levels_and_errors_are_drawn_side_by_side(found):
    axes = dp.plot.learning(found.climbed, {"mean": found.baselines.mean}, found.yardstick)
    best = found.climbed.order[0]
    for ax, series in zip(axes, (found.climbed.levels, found.climbed.held_out), strict=True):
        (line,) = [one for one in ax.lines if one.get_label() == "start with the lowest level"]
        np.testing.assert_array_equal(line.get_ydata(), series[:, best])
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [line.get_ydata()[0] for line in axes[1].lines if line.get_label() == "mean"] == [found.baselines.mean]
    bare = eqx.tree_at(lambda climbed: climbed.held_out, found.climbed, jnp.full((3, 2), jnp.nan))
    with pytest.raises(ValueError, match="climb with held_out="):
        dp.plot.learning(bare)


def test_held_out_pairs_must_fit(found):
    strange = Pairs(np.zeros((2, 10)), np.zeros((2, 9)))
    with pytest.raises(ValueError, match="Targets must have the shape"):
        climb(found.twin.action, found.twin.starts(1, key()), [1.0], held_out=strange)


def test_a_ladder_is_climbed_where_it_means_something():
    """Of a squared error, and as far as a minimiser goes."""
    network = perceptron_of([2, 2], key=jax.random.key(0))
    labels = NetworkAction(network, Pairs(np.ones((3, 2)), np.array([0, 1, 0])), cost=CrossEntropy())
    with pytest.raises(ValueError, match="SquaredError; received CrossEntropy"):
        climb(labels, [labels.start()], [1.0])
    numbers = NetworkAction(network, Pairs(np.ones((3, 2)), np.ones((3, 2))))
    with pytest.raises(ValueError, match="received inf"):
        climb(numbers, [numbers.start()], [1.0, np.inf], minimiser=LBFGS())
