"""A nonlinear field with a scalar of what it makes, the explicit solvers, and how gradients are compared."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

EXPLICIT = (
    diffrax.Euler, diffrax.Heun, diffrax.Midpoint, diffrax.Ralston, diffrax.Bosh3, diffrax.Tsit5, diffrax.Dopri5,
    diffrax.Dopri8,
)  # fmt: skip


class Field(eqx.Module):
    """Nonlinear, of time, state, args, and weights of its own."""

    first: jax.Array
    second: jax.Array

    def __init__(self, size=3, width=5):
        draw = lambda *shape: jnp.asarray(np.random.default_rng(1).normal(size=shape), float)
        self.first, self.second = draw(width, size), draw(size, width)

    def __call__(self, t, y, args):
        return jnp.cos(t) * (self.second @ jnp.tanh(self.first @ y)) - args * y


def given():
    """(field, y0, args)."""
    return Field(), jnp.array([0.3, -0.2, 0.5]), jnp.array([0.1, 0.2, 0.3])


def score(ys):
    """A scalar of everything that was saved, each slot with a weight of its own."""
    total = jnp.zeros(())
    for leaf in jax.tree.leaves(ys):
        known = jnp.where(jnp.isfinite(leaf), leaf, 0.0)
        weights = jnp.arange(1.0, 1.0 + leaf.shape[0]).reshape(-1, *[1] * (leaf.ndim - 1))
        total = total + jnp.sum(jnp.broadcast_to(weights, leaf.shape) * jnp.sin(known))
    return total


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))])


def agree(one, other, bound=1e-12):
    one, other = flat(one), flat(other)
    return np.linalg.norm(one - other) < bound * np.linalg.norm(other)


def mostly_slow(fast, every):
    return [pytest.param(one, marks=[] if one in fast else [pytest.mark.slow]) for one in every]
