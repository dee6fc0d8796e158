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
# Kepler's problem with eccentricity 0.6: $H = \tfrac12 p^2 - 1/|x|$. `separable_terms` makes the two halves that
# explicit solvers want.


# %%
def kinetic(t, p, args):
    return 0.5 * jnp.vdot(p, p)


def potential(t, x, args):
    return -1.0 / jnp.sqrt(jnp.vdot(x, x))


YEARS, PERIOD = 200, 2 * np.pi
start = (jnp.array([0.4, 0.0]), jnp.array([0.0, 2.0]))
halves = mechanics.separable_terms(kinetic, potential)
times = np.linspace(0.0, YEARS * PERIOD, 20 * YEARS + 1)


def energy_error(y):
    x, p = y
    energy = jax.vmap(lambda x, p: kinetic(0.0, p, None) + potential(0.0, x, None))(x, p)
    return jnp.abs(energy / energy[0] - 1.0)


def orbit(terms, solver, evaluations, budget=600, **options):
    """The error of the energy with so many evaluations of the force a year, of which a step takes `evaluations`."""
    dt = PERIOD * evaluations / budget
    saveat = diffrax.SaveAt(ts=times)
    solution = diffrax.diffeqsolve(terms, solver, 0.0, times[-1], dt, start, saveat=saveat, max_steps=None, **options)
    return energy_error(solution.ys)


# %% [markdown]
# Six hundred evaluations of the force a year for each: three symplectic solvers with a constant step, and Dopri8 with
# the tolerance at which it takes about as many.

# %%
whole = diffrax.ODETerm(lambda t, y, args: (y[1], -jax.grad(potential, argnums=1)(t, y[0], args)))
saveat = diffrax.SaveAt(ts=times)
controller = diffrax.PIDController(rtol=1e-8, atol=1e-8)
adaptive = diffrax.diffeqsolve(
    whole, diffrax.Dopri8(), 0.0, times[-1], 0.01, start, saveat=saveat, stepsize_controller=controller, max_steps=None
)
errors = {
    f"Dopri8, adaptive ({13 * int(adaptive.stats['num_steps']) // YEARS} a year)": energy_error(adaptive.ys),
    "StormerVerlet": orbit(halves, StormerVerlet(), 1),
    "BlanesMoan4": orbit(halves, BlanesMoan4(), 6),
    "KahanLi8": orbit(halves, KahanLi8(), 17),
}

figure, axes = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
for name, error in errors.items():
    yearly = np.asarray(error[1:]).reshape(YEARS, -1).max(axis=1)
    axes.semilogy(np.arange(1, YEARS + 1), yearly, label=name)
axes.set(xlabel="year", ylabel="largest error of the energy", title="Errors that grow, and errors that do not")
axes.legend()

# %% [markdown]
# The adaptive solver's energy drifts away in a straight line; a symplectic solver's swings about the truth for ever,
# because it solves, up to exponentially small terms, the motion of a Hamiltonian next to the true one.

# %%
halfway = (len(times) - 1) // 2
growth = {name: float(jnp.max(e[halfway:]) / jnp.max(e[1:halfway])) for name, e in errors.items()}
for name, factor in growth.items():
    print(f"{name:>32}: second century's error {factor:.2f} times the first's")

assert all(abs(growth[name] - 1.0) < 0.1 for name in ("StormerVerlet", "BlanesMoan4"))
assert max(growth.values()) == growth[next(iter(errors))]

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
    solution = diffrax.diffeqsolve(halves, BlanesMoan4(), 0.0, PERIOD, PERIOD / 200, y0, max_steps=200)
    return solution.ys[0][-1]


push = jnp.zeros(2)
slope = jax.jit(jax.jacrev(place))(push)
differences = np.stack([(place(push + d) - place(push - d)) / 2e-5 for d in 1e-5 * jnp.eye(2)], axis=1)
print(np.round(slope, 3))

assert np.allclose(slope, differences, rtol=1e-4, atol=1e-4)
