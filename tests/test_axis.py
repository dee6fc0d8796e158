"""The axis of a path: times off the grid, gaps, jumps of a stimulus, and the refusals of what fits none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp
from deepest.models import Lorenz63, Stimulus, integrate

RULES = [dp.Euler(), dp.Trapezoid(), dp.HermiteSimpson(), dp.RungeKutta4()]
name = lambda x: type(x).__name__
# Sums of a few hundred terms in another order: far below √eps.
FIRST, SECOND = np.linspace(0.0, 0.7, 8), np.linspace(2.0, 2.5, 6)
RTOL = float(np.sqrt(jnp.finfo(jnp.result_type(float)).eps))


def observed(times, *, seed=0, width=2):
    values = np.random.default_rng(seed).normal(size=(len(times), width))
    return dp.Observations(np.asarray(times), values, components=[0, 2][:width], noise=0.5)


@pytest.mark.float32
@pytest.mark.parametrize("rule", RULES, ids=name)
def test_observations_off_the_grid_get_nodes_of_their_own(rule):
    """The action is that of the grid with those nodes; times on the grid change nothing."""
    coarse, times = dp.Grid(np.linspace(0.0, 1.0, 6)), [0.05, 0.2, 0.43, 1.0]
    nodes = dp.Grid(np.sort(np.append(coarse.times, [0.05, 0.43])))
    inserted = dp.Action(Lorenz63(), observed(times), rule, grid=coarse.refine(rule.stride))
    explicit = dp.Action(Lorenz63(), observed(times), rule, grid=nodes.refine(rule.stride))
    np.testing.assert_array_equal(inserted.grid.times, explicit.grid.times)
    np.testing.assert_array_equal(inserted.grid.times[inserted.places], times)
    again = dp.Action(Lorenz63(), observed(times), rule, grid=inserted.grid)
    np.testing.assert_array_equal(again.grid.times, inserted.grid.times)


@pytest.mark.float32
def test_observed_midpoints_and_near_neighbours_keep_their_places():
    """A node put into an interval moves its midpoint, which may be observed; and a time near a node is on it, whatever
    other intervals are short."""
    times = np.arange(11.0)
    pushed = dp.Action(driven, observed(times, width=1), dp.HermiteSimpson(), args=square_wave((0.0, 3.5)), dimension=2)
    assert 3.5 in pushed.grid.times[::2]
    np.testing.assert_array_equal(pushed.grid.times[pushed.places], times)
    between = dp.Action(Lorenz63(), observed([0.0, 0.5, 1.0, 2.0]), dp.HermiteSimpson(), grid=[0.0, 1.0, 2.0])
    np.testing.assert_array_equal(between.grid.times[between.places], [0.0, 0.5, 1.0, 2.0])
    near = [0.0, 0.1 + 5e-7, 0.2 + 1e-5, 1.0]
    close = dp.Action(Lorenz63(), observed(near), dp.Euler(), grid=0.01 * np.arange(101))
    np.testing.assert_allclose(close.grid.times[close.places], near, atol=1e-6)
    assert close.grid.size == 102


def test_an_observation_between_paths_belongs_to_one():
    """Nothing links the interval that a break ends, whose midpoint is observed."""
    constant = lambda t, x, args: jnp.zeros_like(x)
    observations = dp.Observations(np.arange(9.0), np.full((9, 1), 5.0), noise=10.0)
    action = dp.Action(constant, observations, dp.HermiteSimpson(), dimension=1, breaks=[4.0], grid=np.arange(9.0))
    places = np.concatenate([np.arange(piece.start, piece.stop) for piece in action.pieces])
    assert set(action.places) <= set(places)
    assert {2.0, 3.0, 4.0} <= set(action.grid.times[::2])
    path = jnp.zeros((action.grid.size, 1)).at[places].set(5.0)
    assert float(action.at(1.0).cost(action.pack(path, jnp.zeros(0)))) == 0.0


def test_a_jump_is_seen_where_an_observation_makes_its_interval_a_linked_one():
    """Of the interval from 0 to the break's 2.5, what lies before 1.5 is linked once 1.5 is a node."""
    times, stimulus = [0.0, 1.5, 2.5, 3.5, 4.5], square_wave((0.0, 0.5))
    options = {"args": stimulus, "dimension": 2, "breaks": [2.5], "grid": [0.0, 1.25, 2.5, 3.5, 4.5]}
    action = dp.Action(driven, observed(times, width=1), dp.HermiteSimpson(), **options)
    assert {0.5, 1.5, 2.5} <= set(action.grid.times[::2])
    assert [action.grid.times[2 * k] for k in action.unlinked] == [1.5]


