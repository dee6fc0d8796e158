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
# # Symplectic integrators for diffrax users
#
# `deepest.symplectic` holds solvers for `diffrax.diffeqsolve` that keep the geometry of Hamilton's equations. They are
# ordinary diffrax solvers: `SaveAt`, dense output, `vmap`, `jit` and gradients work. What they do not take is an
# adaptive step, since changing the step undoes what they are for; they say so.
#
# | Your Hamiltonian | Solver |
# |---|---|
# | $T(p) + V(x)$ | `StormerVerlet` (order 2), `BlanesMoan4`, `BlanesMoan6`, `KahanLi8`: explicit |
# | any $H(x, p)$, stiff or not | `ImplicitMidpoint`, `GaussLegendre`, `LobattoIIIAB`: implicit |
# | any $H(x, p)$, costly to solve for | `Tao`: explicit, in two copies of phase space |
# | a Lagrangian only | `Galerkin` |

# %%
import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from deepest import mechanics
from deepest.symplectic import BlanesMoan4, Galerkin, GaussLegendre, KahanLi8, StormerVerlet, Tao

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A planet, for two hundred years
#
# Kepler's problem with eccentricity 0.2: $H = \tfrac12 p^2 - 1/|x|$. `separable_terms` makes the two halves that
# explicit solvers want.


# %%
def kinetic(t, p, args):
    return 0.5 * jnp.vdot(p, p)


def potential(t, x, args):
    return -1.0 / jnp.sqrt(jnp.vdot(x, x))


YEARS, PERIOD = 200, 2 * np.pi
start = (jnp.array([0.8, 0.0]), jnp.array([0.0, 1.5**0.5]))
halves = mechanics.separable_terms(kinetic, potential)
times = np.linspace(0.0, YEARS * PERIOD, 20 * YEARS + 1)


def yearly(solution):
    """The largest relative error of the energy in every year."""
    saved = jnp.isfinite(solution.ts)
    energy = jax.vmap(lambda x, p: kinetic(0.0, p, None) + potential(0.0, x, None))
    first = energy(*(z[None] for z in start))[0]
    error = np.asarray(jnp.abs(energy(*(z[saved] for z in solution.ys)) / first - 1.0))
    year = np.asarray(solution.ts[saved]) // PERIOD
    return np.array([error[year == k].max() for k in range(YEARS)])


def orbit(solver, steps):
    """The error of the energy with so many steps a year, at times that are ends of steps."""
    saveat = diffrax.SaveAt(ts=times)
    solution = diffrax.diffeqsolve(halves, solver, 0.0, times[-1], PERIOD / steps, start, saveat=saveat, max_steps=None)
    return yearly(solution)


# %% [markdown]
# About six hundred evaluations of the force a year for each: three symplectic solvers with a constant step, of which
# they take 1, 6 and 15 a step, and Dopri8 with a tolerance at which it takes as many. (Save at ends of steps, as here:
# between them dense output interpolates to third order only.)

# %%
whole = diffrax.ODETerm(lambda t, y, args: (y[1], -jax.grad(potential, argnums=1)(t, y[0], args)))
controller = diffrax.PIDController(rtol=1e-11, atol=1e-11)
adaptive = diffrax.diffeqsolve(
    whole,
    diffrax.Dopri8(),
    0.0,
    times[-1],
    0.01,
    start,
    saveat=diffrax.SaveAt(steps=True),
    stepsize_controller=controller,
    max_steps=20_000,
)
errors = {
    f"Dopri8, adaptive ({13 * int(adaptive.stats['num_steps']) // YEARS} a year)": yearly(adaptive),
    "StormerVerlet": orbit(StormerVerlet(), 600),
    "BlanesMoan4": orbit(BlanesMoan4(), 100),
    "KahanLi8": orbit(KahanLi8(), 40),
}

figure, axes = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
for name, error in errors.items():
    axes.semilogy(np.arange(1, YEARS + 1), error, label=name)
axes.set(xlabel="year", ylabel="largest error of the energy", title="Errors that grow, and errors that do not")
axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.7))

# %% [markdown]
# The adaptive solver's energy drifts away in proportion to time; a symplectic solver's swings about the truth for ever,
# because it solves, up to exponentially small terms, the motion of a Hamiltonian next to the true one. After thirty
# years the symplectic solver of order eight is ahead. (On very eccentric orbits, where only small steps near the
# sun are worth their cost, it takes far longer: see `benchmarks/symplectic.py`.)

# %%
growth = {name: error[-10:].max() / error[:10].max() for name, error in errors.items()}
for name, factor in growth.items():
    print(f"{name:>32}: the last decade's error is {factor:.2f} times the first's")

adaptive_name, *symplectic = errors
assert all(abs(growth[name] - 1.0) < 0.1 for name in symplectic)
assert growth[adaptive_name] > 5.0

# %% [markdown]
# ## When $H$ does not fall apart
#
# The Hamiltonian of data assimilation, $\tfrac12 p^\top R_f^{-1} p + p \cdot F(x)$, is not separable. Implicit methods
# take it; `Tao` is explicit. Dense output is there too, for both.


# %%
def swirl(t, x, p, args):
    return 0.5 * (1.0 + jnp.vdot(x, x)) * (1.0 + jnp.vdot(p, p))


term = mechanics.hamilton_term(swirl)
begin = (jnp.array([0.0]), jnp.array([-1.5]))
for solver in (GaussLegendre(2), Tao(4, binding=10.0)):
    solution = diffrax.diffeqsolve(
        term, solver, 0.0, 50.0, 0.02, begin, saveat=diffrax.SaveAt(t1=True, dense=True), max_steps=2500
    )
    x, p = solution.evaluate(31.4159)
    change = abs(float(swirl(0.0, x, p, None) / swirl(0.0, *begin, None)) - 1.0)
    print(f"{type(solver).__name__:>14}: energy between the steps is right to {change:.0e}")
    assert change < 1e-4

# %% [markdown]
# ## From a Lagrangian alone
#
# `Galerkin` makes the action of one step stationary: a variational integrator. With one midpoint it *is* the implicit
# midpoint rule, and with the trapezoid rule Störmer–Verlet.

# %%
lagrangian = mechanics.Quadratic(lambda t, x, v, args: 0.5 * jnp.vdot(v, v) - potential(t, x, args))
hamilton = mechanics.hamilton_term(mechanics.Legendre(lagrangian))


def end(terms, solver):
    return diffrax.diffeqsolve(terms, solver, 0.0, 1.0, 0.01, start, max_steps=100).ys


pairs = [
    (end(hamilton, Galerkin(lagrangian, 1, "gauss")), end(hamilton, GaussLegendre(1))),
    (end(hamilton, Galerkin(lagrangian, 1, "lobatto")), end(halves, StormerVerlet())),
]
for one, other in pairs:
    assert np.allclose(one[0], other[0], rtol=0, atol=1e-12)

# %% [markdown]
# ## Gradients
#
# A solve is differentiable like any other of diffrax's. How does the place after a year depend on the first push?


# %%
def place(push):
    y0 = (start[0], start[1] + push)
    solution = diffrax.diffeqsolve(halves, BlanesMoan4(), 0.0, PERIOD, PERIOD / 200, y0, max_steps=201)
    return solution.ys[0][-1]


push = jnp.zeros(2)
slope = jax.jit(jax.jacrev(place))(push)
differences = np.stack([(place(push + d) - place(push - d)) / 2e-5 for d in 1e-5 * jnp.eye(2)], axis=1)
print(np.round(slope, 3))

assert np.allclose(slope, differences, rtol=1e-4, atol=1e-4)
