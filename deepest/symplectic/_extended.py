"""Explicit methods for any Hamiltonian, in a phase space of twice the size."""

from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepest.symplectic._base import AbstractSymplectic, pair
from deepest.symplectic._splitting import KahanLi8, Yoshida4, Yoshida6

# The lengths of the steps of second order that make one of higher order: the kicks of such a composition.
_WEIGHTS = {2: np.ones(1), **{m.tableau.order: m.tableau.kicks for m in (Yoshida4, Yoshida6, KahanLi8)}}


class Tao(AbstractSymplectic):
    """Explicit and symplectic for any H(t, x, p), by a second copy (x̃, p̃) held close to the first.

        H̄ = H(x, p̃) + H(x̃, p) + ½ ω (|x − x̃|² + |p − p̃|²)

    is split into three parts whose flows are explicit, composed to `order` 2, 4, 6 or 8. The map of both copies is
    symplectic; that of (x, p) alone nearly so, as long as the copies stay together. `binding` is ω, a number in inverse
    time: large enough to hold the copies, yet ω h well below 1 (the error has ω in it). For one ODE term with
    y = (x, p). Dense output and `made_jump` are as for any one-step method; the copy is the solver's state.
    Source: [tao2016].
    """

    accuracy: int = eqx.field(static=True)
    binding: float
    term_structure: ClassVar = diffrax.AbstractTerm

    def __init__(self, order: int = 2, binding: float = 10.0):
        if order not in _WEIGHTS:
            raise ValueError(f"Tao's method comes in the orders {sorted(_WEIGHTS)}; received order={order}.")
        if not binding > 0:
            raise ValueError(f"The binding ω must be positive; received binding={binding}.")
        self.accuracy, self.binding = order, binding

    @property
    def declared(self) -> int:
        return self.accuracy

    def init(self, terms, t0, t1, y0, args):
        del terms, t0, t1, args
        return pair(y0, "Tao's method")

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def advance(self, terms, t0, t1, y0, args, state, jumped):
        del jumped
        control, step = terms.contr(t0, t1), t1 - t0  # equal, but for the sign where diffrax runs backward
        add = lambda own, change: jax.tree.map(jnp.add, own, change)

        def half(weight, t, own, copy, first):
            """Half a step of H(x, p̃), or of H(x̃, p): what it takes as given moves the other two."""
            (x, p), (x_copy, p_copy) = own, copy
            if first:
                dx, dp = terms.vf_prod(t, (x, p_copy), args, 0.5 * weight * control)
                return (x, add(p, dp)), (add(x_copy, dx), p_copy)
            dx, dp = terms.vf_prod(t, (x_copy, p), args, 0.5 * weight * control)
            return (add(x, dx), p), (x_copy, add(p_copy, dp))

        def one(carry, weight):
            own, copy, spent = carry
            t = t0 + (spent + 0.5 * weight) * step
            own, copy = half(weight, t, *half(weight, t, own, copy, True), False)
            own, copy = _turn(own, copy, 2.0 * self.binding * weight * control)
            own, copy = half(weight, t, *half(weight, t, own, copy, False), True)
            return (own, copy, spent + weight), None

        weights = jnp.asarray(np.asarray(_WEIGHTS[self.accuracy]), jnp.result_type(t0))
        (own, copy, _), _ = lax.scan(one, (y0, state, jnp.zeros_like(weights[0])), weights)
        return own, copy, diffrax.RESULTS.successful


def _turn(own, copy, angle):
    """The flow of ½ ω (|x − x̃|² + |p − p̃|²): the difference of the copies turns, their sum rests."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)

    def turned(x, p, x_copy, p_copy):
        x_sum, p_sum, x_gap, p_gap = x + x_copy, p + p_copy, x - x_copy, p - p_copy
        x_gap, p_gap = cos * x_gap + sin * p_gap, cos * p_gap - sin * x_gap
        return 0.5 * (x_sum + x_gap), 0.5 * (p_sum + p_gap), 0.5 * (x_sum - x_gap), 0.5 * (p_sum - p_gap)

    (x, p), (x_copy, p_copy) = own, copy
    leaves, structure = jax.tree.flatten(x)
    others = [jax.tree.leaves(part) for part in (p, x_copy, p_copy)]
    done = [turned(*group) for group in zip(leaves, *others, strict=True)]
    x, p, x_copy, p_copy = (jax.tree.unflatten(structure, part) for part in zip(*done, strict=True))
    return (x, p), (x_copy, p_copy)