def test_a_brief_pulse_beside_an_observation_is_as_brief_as_it_is():
    """Two jumps, 1e-5 apart, at a node: both become nodes."""
    stimulus = square_wave((0.0, 1.0, 1.00001))
    action = dp.Action(driven, observed(np.arange(4.0), width=1), dp.Trapezoid(), args=stimulus, dimension=2)
    np.testing.assert_array_equal(action.grid.times, [0.0, 1.0, 1.00001, 2.0, 3.0])
    np.testing.assert_array_equal(action.places, [0, 1, 3, 4])


@pytest.mark.parametrize("jumps", [(0.5, 0.6), (0.5, 0.500001), (0.4999999, 0.5), (1.99999999, 2.0)], ids=str)
def test_jumps_beside_a_node_and_upon_it(jumps):
    """Each that matters has a node, and the grid that comes out is the one that it makes of itself."""
    times = 0.25 * np.arange(9)
    make = lambda **laid: dp.Action(
        driven, observed(times, width=1), dp.HermiteSimpson(), args=square_wave((0.0, *jumps)), dimension=2, **laid
    )
    action = make(steps=2)
    nodes = action.grid.times[::2]
    assert all(np.min(np.abs(nodes - jump)) <= 1e-4 * 0.25 for jump in jumps)
    np.testing.assert_allclose(action.grid.times[action.places], times, atol=1e-4 * 0.25)
    assert (action.grid.times[0], action.grid.times[-1]) == (times[0], times[-1])
    np.testing.assert_array_equal(make(grid=action.grid).grid.times, action.grid.times)


def test_jumps_that_are_one_but_for_how_they_were_computed_are_one_node():
    one, other = 0.1 * np.arange(60), np.cumsum(np.full(60, 0.1)) - 0.1
    both = {"a": Stimulus(one, np.arange(60) % 2.0, "steps"), "b": Stimulus(other, np.arange(60) % 2.0, "steps")}
    model = lambda t, x, s: jnp.stack([s["a"](t) + s["b"](t) - x[0]])
    observations = dp.Observations(0.5 * np.arange(13), np.zeros((13, 1)), noise=0.1)
    make = lambda **laid: dp.Action(model, observations, dp.HermiteSimpson(), args=both, dimension=1, **laid)
    action = make(steps=2)
    assert np.diff(action.grid.times).min() > 0.04
    np.testing.assert_array_equal(make(grid=action.grid).grid.times, action.grid.times)


@pytest.mark.parametrize("options", [{"step": 0.25}, {"steps": 20}], ids=["step", "steps"])
@pytest.mark.parametrize(("begin", "jump"), [(7.0, 1.5), (12.0, 6.0)], ids=["a break in a gap", "a jump in the pause"])
def test_no_long_interval_is_linked_beside_a_break(options, begin, jump):
    """Between 2 and 12 nothing was seen; 20 steps of the 5 from a break at 7 on are a quarter each."""
    times = [0.0, 1.0, 2.0, 12.0, 13.0, 14.0]
    args = square_wave((0.0, jump))
    action = dp.Action(driven, observed(times, width=1), dp.Euler(), args=args, dimension=2, breaks=[begin], **options)
    assert np.delete(np.diff(action.grid.times), action.unlinked).max() <= 0.25 * (1 + 1e-9)
    assert action.grid.times[action.unlinked[0] + 1] == begin
    assert action.grid.times[action.unlinked[0]] == 2.0


def test_a_longest_step_fills_gaps_and_leaves_short_intervals_whole():
    times = np.array([0.0, 0.1, 0.2, 1.2, 1.25])
    for rule in RULES:
        action = dp.Action(Lorenz63(), observed(times), rule, step=0.1)
        widths = np.diff(action.grid.times)
        assert widths.max() <= 0.1 * (1 + 1e-12)
        assert action.grid.size == 1 + rule.stride * (2 + 1) + 10
        np.testing.assert_array_equal(action.grid.times[action.places], times)


