"""The ladder: identities of ensembles, pruning that loses nothing, one trace, derivatives of the estimate."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp
from deepest.ensemble import spread
from deepest.minimise import LBFGS, DampedNewton, Status

POINTS, SITES, MEASURED, FORCING = 41, 10, (0, 2, 4, 6), 8.17
TRACES = []


class Counting(eqx.Module):
    """Lorenz96 that counts how often it is traced."""

    forcing: dp.Unknown | jax.Array
    dimension: int = eqx.field(static=True, default=SITES)

    def __call__(self, t, x, args):
        TRACES.append(1)
        return jnp.roll(x, 1) * (jnp.roll(x, -1) - jnp.roll(x, 2)) - x + self.forcing


def data(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    model, times = dp.models.Lorenz96(SITES, FORCING), 0.025 * np.arange(POINTS)
    start = dp.models.integrate(model, jnp.asarray(rng.normal(size=SITES)), np.array([0.0, 20.0]))[-1]
    truth = np.asarray(dp.models.integrate(model, start, times))
    return times, truth, truth[:, MEASURED] + 0.5 * rng.normal(size=(POINTS, len(MEASURED)))


def build(seed: int = 0, model=None) -> dp.Action:
    times, _, values = data(seed)
    model = dp.models.Lorenz96(SITES, dp.Unknown(6.0, 10.0)) if model is None else model
    return dp.Action(model, dp.Observations(times, values, components=MEASURED, noise=0.5), dp.HermiteSimpson())


@pytest.fixture(scope="module")
def action():
    return build()


@pytest.fixture(scope="module")
def starts(action):
    return dp.initial_paths(action, 8, jax.random.key(3), spread=(-10.0, 10.0))


@pytest.fixture(scope="module")
def whole(action, starts):
    """Every member taken all the way."""
    return dp.anneal(action, starts=starts, prune=None, stop=False)


def test_the_lowest_level_never_falls(whole):
    """dA*/dR_f = ½ Σ c² ≥ 0 along a branch, up to the tolerance of a rung; the lowest member stays on its branch."""
    assert np.all(np.diff(whole.levels[:, whole.best.member]) >= -1e-4 * whole.levels[1:, whole.best.member])


def test_pruning_keeps_the_winner(action, starts, whole):
    """The lowest level, its path and its parameters are those of the unpruned ensemble, for fewer steps."""
    pruned = dp.anneal(action, starts=starts, stop=False)
    np.testing.assert_allclose(pruned.best.level, whole.best.level, rtol=1e-6)
    np.testing.assert_allclose(pruned.best.path, whole.best.path, atol=1e-4)  # two members of one minimum
    assert pruned.steps.sum() < whole.steps.sum()
    assert np.sum(pruned.status == Status.pruned) == np.sum(np.isnan(pruned.levels[-1]))


def test_waiting_members_are_taken_up_again(action, starts):
    """Noise declared ten times too small: no level is as low as χ² allows, so that nothing may stay behind unseen."""
    times, _, values = data(0)
    tight = dp.Observations(times, values, components=MEASURED, noise=0.05)
    strict = dp.Action(dp.models.Lorenz96(SITES, dp.Unknown(6.0, 10.0)), tight, dp.HermiteSimpson())
    result = dp.anneal(strict, dp.Ladder(rungs=12), starts=starts, prune=dp.Prune(width=1))
    assert not result.report.consistent
    latest = np.array([column[np.isfinite(column)][-1] for column in result.levels.T])
    assert np.all((result.status != Status.pruned) | (latest >= result.best.level))


def test_members_begin_as_they_are_needed(action, starts, whole):
    """The first batch that reaches a level which χ² allows is the last."""
    found = dp.anneal(action, starts=starts, prune=dp.Prune(width=1, batch=2))
    begun = np.isfinite(found.levels[0])
    good = whole.levels[-1] <= 1.01 * whole.best.level
    assert found.report.consistent
    assert begun.sum() % 2 == 0
    assert np.all(begun == (np.arange(8) < begun.sum()))
    assert not np.any(good[: begun.sum() - 2])
    assert np.all(found.status[~begun] == Status.pruned)
    assert np.all(found.steps[:, ~begun] == 0)


def test_permuting_members_permutes_the_result(action, starts, whole):
    order = np.array([3, 1, 0, 2, 7, 5, 6, 4])
    permuted = dp.anneal(action, starts=tuple(x[order] for x in starts), prune=None, stop=False)
    np.testing.assert_array_equal(permuted.levels, whole.levels[:, order])


def test_an_ensemble_of_one_is_a_single_run(action, starts, whole):
    alone = dp.anneal(action, starts=tuple(x[2:3] for x in starts), prune=None, stop=False)
    np.testing.assert_allclose(alone.levels[:, 0], whole.levels[:, 2], rtol=1e-9)


def test_one_rung_is_plain_minimisation(action, starts):
    result = dp.anneal(action, dp.Ladder(start=0.5, rungs=1), starts=tuple(x[:1] for x in starts), prune=None)
    problem = action.at(0.5)
    z = action.pack(starts[0][0], starts[1][0])
    plain = jax.jit(lambda z: DampedNewton().minimise(problem, z, tolerance=1e-9, damping=1.0, floor=1e-3))(z)
    np.testing.assert_allclose(result.best.level, action.level(plain.cost), rtol=1e-8)


def test_finds_truth_and_reports(whole):
    _, truth, _ = data(0)
    report = whole.report
    assert report.consistent
    assert report.winners >= 1
    assert np.sqrt(np.mean((whole.best.path - truth) ** 2)) < 0.3
    assert str(report).startswith(f"Lowest level {whole.best.level:.4f}")
    others = np.sort(whole.levels[-1])
    second = others[others > 1.001 * others[0]]
    if second.size:
        gap = float(whole.action.count) / 2 * (second[0] - others[0])
        np.testing.assert_allclose((report.gap, report.dominance), (gap, np.exp(-gap)), rtol=1e-9)


def test_a_member_that_fails_leaves_the_others_unharmed(action, starts, whole):
    broken = starts[0].at[1].set(jnp.nan)
    result = dp.anneal(action, starts=(broken, starts[1]), prune=None, stop=False)
    assert result.status[1] == Status.not_finite
    assert "not finite" in Status(result.status[1]).sentence
    kept = np.arange(8) != 1
    np.testing.assert_array_equal(result.levels[:, kept], whole.levels[:, kept])


def test_one_trace_for_all_data_sets_rungs_and_runs():
    model = Counting(dp.Unknown(6.0, 10.0))
    first = build(1, model)
    dp.anneal(first, dp.Ladder(rungs=3), key=jax.random.key(0), members=4)
    seen = len(TRACES)
    dp.anneal(first, dp.Ladder(start=1e-5, factor=3.0, rungs=6), key=jax.random.key(1), members=4)
    dp.anneal(first.observe(jnp.asarray(data(2)[2])), dp.Ladder(rungs=3), key=jax.random.key(2), members=4)
    assert len(TRACES) == seen
    dp.anneal(build(3, model), dp.Ladder(rungs=3), key=jax.random.key(2), members=4)
    assert len(TRACES) <= seen + 2  # the constructor's own check of shapes, never the solver


def test_the_ladder_inside_jit_vmap_and_grad(action, starts, whole):
    """`climb` equals the host's loop, batches over data sets, and has the derivative that differences measure."""
    few = tuple(x[:2] for x in starts)
    ladder = dp.Ladder()

    def forcing(values):
        members, levels = dp.climb(action.observe(values), *few, ladder)
        return members.z.shared[jnp.argmin(levels[-1]), 0]

    values, each = jnp.asarray(data(0)[2]), jax.jit(jax.vmap(forcing))
    batch = each(jnp.stack([values, values + 0.05]))
    alone, slope = jax.jit(jax.value_and_grad(forcing))(values)
    np.testing.assert_allclose(batch[0], alone, rtol=1e-6)
    best = np.argmin(whole.levels[-1, :2])
    np.testing.assert_allclose(batch[0], whole.parameters[best, 0], rtol=1e-6)
    step = 1e-3 * jnp.zeros_like(values).at[3, 1].set(1.0)
    high, low = each(jnp.stack([values + step, values - step]))
    # Differences of 1e-3: error about 1e-6 relative, and rungs'.
    np.testing.assert_allclose(slope[3, 1], (high - low) / 2e-3, rtol=1e-4)


