# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Gaps and irregular times
#
# Measurements come when they come: at times that fit no grid, with hours of nothing between them, in several sessions,
# and under a stimulus that is switched. This notebook takes each of these in turn, and in the end lets a forecast say
# how far each measurement is to be trusted.
#
# The system is Lorenz's of 1963, of which $x$ and $z$ are measured, with an unknown $\rho$.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import deepest as dp
from deepest.models import Lorenz63, Stimulus, integrate

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
spread = (np.array([-20.0, -25.0, 0.0]), np.array([20.0, 25.0, 50.0]))

# %% [markdown]
# ## Times that fit no grid, and a gap
#
# 60 times at random, and none between 1.2 and 1.7. `step` is the longest that a step of the path's grid may be: every
# observation time becomes a node, and the gap is filled with steps, so that the model carries the path across.

# %%
times = np.sort(np.concatenate([rng.uniform(0.0, 1.2, 35), rng.uniform(1.7, 2.5, 25)]))
truth = np.asarray(integrate(Lorenz63(), jnp.array([3.0, 4.0, 18.0]), times))
values = truth[:, [0, 2]] + 0.4 * rng.normal(size=(60, 2))
observations = dp.Observations(times, values, components=[0, 2], noise=0.4)
model = Lorenz63(rho=dp.Unknown(15.0, 45.0))
action = dp.Action(model, observations, dp.HermiteSimpson(), step=0.02, convention="continuum")
widths = np.diff(action.grid.times)
print(f"{times.size} observations on a grid of {action.grid.size} points, steps between {widths.min():.1e} and 0.02")
assert np.isin(times, action.grid.times).all() and widths.max() < 0.0201

result = dp.anneal(action, members=16, key=jax.random.key(1), spread=spread)
print(result.report, result.identify(), sep="\n")
assert result.report.consistent
assert abs(result.best.parameters["rho"] - 28.0) < 0.5

# %%
exact = np.asarray(integrate(Lorenz63(), jnp.asarray(truth[0]), action.grid.times))
axes = dp.plot.path(result, truth=exact)
inside = (action.grid.times > 1.2) & (action.grid.times < 1.7)
missed = np.abs(result.best.path - exact)[inside].max(axis=0)
print("largest error in the gap, of x, y and z:", missed.round(2))
assert np.all(missed < 2.0)

# %% [markdown]
# With steps this uneven, `convention="continuum"` gives R_f a meaning that does not depend on them: the precision of
# $\dot x - F$, not of each step's defect.
#
# ## A stimulus that is switched
#
# $y$ is pushed by a force that is switched at times that are no observation times. A `Stimulus` in steps says where it
# jumps; nodes are put there, and each interval sees the force that acts inside of it. Read as linear between the same
# knots, it is another force, and the fit is far worse.

# %%
switched = Stimulus([0.0, 0.41, 0.83, 1.37], [0.0, 60.0, -60.0, 0.0], "steps")
clock = np.linspace(0.0, 2.0, 101)


def pushed(t, x, args):
    return args["model"](t, x, None).at[1].add(args["push"](t))


path = integrate(pushed, jnp.array([-8.0, -7.0, 27.0]), clock, {"model": Lorenz63(), "push": switched})
seen = dp.Observations(clock, path[:, [0, 2]] + 0.4 * rng.normal(size=(101, 2)), components=[0, 2], noise=0.4)
found = {}
for kind in ("steps", "linear"):
    push = Stimulus([0.0, 0.41, 0.83, 1.37], [0.0, 60.0, -60.0, 0.0], kind)
    task = dp.Action(pushed, seen, dp.HermiteSimpson(), args={"model": model, "push": push}, dimension=3, step=0.01)
    found[kind] = dp.anneal(task, members=8, key=jax.random.key(2), spread=spread)
    print(kind, found[kind].report.level, found[kind].best.parameters)
assert found["steps"].report.consistent
assert not found["linear"].report.consistent

# %% [markdown]
# ## Several sessions
#
# Three recordings of one system, each from another state, none long enough: `join` puts them on one clock, and
# `breaks` are where the path begins anew. The parameters are shared.

# %%
sessions, starts = [], ([-8.0, -7.0, 27.0], [3.0, 4.0, 18.0], [-2.0, -4.0, 12.0])
short = np.linspace(0.0, 0.6, 31)
for start in starts:
    orbit = np.asarray(integrate(Lorenz63(), jnp.array(start), short))
    sessions.append(dp.Observations(short, orbit[:, :1] + 0.4 * rng.normal(size=(31, 1)), noise=0.4))
