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
# # How many measurements are needed?
#
# A model has $D$ variables, and an experiment measures $L$ of them. Is that enough to find the others, and to forecast?
# There are two ways to ask.
#
# **Ask the model.** Feed a copy of it with the true measured variables, in the place of its own, and let the others,
# $u$, start anywhere. A small error of theirs follows
#
# $$\frac{d\,\delta u}{dt} = DF_{uu}(x(t))\,\delta u ,$$
#
# and grows or shrinks as $e^{\lambda t}$. This $\lambda$ is the largest *conditional Lyapunov exponent* (Pecora and
# Carroll, 1990). Where $\lambda < 0$ the copy forgets its start and runs into the truth.
#
# **Ask experiments.** Simulate data of which the truth is known, measure this or that, anneal, and count. An annealed
# path weighs all data of a window at once, later ones too, so that it may do with fewer.

# %%
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import deepest as dp

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Lorenz63: which one?
#
# Three variables and all their subsets; all three parameters are unknown. Four experiments each, with a new truth, new
# noise and new starts. What a set leaves out is masked in the same data, so that everything compiles once. On the
# command line this is `deepest measurements lorenz63`.

# %%
setting = dataclasses.replace(dp.twin.lorenz63(), members=8)
small = dp.twin.measurements(setting, realisations=4, key=jax.random.key(2))
print(small)

axes = dp.plot.measurements(small)

# %% [markdown]
# Bars are 95 % intervals: four of four successes leave a rate of 51 to 100 % possible.
#
# Either of $x$ (0) and $y$ (1) is enough, and $z$ (2) is not. The equations stay the same when $x$ and $y$ change their
# signs, and $z$ does not tell in which of the two the system is: the mirrored path has the same action. So the level of
# the truth is reached, and the forecast still fails in about half of the experiments. Look at both.
#
# The exponents say it too. With $z$ measured the equations of $x$ and $y$ are linear, and the path itself solves them:
# it neither grows nor decays, $\lambda = 0$. With $y$ measured $\lambda = -\beta$, with $x$ and $z$ it is $-1$.

# %%
exponent, reached, horizon = (
    dict(zip(small.sets, each, strict=True)) for each in (small.exponents, small.reached, small.horizon)
)
model, state, mirror = dp.models.Lorenz63(), jnp.array([3.0, -4.0, 20.0]), jnp.array([-1.0, -1.0, 1.0])

assert np.array_equal(model(0.0, mirror * state, None), mirror * model(0.0, state, None))
assert abs(exponent[(1,)] + 8 / 3) < 1e-6 and abs(exponent[(0, 2)] + 1) < 1e-6
assert exponent[(0,)] < -1.5 and abs(exponent[(2,)]) < 0.05
assert all(np.median(horizon[one]) > 1.0 for one in [(0,), (1,), (0, 1), (0, 1, 2)])
assert reached[(2,)].any()
assert small.enough == (0,)

# %% [markdown]
# ## Lorenz96: how many?
#
# Ten sites on a circle, the forcing unknown. The sets are nested and spread as evenly as nested sets can be: site 0,
# then 5, then 2, 7, 1 and 6.

# %%
ten = dataclasses.replace(
    dp.twin.lorenz96(points=81, step=0.05),
    model=dp.models.Lorenz96(10, 8.17),
    estimated=dp.models.Lorenz96(10, dp.Unknown(6.0, 10.0)),
    members=8,
)
sets = dp.twin.component_sets(10, range(1, 7))
large = dp.twin.measurements(ten, sets, realisations=3, key=jax.random.key(2))
print(large)

axes = dp.plot.measurements(large)

# %% [markdown]
# The exponent changes its sign between four and five measured sites; annealing finds the global minimum with four, and
# sometimes with fewer. A negative exponent promises that a copy that is fed for long enough runs into the truth; a
# window of data, of which every part speaks about every other, may tell more. Where annealing fails it can be the
# search, which more members help, or the data, if another path is as good: compare the lowest level with the truth's.

# %%
four, five = large.exponents[3:5]

assert four > 0 > five
assert large.reached[3:].all() and not large.reached[0].all()
assert np.all(np.diff(large.exponents[1:5]) < 0)

# %% [markdown]
# ## Without an experiment
#
# The exponents alone take a second. How many sites of a circle of $D$ have to be fed until the rest follows? An
# exponent of −1 means that the sites left do not touch each other: each has only its damping $-x_a$.

# %%
for size in (5, 7, 10):
    circle = dp.models.Lorenz96(size, 8.17)
    start = dp.models.integrate(circle, 1.0 + jnp.arange(size) / size, np.array([0.0, 50.0]))[-1]
    chosen = dp.twin.component_sets(size)
    found = dp.models.conditional_exponents(circle, start, 0.1 * np.arange(1501), chosen)
    print(f"D = {size}: {1 + np.argmax(found < 0)} sites;  " + "  ".join(f"{value:.2f}" for value in found))
    assert abs(found[-2] + 1) < 1e-6 and found[-1] == -np.inf

# %% [markdown]
# ## How to choose
#
# - Trust a set of measurements where the global minimum is found **and** the forecast holds. `enough` is the smallest
#   set for which both intervals say so; ten experiments or more make it worth something.
# - Take the noise, the window and the members of your own experiment: `dataclasses.replace` changes a setting, and
#   `dp.twin.Setting` makes one for your own model.
# - `sets=[[0, 3], [0, 4]]` compares sets of the same size: which second electrode?
