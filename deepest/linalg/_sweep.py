"""Large blocks: eliminate the interiors side by side, then sweep along the nodes.

Chosen for blocks of about nine and more, where one LAPACK call a block is worth its overhead.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector, BorderedTridiagonal
from deepest.linalg._kernel import AbstractFactor, AbstractKernel
from deepest.linalg._layout import Leading


def _cholesky(a):
    return lax.linalg.cholesky(a, symmetrize_input=False)


def _forward(factor, b):
    """L⁻¹ b."""
    return lax.linalg.triangular_solve(factor, b, left_side=True, lower=True)


def _backward(factor, b):
    """L⁻ᵀ b."""
    return lax.linalg.triangular_solve(factor, b, left_side=True, lower=True, transpose_a=True)


class _Eliminated(eqx.Module):
    """Factors of interiors and nodes, with q = P + r columns carried along (r right sides).

    `rows` = [H_am; H_bm; B_mᵀ] L_m⁻ᵀ (interval, 2D + q, E); `chain` = L_n⁻¹ [T_n,n+1, B_n]
    (node, D, D + q), whose first D columns are zero at the last node.
    """

    interior: Float[Array, "interval interior interior"]
    rows: Float[Array, "interval row interior"]
    nodes: Float[Array, "node state state"]
    chain: Float[Array, "node state column"]
    corner: Float[Array, "border border"]


def _eliminate(system: BorderedTridiagonal, columns: BlockVector | None) -> _Eliminated:
    size, border, inner = system.diagonal.shape[1], system.border, system.inner
    if columns is not None:
        border = jnp.concatenate([border, columns.nodes[:, :, None]], axis=2)
        inner = jnp.concatenate([inner, columns.interior[:, :, None]], axis=2)
    diagonal, upper, corner = system.diagonal, system.upper, system.corner
    if columns is not None:
        corner = jnp.block([[corner, columns.shared[:, None]], [columns.shared[None], jnp.zeros((1, 1), corner.dtype)]])

    factor = _cholesky(system.interior)
    rows = jnp.concatenate([system.left, system.right, inner.mT], axis=1)
    if system.interior.shape[1] > 0:
        rows = lax.linalg.triangular_solve(factor, rows, left_side=False, lower=True, transpose_a=True)
        gram = rows @ rows.mT
        a, b, c = slice(0, size), slice(size, 2 * size), slice(2 * size, None)
        overlap = system.layout.overlap
        diagonal = diagonal - overlap(gram[:, a, a], gram[:, b, b])
        upper = upper - gram[:, a, b]
        border = border - overlap(gram[:, a, c], gram[:, b, c])
        corner = corner - gram[:, c, c].sum(0)

    # The last node has no right neighbour: a zero block keeps the scan uniform.
    coupled = jnp.concatenate([upper, jnp.zeros((1, size, size), upper.dtype)])

    def step(carry, block):
        schur, forward = carry
        diagonal, upper, border = block
        node = _cholesky(diagonal - schur)
        chain = _forward(node, jnp.concatenate([upper, border - forward], axis=1))
        update = chain[:, :size].T @ chain
        return (update[:, :size], update[:, size:]), (node, chain)

    start = (jnp.zeros_like(diagonal[0]), jnp.zeros_like(border[0]))
    _, (nodes, chain) = lax.scan(step, start, (diagonal, coupled, border), unroll=4)
    carried = chain[:, :, size:]
    return _Eliminated(factor, rows, nodes, chain, corner - system.layout.gram(carried, carried))


def _substitute(done: _Eliminated, shared, forward, inside) -> BlockVector:
    """Back-substitution, given the shared unknowns and the forward columns of nodes and interiors."""
    size, count = done.nodes.shape[1], shared.shape[0]
    right = forward - done.chain[:, :, size : size + count] @ shared

    def step(after, block):
        node, upper, right = block
        here = _backward(node, (right - upper @ after)[:, None])[:, 0]
        return here, here

    inputs = (done.nodes, done.chain[:, :, :size], right)
    _, nodes = lax.scan(step, jnp.zeros_like(right[0]), inputs, reverse=True, unroll=4)
    if done.interior.shape[1] == 0:
        return BlockVector(nodes, inside, shared)
    known = jnp.concatenate([nodes[:-1], nodes[1:], jnp.broadcast_to(shared[None], (inside.shape[0], count))], axis=1)
    rows = done.rows[:, : 2 * size + count]
    right = inside - jnp.einsum("nri,nr->ni", rows, known)
    return BlockVector(nodes, _backward(done.interior, right[:, :, None])[:, :, 0], shared)


class SweepFactor(AbstractFactor):
    """The factor that `Sweep` makes: blocks of L along interiors, nodes and border."""

    eliminated: _Eliminated
    corner: Float[Array, "parameter parameter"]

    def solve(self, right_side: BlockVector) -> BlockVector:
        done, size = self.eliminated, self.eliminated.nodes.shape[1]
        nodes, inside = right_side.nodes, right_side.interior
        shared = right_side.shared
        if done.interior.shape[1] > 0:
            inside = _forward(done.interior, inside[:, :, None])[:, :, 0]
            spent = jnp.einsum("nri,ni->nr", done.rows, inside)
            pad = ((0, 0),)
            nodes = nodes - jnp.pad(spent[:, :size], ((0, 1), *pad))
            nodes = nodes - jnp.pad(spent[:, size : 2 * size], ((1, 0), *pad))
            shared = shared - spent[:, 2 * size :].sum(0)

        def step(carry, block):
            node, chain, right = block
            here = _forward(node, (right - carry)[:, None])[:, 0]
            return chain[:, :size].T @ here, here

        inputs = (done.nodes, done.chain, nodes)
        _, forward = lax.scan(step, jnp.zeros_like(nodes[0]), inputs, unroll=4)
        shared = shared - jnp.einsum("ndp,nd->p", done.chain[:, :, size:], forward)
        shared = _backward(self.corner, _forward(self.corner, shared[:, None]))[:, 0]
        return _substitute(done, shared, forward, inside)

    def log_determinant(self) -> Float[Array, ""]:
        factors = (self.eliminated.interior, self.eliminated.nodes, self.corner)
        diagonals = [jnp.diagonal(f, axis1=-2, axis2=-1).ravel() for f in factors]
        return 2.0 * jnp.sum(jnp.log(jnp.concatenate(diagonals)))


class Sweep(AbstractKernel):
    """Interiors in one batch, then one scan over the nodes with blocks of the state's size.

    Work ≈ K (E³/3 + (2D + q)² E + 7D³/3 + 2D²q) multiply–adds for K intervals; depth K.
    """

    layout: Leading = Leading()

    def factor(self, system: BorderedTridiagonal) -> SweepFactor:
        done = _eliminate(system, None)
        return SweepFactor(done, _cholesky(done.corner))

    def solve(self, system: BorderedTridiagonal, right_side: BlockVector) -> BlockVector:
        done = _eliminate(system, right_side)
        count, size = right_side.shared.shape[0], done.nodes.shape[1]
        corner = _cholesky(done.corner[:count, :count])
        shared = _backward(corner, _forward(corner, done.corner[:count, count:]))[:, 0]
        inside = done.rows[:, -1, :] if done.interior.shape[1] > 0 else right_side.interior
        return _substitute(done, shared, done.chain[:, :, size + count], inside)
