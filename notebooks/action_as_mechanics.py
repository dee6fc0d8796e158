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
# # The action as mechanics
#
# The action of data assimilation and of a deep network is, in the limit of continuous time or layers, that of a
# mechanical system:
#
# $$A = \int \mathcal L(t, x, \dot x)\, dt, \qquad
#   \mathcal L = \tfrac12 (\dot x - F)^\top R_f\, (\dot x - F) + \tfrac12 R_m\, |h(x) - y|^2 .$$
#
# The model $F$ plays the part of a magnetic potential, the data that of a force. From $\mathcal L$ alone follow a
# momentum, a Hamiltonian, equations of motion, and a geometry that every good integrator should keep.

# %%
import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import deepest as dp
from deepest import mechanics
from deepest.symplectic import GaussLegendre

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A Lagrangian
#
# Lorenz63 with model error of precision $R_f = 20$, and its first component measured at a constant value. A
# Lagrangian is any function `(t, x, v, args)`; `ModelError` is the one above. With real data `running` would be
# `mechanics.Tracking(observations)`.

# %%
model = dp.models.Lorenz63()


def running(t, x, args):
    return 0.5 * 2.0 * (x[0] - 6.0) ** 2


lagrangian = mechanics.ModelError(model, precision=20.0, running=running)

# %% [markdown]
# ## Momentum and Hamiltonian
#
# $p = \partial\mathcal L/\partial\dot x = R_f(\dot x - F)$ is the model error, weighed: where the model is
# followed exactly there is no momentum. `Legendre` changes $(x, \dot x)$ for $(x, p)$; nothing is derived by hand.

# %%
x, v = jnp.array([5.0, 6.0, 22.0]), jnp.array([10.0, -3.0, 4.0])
p = mechanics.momentum(lagrangian, 0.0, x, v)
hamiltonian = mechanics.Legendre(lagrangian)

assert np.allclose(p, 20.0 * (v - model(0.0, x, None)))
assert np.allclose(mechanics.velocity(lagrangian, 0.0, x, p), v)
print("momentum:", np.round(p, 1), " energy:", round(float(hamiltonian(0.0, x, p)), 2))

# %% [markdown]
# Hamilton's equations come out as the paper writes them: the model, pushed by the momentum, and the momentum as the
# **costate** of backpropagation, pulled back by $DF^\top$ and fed by the data.
#
# $$\dot x = F + R_f^{-1} p, \qquad \dot p = -DF^\top p + R_m\, Dh^\top (h(x) - y).$$

# %%
dx, dp_dt = mechanics.hamilton(hamiltonian, 0.0, x, p)
slope = jax.jacfwd(lambda x: model(0.0, x, None))(x)
data = jnp.array([2.0 * (x[0] - 6.0), 0.0, 0.0])

assert np.allclose(dx, model(0.0, x, None) + p / 20.0)
assert np.allclose(dp_dt, -slope.T @ p + data)

# %% [markdown]
# ## Forward in time, with diffrax
#
# `hamilton_term` goes into `diffrax.diffeqsolve` like any other term, with any solver. We compare a general purpose one
# with Gauss's method of two stages, which is symplectic, over the same steps.

# %%
term = mechanics.hamilton_term(hamiltonian)
times = np.linspace(0.0, 0.6, 61)
small = (x, jnp.array([0.3, -0.2, 0.1]))


def run(solver):
    saveat = diffrax.SaveAt(ts=times)
    return diffrax.diffeqsolve(term, solver, 0.0, 0.6, 0.01, small, saveat=saveat).ys


paths = {"Heun": run(diffrax.Heun()), "Gauss–Legendre": run(GaussLegendre(2))}
energies = {name: jax.vmap(lambda x, p: hamiltonian(0.0, x, p))(*path) for name, path in paths.items()}

drift = {name: float(jnp.max(jnp.abs(e - e[0]))) for name, e in energies.items()}
print("largest change of energy:", {name: f"{change:.1e}" for name, change in drift.items()})

assert drift["Gauss–Legendre"] < 0.01 * drift["Heun"]

# %% [markdown]
# ## The picture in phase space
#
# A small square of initial conditions in the plane $(x_1, p_1)$, carried along by the flow. A Hamiltonian flow may
# shear and stretch it, but the sum of its projected areas $\sum_i dx_i \wedge dp_i$ stays what it was. Note how $p$
# grows: Lorenz63 contracts quickly in some directions of $x$, and each of those has a growing partner in $p$. This
# is why one cannot simply shoot from one end to the other (see *boundary value problems*).

# %%
side = np.linspace(-1.0, 1.0, 15)
ring = np.concatenate([np.stack([side, -np.ones(15)], 1), np.stack([np.ones(15), side], 1)])
ring = np.concatenate([ring, -ring])
square = (x + 0.5 * ring[:, :1] * np.eye(3)[0], small[1] + 0.5 * ring[:, 1:] * np.eye(3)[0])


@jax.jit
@jax.vmap
def carried(x, p):
    saveat = diffrax.SaveAt(ts=np.array([0.0, 0.1, 0.2, 0.3]))
    return diffrax.diffeqsolve(term, GaussLegendre(2), 0.0, 0.3, 0.01, (x, p), saveat=saveat).ys


positions, momenta = carried(*square)
figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for k, when in enumerate((0.0, 0.1, 0.2, 0.3)):
    axes.fill(positions[:, k, 0], momenta[:, k, 0], alpha=0.55, label=f"t = {when}")
axes.set(xlabel="$x_1$", ylabel="$p_1$", title="A square of initial conditions, carried by Hamilton's equations")
axes.legend()

# %% [markdown]
# ## The symplectic form is kept
#
# For a map with Jacobian $J$, area is kept if $J^\top \Omega J = \Omega$. `symplectic_defect` is what is left over:
# rounding for Gauss's method, an error of the step size for Heun's.


# %%
def step(solver):
    def one(x, p):
        # A map's Jacobian by forward mode: diffrax asks which mode it is to be.
        forward = diffrax.ForwardMode()
        return diffrax.diffeqsolve(term, solver, 0.0, 0.01, 0.01, (x, p), max_steps=2, adjoint=forward).ys

    return lambda x, p: tuple(leaf[-1] for leaf in one(x, p))


defects = {
    name: float(jnp.max(jnp.abs(mechanics.symplectic_defect(step(solver), *small))))
    for name, solver in (("Heun", diffrax.Heun()), ("Gauss–Legendre", GaussLegendre(2)))
}
print({name: f"{defect:.0e}" for name, defect in defects.items()})

assert defects["Gauss–Legendre"] < 1e-11
assert defects["Heun"] > 1e-5

# %% [markdown]
# ## Symmetries
#
# Where a Lagrangian does not change under a transformation, Noether's theorem gives a conserved quantity:
# here angular momentum, for any potential of the distance alone. `noether` takes the symmetry's generator at $x$.

# %%
planet = mechanics.Quadratic(lambda t, x, v, args: 0.5 * jnp.vdot(v, v) + 1.0 / jnp.sqrt(jnp.vdot(x, x)))
rotation = mechanics.Symmetry(lambda t, x: jnp.array([-x[1], x[0]]))
place, speed = jnp.array([0.4, 0.0]), jnp.array([0.0, 2.0])

assert abs(mechanics.variation(planet, rotation, 0.0, place, speed)) < 1e-12
assert np.isclose(mechanics.noether(planet, rotation, 0.0, place, speed), 0.4 * 2.0)
