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
# # Boundary value problems in JAX
#
# Half of the conditions hold at one end, half at the other. `deepest.boundary.solve(problem, boundary, method, guess)`
# solves such problems inside `jit`, `vmap` and `grad`:
#
# - a **problem** is a first-order `System`, as for scipy's `solve_bvp`, or `Variational`: the path of least action;
# - a **boundary**: `fixed`, `natural`, `end_costs`, `mixed`, `Periodic`, or any `Conditions`;
# - a **method**: collocation by `Gauss`, `Lobatto` or `Obreshkov`, `MultipleShooting`, `SingleShooting`, or `Annealed`
#   around one.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import deepest as dp
from deepest import boundary, mechanics
from deepest.boundary import (
    Annealed,
    Gauss,
    Guess,
    MultipleShooting,
    Obreshkov,
    Refine,
    SingleShooting,
    Status,
)

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Two solutions of one problem
#
# Bratu's problem $y'' + \lambda e^y = 0$, $y(0) = y(1) = 0$, the temperature of something that heats itself. For
# $\lambda < 3.51$ there are two solutions; the guess decides. The vector field is written for one time and returns one
# vector; `q` would hold unknown parameters.


# %%
def bratu(strength):
    return boundary.System(lambda t, y, q: jnp.stack([y[1], -strength * jnp.exp(y[0])]))


ends = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0], yb[0]]))
times, heated = np.linspace(0.0, 1.0, 21), bratu(1.0)


def bump(height):
    return Guess(times, np.stack([height * np.sin(np.pi * times), height * np.pi * np.cos(np.pi * times)], axis=1))


methods = [Gauss(3), Obreshkov(3), MultipleShooting()]
fine = np.linspace(0.0, 1.0, 201)
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for height, colour in ((0.1, "C0"), (4.0, "C1")):
    solutions = [boundary.solve(heated, ends, method, bump(height)) for method in methods]
    assert all(int(s.status) == Status.converged for s in solutions)
    slopes = [float(s.y[0, 1]) for s in solutions]
    print("y′(0):", ", ".join(f"{type(s.method).__name__} {x:.7f}" for s, x in zip(solutions, slopes, strict=True)))
    assert np.ptp(slopes) < 1e-6
    axes.plot(fine, solutions[0](fine)[:, 0], color=colour, label=f"from a guess of height {height:g}")
axes.set(xlabel="t", ylabel="y", title="Both solutions of Bratu's problem, λ = 1")
axes.legend()

# %% [markdown]
# ## A mesh that goes where it is needed
#
# $\varepsilon^2 y'' = y$ has a layer of width $\varepsilon$. With `refine=` nodes move to it until the defect,
# $|y' - f|$ between the nodes, is as small as you ask everywhere.

# %%
width = 0.01
layer = boundary.System(lambda t, y, q: jnp.stack([y[1], y[0] / width**2]))
steep = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0] - 1.0, yb[0]]))
solution = boundary.solve(layer, steep, Gauss(3), Guess(times, np.zeros((21, 2))), refine=Refine(tolerance=1e-5))
exact = np.sinh((1.0 - fine) / width) / np.sinh(1.0 / width)
error = float(np.max(np.abs(solution(fine)[:, 0] - exact)))
steps = np.diff(solution.times)
print(f"{steps.size} intervals, from {steps.min():.4f} to {steps.max():.3f} wide; error {error:.0e}")

assert error < 1e-6
assert steps.max() > 10 * steps.min()

# %% [markdown]
# ## Unknown parameters
#
# An eigenvalue: $y'' + k^2 y = 0$ with $y(0) = y(1) = 0$ and $y'(0) = k$. One unknown more, one condition more.

# %%
string = boundary.System(lambda t, y, q: jnp.stack([y[1], -(q[0] ** 2) * y[0]]))
held = boundary.Conditions(lambda ya, yb, q: jnp.stack([ya[0], yb[0], ya[1] - q[0]]))
sine = np.stack([np.sin(6 * times), 6 * np.cos(6 * times)], axis=1)
mode = boundary.solve(string, held, Gauss(3), Guess(times, sine, parameters=[6.0]))
print(f"k = {float(mode.parameters[0]):.10f}, 2π = {2 * np.pi:.10f}")

assert np.isclose(mode.parameters[0], 2 * np.pi, rtol=1e-7)

# %% [markdown]
# ## Data assimilation as a boundary value problem
#
# A window of Lorenz63 in which only $x$ was measured. The path of least action
# $\int \tfrac12 (\dot x - F)^\top R_f (\dot x - F) + \tfrac12 R_m |x_1 - y|^2\, dt$ solves Hamilton's equations, and at
# free ends its momentum is zero: `natural()`.