def square_wave(times=(0.0, 0.333, 0.71), continuity="steps"):
    return Stimulus(np.array(times), np.array([0.0, 3.0, -2.0][: len(times)]), continuity)


def driven(t, x, stimulus):
    return jnp.stack([x[1], -x[0] * (1.0 + 0.1 * stimulus(t)) + stimulus(t)])


@pytest.mark.parametrize("rule", [dp.Trapezoid(), dp.HermiteSimpson(), dp.RungeKutta4()], ids=name)
def test_the_exact_path_has_small_defects_where_a_stimulus_jumps(rule):
    """Against the order's bound on 20 intervals; seeing the wrong limit would leave h/6 of a jump of 5, 0.04."""
    times, start = np.linspace(0.0, 1.0, 21), jnp.array([1.0, 0.0])
    observations = dp.Observations(times, np.zeros((21, 2)), noise=1.0)
    action = dp.Action(driven, observations, rule, args=square_wave(), dimension=2, steps=rule.stride)
    assert np.isin([0.333, 0.71], action.grid.times[:: rule.stride]).all()
    path = integrate(driven, start, action.grid.times, square_wave())
    problem = action.at(1.0)
    defects = rule.residuals(problem.problem, action.pack(path, jnp.zeros(0)))
    assert np.abs(defects).max() < (1e-3 if rule.order == 2 else 1e-6)


@pytest.mark.float32
@pytest.mark.parametrize("rule", [dp.Trapezoid(), dp.HermiteSimpson(), dp.RungeKutta4()], ids=name)
@pytest.mark.parametrize(("begin", "step", "at"), [(-1.0, 0.25, 0.0), (0.06, 0.82, 0.88)], ids=["zero", "t + h > end"])
def test_a_jump_is_seen_from_inside_where_rounding_is_awkward(rule, begin, step, at):
    """dx/dt = s is integrated exactly by every rule: at zero, whose neighbours are no normal numbers, and where the
    rounded t + h is not the node."""
    times = begin + step * np.arange(9) if at == 0.0 else np.array([begin, at, 1.5])
    stimulus = Stimulus([begin - 1.0, at], [0.0, 1.0], "steps")
    observations = dp.Observations(times, np.zeros((times.size, 1)), noise=1.0)
    field = lambda t, x, s: jnp.stack([s(t)])
    action = dp.Action(field, observations, rule, args=stimulus, dimension=1, steps=rule.stride)
    path = jnp.asarray(np.maximum(action.grid.times - at, 0.0)[:, None], float)
    problem = action.at(1.0).problem
    defects = jax.jit(lambda z: rule.residuals(problem, z))(action.pack(path, jnp.zeros(0)))
    np.testing.assert_allclose(defects, 0.0, atol=20.0 * float(jnp.finfo(path.dtype).eps))


def test_another_stimulus_may_jump_only_where_there_are_nodes():
    """`given` keeps the grid, and whether limits from inside are taken."""
    rule, times = dp.Trapezoid(), 0.1 * np.arange(11)
    make = lambda s: dp.Action(driven, observed(times, width=1), rule, args=s, dimension=2)
    action, other = make(square_wave((0.0, 0.35, 0.71))), Stimulus([0.0, 0.35, 0.71], [5.0, 1.0, 2.0], "steps")
    path = jnp.ones((action.grid.size, 2))
    costs = [a.at(1.0).cost(a.pack(path, jnp.zeros(0))) for a in (action, action.given(driven, other), make(other))]
    assert costs[0] != costs[1] == costs[2]
    still = make(Stimulus([0.0, 0.3, 0.7], np.ones(3), "steps"))
    for asked, jumping in ((action, (0.0, 0.36, 0.71)), (still, (0.0, 0.3, 0.7))):
        with pytest.raises(ValueError, match="jumps where this action's grid has no node"):
            asked.given(driven, square_wave(jumping))


@pytest.mark.parametrize("continuity", ["linear", "cubic"])
def test_a_stimulus_has_its_slope_at_its_knots_too(continuity):
    stimulus = Stimulus(np.arange(5.0), 3.0 * np.arange(5.0) + 1.0, continuity)
    slopes = jax.vmap(jax.grad(stimulus))(jnp.arange(0.0, 4.0, 0.5))
    np.testing.assert_allclose(slopes, 3.0, rtol=1e-12)


