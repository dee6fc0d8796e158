"""Collocation to high order at the nodes alone."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.polynomial import Polynomial

from deepest.boundary._collocation import AbstractCollocation
from deepest.boundary._method import Rates
from deepest.transcription import gauss_nodes


class Obreshkov(AbstractCollocation):
    """The derivatives of y at the nodes, up to the k-th, from those of f along the solution; no unknowns but the nodes:

        y_{n+1} − y_n = Σ_{j=1}^k c_j h^j (y_n^(j) − (−1)^j y_{n+1}^(j)),   c_j = k! (2k − j)! / ((2k)! j! (k − j)!)

    with y′ = f, y″ = ∂f/∂t + ∂f/∂y f, …, by automatic differentiation. Order 2k, symmetric, and as stable as k Gauss
    points; between the nodes y is the polynomial of degree 2k + 1 that has all these derivatives. For smooth fields
    whose solution changes little over an interval; where a field bends much between the nodes, as at a poor guess on a
    coarse mesh, Newton's method may not find its way, and `Gauss` serves better. Source: [obreshkov1940].
    """

    derivatives: int = 4

    def __check_init__(self):
        if not 1 <= self.derivatives <= 6:
            raise ValueError(f"Obreshkov takes 1 to 6 derivatives; received derivatives={self.derivatives}.")

    @property
    def power(self):
        return 2 * self.derivatives

    @property
    def probes(self):
        return gauss_nodes(3)

    @property
    def basis(self):
        k, back = self.derivatives, Polynomial([1.0, -1.0])
        rest = [Polynomial([math.comb(k + i, i) for i in range(k + 1 - j)]) for j in range(k + 1)]
        # With one derivative at s = 0, and no other there or at s = 1; and the same seen from the other end.
        left = [Polynomial.basis(j) / math.factorial(j) * back ** (k + 1) * rest[j] for j in range(k + 1)]
        return [*left, *((-1) ** j * p(back) for j, p in enumerate(left))]

    def pieces(self, rates, times, z):
        powers = jnp.stack([jnp.diff(times) ** j for j in range(self.derivatives + 1)], axis=1)
        values = jax.vmap(self._along(rates), in_axes=(0, 0, None))(times, z.nodes, z.shared)
        values = jnp.concatenate([z.nodes[:, None], values], axis=1)
        ends = [powers[:, :, None] * x for x in (values[:-1], values[1:])]
        return jnp.concatenate(ends, axis=1)

    def inside(self, rates, times, nodes, q):
        return jnp.zeros((times.size - 1, 0), nodes.dtype)

    def residual(self, rates, times, z):
        values = jax.vmap(self._along(rates), in_axes=(0, 0, None))(times, z.nodes, z.shared)
        return jnp.diff(z.nodes, axis=0) - sum(self._moves(times, values))

    def linearise(self, rates, times, z):
        def node(t, y, q):
            values = self._along(rates)(t, y, q)
            return values, values

        every = jax.vmap(jax.jacfwd(node, argnums=(1, 2), has_aux=True), in_axes=(0, 0, None))
        (along_y, along_q), values = every(times, z.nodes, z.shared)
        gaps = jnp.diff(z.nodes, axis=0) - sum(self._moves(times, values))
        eye, none = jnp.eye(z.nodes.shape[1], dtype=gaps.dtype), jnp.zeros((*gaps.shape, 0), gaps.dtype)
        left, right = self._moves(times, along_y)
        return gaps, (-eye[None] - left, none, eye[None] - right, -sum(self._moves(times, along_q)))

    def _along(self, rates: Rates) -> Rates:
        """y′, y″, …, (k, M) at a node."""

        def onward(derivative):
            def next_one(t, y, q):
                return jax.jvp(lambda t, y: derivative(t, y, q), (t, y), (jnp.ones_like(t), rates(t, y, q)))[1]

            return next_one

        each = [rates]
        for _ in range(1, self.derivatives):
            each.append(onward(each[-1]))
        return lambda t, y, q: jnp.stack([derivative(t, y, q) for derivative in each])

    def _moves(self, times, values: Float[Array, "node order ..."]):
        """What the two nodes of every interval give to y_{n+1} − y_n."""
        k, widths = self.derivatives, jnp.diff(times)
        left, right = jnp.zeros_like(values[:-1, 0]), jnp.zeros_like(values[:-1, 0])
        for j in range(1, k + 1):
            share = math.comb(k, j) / math.perm(2 * k, j)
            weight = (share * widths**j).reshape(-1, *[1] * (values.ndim - 2))
            left = left + weight * values[:-1, j - 1]
            right = right - (-1) ** j * weight * values[1:, j - 1]
        return left, right
