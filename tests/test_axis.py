"""The axis of a path: times off the grid, gaps, jumps of a stimulus, and several experiments on one clock."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import deepest as dp
from deepest.minimise import DampedNewton, PrimalDual
from deepest.models import Lorenz63, Stimulus, integrate

RULES = [dp.Euler(), dp.Trapezoid(), dp.HermiteSimpson(), dp.RungeKutta4()]
name = lambda x: type(x).__name__
# Sums of a few hundred terms in another order: far below √eps.
RTOL = float(np.sqrt(jnp.finfo(jnp.result_type(float)).eps))


def observed(times, *, seed=0, **options):
    values = np.random.default_rng(seed).normal(size=(len(times), 2))
    return dp.Observations(np.asarray(times), values, components=[0, 2], noise=0.5, **options)


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
def test_a_longest_step_fills_gaps_and_leaves_short_intervals_whole():
    times = np.array([0.0, 0.1, 0.2, 1.2, 1.25])
    for rule in RULES:
        action = dp.Action(Lorenz63(), observed(times), rule, step=0.1)
        widths = np.diff(action.grid.times)
        assert widths.max() <= 0.1 * (1 + 1e-12)
        assert action.grid.size == 1 + rule.stride * (2 + 1) + 10
        np.testing.assert_array_equal(action.grid.times[action.places], times)


def square_wave(times=(0.0, 0.333, 0.71), values=(0.0, 3.0, -2.0), continuity="steps"):
    return Stimulus(np.array(times), np.array(values), continuity)


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


def test_a_stimulus_jumps_only_where_its_value_changes():
    same = Stimulus(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0, 4.0]), "steps")
    np.testing.assert_array_equal(same.jumps, [2.0])
    assert square_wave(continuity="linear").jumps.size == 0


# Two experiments on one clock, the second from 2.0 on, with a gap of 1.3 between them.
FIRST, SECOND = np.linspace(0.0, 0.7, 8), np.linspace(2.0, 2.5, 6)


def joined(rule, model, **options):
    """The two experiments as one action, and each alone."""
    one, two = observed(FIRST), observed(SECOND, seed=1)
    both = dp.Observations(
        np.concatenate([FIRST, SECOND]), np.concatenate([one.values, two.values]), components=[0, 2], noise=0.5
    )
    build = lambda observations, **more: dp.Action(model, observations, rule, steps=rule.stride, **options, **more)
    return build(both, breaks=[2.0]), build(one), build(two)


@pytest.mark.float32
@pytest.mark.parametrize("rule", RULES, ids=name)
@pytest.mark.parametrize("varies", [False, 3.0], ids=["constant", "varying"])
def test_the_action_of_two_experiments_is_the_sum_of_theirs(rule, varies):
    """At any path and parameters; gradient and Gauss–Newton Hessian times a vector are those of their sum."""
    model = Lorenz63(rho=dp.Unknown(20.0, 40.0, varies=varies))
    both, one, two = joined(rule, model, initial=dp.Normal(np.ones(3), 2.0), bounds=(-50.0, 50.0))
    rng, widths = np.random.default_rng(2), [action.grid.size for action in (one, two)]
    size, count = both.estimable.size, len(both.estimable.names)
    paths = [jnp.asarray(rng.normal(size=(width, size))) for width in widths]
    shared = 28.0 + jnp.asarray(rng.normal(size=count))
    # Where nothing measures, models or costs anything: at 0, or the bound next to it.
    between = jnp.broadcast_to(jnp.clip(0.0, *both.limits[0]), (rule.stride - 1, size))
    assert both.grid.size == sum(widths) + rule.stride - 1
    assert [both.grid.times[window].size for window in both.pieces] == widths
    z = both.pack(jnp.concatenate([paths[0], between, paths[1]]), shared)
    flat, back = ravel_pytree(z)
    vector = jnp.asarray(rng.normal(size=flat.size))

    @eqx.filter_jit
    def compared(both, one, two):
        parts = [action.at(3.0).cost(action.pack(path, shared)) for action, path in zip((one, two), paths, strict=True)]
        problem = both.at(3.0)
        cost = lambda u: problem.cost(back(u))
        gradient, curved = jax.jvp(jax.grad(cost), (flat,), (vector,))
        ours = problem.quadratic(z, True)
        both_ways = (ours.cost, sum(parts)), (ours.gradient, gradient), (ours.hessian.mv(back(vector)), curved)
        return [[ravel_pytree(x)[0] for x in pair] for pair in both_ways]

    for ours, theirs in compared(both, one, two):
        np.testing.assert_allclose(ours, theirs, atol=RTOL * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("rule", "ratio"),
    [(dp.HermiteSimpson(), 1e-2), (dp.HermiteSimpson(), np.inf), (dp.Trapezoid(), np.inf)],
    ids=["Hermite–Simpson", "Hermite–Simpson, exact", "trapezoid, exact"],
)
def test_two_experiments_have_the_minima_of_each(rule, ratio):
    """Where no unknown is shared; in the primal–dual form, and in the usual one as far as it goes."""
    decay = lambda t, x, args: -x + 0.1 * jnp.sin(t) * jnp.roll(x, 1) ** 2
    both, one, two = joined(rule, decay, dimension=3, bounds=(-30.0, 30.0))
    forms = [DampedNewton(form=PrimalDual())] + ([] if np.isinf(ratio) else [DampedNewton()])
    for minimiser in forms:
        ends = []
        for action in (both, one, two):
            start = action.pack(jnp.zeros((action.grid.size, 3)), jnp.zeros(0))
            solve = eqx.filter_jit(lambda a, z, m=minimiser: m.minimise(a.at(ratio), z, tolerance=1e-15, damping=1e-6))
            end = solve(action, start)
            ends.append((float(end.cost), np.asarray(action.unpack(end.z)[0])))
        (cost, path), *alone = ends
        np.testing.assert_allclose(cost, sum(part for part, _ in alone), rtol=1e-8)
        for window, (_, part) in zip(both.pieces, alone, strict=True):
            # Unmeasured components are weakly held: their path is good to the root of what the cost is good to.
            np.testing.assert_allclose(path[window], part, atol=1e-5)


def test_short_experiments_find_together_what_none_finds_alone():
    """Lorenz63 with x measured for one time unit each, and a drive that another stimulus gives in each of three."""
    truth, grid = Lorenz63(), np.linspace(0.0, 1.0, 51)
    rng, starts = np.random.default_rng(5), ([-8.0, -7.0, 27.0], [3.0, 4.0, 18.0], [-2.0, -4.0, 12.0])
    pushed = lambda t, x, args: args["model"](t, x, None).at[1].add(args["push"](t))
    knots = np.linspace(-0.2, 1.1, 14)
    stimuli = [Stimulus(knots, 20.0 * rng.normal(size=14), "cubic") for _ in starts]
    sets = []
    for start, stimulus in zip(starts, stimuli, strict=True):
        path = integrate(pushed, jnp.asarray(start), grid, {"model": truth, "push": stimulus})
        sets.append(dp.Observations(grid, path[:, :1] + 0.3 * rng.normal(size=(51, 1)), noise=0.3))
    joined = dp.Observations.join(sets)
    push = Stimulus.join(stimuli, joined.shifts, joined.breaks)
    model = Lorenz63(dp.Unknown(5.0, 20.0), dp.Unknown(15.0, 45.0), dp.Unknown(1.0, 5.0))
    options = {"dimension": 3, "args": {"model": model, "push": push}, "steps": 2, "breaks": joined.breaks}
    action = dp.Action(pushed, joined.observations, dp.HermiteSimpson(), **options)
    spread = (np.array([-20.0, -25.0, 0.0]), np.array([20.0, 25.0, 50.0]))
    result = dp.anneal(action, members=16, key=jax.random.key(1), spread=spread)
    assert result.report.consistent
    true = {"model.sigma": 10.0, "model.rho": 28.0, "model.beta": 8.0 / 3.0}
    assert result.best.parameters == pytest.approx(true, rel=0.05)


@pytest.mark.float32
@pytest.mark.parametrize("continuity", ["steps", "linear", "cubic"])
def test_a_joined_stimulus_is_each_of_them_on_its_own_clock(continuity):
    """Whether a set's first knot lies before its first observation or after it; limits from the left are its own."""
    rng, begin = np.random.default_rng(0), np.array([0.0, 5.0, 1.0])
    stimuli = [
        Stimulus(np.sort(rng.uniform(-1.0, 6.0, 9)) + np.arange(9), rng.normal(size=9), continuity) for _ in begin
    ]
    sets = [dp.Observations(t + np.linspace(0.0, 2.0, 5), np.ones((5, 1)), noise=1.0) for t in begin]
    joined = dp.Observations.join(sets, pause=0.5)
    together = Stimulus.join(stimuli, joined.shifts, joined.breaks)
    np.testing.assert_allclose(joined.breaks, [2.5, 5.0])
    for one, stimulus, shift in zip(sets, stimuli, joined.shifts, strict=True):
        for t in np.linspace(one.times[0], one.times[-1], 23):
            at = jnp.asarray(t)
            np.testing.assert_allclose(together(at + shift), stimulus(at), rtol=10 * RTOL, atol=10 * RTOL)


