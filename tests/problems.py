"""Nonlinear Hamiltonian problems with a Lagrangian, a Hamiltonian and, where H = T + V, both halves.

Each is made once, functions and terms and all, so that what solves it is compiled once.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

import deepest as dp
from deepest import mechanics


@dataclasses.dataclass(frozen=True)
class Problem:
    """`start` is (x, p) at time 0, `until` a time in which the motion does a good deal."""

    lagrangian: Callable
    start: tuple[np.ndarray, np.ndarray]
    until: float
    kinetic: Callable | None = None
    potential: Callable | None = None

    @functools.cached_property
    def hamiltonian(self) -> Callable:
        if self.kinetic is None or self.potential is None:
            return mechanics.Legendre(self.lagrangian)
        kinetic, potential = self.kinetic, self.potential
        return lambda t, x, p, args=None: kinetic(t, p, args) + potential(t, x, args)

    @property
    def y0(self):
        return tuple(jnp.asarray(z, float) for z in self.start)

    @property
    def separable(self) -> bool:
        return self.kinetic is not None

    @functools.cached_property
    def halves(self):
        return mechanics.separable_terms(self.kinetic, self.potential)

    @functools.cached_property
    def whole(self):
        return mechanics.hamilton_term(self.hamiltonian)


def half_square(t, p, args):
    return 0.5 * jnp.vdot(p, p)


def natural(potential: Callable, start, until: float) -> Problem:
    """𝓛 = ½ v² − V(x)."""
    lagrangian = mechanics.Quadratic(lambda t, x, v, args: 0.5 * jnp.vdot(v, v) - potential(t, x, args))
    return Problem(lagrangian, start, until, half_square, potential)


@functools.cache
def pendulum() -> Problem:
    return natural(lambda t, x, args: -jnp.sum(jnp.cos(x)), (np.array([2.0]), np.array([0.3])), 4.0)


@functools.cache
def kepler(eccentricity: float = 0.6) -> Problem:
    """From pericentre; the period is 2π."""
    e = eccentricity
    start = (np.array([1.0 - e, 0.0]), np.array([0.0, np.sqrt((1.0 + e) / (1.0 - e))]))
    return natural(lambda t, x, args: -1.0 / jnp.sqrt(jnp.vdot(x, x)), start, 2.0)


@functools.cache
def henon_heiles() -> Problem:
    def potential(t, x, args):
        return 0.5 * jnp.vdot(x, x) + x[0] ** 2 * x[1] - x[1] ** 3 / 3.0

    return natural(potential, (np.array([0.1, -0.2]), np.array([0.35, 0.25])), 4.0)


@functools.cache
def lotka_volterra() -> Problem:
    """du/dt = u (w − 1), dw/dt = w (2 − u) in x = ln u, p = ln w: H = (e^p − p) + (e^x − 2x)."""

    def potential(t, x, args):
        return jnp.sum(jnp.exp(x) - 2.0 * x)

    def lagrangian(t, x, v, args):
        return jnp.sum((1.0 + v) * jnp.log1p(v) - 1.0 - v) - potential(t, x, args)

    kinetic = lambda t, p, args: jnp.sum(jnp.exp(p) - p)
    return Problem(lagrangian, (np.array([0.2]), np.array([0.4])), 3.0, kinetic, potential)


@functools.cache
def annealing() -> Problem:
    """Model error of Lorenz96 with four sites, of which two are measured, at a constant value."""
    running = lambda t, x, args: 0.5 * 2.0 * jnp.sum((x[::2] - 1.0) ** 2)
    lagrangian = mechanics.ModelError(dp.models.Lorenz96(4, 3.0), 5.0, running)
    return Problem(lagrangian, (np.array([1.0, 2.0, -0.5, 1.5]), np.array([0.3, -0.2, 0.1, 0.4])), 0.8)


@functools.cache
def driven() -> Problem:
    """x″ = −0.3 x′ − x + cos 2t, as the motion of a mass that grows as e^{0.3 t}."""
    mass = lambda t: jnp.exp(0.3 * t)
    potential = lambda t, x, args: mass(t) * (0.5 * jnp.vdot(x, x) - jnp.sum(x) * jnp.cos(2.0 * t))
    kinetic = lambda t, p, args: 0.5 * jnp.vdot(p, p) / mass(t)
    lagrangian = mechanics.Quadratic(lambda t, x, v, args: 0.5 * mass(t) * jnp.vdot(v, v) - potential(t, x, args))
    return Problem(lagrangian, (np.array([1.0]), np.array([0.0])), 2.0, kinetic, potential)


ALL = (pendulum, kepler, henon_heiles, lotka_volterra, annealing)
