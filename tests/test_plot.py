"""Pictures show the numbers that they are of, in the colours of any style. Asserted on what is drawn, not on pixels."""

import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import deepest as dp
from deepest.anneal import expected
from deepest.minimise import Status

TIMES = np.linspace(0.0, 0.8, 41)
STYLES = ["default", "dark_background", "ggplot", "grayscale"]


def made(model, *, components=(0,), statuses=(0, Status.pruned, Status.not_finite, 2), convention="interval", rungs=4):
    """A result with numbers that nobody computed; the members reach rungs by their status."""
    rng = np.random.default_rng(1)
    values = rng.normal(-8.0, 1.0, (TIMES.size, len(components)))
    values[10:14] = np.nan
    observations = dp.Observations(TIMES, values, components=components, noise=1.0)
    action = dp.Action(model, observations, dp.HermiteSimpson(), convention=convention)
    members, count = len(statuses), len(action.estimable.names)
    levels = np.logspace(-4, 0, rungs)[:, None] * rng.uniform(1.0, 3.0, members)
    for member, status in enumerate(statuses):
        if status in (Status.pruned, Status.not_finite):
            levels[rungs // 2 :, member] = np.nan
    estimates = rng.normal(25.0, 2.0, (rungs, members, count))
    estimates[np.isnan(levels)] = np.nan
    return dp.Result(
        action=action,
        ladder=dp.Ladder(1e-2, 30.0, 4),
        levels=levels,
        steps=np.ones((rungs, members), int),
        estimates=estimates,
        status=np.array(statuses),
        paths=rng.normal(size=(members, TIMES.size, action.estimable.size)),
        parameters=rng.normal(size=(members, count)),
    )


@pytest.fixture
def result():
    return made(dp.models.Lorenz63(10.0, dp.Unknown(20.0, 40.0), dp.Unknown(prior=dp.Normal(2.5, 0.5))))


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


@pytest.fixture(params=STYLES)
def style(request):
    with plt.style.context(request.param):
        yield request.param


def members(ax):
    return {line.get_gid(): line for line in ax.lines if line.get_gid()}


def labelled(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


def contrast(colour, ground):
    """Difference of brightness, 0 to 1."""
    weights = np.array([0.3, 0.59, 0.11])
    return abs(weights @ to_rgb(colour) - weights @ to_rgb(ground))


def everything_can_be_seen(ax):
    for line in ax.lines:
        assert contrast(line.get_color(), ax.get_facecolor()) > 0.15
    ax.figure.canvas.draw()


# ---- Levels ----


def test_levels_are_drawn_a_line_a_member(result, style):
    ax = dp.plot.action_levels(result)
    drawn = members(ax)
    assert len(drawn) == 4
    for member in range(4):
        x, y = drawn[f"member {member}"].get_data()
        climbed = np.isfinite(result.levels[:, member])
        np.testing.assert_array_equal(x, result.ratios[climbed])
        np.testing.assert_array_equal(y, result.levels[climbed, member])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    everything_can_be_seen(ax)


def test_the_lowest_level_stands_out_and_the_fates_are_told_apart(result):
    lines = members(dp.plot.action_levels(result))
    best, left, failed = (lines[f"member {m}"] for m in (result.best.member, 1, 2))
    assert best.get_linewidth() > left.get_linewidth()
    assert best.get_alpha() > left.get_alpha()
    assert (left.get_marker(), failed.get_marker()) == ("o", "x")
    # The mark is at the last rung that the member climbed.
    assert left.get_markevery() == failed.get_markevery() == [1]
    assert f"{result.best.level:.4g}" in best.get_label()
    assert best.get_color() != left.get_color()


@pytest.mark.parametrize(("components", "bands"), [((0, 1), 1), ((0,), 0)])
def test_what_chi_squared_allows_is_a_band_about_one(components, bands):
    """With few data it reaches down to zero, which a logarithmic axis does not have; then the line is left."""
    result = made(dp.models.Lorenz63(), components=components)
    ax = dp.plot.action_levels(result)
    assert len(ax.patches) == bands
    for band in ax.patches:
        np.testing.assert_allclose([band.get_y(), band.get_y() + band.get_height()], expected(result.action))
    assert any(np.all(np.asarray(line.get_ydata()) == 1.0) for line in ax.lines)
    note = f"allowed by χ², n = {int(result.action.count)}"
    assert [label for label in ax.get_legend_handles_labels()[1] if "χ²" in label] == [note]


@pytest.mark.parametrize(("convention", "words"), [("interval", "per interval"), ("continuum", "continuum")])
def test_the_axis_says_which_convention_it_counts_in(convention, words):
    result = made(dp.models.Lorenz63(10.0, dp.Unknown(20.0, 40.0)), convention=convention)
    for ax in (dp.plot.action_levels(result), *dp.plot.parameters(result)):
        assert f"({words}, ½-sum form)" in ax.get_xlabel()


def test_one_rung_and_one_member_can_be_seen():
    one = made(dp.models.Lorenz63(rho=dp.Unknown(20.0, 40.0)), statuses=(0,), rungs=1)
    (line,) = members(dp.plot.action_levels(one)).values()
    assert line.get_marker() == "o"


def test_an_ensemble_in_which_none_finished_is_drawn():
    none = made(dp.models.Lorenz63(rho=dp.Unknown(20.0, 40.0)), statuses=(Status.not_finite,) * 3)
    assert len(members(dp.plot.action_levels(none))) == 3
    assert not labelled(dp.plot.action_levels(none), "lowest level")


# ---- Parameters ----


def test_parameters_are_drawn_along_the_ladder_between_their_bounds(result, style):
    axes = dp.plot.parameters(result, truth={"rho": 28.0})
    assert [ax.get_ylabel() for ax in axes] == ["rho", "beta"]
    for k, ax in enumerate(axes):
        for member, line in enumerate(members(ax)[f"member {m}"] for m in range(4)):
            series = result.estimates[:, member, k]
            np.testing.assert_array_equal(line.get_ydata(), series[np.isfinite(series)])
        everything_can_be_seen(ax)
    bounds = [[line.get_ydata()[0] for line in labelled(ax, "bounds")] for ax in axes]
    assert bounds == [[20.0, 40.0], []]
    assert [line.get_ydata()[0] for line in labelled(axes[0], "truth")] == [28.0]
    assert not labelled(axes[1], "truth")


def test_true_parameters_may_come_in_order_and_may_be_unknown(result):
    axes = dp.plot.parameters(result, truth=[np.nan, 2.6])
    assert [len(labelled(ax, "truth")) for ax in axes] == [0, 1]


# ---- Paths ----


def continued(result, seed=2):
    path = np.random.default_rng(seed).normal(size=(21, result.action.estimable.dimension))
    return types.SimpleNamespace(times=TIMES[-1] + np.linspace(0.0, 0.4, 21), path=path)


def test_the_path_is_drawn_with_data_where_there_are_any_and_the_forecast_behind_them(result, style):
    truth, forecast = np.random.default_rng(3).normal(size=(41, 3)), continued(result)
    axes = dp.plot.path(result, truth=truth, forecast=forecast, forecast_truth=forecast.path + 1.0)
    assert [ax.get_ylabel() for ax in axes] == ["$x_{0}$", "$x_{1}$\nnot measured", "$x_{2}$\nnot measured"]
    for k, ax in enumerate(axes):
        (estimate,), (ahead,), true = (labelled(ax, label) for label in ("estimate", "forecast", "truth"))
        np.testing.assert_array_equal(estimate.get_data(), [TIMES, result.best.path[:, k]])
        np.testing.assert_array_equal(ahead.get_data(), [forecast.times, forecast.path[:, k]])
        np.testing.assert_array_equal(true[0].get_ydata(), truth[:, k])
        np.testing.assert_array_equal(true[1].get_ydata(), forecast.path[:, k] + 1.0)
        (shade,) = ax.patches
        np.testing.assert_allclose([shade.get_x(), shade.get_x() + shade.get_width()], forecast.times[[0, -1]])
        everything_can_be_seen(ax)
    (dots,) = labelled(axes[0], "data")
    seen = result.action.observations.present[:, 0]
    np.testing.assert_array_equal(dots.get_data(), [TIMES[seen], result.action.observations.values[seen, 0]])
    assert not labelled(axes[1], "data")


def test_one_legend_stands_beside_the_panels(result):
    axes = dp.plot.path(result, truth=result.best.path)
    figure = axes[0].figure
    figure.canvas.draw()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["estimate", "data", "truth"]
    box = legend.get_window_extent()
    assert not any(box.overlaps(ax.get_tightbbox()) for ax in axes)


@pytest.mark.parametrize(
    ("components", "chosen"),
    [((1, 4, 5), [1, 4, 0, 2]), ((2,), [2, 0, 1, 3]), (tuple(range(6)), [0, 1, 2, 3]), ((0, 1, 2, 3, 5), [0, 1, 2, 4])],
)
def test_two_measured_and_two_others_are_shown_unless_asked(components, chosen):
    axes = dp.plot.path(made(dp.models.Lorenz96(6, 8.0), components=components))
    shown = [int(ax.get_ylabel().split("{")[1].split("}")[0]) for ax in axes]
    assert shown == chosen


def test_an_unknown_that_varies_has_its_path():
    result = made(dp.models.Lorenz63(rho=dp.Unknown(20.0, 40.0, varies=True)))
    axes = dp.plot.path(result)
    assert axes[-1].get_ylabel() == "rho"
    np.testing.assert_array_equal(labelled(axes[-1], "estimate")[0].get_ydata(), result.best.varying["rho"])
    assert dp.plot.path(result, components=["rho", 2]).size == 2


# ---- Axes and files ----


def test_given_axes_are_used_and_returned(result):
    _, grid = plt.subplots(2, 3)
    assert dp.plot.action_levels(result, ax=grid[0, 0]) is grid[0, 0]
    assert list(dp.plot.parameters(result, ax=grid[0, 1:])) == list(grid[0, 1:])
    assert list(dp.plot.path(result, components=[0, 1, 2], ax=grid[1])) == list(grid[1])
    assert dp.plot.path(result, [0], ax=grid[1, 0])[0] is grid[1, 0]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda r: dp.plot.path(r, [3]), "between 0 and 2; received 3"),
        (lambda r: dp.plot.path(r, ["rho"]), 'unknowns that vary have names: none; received "rho"'),
        (lambda r: dp.plot.path(r, truth=np.zeros((41, 2))), r"truth must have the shape \(41, 3\)"),
        (lambda r: dp.plot.path(r, forecast_truth=np.zeros((41, 3))), "needs the forecast"),
        (lambda r: dp.plot.path(r, [0, 1], ax=plt.subplots()[1]), "has 2 panels, one Axes each; received 1"),
        (lambda r: dp.plot.parameters(r, truth={"roh": 1.0}), 'No parameter is called "roh"; the model has rho, beta'),
        (lambda r: dp.plot.parameters(r, truth=[1.0]), "received 1 true values"),
        (lambda r: dp.plot.parameters(made(dp.models.Lorenz63())), "no unknown parameters"),
    ],
)
def test_what_does_not_fit_is_refused(result, draw, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(result)


def test_a_picture_is_saved_whole_or_not_at_all(result, tmp_path):
    axes = dp.plot.path(result)
    for figure, name in ((axes, "a.png"), (axes[0], "b.png"), (axes[0].figure, "c.pdf")):
        dp.plot.save(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(FileExistsError, match=r"a\.png exists already"):
        dp.plot.save(axes, tmp_path / "a.png")
    dp.plot.save(axes, tmp_path / "a.png", force=True)
    with pytest.raises(ValueError, match="not supported"):
        dp.plot.save(axes, tmp_path / "a.nonsense")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.pdf"]
