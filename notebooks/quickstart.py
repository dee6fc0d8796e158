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
# # Quickstart
#
# You have noisy measurements of *some* variables of a system, and a model of it with parameters that you do not know.
# Which path did the system take, and which parameters made it take that path?
#
# For a model $\dot x = F(x;\theta)$ and measurements $y_k = h(x(t_k)) + \text{noise}$, the answer is the lowest minimum
# of the *action*, which is $-\log P(X, \theta \mid Y)$ up to a constant:
#
# $$A(X, \theta) = \sum_k \tfrac12 R_m \, |h(x(t_k)) - y_k|^2 + \sum_n \tfrac12 R_f \, |c_n(x_n, x_{n+1}; \theta)|^2 .$$
#
# The first term asks the path $X$ to pass near the data, whose error has variance $1/R_m$. The second asks it to follow
# the model: the defect $c_n$ of an interval vanishes where the path solves the equation there.
#
# **Why annealing?** With $R_f$ large the action of a chaotic model has a great many local minima. With $R_f$ small it
# is nearly a parabola in what was measured. So we start many random paths at small $R_f$, and raise it step by step
# along a ladder $R_f = R_{f0}\,\alpha^\beta$, $\beta = 0, 1, 2, \dots$, while we follow each minimum.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import deepest as dp

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A system whose truth we know
#
# Lorenz96 is ten sites on a circle, $\dot x_a = x_{a-1}(x_{a+1} - x_{a-2}) - x_a + f$, and chaotic at $f = 8.17$. We
# run it onto its attractor, keep four time units, and measure **four of the ten** sites with an error of 0.5. Two more
# time units are kept aside, to judge the forecast.

# %%
FORCING, NOISE, MEASURED = 8.17, 0.5, [0, 2, 4, 7]

times, later = 0.05 * np.arange(81), 4.0 + 0.05 * np.arange(41)
start, error = jax.random.split(jax.random.key(4))
run = dp.models.integrate(
    dp.models.Lorenz96(10, forcing=FORCING),
    jax.random.normal(start, (10,)),
    np.concatenate([[-20.0], times, later[1:]]),
)
truth, future = run[1:82], run[81:]
values = truth[:, jnp.array(MEASURED)] + NOISE * jax.random.normal(error, (81, 4))

# %% [markdown]
# ## From the model and the data to the action
#
# Write what you know as a number and put `Unknown(lower, upper)` where you do not. Missing values would be NaN.
# The transcription says how $\dot x = F$ becomes defects; Hermite–Simpson is a good first choice.

# %%
model = dp.models.Lorenz96(10, forcing=dp.Unknown(4.0, 12.0))
observations = dp.Observations(times, values, components=MEASURED, noise=NOISE)
action = dp.Action(model, observations, dp.HermiteSimpson())

# %% [markdown]
# ## Anneal
#
# Measured sites start at the data, the other six at random values, the forcing anywhere in its range. Nearly all of the
# waiting is for the compiler; another data set of the same shape takes a second. `prune=None` takes every path
# all the way up, so that we can see them all; by default only those go on that can still win.

# %%
result = dp.anneal(action, dp.Ladder(), members=20, key=jax.random.key(2), prune=None)
print(result.report)

assert result.report.consistent
assert abs(result.best.model.forcing - FORCING) < 0.02 * FORCING

# %% [markdown]
# ## The action levels
#
# One line for each path. A level is $2A/n$, with $n$ the number of measured values: at the true path, with
# $R_m = 1/\sigma^2$, it is about 1, and the band is what $\chi^2$ allows. A minimum can only rise with $R_f$, and the
# lines part as the minima do (one that falls has slipped into a deeper minimum). Believe the lowest level where it is
# **flat**, so that it no longer depends on $R_f$, and **in the band**.

# %%
axes = dp.plot.action_levels(result)

