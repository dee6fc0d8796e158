"""Large blocks: eliminate the interiors side by side, then sweep along the nodes.

Chosen for blocks of about nine and more, where one LAPACK call a block is worth its overhead.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector, BorderedTridiagonal
from deepest.linalg._kernel import AbstractFactor, AbstractKernel
from deepest.linalg._layout import Leading, pin

# LAPACK goes by columns and XLA's products by rows. Told of transposes, LAPACK takes and gives rows without a copy.


def _cholesky(a):
    """The upper R with a = Rᵀ R, for a symmetric a of which the upper triangle is read."""
    return lax.linalg.cholesky(a.mT, symmetrize_input=False).mT


def _forward(root, b):
    """R⁻ᵀ b."""
    return lax.linalg.triangular_solve(root.mT, b.mT, left_side=False, lower=True, transpose_a=True).mT


def _backward(root, b):
    """R⁻¹ b."""
    return lax.linalg.triangular_solve(root.mT, b.mT, left_side=False, lower=True).mT


def _square(a, b):
    """aᵀ b, with aᵀ copied to rows first: XLA's products that sum over rows cost several times more than the copy."""
    return pin(a.mT) @ b


class _Eliminated(eqx.Module):
    """Factors of interiors and nodes, with q = P + r columns carried along (r right sides).

    `inside` = R_m⁻ᵀ [H_ma, H_mb, B_m] (interval, E, 2D + q); `chain` = R_n⁻ᵀ [T_n,n+1, B_n]
    (node, D, D + q), whose first D columns are zero at the last node.
    """

    interior: Float[Array, "interval interior interior"]
    inside: Float[Array, "interval interior coupling"]
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
    inside = jnp.concatenate([system.left.mT, system.right.mT, inner], axis=2)
    if system.interior.shape[1] > 0:
        inside = _forward(factor, inside)
        gram = _square(inside, inside)
        a, b, c = slice(0, size), slice(size, 2 * size), slice(2 * size, None)
        overlap = system.layout.overlap
        diagonal = diagonal - overlap(gram[:, a, a], gram[:, b, b])
        upper = upper - gram[:, a, b]
        border = border - overlap(gram[:, a, c], gram[:, b, c])
        corner = corner - gram[:, c, c].sum(0)

    # The last node has no right neighbour: a zero block keeps the loop uniform.
    chain = jnp.concatenate([jnp.pad(upper, ((0, 1), (0, 0), (0, 0))), border], axis=2)
    forward = jnp.arange(chain.shape[2]) >= size

    # The factors take the place of the blocks, as in LAPACK: a scan would copy both.
    def step(n, state):
        nodes, chain, update = state
        put = lambda blocks, block: lax.dynamic_update_index_in_dim(blocks, block, n, 0)
        node = _cholesky(nodes[n] - update[:, :size])
        ahead = _forward(node, chain[n] - jnp.where(forward, update, 0.0))
        return put(nodes, node), put(chain, ahead), _square(ahead[:, :size], ahead)

    start = (diagonal, chain, jnp.zeros_like(chain[0]))
    nodes, chain, _ = lax.fori_loop(0, diagonal.shape[0], step, start)
    carried = chain[:, :, size:]
    return _Eliminated(factor, inside, nodes, chain, corner - system.layout.gram(carried, carried))


def _substitute(done: _Eliminated, shared, forward, inside) -> BlockVector:
    """Back-substitution, given the shared unknowns and the forward columns of nodes and interiors."""
    size, count = done.nodes.shape[1], shared.shape[0]
    right = forward - done.chain[:, :, size : size + count] @ shared

    def step(after, block):
        node, chain, right = block
        here = _backward(node, (right - chain[:, :size] @ after)[:, None])[:, 0]
        return here, here

    inputs = (done.nodes, done.chain, right)
    _, nodes = lax.scan(step, jnp.zeros_like(right[0]), inputs, reverse=True)
    if done.interior.shape[1] == 0:
        return BlockVector(nodes, inside, shared)
    known = jnp.concatenate([nodes[:-1], nodes[1:], jnp.broadcast_to(shared[None], (inside.shape[0], count))], axis=1)
    right = inside - jnp.einsum("nir,nr->ni", done.inside[:, :, : 2 * size + count], known)
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
            spent = jnp.einsum("nir,ni->nr", done.inside, inside)
            pad = ((0, 0),)
            nodes = nodes - jnp.pad(spent[:, :size], ((0, 1), *pad))
            nodes = nodes - jnp.pad(spent[:, size : 2 * size], ((1, 0), *pad))
            shared = shared - spent[:, 2 * size :].sum(0)

        def step(carry, block):
            node, chain, right = block
            here = _forward(node, (right - carry)[:, None])[:, 0]
            return chain[:, :size].T @ here, here

        inputs = (done.nodes, done.chain, nodes)
        _, forward = lax.scan(step, jnp.zeros_like(nodes[0]), inputs)
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
        inside = done.inside[:, :, -1] if done.interior.shape[1] > 0 else right_side.interior
        return _substitute(done, shared, done.chain[:, :, size + count], inside)
