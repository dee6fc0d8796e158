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
# # Your own model and data
#
# You have a file with measurements, taken at uneven times and with gaps, and equations of your own. This notebook goes
# from the file to parameters, the variable that nobody measured, and a forecast.
#
# The example is FitzHugh and Nagumo's neuron: a voltage $v$, which is measured, and a slow recovery variable $w$, which
# is not,
#
# $$\dot v = v - \tfrac13 v^3 - w + I, \qquad \dot w = (v + a - b\,w)/\tau .$$
#
# The injected current $I = 0.5$ is known; $a$, $b$ and $\tau$ are not.

# %%
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import deepest as dp

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The vector field
#
# Any function `(t, x, args)` that returns $\dot x$ in JAX operations. Inputs that you know, such as a stimulus $I(t)$,
# belong into it as well.


# %%
def neuron(t, x, args):
    v, w = x
    return jnp.stack([v - v**3 / 3 - w + 0.5, (v + args["a"] - args["b"] * w) / args["tau"]])


# %% [markdown]
# ## The file
#
# You have one already. Here we write one: times that are not evenly spaced, an error of 0.1 in $v$, and 15 % of the
# values missing.

# %%
TRUE, NOISE = {"a": 0.7, "b": 0.8, "tau": 12.5}, 0.1
folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "neuron.csv"

rng = np.random.default_rng(1)
times = np.round(np.cumsum(rng.uniform(0.3, 0.9, 200)), 2)
truth = np.asarray(dp.models.integrate(neuron, jnp.array([-1.0, -0.5]), times, TRUE))
voltage = truth[:, 0] + NOISE * rng.normal(size=200)
missing = rng.random(200) < 0.15
rows = [f"{t},{'' if gone else f'{v:.4f}'}" for t, v, gone in zip(times, voltage, missing, strict=True)]
file.write_text("\n".join(["time (ms),voltage", *rows]))

print(*file.read_text().splitlines()[:8], sep="\n")

# %% [markdown]
# ## Read it
#
# `read_table` finds the time column; empty cells, `NaN` and `NA` become NaN, which means missing. The first 150 rows
# are for the fit, the last 50 stay aside for the forecast. `components=[0]` says that the column is $x_0 = v$.

# %%
table = dp.io.read_table(file, columns=["voltage"])
everything = dp.Observations(table.times, table.values, components=[0], noise=NOISE)
observations, aside = everything.select(slice(0, 150)), everything.select(slice(150, None))

print(f"{observations.count} values at {observations.times.size} times")

# %% [markdown]
# ## The action
#
# - `args` holds an `Unknown(lower, upper)` for each number to find; `dimension` says how many components the state has.
# - `steps=2` cuts every interval between two measurements in two, which is also what Hermite–Simpson asks for: its
#   polynomials have a point in the middle.
# - `bounds` keep the states in a sensible range, and say where the unmeasured $w$ may start.
# - `model_precision` weighs the equations: $w$ moves $\tau$ times more slowly than $v$, and so do its defects;
#   the ladder multiplies both numbers.

# %%
unknowns = {"a": dp.Unknown(0.0, 2.0), "b": dp.Unknown(0.0, 2.0), "tau": dp.Unknown(3.0, 30.0)}
options = {"steps": 2, "bounds": ([-3.0, -2.0], [3.0, 3.0]), "model_precision": [1.0, 100.0]}

action = dp.Action(neuron, observations, dp.HermiteSimpson(), args=unknowns, dimension=2, **options)

# %% [markdown]
# ## Anneal, and check
#
# `consistent` means that the lowest level $2A/n$ is what $\chi^2$ allows: the path misses the data by as much as their
# error, no more and no less.

# %%
result = dp.anneal(action, members=16, key=jax.random.key(0))
print(result.report)
for name, value in result.best.parameters.items():
    print(f"{name:>4} = {value:6.3f}   truth {TRUE[name]}")

assert result.report.consistent
assert all(abs(result.best.parameters[name] - TRUE[name]) < 0.1 * TRUE[name] for name in TRUE)

# %% [markdown]
# All starts end on one line here: with this many data in $v$ there is one minimum. A chaotic model with fewer measured
# components has many, as in the *quickstart*; then look for a lowest line that is flat and alone.

# %%
axes = dp.plot.action_levels(result)

# %% [markdown]
# ## The hidden variable, and the forecast
#
# The real test of a model is what it says about data that it has not seen: the rows that we kept aside (black dots).
# The dashed line is the true $w$, which one does not have in earnest.

# %%
forecast = result.forecast(until=aside.times[-1])
axes = dp.plot.path(result, forecast=forecast)
axes[0].plot(aside.times, aside.masked()[:, 0], "k.", markersize=4)
axes[1].plot(times, truth[:, 1], "k--", linewidth=1)
axes[0].set_ylabel("$v$")
axes[1].set(ylabel="$w$, not measured", xlabel="time (ms)")

hidden = result.best.path[::2, 1] - truth[:150, 1]
print(f"Root mean square error of w on the data's window: {np.sqrt(np.mean(hidden**2)):.3f}")

predicted = np.interp(aside.times, forecast.times, forecast.path[:, 0])
miss = (predicted - aside.values[:, 0])[aside.present[:, 0]] / NOISE
print(f"Root mean square error of the forecast: {np.sqrt(np.mean(miss**2)):.2f} times the measurement error")

assert np.sqrt(np.mean(hidden**2)) < 0.1
assert np.sqrt(np.mean(miss**2)) < 1.5

# %% [markdown]
# ## The same as an Equinox module, with a prior
#
# A module keeps the parameters where the equations are, and carries its `dimension`. Someone measured $\tau = 12 \pm 1$
# in other cells: `prior=dp.Normal(mean, deviation)` adds $\tfrac12 (\tau - 12)^2 / 1^2$ to the action.


# %%
class Neuron(eqx.Module):
    a: jax.Array | dp.Unknown
    b: jax.Array | dp.Unknown
    tau: jax.Array | dp.Unknown
    dimension: int = eqx.field(static=True, default=2)

    def __call__(self, t, x, args):
        v, w = x
        return jnp.stack([v - v**3 / 3 - w + 0.5, (v + self.a - self.b * w) / self.tau])


model = Neuron(a=dp.Unknown(0.0, 2.0), b=dp.Unknown(0.0, 2.0), tau=dp.Unknown(3.0, 30.0, prior=dp.Normal(12.0, 1.0)))
informed = dp.anneal(dp.Action(model, observations, dp.HermiteSimpson(), **options), members=16, key=jax.random.key(0))
print({name: round(value, 3) for name, value in informed.best.parameters.items()})

assert informed.report.consistent
assert abs(informed.best.model.tau - 12.0) < abs(result.best.parameters["tau"] - 12.0)

# %% [markdown]
# ## Save and load
#
# A file holds data, never code: a model that lives in a notebook is handed over again. One that can be imported from a
# module of yours is found by name with `trust=True`.

# %%
informed.save(Path(folder.name) / "neuron.nc")
again = dp.load(Path(folder.name) / "neuron.nc", model=model)

assert again.best.parameters == informed.best.parameters

# %% [markdown]
# ## When something does not fit
#
# Mistakes are said in a sentence, before anything compiles. A column that does not exist:

# %%
try:
    dp.io.read_table(file, columns=["votlage"])
except ValueError as error:
    print(error)

# %% [markdown]
# Hermite–Simpson without the points in the middle:

# %%
try:
    dp.Action(model, observations, dp.HermiteSimpson())
except ValueError as error:
    print(error)

# %%
folder.cleanup()
