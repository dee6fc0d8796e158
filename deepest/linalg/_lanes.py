"""Small blocks: cut the chain into lanes and sweep them side by side, one lane in each slot of a vector register.

Chosen for blocks of up to about eight, where a LAPACK call a block is mostly overhead. Every lane keeps its last node
as a separator; eliminating the others leaves a chain of separators, which is a smaller problem of the same kind.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector, BorderedTridiagonal
from deepest.linalg._kernel import AbstractFactor, AbstractKernel
from deepest.linalg._layout import Leading, Trailing, pin, store
from deepest.linalg._sweep import Sweep, SweepFactor

_TRAILING = Trailing()
_MUL, _TMUL = _TRAILING.mul, _TRAILING.tmul


def _inverse_root(a: Float[Array, "row row lane"]) -> Float[Array, "row row lane"]:
    """R = L⁻¹ with a = L Lᵀ, for a batch in the last axis; only the lower triangle of a is read.

    With the inverse at hand every solve is a plain product, which compiles to one vectorised loop; forward
    substitution would be a chain of dependent ones, measured more than twice slower.
    """
    size, columns, rows = a.shape[0], [], []
    for j in range(size):
        rest = a[j:, j] - sum((c[j:] * c[j : j + 1] for c in columns), jnp.zeros_like(a[j:, j]))
        columns.append(jnp.pad(rest * lax.rsqrt(rest[:1]), ((j, 0), (0, 0))))
    for j in range(size):
        unit = jnp.zeros_like(a[0]).at[j].set(1.0)
        known = sum((columns[i][j : j + 1] * row for i, row in enumerate(rows)), jnp.zeros_like(unit))
        rows.append((unit - known) / columns[j][j : j + 1])
    return jnp.stack(rows) if rows else a


class _Interiors(eqx.Module):
    """R_m = L_m⁻¹, and R_m times [H_ma, H_mb, B_m] of every interval."""

    root: Float[Array, "interior interior interval"]
    left: Float[Array, "interior state interval"]
    right: Float[Array, "interior state interval"]
    inner: Float[Array, "interior parameter interval"]


class _Chain(eqx.Module):
    """R = L⁻¹ of every node but the separators, and R times its couplings: (step, row, column, lane).

    The couplings are to the next node, to the separator before, and to the shared unknowns, side by side as they are
    made: taken apart they would be copied.
    """

    root: Float[Array, "step state state lane"]
    couplings: Float[Array, "step state coupling lane"]

    @property
    def onward(self) -> Float[Array, "step state state lane"]:
        return self.couplings[:, :, : self.root.shape[1]]

    @property
    def behind(self) -> Float[Array, "step state state lane"]:
        return self.couplings[:, :, self.root.shape[1] : 2 * self.root.shape[1]]

    @property
    def border(self) -> Float[Array, "step state parameter lane"]:
        return self.couplings[:, :, 2 * self.root.shape[1] :]


class LanesFactor(AbstractFactor):
    """The factor that `Lanes` makes: interiors, lanes, and the factor of the separators' system."""

    interiors: _Interiors
    chain: _Chain
    separators: SweepFactor

    def solve(self, right_side: BlockVector) -> BlockVector:
        mid, chain = self.interiors, self.chain
        inside = _MUL(mid.root, right_side.interior.T[:, None])
        spent = lambda y, u: _TMUL(y, u)[:, 0].T if y.shape[0] else jnp.zeros((1, 1), y.dtype)
        nodes = right_side.nodes
        if mid.root.shape[0]:
            nodes = nodes - jnp.pad(spent(mid.left, inside), ((0, 1), (0, 0)))
            nodes = nodes - jnp.pad(spent(mid.right, inside), ((1, 0), (0, 0)))
        shared = right_side.shared - jnp.einsum("epk,ek->p", mid.inner, inside[:, 0])
        steps, size, _, lanes = chain.root.shape
        dealt = _deal_vectors(nodes, steps + 1, lanes)

        def there(carry, block):
            root, onward, right = block
            here = _MUL(root, (right - carry)[:, None])
            return _TMUL(onward, here)[:, 0], here[:, 0]

        left, forward = lax.scan(there, jnp.zeros((size, lanes), nodes.dtype), (chain.root, chain.onward, dealt[:-1]))
        behind = jnp.einsum("cijl,cil->jl", chain.behind, forward)
        ends = dealt[-1] - left - _next(behind)
        shared = shared - jnp.einsum("cipl,cil->p", chain.border, forward)
        reduced = BlockVector(ends.T, jnp.zeros((lanes - 1, 0), nodes.dtype), shared)
        solved = self.separators.solve(reduced)
        chain = _Chain(chain.root, jnp.concatenate([chain.couplings, forward[:, :, None]], axis=2))
        mid = eqx.tree_at(lambda x: x.inner, mid, jnp.concatenate([mid.inner, inside], axis=1))
        return _substitute(mid, chain, solved, nodes.shape[0])

    def log_determinant(self) -> Float[Array, ""]:
        logs = jnp.log(jnp.diagonal(self.chain.root, axis1=1, axis2=2)).sum()
        logs = logs + jnp.log(jnp.diagonal(self.interiors.root)).sum()
        return self.separators.log_determinant() - 2.0 * logs