# %%
model, noise = dp.models.Lorenz63(), 0.5
window = np.arange(0.0, 4.01, 0.02)
truth = np.asarray(dp.models.integrate(model, jnp.array([-5.0, -6.0, 22.0]), window))
values = truth[:, :1] + noise * np.random.default_rng(3).normal(size=(window.size, 1))
tracking = mechanics.Tracking(dp.Observations(window, values, components=[0], noise=noise))
problem = boundary.Variational(mechanics.ModelError(model, precision=50.0, running=tracking), dimension=3)

# %% [markdown]
# We know nothing of the other two components and begin at zero. From there Newton's method ends at *a* stationary path,
# not at the one of least action. `Annealed` begins where the model hardly counts, and raises $R_f$ step by step.

# %%
guess = Guess(window, np.pad(values, ((0, 0), (0, 2))), np.zeros((window.size, 3)))
plain = boundary.solve(problem, boundary.natural(), Gauss(2), guess)
annealed = boundary.solve(problem, boundary.natural(), Annealed(Gauss(2), start=1e-2), guess)

figure, panels = plt.subplots(3, 1, figsize=(6.8, 5.2), sharex=True, layout="constrained")
for k, axes in enumerate(panels):
    axes.plot(window, truth[:, k], color="0.6", linewidth=3, label="truth")
    axes.plot(window, plain.path[:, k], color="C2", linestyle=":", label="Newton's method alone")
    axes.plot(window, annealed.path[:, k], color="C0", label="annealed")
    axes.set(ylabel=f"$x_{k + 1}$")
panels[0].plot(window, values[:, 0], ".", color="C1", markersize=4, label="measured")
panels[0].legend(ncols=4, fontsize="small")
panels[2].set_xlabel("time")

misses = [float(np.sqrt(np.mean((np.asarray(s.path) - truth) ** 2))) for s in (plain, annealed)]
print("root mean square error of all components: {:.1f} alone, {:.2f} annealed".format(*misses))

assert int(annealed.status) == Status.converged
assert misses[1] < noise < misses[0]

# %% [markdown]
# ## Why shooting fails
#
# The flow of $(x, p)$ keeps the symplectic form, so that every direction of $x$ that decays with rate $\lambda$ has a
# partner in $p$ that grows with it. Lorenz63 has $\lambda \approx 14.6$: what is asked at $t = 4$ of an initial
# momentum is lost in the rounding of it. Single shooting says so, with the growth that it saw; over many short pieces
# nothing grows much.

# %%
single = boundary.solve(problem, boundary.natural(), SingleShooting(), annealed.guess)
multiple = boundary.solve(problem, boundary.natural(), MultipleShooting(), annealed.guess)
print("one piece:   ", single.sentence)
print(f"{window.size - 1} pieces:  {multiple.sentence} Growth in a piece: {float(multiple.growth):.2f}.")

assert int(single.status) == Status.growth
assert int(multiple.status) == Status.converged
assert np.allclose(multiple.path, annealed.path, rtol=0, atol=1e-2)

# %% [markdown]
# ## Derivatives and batches
#
# A solution can be differentiated by whatever the problem holds, to any order, by the implicit function theorem:
# one structured linear solve, nothing of Newton's iterations. Here how the height of Bratu's solution goes with
# $\lambda$, for many $\lambda$ at once: the slope grows without bound towards the fold at 3.51.


# %%
def height(strength):
    return boundary.solve(bratu(strength), ends, Obreshkov(3), bump(0.5))(0.5)[0]


strengths = jnp.linspace(0.5, 3.4, 30)
heights, slopes = jax.jit(jax.vmap(jax.value_and_grad(height)))(strengths)
differences = np.gradient(np.asarray(heights), np.asarray(strengths))

assert np.allclose(slopes[1:-6], differences[1:-6], rtol=0.02)
print("dy(½)/dλ at λ = 0.5, 2, 3.4:", np.round(np.asarray(slopes)[[0, 15, -1]], 3))

# %% [markdown]
# ## How to choose
#
# - **`Gauss(3)`** first: high order, keeps the symplectic structure, robust to poor guesses.
# - **`Obreshkov(4)`** where the field is smooth and the guess not too far off: it has no unknowns but those at the
#   nodes, which makes it the fastest, most of all in a batch under `vmap`. `coarse=` begins it, or any collocation, on
#   fewer intervals.
# - **`Lobatto(3)`** where ends or a layer need nodes on them; it is what `solve_bvp` does.
# - **`MultipleShooting`** where the field is expensive or rough and diffrax's adaptive solvers pay.
# - **`SingleShooting`** on short windows only.
# - **`Annealed`** around any of them where Newton's method does not converge, or ends in a poor minimum. For many
#   starts and chaotic models use `dp.anneal`, which is made for that.