def test_a_stimulus_jumps_only_where_its_value_changes():
    same = Stimulus(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0, 4.0]), "steps")
    np.testing.assert_array_equal(same.jumps, [2.0])
    assert square_wave(continuity="linear").jumps.size == 0


# Two experiments on one clock, the second from 2.0 on, with a gap of 1.3 between them.
def test_times_that_differ_by_rounding_are_one():
    """A break at 0.3 and a jump at 0.1 + 0.2 share a node; a break may be the last time but for rounding."""
    times = [0.0, 0.1, 0.2, 0.4, 0.5]
    action = dp.Action(
        driven, observed(times, width=1), dp.Euler(), args=square_wave((0.0, 0.1 + 0.2)), dimension=2, breaks=[0.3]
    )
    assert np.diff(action.grid.times).min() > 0.09
    for end in (0.1 + 0.2, 0.300004):
        last = dp.Action(Lorenz63(), observed([0.0, 0.1, 0.2, 0.3]), dp.Euler(), breaks=[end], steps=10)
        assert last.pieces == [slice(0, 21), slice(21, 22)]
        assert last.unlinked == (20,)


@pytest.mark.float32
def test_a_clock_far_from_zero_is_refused_where_the_precision_cannot_tell_its_times_apart():
    far = 1e6 + 0.01 * np.arange(5)
    make = lambda: dp.Action(Lorenz63(), observed(far), dp.Euler())
    if jnp.result_type(float) == jnp.float32:
        with pytest.raises(ValueError, match=r"In float32 the grid's times .* are one: let the clock begin near 0"):
            make()
    else:
        assert make().grid.size == 5


@pytest.mark.float32
def test_widths_are_those_of_the_clock_and_not_of_its_rounded_times():
    action = dp.Action(Lorenz63(), observed(1750.0 + np.arange(241) / 24.0), dp.HermiteSimpson(), steps=2)
    np.testing.assert_allclose(action.at(1.0).problem.widths, 1.0 / 24.0, rtol=1e-6)


@pytest.mark.float32
@pytest.mark.parametrize("begin", [0.0, 10.0, 100.0])
def test_a_jump_in_single_precision_finds_the_node_that_it_means(begin):
    times = begin + 0.01 * np.arange(21)
    stimulus = square_wave((begin - 1.0, times[10]))
    action = dp.Action(driven, observed(times, width=1), dp.Euler(), args=stimulus, dimension=2, breaks=[times[10]])
    assert action.grid.size == 21


def test_model_precision_by_range_weighs_errors_by_their_part_of_it():
    bounds = (np.array([-100.0, 0.0, 0.0]), np.array([100.0, 1.0, 4.0]))
    ranged = dp.Action(Lorenz63(), observed(FIRST), dp.Euler(), bounds=bounds, model_precision="range")
    by_hand = (np.mean([200.0, 4.0]) / np.array([200.0, 1.0, 4.0])) ** 2
    np.testing.assert_allclose(ranged.shape.value[0], by_hand, rtol=RTOL)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"breaks": [0.0]}, "after the first observation.*received a break at 0"),
        ({"breaks": [1e-6]}, "after the first observation.*received a break at 1e-06"),
        ({"breaks": [3.0]}, "up to the last, at 2.5; received a break at 3"),
        ({"breaks": [2.0, 0.5]}, "finite times that increase"),
        ({"breaks": [2.0, 2.0 + 1e-9]}, "Nothing lies between the breaks at 2.0 and 2.000000001"),
        ({"step": -1.0}, "longest step is positive"),
        ({"step": 0.1, "steps": 2}, "one of steps=, step= and grid="),
        ({"model_precision": "range"}, "needs finite bounds="),
        ({"model_precision": "ranges", "bounds": (0.0, 1.0)}, 'or "range"; received "ranges"'),
        ({"grid": np.linspace(0.5, 2.5, 5)}, "spans all of them"),
    ],
)
def test_an_axis_refuses(options, sentence):
    observations = observed(np.concatenate([FIRST, SECOND]))
    with pytest.raises(ValueError, match=sentence):
        dp.Action(Lorenz63(), observations, dp.Euler(), **options)