def _substitute(mid: _Interiors, chain: _Chain, solved: BlockVector, count: int) -> BlockVector:
    """Back-substitution, given the separators and shared unknowns; the right side is the last column of the border."""
    ends = solved.nodes.T
    before, columns = _previous(ends)[:, None], jnp.append(solved.shared, -1.0)[:, None, None]
    shared = jnp.broadcast_to(columns, (*columns.shape[:2], ends.shape[1]))

    def back(after, here):
        # Stored, because XLA would else make these sums anew for every row of the block.
        known = store(_MUL(here.couplings, jnp.concatenate([after[:, None], before, shared])))
        node = -_TMUL(here.root, known)[:, 0]
        return node, node

    _, rest = lax.scan(back, ends, chain, reverse=True)
    nodes = _collect_vectors(jnp.concatenate([rest, ends[None]]), count)
    if not mid.root.shape[0]:
        return BlockVector(nodes, jnp.zeros((count - 1, 0), nodes.dtype), solved.shared)
    a, b = (x.T[:, None] for x in (nodes[:-1], nodes[1:]))
    known = store(_MUL(mid.left, a) + _MUL(mid.right, b) + _MUL(mid.inner, columns))
    return BlockVector(nodes, -_TMUL(mid.root, known)[:, 0].T, solved.shared)


class Lanes(AbstractKernel):
    """About √K lanes of √K nodes each, swept together; then a `Sweep` over the lanes' separators.

    Twice the arithmetic of a plain sweep, for the fill that couples a lane to its left separator, but all of it
    elementwise along the lanes; depth 2√K.
    """

    layout: Trailing = Trailing()

    def factor(self, system: BorderedTridiagonal) -> LanesFactor:
        interiors, chain, separators = _eliminate(system)
        return LanesFactor(interiors, chain, Sweep().factor(separators))

    def solve(self, system: BorderedTridiagonal, right_side: BlockVector) -> BlockVector:
        wide = _widen(system, right_side)
        interiors, chain, separators = _eliminate(wide)
        rest = BlockVector(separators.border[:, :, -1], separators.inner[:, :, -1], separators.corner[:-1, -1])
        where = lambda x: (x.border, x.inner, x.corner)
        narrow = (separators.border[:, :, :-1], separators.inner[:, :, :-1], separators.corner[:-1, :-1])
        solved = Sweep().solve(eqx.tree_at(where, separators, narrow), rest)
        return _substitute(interiors, chain, solved, right_side.nodes.shape[0])


def _widen(system: BorderedTridiagonal, column: BlockVector) -> BorderedTridiagonal:
    """The matrix with one more column in its border, which any elimination then carries along."""
    turned, count = column.shared[:, None], column.shared.size
    # Padding fuses with what is done to the border next; a concatenation would copy it.
    beside = lambda a, b: jnp.pad(a, ((0, 0), (0, 1), (0, 0))) + jnp.pad(b, ((0, 0), (count, 0), (0, 0)))
    where = lambda x: (x.border, x.inner, x.corner)
    new = (
        beside(system.border, column.nodes.T[:, None]),
        beside(system.inner, column.interior.T[:, None]),
        jnp.block([[system.corner, turned], [turned.T, jnp.zeros((1, 1), turned.dtype)]]),
    )
    return eqx.tree_at(where, system, new)


