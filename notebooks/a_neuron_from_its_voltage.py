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
# # A neuron from its voltage
#
# A current is injected into a cell and its voltage is recorded, with an error of 1 mV. The cell's gates, its
# conductances and all its other numbers are not seen. This notebook finds them from 120 ms of voltage, asks which of
# them the voltage really says something about, and predicts spikes under a current that the cell has not seen.
#
# The cell is Hodgkin and Huxley's with sodium, potassium and a leak,
#
# $$ C\,\dot V = I(t) + g_{Na}\, m^3 h\,(E_{Na} - V) + g_K\, n^4 (E_K - V) + g_L (E_L - V), \qquad
#    \dot x = \frac{x_\infty(V) - x}{\tau_x(V)}, \quad x = m, h, n, $$
#
# with 18 unknown numbers: conductances within ±50 %, all others within ±5 %. It is the size of the example in
# varanneal's tutorial.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import deepest as dp
from deepest import models, twin

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The recording
#
# The current is chaotic, so that the voltage goes everywhere: far below rest, where sodium recovers, and through
# spikes. A `Stimulus` has times of its own; here it is cubic between knots half a millisecond apart.

# %%
setting = twin.neuron()
experiment = setting.simulate(jax.random.key(0))
action, times = experiment.action, experiment.times
current = np.asarray(jax.vmap(experiment.model.current)(jnp.asarray(times)))
print(f"{times.size} voltages, {len(action.estimable.names)} unknown parameters, states {experiment.model.states}")

figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.8, 3.6), layout="constrained")
above.plot(times, current, linewidth=1.0)
above.set_ylabel("current, µA/cm²")
below.plot(times, action.observations.values[:, 0], ".", markersize=1.5, alpha=0.6)
below.set(xlabel="time, ms", ylabel="voltage, mV")

# %% [markdown]
# ## The search
#
# Voltages are of the order of 100 and gates of 1, so that their equations are weighed differently: R_f of a gate is
# 10⁴ times that of the voltage. Gates stay in [0, 1], whatever the search tries. One start is enough here: gates
# between 0 and 1 at random, parameters at random in their ranges.

# %%
result = dp.anneal(action, setting.ladder, members=1, key=jax.random.key(1), spread=setting.spread)
best, level = result.best, twin.yardstick(experiment, result)
print(result.report)
print(f"level of the path that starts at the truth: {level:.4f}")
assert result.report.consistent
assert best.level < 1.02 * level

# %% [markdown]
# The gates that nobody measured:

# %%
axes = dp.plot.path(result, [0, 1, 2, 3], truth=experiment.truth)
errors = np.sqrt(np.mean((best.path - experiment.truth) ** 2, axis=0))
print("root mean square error of m, h and n:", errors[1:].round(4))
assert np.all(errors[1:] < 0.03)

# %% [markdown]
# ## What the voltage says, and what it does not
#
# The curvature of the action along the parameters says how well each is known: its deviation, as a part of what one
# knew without data. Some numbers stand at the end of their range, since what the data say of them is less than the
# range allows; combinations of them are known very well, and others hardly at all.

# %%
known = result.identify()
print(known)
axes = dp.plot.identifiability(known)
assert known.shares[known.names.index("channels.leak.conductance")] < 0.2
assert known.loose

# %% [markdown]
# How slowly and how steeply gates open is hardly known within ±5 %: in the picture each of the sloppiest combinations
# mixes several of them, which compensate each other. So do not read one number of a sloppy combination by itself. What
# the model *does* is known far better, as the next step shows.
#
# ## Another current
#
# Half a second under another current, from rest. Spikes are where the voltage passes −20 mV upwards; the coincidence
# factor Γ counts those that agree within 1 ms, and is 1 where all do and 0 as far as chance would have it.

# %%
other = twin.chaotic_current(500.0, start=np.array([1.0, -1.0, 25.0]))
clock = np.arange(0.0, 500.0, 0.05)


def voltage(cell):
    driven = models.Neuron(cell.channels, other, capacitance=cell.capacitance)
    return np.asarray(models.integrate(driven, driven.settled(-70.0), clock))[:, 0]


true, predicted = voltage(experiment.model), voltage(best.model)
spikes = [models.spike_times(clock, trace) for trace in (true, predicted)]
factor = models.coincidence(spikes[1], spikes[0], window=1.0, duration=500.0)
latest = np.abs(spikes[0] - spikes[1]).max()
print(f"{spikes[1].size} spikes predicted, {spikes[0].size} true, at most {latest:.2f} ms off, Γ = {factor:.3f}")
assert spikes[0].size == spikes[1].size > 15
assert latest < 1.0 and factor == 1.0

# %%
figure, axis = plt.subplots(figsize=(6.8, 2.4), layout="constrained")
axis.plot(clock, predicted, linewidth=1.6, label="predicted")
axis.plot(clock, true, linewidth=0.9, linestyle="--", label="true")
axis.set(xlabel="time, ms", ylabel="voltage, mV", title="Another current", xlim=(0.0, 500.0))
axis.legend(loc="upper right", fontsize="small")

# %% [markdown]
# ## A real cell
#
# A twin is kind: the model is right. `deepest anneal examples/neuron.toml` does the same with a recorded cell, whose
# model is not, and `benchmarks/neuron.py` says how good that is, beside an integrate-and-fire neuron and a fit by
# shooting.