def test_model_precision_by_range_weighs_errors_by_their_part_of_it():
    bounds = (np.array([-100.0, 0.0, 0.0]), np.array([100.0, 1.0, 4.0]))
    ranged = dp.Action(Lorenz63(), observed(FIRST), dp.Euler(), bounds=bounds, model_precision="range")
    by_hand = (np.mean([200.0, 4.0]) / np.array([200.0, 1.0, 4.0])) ** 2
    np.testing.assert_allclose(ranged.shape.value[0], by_hand, rtol=RTOL)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"breaks": [0.0]}, "after the first observation.*received a break at 0"),
        ({"breaks": [3.0]}, "up to the last, at 2.5; received a break at 3"),
        ({"breaks": [2.0, 0.5]}, "finite times that increase"),
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


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: dp.Observations.join([]), "at least one"),
        (lambda: dp.Observations.join([observed(FIRST), observed(FIRST).select(slice(0, 4))], pause=0.0), "pause"),
        (
            lambda: dp.Observations.join([observed(FIRST), dp.Observations(FIRST, np.ones((8, 1)), noise=1.0)]),
            "measure the same",
        ),
        (lambda: Stimulus.join([square_wave(), square_wave(continuity="linear")], [0.0, 1.0], [1.0]), "one continuity"),
        (lambda: Stimulus.join([square_wave()], [0.0, 1.0], [1.0]), "2 shifts and 1 breaks do not fit 1 stimuli"),
    ],
    ids=["none", "pause", "columns", "continuity", "count"],
)
def test_what_does_not_join_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
