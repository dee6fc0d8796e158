"""Systems of intervals that overlap in their nodes, closed by conditions that couple the two ends.

    left_n y_n + inside_n w_n + right_n y_{n+1} + border_n q = r_n,    first y_0 + last y_K + corner q = s

What two-point boundary value problems give: not symmetric, with unknowns that grow along the chain and others that
decay. Elimination in one direction would let rounding grow with the former; orthogonal transformations do not.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector
from deepest.linalg._chain import Chain

Blocks = Float[Array, "_ _ _"]


class Rows(eqx.Module):
    """A right side: `intervals` (K, E + D) and `ends` (D + P,)."""

    intervals: Float[Array, "*batch interval row"]
    ends: Float[Array, "*batch condition"]


class Staircase(eqx.Module):
    """The matrix, of K intervals with nodes of D unknowns, E interior ones each, and P shared ones.

    `left` and `right` (K, E + D, D), `inside` (K, E + D, E), `border` (K, E + D, P), and for the conditions `first` and
    `last` (D + P, D) and `corner` (D + P, P).
    """

    left: Float[Array, "interval row state"]
    inside: Float[Array, "interval row interior"]
    right: Float[Array, "interval row state"]
    border: Float[Array, "interval row parameter"]
    first: Float[Array, "condition state"]
    last: Float[Array, "condition state"]
    corner: Float[Array, "condition parameter"]

    def mv(self, z: BlockVector) -> Rows:
        """The product with z."""
        times = lambda blocks, v: jnp.einsum("nij,nj->ni", blocks, v)
        rows = times(self.left, z.nodes[:-1]) + times(self.right, z.nodes[1:]) + times(self.inside, z.interior)
        ends = self.first @ z.nodes[0] + self.last @ z.nodes[-1] + self.corner @ z.shared
        return Rows(rows + self.border @ z.shared, ends)

    def factor(self, *, constant: bool = False) -> "StaircaseFactor":
        """Structured elimination.

        Interiors go first, by L U with pivots among an interval's equations: nothing grows on so short a way. Then node
        after node, each by the Q R of the two equations in which it stands. What remains couples the ends and the
        shared unknowns. Source: [wright1992].

        `constant` promises that nothing is differentiated, here or in `solve`: then `vmap` has many systems eliminated
        in the lanes of the processor's vector registers.
        """
        interior, kept = _Condensed.make(self.inside, (self.left, self.right, self.border))
        ends = jnp.concatenate([self.first, self.last, self.corner], axis=1)
        chain = Chain.make(jnp.concatenate(kept, axis=2), ends, constant)
        return StaircaseFactor(interior, chain, constant)


class _Condensed(eqx.Module):
    """The interiors: P [inside, rest] = L [[U, coupling], [0, what remains]]."""

    lu: Float[Array, "group row own"]
    order: Array
    couplings: tuple[Blocks, ...]

    @classmethod
    def make(cls, inside: Blocks, rest: tuple[Blocks, ...]) -> tuple["_Condensed", tuple[Blocks, ...]]:
        """Eliminate `inside`; also what remains of the other columns."""
        count, rows, own = inside.shape
        if own == 0:
            order = jnp.broadcast_to(jnp.arange(rows)[None], (count, rows))
            return cls(inside, order, tuple(x[:, :0] for x in rest)), rest
        lu, _, order = lax.linalg.lu(inside)
        widths = np.cumsum([x.shape[2] for x in rest])[:-1]
        top, below = _forward(lu, order, jnp.concatenate(rest, axis=2))
        split = lambda x: tuple(jnp.split(x, widths, axis=2))
        return cls(lu, order, split(top)), split(below)

    def split(self, rows: Float[Array, "group row"]) -> tuple[Float[Array, "group own"], Float[Array, "group rest"]]:
        """A right side's part of what was eliminated, and what remains of it."""
        if self.lu.shape[2] == 0:
            return rows[:, :0], rows
        top, below = _forward(self.lu, self.order, rows[:, :, None])
        return top[:, :, 0], below[:, :, 0]

    def back(self, given: Float[Array, "group own"], *known: Float[Array, "group _"]) -> Float[Array, "group own"]:
        """What was eliminated, once the rest is known."""
        spent = sum(jnp.einsum("gij,gj->gi", c, x) for c, x in zip(self.couplings, known, strict=True))
        root = self.lu[:, : self.lu.shape[2]]
        return lax.linalg.triangular_solve(root, (given - spent)[:, :, None], left_side=True, lower=False)[:, :, 0]


def _forward(lu, order, columns: Blocks) -> tuple[Blocks, Blocks]:
    own = lu.shape[2]
    turned = jnp.take_along_axis(columns, order[:, :, None], axis=1)
    top = lax.linalg.triangular_solve(lu[:, :own], turned[:, :own], left_side=True, lower=True, unit_diagonal=True)
    return top, turned[:, own:] - lu[:, own:] @ top


class StaircaseFactor(eqx.Module):
    """What `Staircase.factor` makes, for right sides of (K, E + D) and (D + P,)."""

    interior: _Condensed
    chain: Chain
    constant: bool = eqx.field(static=True)

    def solve(self, rows: Rows) -> BlockVector:
        """The solution for one right side."""
        inside, right = self.interior.split(rows.intervals)
        nodes, shared = self.chain.solve(right, rows.ends, self.constant)
        everywhere = jnp.broadcast_to(shared[None], (right.shape[0], shared.shape[0]))
        return BlockVector(nodes, self.interior.back(inside, nodes[:-1], nodes[1:], everywhere), shared)
