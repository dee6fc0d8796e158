"""Several experiments on one clock, which share their parameters: their action, minima and stimuli are theirs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from test_axis import FIRST, RTOL, RULES, SECOND, name, observed, square_wave

import deepest as dp
from deepest.minimise import DampedNewton, PrimalDual
from deepest.models import Lorenz63, Stimulus, integrate


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
    [
        (dp.HermiteSimpson(), 1e-2),
        pytest.param(dp.HermiteSimpson(), np.inf, marks=pytest.mark.slow),
        (dp.Trapezoid(), np.inf),
    ],
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


@pytest.mark.float32
@pytest.mark.parametrize("rule", [dp.HermiteSimpson(), dp.RungeKutta4()], ids=name)
def test_a_long_pause_costs_nothing_though_the_model_could_not_be_run_across_it(rule):
    """dx/dt = x⁴ goes to infinity: over a pause of a thousand it would overflow."""
    one = dp.Observations(FIRST, np.full((8, 1), 0.5), noise=0.5)
    costs = []
    for pause in (0.1, 1000.0):
        joined = dp.Observations.join([one, one], pause=pause)
        options = {"dimension": 1, "steps": rule.stride, "breaks": joined.breaks}
        action = dp.Action(lambda t, x, args: x**4, joined.observations, rule, **options)
        problem = action.at(3.0)
        path = np.ones((action.grid.size, 1))
        path[: action.pieces[0].stop, 0] = np.linspace(0.6, 1.0, action.pieces[0].stop)
        quadratic = jax.jit(lambda z, p=problem: p.quadratic(z, True))(action.pack(jnp.asarray(path), jnp.zeros(0)))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(quadratic))
        costs.append(float(quadratic.cost))
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)  # times of a thousand are kept to 1e-4 of a step in float32


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
    """Whether a set's first knot lies before its first observation, after it or upon it."""
    rng, begin = np.random.default_rng(0), np.array([0.0, 5.0, 1.0])
    knots = [np.sort(rng.uniform(-1.0, 6.0, 9)) + np.arange(9) for _ in begin[:2]]
    stimuli = [Stimulus(at, rng.normal(size=9), continuity) for at in (*knots, 1.0 + 0.4 * np.arange(9))]
    sets = [dp.Observations(t + np.linspace(0.0, 2.0, 5), np.ones((5, 1)), noise=1.0) for t in begin]
    joined = dp.Observations.join(sets, pause=0.5)
    together = Stimulus.join(stimuli, joined.shifts, joined.breaks)
    np.testing.assert_allclose(joined.breaks, [2.5, 5.0])
    for one, stimulus, shift in zip(sets, stimuli, joined.shifts, strict=True):
        for t in np.linspace(one.times[0], one.times[-1], 23):
            at = jnp.asarray(t)
            np.testing.assert_allclose(together(at + shift), stimulus(at), rtol=10 * RTOL, atol=10 * RTOL)


def test_a_stimulus_that_begins_after_its_experiment_is_constant_in_it():
    late, early = Stimulus([5.0, 6.0], [3.0, 4.0]), Stimulus([0.0, 1.0], [7.0, 8.0])
    together = Stimulus.join([late, early], [0.0, 4.0], [4.0])
    np.testing.assert_allclose(jax.vmap(together)(jnp.array([0.0, 3.9, 4.0, 4.5])), [3.0, 3.0, 7.0, 7.5])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: dp.Observations.join([]), "at least one"),
        (lambda: dp.Observations.join([observed(FIRST).select(slice(0, 1)), observed(FIRST)]), "pass pause="),
        (lambda: dp.Observations.join([observed(FIRST), observed(FIRST).select(slice(0, 4))], pause=0.0), "pause"),
        (
            lambda: dp.Observations.join([observed(FIRST), dp.Observations(FIRST, np.ones((8, 1)), noise=1.0)]),
            "measure the same",
        ),
        (lambda: Stimulus.join([square_wave(), square_wave(continuity="linear")], [0.0, 1.0], [1.0]), "one continuity"),
        (lambda: Stimulus.join([square_wave()], [0.0, 1.0], [1.0]), "2 shifts and 1 breaks do not fit 1 stimuli"),
    ],
    ids=["none", "one time", "pause", "columns", "continuity", "count"],
)
def test_what_does_not_join_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
