"""Saddle points: a bordered block-tridiagonal Hessian, with soft or hard equations on every interval."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector, BorderedTridiagonal
from deepest.linalg._elimination import inverse
from deepest.linalg._staircase import Rows, Staircase

Blocks = Float[Array, "interval _ _"]


class Equations(eqx.Module):
    """The rows J of K intervals: J_a d_a + J_m d_m + J_b d_b + J_θ d_θ, as many an interval as d_b and d_m have.

    `left` and `right` (K, R, D) act on an interval's two nodes, `inside` (K, R, E) on its interior, `shared` (K, R, P)
    on the unknowns shared by all; R = D + E. The first D rows must be soluble for d_b, and the last E for d_m.
    """

    left: Float[Array, "interval row state"]
    inside: Float[Array, "interval row interior"]
    right: Float[Array, "interval row state"]
    shared: Float[Array, "interval row parameter"]

    def mv(self, d: BlockVector) -> Float[Array, "interval row"]:
        """J d."""
        parts = (self.left, d.nodes[:-1]), (self.inside, d.interior), (self.right, d.nodes[1:])
        return sum((jnp.einsum("kij,kj->ki", a, x) for a, x in parts), self.shared @ d.shared)

    def tmv(self, p: Float[Array, "interval row"]) -> BlockVector:
        """Jᵀ p."""
        left, inside, right = (jnp.einsum("kij,ki->kj", a, p) for a in (self.left, self.inside, self.right))
        nodes = jnp.pad(left, ((0, 1), (0, 0))) + jnp.pad(right, ((1, 0), (0, 0)))
        return BlockVector(nodes, inside, jnp.einsum("kij,ki->j", self.shared, p))

    def restrict(self, free: BlockVector) -> "Equations":
        """Columns of interiors and shared unknowns where `free` is 0 become zero; `free` holds 0s and 1s."""
        inside, shared = self.inside * free.interior[:, None], self.shared * free.shared[None, None]
        return Equations(self.left, inside, self.right, shared)


class Saddle(eqx.Module):
    """The symmetric indefinite matrix [[H, Jᵀ], [J, −Γ]], with Γ from large to exactly zero.

    `hessian` has its batch axis first. `slack` holds Γ of D rows, (K or 1, D) diagonal or (K or 1, D, D) full; the
    same block serves every D of an interval's R rows. Nodes' unknowns are held where `free` is 0. With Γ > 0 the
    solution is that of the normal equations

        (H + JᵀΓ⁻¹J) d = −g − JᵀΓ⁻¹ c,   p = Γ⁻¹ (c + J d),

    in which Γ⁻¹ would drown H in rounding; here nothing grows as Γ → 0, where the equations J d = −c become exact.
    """

    hessian: BorderedTridiagonal
    equations: Equations
    slack: Float[Array, "interval state"] | Float[Array, "interval state state"]
    free: Float[Array, "node state"] | None = None

    def shift(self, amount: BlockVector) -> "Saddle":
        """The matrix with H + diag(amount) in place of H."""
        return Saddle(self.hessian.shift(amount), self.equations, self.slack, self.free)

    def restrict(self, free: BlockVector) -> "Saddle":
        """Unknowns d where `free` is 0 are held at 0, and their equations dropped."""
        return Saddle(self.hessian.restrict(free), self.equations.restrict(free), self.slack, free.nodes)

    def alone(self) -> "Saddle":
        """The matrix of the path and its momenta, without the shared unknowns."""
        bordered = lambda s: (s.hessian.border, s.hessian.inner, s.hessian.corner, s.equations.shared)
        none = (*(part[:, :, :0] for part in bordered(self)[:2]), self.hessian.corner[:0, :0])
        return eqx.tree_at(bordered, self, (*none, self.equations.shared[:, :, :0]))

    def mv(self, d: BlockVector, p: Float[Array, "interval row"]) -> tuple[BlockVector, Float[Array, "interval row"]]:
        """H d + Jᵀ p and J d − Γ p; rows and columns of nodes' unknowns that are held are zero."""
        keep = lambda v: v if self.free is None else BlockVector(v.nodes * self.free, v.interior, v.shared)
        d, split = keep(d), p.reshape(p.shape[0], -1, self.slack.shape[1])
        yielded = (self._full() @ split.mT).mT.reshape(p.shape)
        pull = jax.tree.map(jnp.add, self.hessian.mv(d), self.equations.tmv(p))
        return keep(pull), self.equations.mv(d) - yielded

    def _full(self) -> Blocks:
        """Γ as matrices."""
        return self.slack if self.slack.ndim == 3 else jax.vmap(jnp.diag)(self.slack)

    def solve(
        self, gradient: BlockVector, defects: Float[Array, "interval row"]
    ) -> tuple[BlockVector, Float[Array, "interval row"]]:
        """The d and p with H d + Jᵀ p = −gradient and J d − Γ p = −defects.

        What an interval gives to the equation of its right node becomes an unknown π of that node, and what all before
        gave to the equation of the shared unknowns another, ψ. Then neighbours alone are coupled, by what in mechanics
        are Hamilton's equations, and a `Staircase` solves them. A sweep in one direction would be cheaper, but as
        Γ → 0 it lets rounding grow with the square of what the equations let grow along the whole chain.
        """
        hessian, own = self.hessian, jnp.concatenate([self.hessian.border, gradient.nodes[:, :, None]], axis=2)
        count, size, width = hessian.border.shape[0] - 1, hessian.border.shape[1], hessian.border.shape[2]
        form, inner = self._condense(gradient, defects)
        # The equation of d_b gives p_1 = by_share π_b + by_rest (d_b, d_a, d_θ, 1).
        by_share = jnp.linalg.inv(form[:, size : 2 * size, :size])
        by_rest = -by_share @ form[:, size : 2 * size, size:]
        rows = jnp.concatenate([form[:, :size], form[:, 2 * size : -1]], axis=1)
        push, rest = rows[:, :, :size] @ by_share, rows[:, :, size:] + rows[:, :, :size] @ by_rest
        right, left, border = rest[:, :, :size], rest[:, :, size : 2 * size], rest[:, :, 2 * size :]
        left = left.at[:, size:].add(jnp.concatenate([hessian.diagonal[:-1], hessian.border[:-1].mT], axis=1))
        border = border.at[:, size : 2 * size].add(own[:-1])
        below = lambda rows, columns: jnp.zeros((count, rows, columns), form.dtype)
        carried = jnp.broadcast_to(jnp.eye(size + width, dtype=form.dtype), (count, size + width, size + width))
        handed = jnp.concatenate([below(2 * size, width), -carried[:, size:, size:]], axis=1)
        first, last, corner, ends = self._ends(own, gradient.shared)
        chain = Staircase(
            left=jnp.concatenate([left, jnp.concatenate([below(size, size + width), carried], axis=1)], axis=2),
            inside=below(2 * size + width, 0),
            right=jnp.concatenate([right, push, handed], axis=2),
            border=border[:, :, :-1],
            first=first,
            last=last,
            corner=corner,
        )
        right_side = Rows(-border[:, :, -1], ends)
        if self.free is not None:
            chain, right_side = _hold(chain, right_side, self.free)
        found = _solve(chain, right_side)
        nodes = found.nodes[:, :size] if self.free is None else found.nodes[:, :size] * self.free
        one = jnp.broadcast_to(jnp.append(found.shared, 1.0)[None], (count, width + 1))
        known = jnp.concatenate([nodes[1:], nodes[:-1], one], axis=1)[:, :, None]
        momenta = by_share @ found.nodes[1:, size : 2 * size, None] + by_rest @ known
        inside = -(inner @ jnp.concatenate([momenta, known], axis=1))[:, :, 0]
        cut = hessian.interior.shape[1]
        return (
            BlockVector(nodes, inside[:, :cut], found.shared),
            jnp.concatenate([momenta[:, :, 0], inside[:, cut:]], axis=1),
        )

    def _ends(self, own: Float[Array, "node state column"], shared: Float[Array, " parameter"]):
        """π_0 = 0, ψ_0 = 0, and the equations of d_K and of d_θ."""
        hessian, size, width = self.hessian, own.shape[1], shared.shape[0]
        half, rest = size + width, jnp.zeros((size + width, size), own.dtype)
        eye = jnp.eye(half, dtype=own.dtype)
        last = jnp.concatenate([hessian.diagonal[-1], hessian.border[-1].T])
        nothing = jnp.zeros((half, size + half), own.dtype)
        first = jnp.concatenate([jnp.concatenate([rest, eye], axis=1), nothing])
        closed = jnp.concatenate([nothing, jnp.concatenate([last, eye], axis=1)])
        corner = jnp.concatenate([nothing[:, :width], hessian.border[-1], hessian.corner])
        return first, closed, corner, -jnp.concatenate([nothing[:, 0], own[-1, :, -1], shared])

    def _condense(self, gradient: BlockVector, defects: Float[Array, "interval row"]) -> tuple[Blocks, Blocks]:
        """The quadratic form of every interval in (p_1, d_b, d_a, d_θ, 1) without its interior, and what gives that.

        The form leaves out the nodes' own blocks and the corner, which no single interval owns.
        """
        hessian, rows = self.hessian, self.equations
        size, inside = hessian.diagonal.shape[1], hessian.interior.shape[1]
        count, width = hessian.upper.shape[0], hessian.corner.shape[0]
        zeros = lambda r, c: jnp.zeros((count, r, c), hessian.diagonal.dtype)
        slack = jnp.broadcast_to(self._full(), (count, size, size))
        stack = lambda blocks: jnp.concatenate([jnp.concatenate(row, axis=2) for row in blocks], axis=1)
        lines = stack([[rows.right, rows.left, rows.shared, defects[:, :, None]]])
        none, tail = zeros(size, width + 1), zeros(width + 1, 2 * size + width + 1)
        ends = stack([[zeros(size, size), hessian.upper.mT, none], [hessian.upper, zeros(size, size), none], [tail]])
        form = stack([[-slack, lines[:, :size]], [lines[:, :size].mT, ends]])
        if not inside:
            return form, zeros(0, form.shape[2])
        points = range(inside // size)
        loose = stack([[slack if i == j else zeros(size, size) for j in points] for i in points])
        within = rows.inside[:, size:]
        pivot = stack([[hessian.interior, within.mT], [within, -loose]])
        force = [hessian.right.mT, hessian.left.mT, hessian.inner, gradient.interior[:, :, None]]
        right = stack([[rows.inside[:, :size].mT, *force], [zeros(inside, size), lines[:, size:]]])
        known = jnp.linalg.solve(pivot, right)
        return form - right.mT @ known, known


def _hold(chain: Staircase, rows: Rows, free: Float[Array, "node state"]) -> tuple[Staircase, Rows]:
    """The chain with the equation of a node's unknown replaced by d = 0 where `free` is 0."""
    size, half = free.shape[1], chain.first.shape[0] // 2
    own, last = slice(size, 2 * size), slice(half, half + size)
    keep = lambda blocks: blocks.at[:, own].multiply(free[:-1, :, None])
    close = lambda matrix: matrix.at[last].multiply(free[-1, :, None])
    held = Staircase(
        left=keep(chain.left).at[:, own, :size].add(jax.vmap(jnp.diag)(1.0 - free[:-1])),
        inside=chain.inside,
        right=keep(chain.right),
        border=keep(chain.border),
        first=close(chain.first),
        last=close(chain.last).at[last, :size].add(jnp.diag(1.0 - free[-1])),
        corner=close(chain.corner),
    )
    return held, Rows(rows.intervals.at[:, own].multiply(free[:-1]), rows.ends.at[last].multiply(free[-1]))


def _solve(chain: Staircase, rows: Rows) -> BlockVector:
    """The solution, with columns and then rows brought to a largest entry of 1.

    States and momenta differ in size by R_f, and reflections mix the entries of a column: what is small would be lost.
    """
    size = chain.left.shape[2]
    intervals = jnp.concatenate([chain.left, chain.right, chain.border], axis=2)
    ends = jnp.concatenate([chain.first, chain.last, chain.corner], axis=1)
    largest = jnp.maximum(jnp.abs(intervals).max((0, 1)), jnp.abs(ends).max(0))
    nodes = inverse(jnp.maximum(largest[:size], largest[size : 2 * size]))
    shared = inverse(largest[2 * size :])
    columns = jnp.concatenate([nodes, nodes, shared])
    intervals, ends = intervals * columns[None, None], ends * columns[None]
    along, across = inverse(jnp.abs(intervals).max(2)), inverse(jnp.abs(ends).max(1))
    intervals, ends = intervals * along[:, :, None], ends * across[:, None]
    parts = [jnp.split(x, [size, 2 * size], axis=-1) for x in (intervals, ends)]
    (left, right, border), (first, last, corner) = parts
    balanced = Staircase(left, chain.inside * along[:, :, None], right, border, first, last, corner)
    found = balanced.factor().solve(Rows(rows.intervals * along, rows.ends * across))
    return BlockVector(found.nodes * nodes[None], found.interior, found.shared * shared)