def test_float32_has_the_derivatives_of_float64_above_what_normal_equations_carry():
    """The forcing by every measurement, and the level, at R_f/R_m = 1.2e10 of a ladder that changes form on its way."""
    times, truth, values = data(0)
    values = np.asarray(values, np.float32)
    unknown = dp.models.Lorenz96(SITES, dp.Unknown(6.0, 10.0))

    def responses():
        action = dp.Action(unknown, dp.Observations(times, values, components=MEASURED, noise=0.5), dp.HermiteSimpson())
        start = jnp.asarray(truth, float)[None], jnp.full((1, 1), FORCING)

        def forcing(values):
            members, levels = dp.climb(action.observe(values), *start, dp.Ladder(start=2e4, factor=28.0, rungs=5))
            return jnp.stack([members.z.shared[0, 0], levels[-1, 0]])

        return jax.jit(jax.jacrev(forcing))(jnp.asarray(values, float))

    double = np.asarray(responses())
    with jax.enable_x64(False):
        single = responses()
    assert single.dtype == jnp.float32
    size = np.linalg.norm(double, axis=(1, 2))
    assert np.all(np.linalg.norm(np.asarray(single, float) - double, axis=(1, 2)) < 1e-4 * size)


def test_a_ladder_that_leaves_the_numbers_of_single_precision_is_refused_there(action, starts):
    for ladder in (dp.Ladder(start=1e-40), dp.Ladder(start=1e30, factor=1e4, rungs=4)):
        ladder.check(jnp.float64)
        with pytest.raises(ValueError, match=r"and float32 from 1.2e-38 to 3.4e\+38"):
            ladder.check(jnp.float32)


