"""What all collocation has in common: a polynomial on every interval, and a defect where its slope is not that of f."""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import Polynomial

from deepest.boundary._method import AbstractMethod, Rates, locate
from deepest.linalg import BlockVector


class AbstractCollocation(AbstractMethod):
    """On the interval n, y(t_n + s h) = Σ_r P_r(s) d_r, with polynomials P_r and data d_r of that interval.

    The defect of its slope goes with an interval's width to the `power`.
    """

    noise: ClassVar[float] = 0.0

    @property
    @abc.abstractmethod
    def power(self) -> int:
        """The order of the defect between the nodes."""

    @property
    @abc.abstractmethod
    def basis(self) -> list[Polynomial]:
        """The polynomials P_r."""

    @abc.abstractmethod
    def pieces(self, rates: Rates, times: Array, z: BlockVector) -> Float[Array, "interval piece state"]:
        """The data d_r of all intervals."""

    @property
    @abc.abstractmethod
    def probes(self) -> Float[np.ndarray, " probe"]:
        """Where on an interval the defect is looked at: between the places where it vanishes."""

    def transposable(self):
        return self

    def mesh(self, count):
        return np.arange(count)

    def evaluate(self, rates, times, z, t):
        n = locate(times, t)
        place = (t - times[n]) / (times[n + 1] - times[n])
        return jnp.stack([_horner(p, place) for p in self.basis]) @ self.pieces(rates, times, z)[n]

    def defects(self, rates, times, z):
        at, pieces, steps = self.probes, self.pieces(rates, times, z), jnp.diff(times)
        along = lambda polynomials: jnp.asarray(np.stack([p(at) for p in polynomials], axis=1), steps.dtype)
        mix = lambda weights: jnp.einsum("ij,njd->nid", weights, pieces)
        found = over_points(rates)(at_shares(times, at), mix(along(self.basis)), z.shared)
        typical = jnp.max(jnp.abs(found), axis=(0, 1), keepdims=True)
        gaps = mix(along([p.deriv() for p in self.basis])) / steps[:, None, None] - found
        relative = gaps / jnp.where(typical > 0, typical, 1.0)
        return jnp.sqrt(jnp.mean(relative**2, axis=(1, 2)))

    def growth(self, rates, guess, times, z):
        return jnp.full((), jnp.nan, z.nodes.dtype)


def over_points(function):
    """Over the points (K, s) of all intervals."""
    return jax.vmap(jax.vmap(function, in_axes=(0, 0, None)), in_axes=(0, 0, None))


def at_shares(times, shares: np.ndarray):
    """Times (K, s) at these shares of every interval."""
    return times[:-1, None] + jnp.diff(times)[:, None] * shares[None]


def _horner(polynomial: Polynomial, place):
    value = jnp.zeros_like(place)
    for coefficient in reversed(polynomial.coef):
        value = value * place + float(coefficient)
    return value