# %% [markdown]
# ## Does the lowest path say it all?
#
# Expectations are averages over all paths with weight $e^{-A}$. The second lowest minimum contributes
# $e^{-(A_1 - A_0)}$ of what the lowest does: the *dominance* measure. Far below 1, and one path tells the story.

# %%
report = result.report
print(f"{report.winners} of {report.finished} paths share the lowest level.")
print(f"The next is higher by A₁ − A₀ = {report.gap:.0f}; its relative weight is e^(−gap) = {report.dominance:.1g}.")

assert report.dominance < 1e-6

# %% [markdown]
# ## The path, and the forecast
#
# The estimate follows the truth in sites that nobody measured. Beyond the data the model runs on from the path's last
# state; the forecast holds until chaos has blown up the small error of that state.

# %%
forecast = result.forecast(until=6.0)
axes = dp.plot.path(result, components=[0, 4, 1, 8], truth=truth, forecast=forecast, forecast_truth=future)

hidden = [site for site in range(10) if site not in MEASURED]
miss = result.best.path[:, hidden] - truth[:, jnp.array(hidden)]
print(f"Error in the sites that were not measured: {np.sqrt(np.mean(miss**2)):.2f}")

assert np.sqrt(np.mean(miss**2)) < NOISE

# %% [markdown]
# ## The parameters along the ladder
#
# Low on the ladder the model hardly counts, and every path has a forcing of its own. Those in the lowest minimum then
# agree on one value; the others settle just as calmly on wrong ones. The level says whom to believe.

# %%
axes = dp.plot.parameters(result, truth={"forcing": FORCING})

# %% [markdown]
# ## Save and load
#
# One NetCDF file holds the levels, paths, parameters, data and model; `xarray.open_datatree` reads it too.

# %%
with tempfile.TemporaryDirectory() as folder:
    result.save(Path(folder) / "run.nc")
    again = dp.load(Path(folder) / "run.nc")

assert np.array_equal(again.best.path, result.best.path)

# %% [markdown]
# ## Differentiate through it
#
# `dp.climb` is the ladder as one pure function that may stand inside your own `jit`, `vmap` or `grad`. Here: how does
# the estimated forcing $\hat f$ respond to each measurement? One rung is enough, as we start at its minimum. If the
# errors are independent, the same derivatives give its error bar, $\sigma_{\hat f}^2 = \sigma^2 \sum_{k,l}
# (\partial \hat f / \partial y_{kl})^2$.


# %%
def estimated_forcing(values):
    best, top = result.best, dp.Ladder(start=float(result.ratios[-1]), rungs=1)
    parameters = jnp.array([list(best.parameters.values())])
    members, _ = dp.climb(action.observe(values), jnp.asarray(best.path)[None], parameters, top)
    return members.z.shared[0, 0]


response = jax.jit(jax.grad(estimated_forcing))(values)
bar = NOISE * jnp.sqrt(jnp.sum(response**2))
print(f"forcing = {result.best.model.forcing:.3f} ± {bar:.3f}, truth {FORCING}")

assert abs(result.best.model.forcing - FORCING) < 3 * bar

# %% [markdown]
# ## How to choose
#
# - **Ladder**: start where the model hardly counts ($R_f/R_m \approx 10^{-6}$) and end where the lowest level is flat.
#   A factor of 3 to 5 is usually fine; try 1.5 if the lowest level stays above the band.
# - **Members**: as many as it takes for several to share the lowest level; 64 is a good start, more if few components
#   are measured.
# - **Transcription**: `HermiteSimpson` for smooth models, `ImplicitMidpoint` or `Trapezoid` for stiff or rough ones,
#   `RungeKutta4` to match a simulation that used it.
# - **Steps**: `steps=` cuts every observation interval, if data are too sparse for the model; refine until the answer
#   stays the same.
# - **Level too high?** The model is wrong, the noise is larger than you said, or no path found the minimum yet.
#   **Too low?** The noise is smaller than you said.
