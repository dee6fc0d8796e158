"""From the blocks of single intervals to the gradient and the bordered matrix of the whole path."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepest.linalg import AbstractLayout, BlockVector, BorderedTridiagonal

Blocks = Float[Array, "..."]


def assemble(
    layout: AbstractLayout,
    hessian: dict[tuple[int, int], Blocks],
    *,
    diagonal: Blocks,
    border: list[Blocks],
    corner: Float[Array, "parameter parameter"],
    gradient: list[Blocks],
    shared: Float[Array, " parameter"],
) -> tuple[BlockVector, BorderedTridiagonal]:
    """Sum intervals into nodes.

    `hessian[j, l]` couples the points j and l of an interval, (D, D) each: of two interior points with j ≤ l, of
    either end j with an interior point l, and of the two ends, left first. Already summed over intervals, for
    the nodes, the first interior points, and so on: `diagonal` (D, D), of nodes only, couples nodes to themselves,
    `border[j]` (D, P) points to the shared unknowns, and `corner` those to each other; `gradient[j]` (D, 1) and
    `shared` are the gradient.
    """
    last = len(border)
    inside = range(1, last)
    symmetric = lambda j, l: hessian[j, l] if j <= l else layout.transpose(hessian[l, j])
    size, width = jax.eval_shape(layout.restore, border[0]).shape[1:]
    if last > 1:
        interior = layout.stack([[symmetric(j, l) for l in inside] for j in inside])
        left = layout.stack([[hessian[0, l] for l in inside]])
        right = layout.stack([[hessian[last, l] for l in inside]])
        inner, force = (layout.stack([[x] for x in blocks[1:]]) for blocks in (border, gradient))
    else:
        shapes = ((0, 0), (size, 0), (size, 0), (0, width), (0, 1))
        interior, left, right, inner, force = (_empty(layout, hessian[0, last], *shape) for shape in shapes)
    column = lambda blocks: layout.restore(blocks)[:, :, 0]
    system = BorderedTridiagonal(
        diagonal=diagonal,
        upper=hessian[0, last],
        border=border[0],
        interior=interior,
        left=left,
        right=right,
        inner=inner,
        corner=corner,
        layout=layout,
    )
    return BlockVector(column(gradient[0]), column(force), shared), system


def _empty(layout: AbstractLayout, like: Blocks, rows: int, columns: int) -> Blocks:
    count = jax.eval_shape(layout.restore, like).shape[0]
    return layout.matrices(jnp.zeros((count, rows, columns), like.dtype))


def add_points(
    system: BorderedTridiagonal,
    own: Float[Array, "time state state"],
    mixed: Float[Array, "time state parameter"] | None,
    shared: Float[Array, "parameter parameter"],
    stride: int,
) -> BorderedTridiagonal:
    """Add terms at single grid points: Hessian blocks of the state, of state and parameters, and the corner."""
    layout, count = system.layout, (own.shape[0] - 1) // stride
    inside = [slice(j, count * stride + j, stride) for j in range(1, stride)]
    interior, inner, border = system.interior, system.inner, system.border
    if inside:
        zero = jnp.zeros_like(own[inside[0]])
        rows = [[own[s] if i == j else zero for j, s in enumerate(inside)] for i in range(len(inside))]
        interior = interior + layout.matrices(rows[0][0] if stride == 2 else jnp.block(rows))
    if mixed is not None:
        border = border + layout.matrices(mixed[::stride])
        if inside:
            inner = inner + layout.matrices(jnp.concatenate([mixed[s] for s in inside], axis=1))
    return BorderedTridiagonal(
        diagonal=system.diagonal + layout.matrices(own[::stride]),
        upper=system.upper,
        border=border,
        interior=interior,
        left=system.left,
        right=system.right,
        inner=inner,
        corner=system.corner + shared,
        layout=layout,
    )