def test_few_data_do_not_end_the_climb_early():
    """With 12 values χ² allows any low level, and so the first rungs', where the model hardly counts."""
    times = np.linspace(0.0, 2.0, 12)
    values = (np.exp(-times) + 0.1 * np.random.default_rng(0).normal(size=12))[:, None]
    observations = dp.Observations(times, values, noise=0.1)
    options = {"args": dp.Unknown(0.0, 2.0), "dimension": 1, "bounds": (0.0, 1.0)}
    action = dp.Action(lambda t, x, k: -k * x, observations, dp.Trapezoid(), **options)
    ladder = dp.Ladder(factor=1.5, rungs=68, largest=1.0)
    early, whole = (dp.anneal(action, ladder, members=4, key=jax.random.key(0), stop=s) for s in (True, False))
    np.testing.assert_allclose(early.report.level, whole.report.level, rtol=1e-2)
    np.testing.assert_allclose(early.parameters[0], whole.parameters[0], rtol=1e-2)


def test_float32_weighs_what_it_climbs_inside_jit_too():
    """Predators and prey with R_f of 1 and 1e4: as float64 does, with the action closed over, or handed in."""
    times, weights = np.linspace(0.0, 10.0, 21), np.array([1.0, 1e4])
    path = np.asarray(dp.models.integrate(dp.models.LotkaVolterra(), jnp.array([2.0, 1.0]), times))
    values = path + 0.1 * np.random.default_rng(0).normal(size=(21, 2))

    def made():
        observations = dp.Observations(times, values, noise=0.1)
        action, start = (
            dp.Action(dp.models.LotkaVolterra(), observations, dp.HermiteSimpson()),
            jnp.asarray(path, float),
        )
        climbed = lambda a: dp.climb(a, start[None], jnp.zeros((1, 0)), dp.Ladder(1.0, 100.0, 3))[1][-1, 0]
        # What is known already may be put in while other things are traced.
        inside = jax.jit(lambda v: action.weigh(weights).observe(v).at(1.0).problem.weight.value)
        np.testing.assert_allclose(inside(action.observations.values)[0], weights * 100.0, rtol=1e-6)
        return action.weigh(weights), climbed

    action, climbed = made()
    double = float(climbed(action))
    with jax.enable_x64(False):
        action, climbed = made()
        single = [float(climbed(action)), float(eqx.filter_jit(climbed)(action))]
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_the_climb_ends_where_the_level_is_flat_however_fine_the_ladder():
    """At a factor of 1.1 a level that still rises by a percent a decade hardly changes from rung to rung."""
    times = np.linspace(0.0, 6.0, 60)

    def pendulum(t, x, stiffness):
        return jnp.stack([x[1], -stiffness * jnp.sin(x[0]) - 0.25 * x[1] + 1.15 * jnp.cos(0.7 * t)])

    path = np.asarray(dp.models.integrate(pendulum, jnp.array([0.5, 0.0]), times, jnp.asarray(1.0)))
    values = path[:, :1] + 0.1 * np.random.default_rng(1).normal(size=(60, 1))
    observations = dp.Observations(times, values, components=[0], noise=0.1)
    action = dp.Action(pendulum, observations, dp.HermiteSimpson(), args=dp.Unknown(0.5, 2.0), dimension=2, steps=10)
    ladder, starts = dp.Ladder(factor=1.1, rungs=287, largest=1.0), dp.initial_paths(action, 1, jax.random.key(0))
    early, whole = (dp.anneal(action, ladder, starts=starts, prune=None, stop=s) for s in (True, False))
    assert early.report.rungs < whole.report.rungs
    assert early.report.level == pytest.approx(whole.report.level, rel=3e-4)


def test_a_fine_ladder_leaves_out_rungs_that_cost_nothing(action, starts, whole):
    """The same levels at the top with fewer steps; R_f grows by no more than `largest` at once. Every rung if asked."""
    few, fine = tuple(x[:2] for x in starts), dp.Ladder(factor=1.5, rungs=68)
    run = lambda ladder: dp.anneal(action, ladder, starts=few, prune=None, stop=False)
    some, every = run(fine), run(dp.Ladder(factor=1.5, rungs=68, largest=1.0))
    climbed = np.flatnonzero(np.isfinite(some.levels).all(axis=1))
    assert np.isfinite(every.levels).all()
    assert 2 <= np.diff(climbed).max() <= 3
    assert 1.5 ** np.diff(climbed).max() <= fine.largest
    assert some.steps.sum() < 0.9 * every.steps.sum()
    np.testing.assert_allclose(some.levels[-1], every.levels[-1], rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(some.levels), some.steps == 0)