joined = dp.Observations.join(sessions, pause=0.2)
three = Lorenz63(dp.Unknown(5.0, 20.0), dp.Unknown(15.0, 45.0), dp.Unknown(1.0, 5.0))
together = dp.Action(three, joined.observations, dp.HermiteSimpson(), steps=2, breaks=joined.breaks)
# The first session alone: of the others nothing is seen.
hidden = dp.Observations(
    joined.observations.times,
    np.where(joined.observations.times[:, None] < joined.breaks[0], joined.observations.values, np.nan),
    noise=0.4,
)
alone = dp.Action(three, hidden, dp.HermiteSimpson(), steps=2, breaks=joined.breaks)
errors = {}
for name, task in (("one session", alone), ("three sessions", together)):
    run = dp.anneal(task, members=16, key=jax.random.key(3), spread=spread)
    print(f"{name}:", run.identify(), sep="\n")
    assert run.report.consistent
    errors[name] = np.abs(run.parameters[run.best.member] / np.array([10.0, 28.0, 8.0 / 3.0]) - 1.0)
print("relative errors:", {name: error.round(3).tolist() for name, error in errors.items()})
assert errors["three sessions"].max() < 0.15 < errors["one session"].max()

# %%
axes = dp.plot.path(run, [0, 1])

# %% [markdown]
# ## How far to trust each measurement
#
# Suppose that the errors of $x$ and $z$ are not known, and that somebody wrote down 0.4 for both, while $z$'s is 3. An
# estimate is differentiable by everything that went in, through the implicit function theorem at the minimum. So is a
# forecast from it, and its error on data that were held back can choose the precisions $R_m$: here by 25 steps of
# optax's Adam down its gradient in $\log R_m$, over twelve data sets side by side (`vmap`).

# %%
grid, ahead = 0.02 * np.arange(61), 0.3
deviation = np.array([0.4, 3.0])
later = np.append(grid, grid[-1] + ahead)
sets, targets = [], []
for k in range(12):
    start = integrate(Lorenz63(), jnp.asarray(rng.normal(size=3)), np.array([0.0, 20.0 + k]))[-1]
    orbit = np.asarray(integrate(Lorenz63(), start, later))
    sets.append(orbit[:-1][:, [0, 2]] + deviation * rng.normal(size=(61, 2)))
    targets.append((orbit[:-1], orbit[-1]))
build = dp.Action(model, dp.Observations(grid, sets[0], components=[0, 2], noise=0.4), dp.HermiteSimpson())
ladder = dp.Ladder(1.0, 10.0, 4)


def forecast_error(logarithms, values, orbit, target):
    """The squared error, 0.3 time units after the last measurement, of the path that was found."""
    task = build.observe(values, precision=jnp.exp(logarithms))
    members, _ = dp.climb(task, orbit[None], jnp.full((1, 1), 28.0), ladder)
    cell, _ = task.estimable.fill(members.z.shared[0], jnp.zeros(0))

    def step(x, _):
        h = ahead / 60
        one = cell(0.0, x, None)
        two = cell(0.0, x + h / 2 * one, None)
        three = cell(0.0, x + h / 2 * two, None)
        return x + h / 6 * (one + 2 * two + 2 * three + cell(0.0, x + h * three, None)), None

    end, _ = jax.lax.scan(step, members.z.nodes[0, -1], length=60)
    return jnp.sum((end - target) ** 2)


data = tuple(map(jnp.asarray, (np.stack(sets), np.stack([p for p, _ in targets]), np.stack([e for _, e in targets]))))
each = jax.vmap(forecast_error, in_axes=(None, 0, 0, 0))
objective = jax.jit(jax.value_and_grad(lambda u: jnp.mean(jnp.log(each(u, *data)))))
u, history = jnp.log(jnp.array([0.4, 0.4]) ** -2.0), []
adam = optax.adam(0.25)
state = adam.init(u)
for _ in range(25):
    value, slope = objective(u)
    history.append((float(value), *np.exp(-0.5 * u)))
    update, state = adam.update(slope, state)
    u = optax.apply_updates(u, update)
history = np.array(history)
print(f"mean log squared error of the forecast: {history[0, 0]:.2f} at first, {history[-1, 0]:.2f} in the end")
print(f"deviations of x and z taken to be {history[-1, 1]:.2f} and {history[-1, 2]:.2f}; true: 0.4 and 3")
assert history[-1, 0] < history[0, 0] - 0.5
assert history[-1, 2] > 2.0 * history[-1, 1]

# %%
figure, axis = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
axis.plot(history[:, 0], marker="o", markersize=3.5)
axis.set(xlabel="step", ylabel="mean log squared error", title="Precisions chosen by the forecast")
