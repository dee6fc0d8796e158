"""Systems of intervals that overlap in their nodes, closed by conditions that couple the two ends.

    left_n y_n + inside_n w_n + right_n y_{n+1} + border_n q = r_n,    first y_0 + last y_K + corner q = s

What two-point boundary value problems give: not symmetric, with unknowns that grow along the chain and others that
decay. Elimination in one direction would let rounding grow with the former; orthogonal transformations do not.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector

Blocks = Float[Array, "_ _ _"]


class Rows(eqx.Module):
    """A right side: `intervals` (K, E + D) and `ends` (D + P,)."""

    intervals: Float[Array, "interval row"]
    ends: Float[Array, " condition"]


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

    def factor(self) -> "StaircaseFactor":
        """Structured elimination.

        Interiors go first, by L U with pivots among an interval's equations: nothing grows on so short a way. Then node
        after node, each by the Q R of the two equations in which it stands: in about √K lanes of √K nodes side by side,
        then along the lanes. What remains couples the ends and the shared unknowns. Source: [wright1992].
        """
        interior, kept = _Condensed.make(self.inside, (self.left, self.right, self.border))
        eye = jnp.eye(self.left.shape[2], dtype=self.left.dtype)
        # Intervals missing at the end say y_{n+1} = y_n.
        blocks = [_deal(x, fill) for x, fill in zip(kept, (-eye, eye, jnp.zeros_like(kept[2][0])), strict=True)]
        lanes, inner = lax.scan(_join, tuple(x[0] for x in blocks), tuple(x[1:] for x in blocks))
        whole, outer = lax.scan(_join, tuple(x[:1] for x in lanes), tuple(x[1:, None] for x in lanes))
        ends = jnp.concatenate([self.first, self.last, self.corner], axis=1)
        closed = jnp.concatenate([jnp.concatenate([x[0] for x in whole], axis=1), ends])
        return StaircaseFactor(interior, inner, outer, *jax.scipy.linalg.lu_factor(closed))


def _deal(blocks: Float[Array, "interval ..."], fill: Float[Array, "..."]) -> Float[Array, "step lane ..."]:
    """Consecutive intervals to one lane."""
    count = blocks.shape[0]
    steps = -(-count // max(1, round(count**0.5)))
    lanes = -(-count // steps)
    extra = jnp.broadcast_to(fill[None], (lanes * steps - count, *fill.shape))
    dealt = jnp.concatenate([blocks, extra]).reshape(lanes, steps, *blocks.shape[1:])
    return jnp.moveaxis(dealt, 1, 0)


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
        return _back(self.lu[:, : self.lu.shape[2]], self.couplings, given, known)


def _forward(lu, order, columns: Blocks) -> tuple[Blocks, Blocks]:
    own = lu.shape[2]
    turned = jnp.take_along_axis(columns, order[:, :, None], axis=1)
    top = lax.linalg.triangular_solve(lu[:, :own], turned[:, :own], left_side=True, lower=True, unit_diagonal=True)
    return top, turned[:, own:] - lu[:, own:] @ top


def _back(root: Blocks, couplings: tuple[Blocks, ...], given, known):
    spent = sum(jnp.einsum("gij,gj->gi", c, x) for c, x in zip(couplings, known, strict=True))
    return lax.linalg.triangular_solve(root, (given - spent)[:, :, None], left_side=True, lower=False)[:, :, 0]


class _Eliminated(eqx.Module):
    """One node a group of equations: Qᵀ [column, rest] = [[R, coupling], [0, what remains]]."""

    q: Float[Array, "group row row"]
    root: Float[Array, "group own own"]
    couplings: tuple[Blocks, ...]

    @classmethod
    def make(cls, column: Blocks, rest: tuple[Blocks, ...]) -> tuple["_Eliminated", tuple[Blocks, ...]]:
        """Eliminate `column` from the groups; also what remains of the other columns."""
        own = column.shape[2]
        q, root = jnp.linalg.qr(column, mode="complete")
        turned = [q.mT @ x for x in rest]
        return cls(q, root[:, :own], tuple(x[:, :own] for x in turned)), tuple(x[:, own:] for x in turned)

    def split(self, rows: Float[Array, "group row"]) -> tuple[Float[Array, "group own"], Float[Array, "group rest"]]:
        """Qᵀ times a right side: the part of what was eliminated, and what remains."""
        turned, own = jnp.einsum("gij,gi->gj", self.q, rows), self.root.shape[1]
        return turned[:, :own], turned[:, own:]

    def back(self, given: Float[Array, "group own"], *known: Float[Array, "group _"]) -> Float[Array, "group own"]:
        """What was eliminated, once the rest is known."""
        return _back(self.root, self.couplings, given, known)


def _join(before, after):
    """Two neighbouring intervals as one, without the node between them."""
    (left, right, border), (left_, right_, border_) = before, after
    zero = jnp.zeros_like(left)
    pair = lambda a, b: jnp.concatenate([a, b], axis=1)
    level, joined = _Eliminated.make(pair(right, left_), (pair(left, zero), pair(zero, right_), pair(border, border_)))
    return joined, level


class StaircaseFactor(eqx.Module):
    """What `Staircase.factor` makes, for right sides of (K, E + D) and (D + P,)."""

    interior: _Condensed
    inner: _Eliminated
    outer: _Eliminated
    closed: Float[Array, "end end"]
    pivots: Array

    def solve(self, rows: Rows) -> BlockVector:
        """The solution for one right side."""
        inside, right = self.interior.split(rows.intervals)
        (count, size), dealt = right.shape, _deal(right, jnp.zeros_like(right[0]))

        def down(before, block):
            level, after = block
            own, rest = level.split(jnp.concatenate([before, after], axis=1))
            return rest, own

        lanes, inner = lax.scan(down, dealt[0], (self.inner, dealt[1:]))
        whole, outer = lax.scan(down, lanes[:1], (self.outer, lanes[1:, None]))
        ends = jax.scipy.linalg.lu_solve((self.closed, self.pivots), jnp.concatenate([whole[0], rows.ends]))
        nodes, shared = ends[: 2 * size].reshape(2, size), ends[2 * size :]

        def up(levels, given, nodes):
            everywhere = jnp.broadcast_to(shared[None], (nodes.shape[0] - 1, shared.shape[0]))

            def step(after, block):
                level, own = block
                node = level.back(own, nodes[:-1], after, everywhere)
                return node, node

            return lax.scan(step, nodes[1:], (levels, given), reverse=True)[1]

        nodes = jnp.concatenate([nodes[:1], up(self.outer, outer, nodes)[:, 0], nodes[1:]])
        along = jnp.concatenate([nodes[None, :-1], up(self.inner, inner, nodes)])
        nodes = jnp.concatenate([jnp.moveaxis(along, 0, 1).reshape(-1, size), nodes[-1:]])[: count + 1]
        everywhere = jnp.broadcast_to(shared[None], (count, shared.shape[0]))
        return BlockVector(nodes, self.interior.back(inside, nodes[:-1], nodes[1:], everywhere), shared)
