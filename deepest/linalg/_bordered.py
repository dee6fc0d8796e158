"""The matrix and the vectors of a path problem, as blocks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from deepest.linalg._layout import AbstractLayout, Leading


class BlockVector(eqx.Module):
    """A vector with one block a node, one interior block an interval, and shared entries.

    Shapes: `nodes` (K + 1, D), `interior` (K, E) with E = 0 where intervals have no interior
    unknowns, `shared` (P,).
    """

    nodes: Float[Array, "*batch node state"]
    interior: Float[Array, "*batch interval interior"]
    shared: Float[Array, "*batch parameter"]


def dot(a: PyTree[Array], b: PyTree[Array]) -> Float[Array, ""]:
    """The inner product aᵀ b of block vectors, or of any two trees of arrays, whose shapes (N, …) agree."""
    return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, a, b))


class BorderedTridiagonal(eqx.Module):
    """A symmetric bordered block-tridiagonal matrix with interior blocks.

    On K intervals with nodes a = n, b = n + 1 and interior m, as (K, row, column) or
    (row, column, K) as `layout` says:

        diagonal   T_nn  (K + 1) of (D, D)      interior  H_mm  K of (E, E)
        upper      T_ab   K of (D, D)           left      H_am  K of (D, E)
        border     B_n   (K + 1) of (D, P)      right     H_bm  K of (D, E)
        corner     C (P, P), an ordinary matrix inner     B_m   K of (E, P)
    """

    diagonal: Float[Array, "..."]
    upper: Float[Array, "..."]
    border: Float[Array, "..."]
    interior: Float[Array, "..."]
    left: Float[Array, "..."]
    right: Float[Array, "..."]
    inner: Float[Array, "..."]
    corner: Float[Array, "parameter parameter"]
    layout: AbstractLayout = eqx.field(static=True)

    @staticmethod
    def zeros(like: BlockVector) -> "BorderedTridiagonal":
        """The zero matrix that acts on vectors like this one, with its batch axis first."""
        (count, size), inside, width = like.nodes.shape, like.interior.shape[1], like.shared.shape[0]
        zeros = lambda *shape: jnp.zeros(shape, like.nodes.dtype)
        return BorderedTridiagonal(
            diagonal=zeros(count, size, size),
            upper=zeros(count - 1, size, size),
            border=zeros(count, size, width),
            interior=zeros(count - 1, inside, inside),
            left=zeros(count - 1, size, inside),
            right=zeros(count - 1, size, inside),
            inner=zeros(count - 1, inside, width),
            corner=zeros(width, width),
            layout=Leading(),
        )

    def shift(self, amount: BlockVector) -> "BorderedTridiagonal":
        """The matrix plus a diagonal one, H + diag(amount)."""

        def add(blocks, values):
            return blocks + self.layout.matrices(jax.vmap(jnp.diag)(values))

        where = lambda s: (s.diagonal, s.interior, s.corner)
        new = (
            add(self.diagonal, amount.nodes),
            add(self.interior, amount.interior),
            self.corner + jnp.diag(amount.shared),
        )
        return eqx.tree_at(where, self, new)

    def restrict(self, free: BlockVector) -> "BorderedTridiagonal":
        """Rows and columns where `free` is 0 become those of the identity; `free` holds 0s and 1s."""

        def mask(blocks, rows, columns):
            return blocks * self.layout.matrices(rows[:, :, None] * columns[:, None, :])

        nodes, inside = free.nodes, free.interior
        shared = jnp.broadcast_to(free.shared[None, :], (nodes.shape[0], free.shared.shape[0]))
        held = jax.tree.map(lambda x: 1.0 - x, free)
        masked = BorderedTridiagonal(
            diagonal=mask(self.diagonal, nodes, nodes),
            upper=mask(self.upper, nodes[:-1], nodes[1:]),
            border=mask(self.border, nodes, shared),
            interior=mask(self.interior, inside, inside),
            left=mask(self.left, nodes[:-1], inside),
            right=mask(self.right, nodes[1:], inside),
            inner=mask(self.inner, inside, shared[:-1]),
            corner=self.corner * jnp.outer(free.shared, free.shared),
            layout=self.layout,
        )
        return masked.shift(held)

    def mv(self, z: BlockVector) -> BlockVector:
        """The product H z."""
        get = self.layout.restore
        times = lambda blocks, v: jnp.einsum("nij,nj->ni", get(blocks), v)
        ttimes = lambda blocks, v: jnp.einsum("nji,nj->ni", get(blocks), v)
        a, b, m, p = z.nodes[:-1], z.nodes[1:], z.interior, z.shared
        shared_n = jnp.broadcast_to(p[None], (z.nodes.shape[0], p.shape[0]))
        nodes = times(self.diagonal, z.nodes) + times(self.border, shared_n)
        from_left = times(self.upper, b) + times(self.left, m)
        from_right = ttimes(self.upper, a) + times(self.right, m)
        nodes = nodes + jnp.pad(from_left, ((0, 1), (0, 0))) + jnp.pad(from_right, ((1, 0), (0, 0)))
        interior = times(self.interior, m) + ttimes(self.left, a) + ttimes(self.right, b)
        interior = interior + times(self.inner, shared_n[:-1])
        shared = self.corner @ p + ttimes(self.border, z.nodes).sum(0) + ttimes(self.inner, m).sum(0)
        return BlockVector(nodes, interior, shared)