def _eliminate(system: BorderedTridiagonal) -> tuple[_Interiors, _Chain, BorderedTridiagonal]:
    """Eliminate the interiors, and every node but the last of each lane; what remains is the separators' system."""
    interiors, chain = _eliminate_interiors(jax.tree.map(pin, system))
    count = chain.diagonal.shape[-1]
    lanes = max(2, 8 * round(count**0.5 / 8)) if count > 16 else 2
    steps = max(2, -(-count // lanes))
    return interiors, *_sweep_lanes(chain, steps, -(-count // steps))


def _eliminate_interiors(system: BorderedTridiagonal) -> tuple[_Interiors, BorderedTridiagonal]:
    """Cholesky factors of the interiors, and the chain of nodes without them."""
    layout = system.layout
    root = _inverse_root(system.interior)
    left, right, inner = (_MUL(root, x) for x in (*map(layout.transpose, (system.left, system.right)), system.inner))
    root, left, right, inner = store((root, left, right, inner))
    interiors = _Interiors(root, left, right, inner)
    if root.shape[0] == 0:
        return interiors, system
    mul, overlap = layout.tmul, layout.overlap
    chain = BorderedTridiagonal(
        diagonal=system.diagonal - overlap(mul(left, left), mul(right, right)),
        upper=system.upper - mul(left, right),
        border=system.border - overlap(mul(left, inner), mul(right, inner)),
        interior=system.interior[:0, :0],
        left=system.left[:, :0],
        right=system.right[:, :0],
        inner=system.inner[:0],
        corner=system.corner - layout.gram(inner, inner),
        layout=layout,
    )
    return interiors, chain


def _sweep_lanes(chain: BorderedTridiagonal, steps: int, lanes: int) -> tuple[_Chain, BorderedTridiagonal]:
    """Eliminate every node but the last of each lane; what remains is the separators' system, leading."""
    size, dtype = chain.diagonal.shape[0], chain.diagonal.dtype
    eye = jnp.eye(size, dtype=dtype)
    diagonal = _deal(chain.diagonal, steps, lanes, eye)
    border = _deal(chain.border, steps, lanes, None)
    onward = _deal(jnp.pad(chain.upper, ((0, 0), (0, 0), (0, 1))), steps, lanes, None)
    # The first node of a lane is coupled to the separator before it: the upper block of that separator.
    behind = _previous(_TRAILING.transpose(onward[-1]))

    def step(carry, block):
        schur, fill, spent, given = carry
        diagonal, onward, border = block
        root = _inverse_root(diagonal - schur)
        # Stored, because XLA would else make the product anew in each of its uses below.
        couplings = store(_MUL(root, jnp.concatenate([onward, fill, border - spent], axis=1)))
        update = _TMUL(couplings[:, :size], couplings)
        # What the separator before is given is summed while in cache; a sum over the stored couplings costs more.
        given = given + _TMUL(couplings[:, size : 2 * size], couplings[:, size:])
        carry = (update[:, :size], -update[:, size : 2 * size], update[:, 2 * size :], given)
        return carry, (root, couplings)

    nothing = jnp.zeros_like(diagonal[0]), jnp.zeros_like(border[0])
    start = (nothing[0], behind, nothing[1], jnp.concatenate(nothing, axis=1))
    (schur, fill, spent, given), (root, couplings) = lax.scan(step, start, (diagonal[:-1], onward[:-1], border[:-1]))
    done = _Chain(root, couplings)
    across, along = given[:, :size], given[:, size:]
    leading = lambda x: jnp.moveaxis(x, -1, 0)
    flat = jnp.moveaxis(done.border, 2, 0).reshape(border.shape[2], (steps - 1) * size * lanes)
    separators = BorderedTridiagonal(
        diagonal=leading(diagonal[-1] - schur - _next(across)),
        upper=leading(_TRAILING.transpose(fill))[1:],
        border=leading(border[-1] - spent - _next(along)),
        interior=jnp.zeros((lanes - 1, 0, 0), dtype),
        left=jnp.zeros((lanes - 1, size, 0), dtype),
        right=jnp.zeros((lanes - 1, size, 0), dtype),
        inner=jnp.zeros((lanes - 1, 0, border.shape[2]), dtype),
        corner=chain.corner - flat @ flat.T,
        layout=Leading(),
    )
    return done, separators


def _deal(
    blocks: Float[Array, "row column node"], steps: int, lanes: int, fill
) -> Float[Array, "step row column lane"]:
    """Consecutive nodes go to one lane; nodes missing at the end are decoupled ones with diagonal `fill`."""
    rows, columns, count = blocks.shape
    missing = steps * lanes - count
    if missing:
        extra = jnp.zeros((rows, columns), blocks.dtype) if fill is None else fill
        extra = jnp.broadcast_to(extra[:, :, None], (rows, columns, missing))
        blocks = jnp.concatenate([blocks, extra], axis=2)
    return jnp.moveaxis(blocks.reshape(rows, columns, lanes, steps), 3, 0)


def _deal_vectors(vectors: Float[Array, "node row"], steps: int, lanes: int) -> Float[Array, "step row lane"]:
    missing = steps * lanes - vectors.shape[0]
    padded = jnp.pad(vectors, ((0, missing), (0, 0)))
    return padded.reshape(lanes, steps, -1).transpose(1, 2, 0)


def _collect_vectors(dealt: Float[Array, "step row lane"], count: int) -> Float[Array, "node row"]:
    return dealt.transpose(2, 0, 1).reshape(-1, dealt.shape[1])[:count]


def _previous(x: Float[Array, "*any lane"]) -> Float[Array, "*any lane"]:
    """What lane l − 1 holds, in lane l; nothing in the first."""
    return jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :-1]], axis=-1)


def _next(x: Float[Array, "*any lane"]) -> Float[Array, "*any lane"]:
    """What lane l + 1 holds, in lane l; nothing in the last."""
    return jnp.concatenate([x[..., 1:], jnp.zeros_like(x[..., :1])], axis=-1)