def test_an_adaptive_ladder_reaches_the_same_levels_over_fewer_rungs_than_a_coarse_one(action, starts, whole):
    """Factors up to 100 where the branch hardly moves, and small ones where it does."""
    few = tuple(x[:4] for x in starts)
    run = lambda ladder: dp.anneal(action, ladder, starts=few, prune=None, stop=False)
    coarse, adaptive = run(dp.Ladder()), run(dp.Ladder(factor=1.5, rungs=68, largest=100.0))
    climbed = np.flatnonzero(np.isfinite(adaptive.levels).all(axis=1))
    strides = 1.5 ** np.diff(climbed)
    assert climbed.size < coarse.levels.shape[0]
    assert strides.max() <= 100.0 and strides.max() > 4.0 * strides.min()
    assert np.min(adaptive.levels[-1]) == pytest.approx(np.min(coarse.levels[-1]), rel=1e-3)
    assert dp.Ladder(largest=np.inf).most == 18


def test_climb_prunes_like_a_mask(action, starts):
    _, levels = dp.climb(action, *starts, dp.Ladder(rungs=5), prune=dp.Prune(width=2))
    np.testing.assert_array_equal(np.isfinite(levels).sum(1), [8, 4, 2, 2, 2])


def test_gradients_alone_reach_the_same_minimum(action, starts, whole):
    winner = np.argmin(whole.levels[-1])
    top = dp.Ladder(start=float(whole.ratios[-1]), rungs=1)
    begin = (whole.paths[winner][None], whole.parameters[winner][None])
    result = dp.anneal(action, top, starts=begin, prune=None, minimiser=LBFGS())
    np.testing.assert_allclose(result.best.level, whole.best.level, rtol=1e-6)


@pytest.mark.parametrize("vectorise", [True, False])
def test_spread_runs_active_members_only(vectorise):
    members = jnp.arange(6.0)
    active = jnp.array([True, False, True, True, False, True])
    done = spread(lambda x: x + 10.0, members, active, vectorise=vectorise)
    np.testing.assert_array_equal(done, np.where(active, members + 10.0, members))


def test_members_are_shared_over_devices():
    """Two devices give what one gives, for a member count that does not divide."""
    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 2)\n"
        "import jax.numpy as jnp\nfrom deepest.ensemble import spread\n"
        "active = jnp.array([True, False, True, True, False])\n"
        "done = jax.jit(lambda m, a: spread(lambda x: 2.0 * x, m, a, devices=jax.local_devices()))(\n"
        "    jnp.arange(5.0), active)\n"
        "assert len(jax.local_devices()) == 2 and done.tolist() == [0.0, 1.0, 4.0, 6.0, 4.0], done\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda a: dp.anneal(a), "need key="),
        (lambda a: dp.anneal(a, members=0, key=jax.random.key(0)), "at least one member"),
        (
            lambda a: dp.anneal(a, starts=(np.zeros((2, 3, 5)), np.zeros((2, 1)))),
            r"Starts must be paths \(members, 41, 10\)",
        ),
        (lambda a: dp.Ladder(factor=1.0), "factor above 1"),
        (lambda a: dp.Ladder(largest=0.5), "1 or more"),
        (lambda a: dp.Ladder(start=0.0), "positive R_f/R_m"),
        (lambda a: dp.Ladder(rungs=0), "between one rung and 100000; received rungs=0"),
        (lambda a: dp.Ladder(rungs=10**31), "between one rung and 100000; received rungs=1000"),
        (lambda a: dp.Ladder(factor=1e300, rungs=3), "beyond all numbers"),
        (lambda a: dp.Prune(width=0), "width ≥ 1"),
        (lambda a: dp.Prune(batch=0), "batch ≥ 1"),
        (
            lambda a: dp.Ladder(rungs=40).check(np.float32, DampedNewton().highest(np.float32)),
            "In float32 normal equations carry R_f/R_m up to about 2e.06.*rungs=18",
        ),
        (
            lambda a: dp.climb(
                a,
                *(x.astype(np.float32) for x in dp.initial_paths(a, 1, jax.random.key(0))),
                dp.Ladder(rungs=24),
                minimiser=DampedNewton(),
            ),
            "In float32 normal equations carry R_f/R_m up to about 2e.06",
        ),
    ],
)
def test_refusals(action, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(action)
