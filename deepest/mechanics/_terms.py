"""Mechanics as diffrax terms."""

from typing import Any

import diffrax
import jax

from deepest.mechanics._hamiltonian import Hamiltonian, hamilton
from deepest.mechanics._lagrangian import Lagrangian, acceleration


def euler_lagrange_term(lagrangian: Lagrangian) -> diffrax.ODETerm:
    """The forward Euler–Lagrange system dx/dt = v, dv/dt = a(t, x, v) for y = (x, v), arrays (D,) each.

    For `diffrax.diffeqsolve` with any solver; `args` is the Lagrangian's.
    """

    def field(t, y, args):
        x, v = y
        return v, acceleration(lagrangian, t, x, v, args)

    return diffrax.ODETerm(field)


def hamilton_term(hamiltonian: Hamiltonian) -> diffrax.ODETerm:
    """Hamilton's system dx/dt = ∂H/∂p, dp/dt = −∂H/∂x for y = (x, p), arrays (D,) each.

    For `diffrax.diffeqsolve` with any solver; `args` is the Hamiltonian's.
    """

    def field(t, y, args):
        x, p = y
        return hamilton(hamiltonian, t, x, p, args)

    return diffrax.ODETerm(field)


def separable_terms(kinetic: Any, potential: Any) -> tuple[diffrax.ODETerm, diffrax.ODETerm]:
    """The two halves dx/dt = ∂T/∂p(t, p) and dp/dt = −∂V/∂x(t, x) of H = T + V, for y = (x, p), arrays (D,) each.

    `kinetic` T(t, p, args) and `potential` V(t, x, args) return scalars. As explicit symplectic solvers want them,
    `diffrax.SemiImplicitEuler` among them.
    """
    velocity = jax.grad(kinetic, argnums=1)
    slope = jax.grad(potential, argnums=1)
    return diffrax.ODETerm(velocity), diffrax.ODETerm(lambda t, x, args: -slope(t, x, args))
