"""Many small positive definite matrices at once, without LAPACK."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def inverse_root(a: Float[Array, "*batch row row"]) -> Float[Array, "*batch row row"]:
    """R = L⁻¹ with a = L Lᵀ, lower triangular, so that a⁻¹ = Rᵀ R; NaN where a is not positive definite.

    All matrices (N, N) of a batch are eliminated together, one column at a time. LAPACK would be faster for one large
    matrix; for a batch, jaxlib's calls of it share one pool of threads with whoever waits for them, so that two of them
    in one program can wait for each other for ever on a machine with two cores (seen with jaxlib 0.10.2).
    """
    size = a.shape[-1]
    flat = jnp.moveaxis(a.reshape(-1, size, size), 0, -1)
    unit = jnp.broadcast_to(jnp.eye(size, dtype=a.dtype)[:, :, None], flat.shape)
    below = jnp.arange(size)[:, None]

    def eliminate(j, rows):
        root = jnp.sqrt(rows[j, j])
        row = rows[j] / root[None]
        column = jnp.where(below > j, rows[:, j], 0.0) / root[None]
        return (rows - column[:, None] * row[None]).at[j].set(row)

    # [L L^T | 1] becomes [L^T | L^-1].
    done = lax.fori_loop(0, size, eliminate, jnp.concatenate([flat, unit], axis=1))[:, size:]
    return jnp.moveaxis(done, -1, 0).reshape(a.shape)
