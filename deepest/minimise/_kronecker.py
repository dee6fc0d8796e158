"""A preconditioner for the Gauss–Newton matrix of weights: a Kronecker product for every array of them."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from deepest.linalg import inverse_root

# The longest axis that gets a whole matrix; of a longer one, and of a vector, only the diagonal is kept.
_LONGEST = 256


class Kronecker(eqx.Module):
    """S ≈ m ⊗_i F_i for each array of a tree, with F_i = E[G_(i) G_(i)ᵀ] / m from samples G whose covariance is S.

    G_(i) is a sample unfolded along axis i, and m (`scale`) the mean diagonal of S, by array, or by layer where these
    are stacked. It needs no knowledge of what a layer computes: for a dense layer, whose samples are outer products of
    a costate and an input, F_1 and F_2 are their second moments, as in K-FAC. Few samples make them noisy, so that they
    are drawn to the identity. A shift s of S is shared out, m ⊗_i (F_i + (s/m)^(1/k)) for k axes.

    Source: [martens2015], [gupta2018].
    """

    factors: PyTree
    scale: PyTree[Array]
    stacked: PyTree[bool] = eqx.field(static=True)

    @staticmethod
    def of(samples: PyTree[Array], stacked: PyTree[bool]) -> "Kronecker":
        """From samples with a leading axis; `stacked` says of every array whether its first axis counts layers."""
        found = jax.tree.map(lambda samples, stacked: _each(_factors, stacked, 1)(samples), samples, stacked)
        parts = jax.tree.structure(samples).flatten_up_to(found)
        whole = lambda k: jax.tree.unflatten(jax.tree.structure(samples), [part[k] for part in parts])
        return Kronecker(whole(0), whole(1), stacked)

    def inverse(self, shift: PyTree[Array]) -> Callable[[PyTree[Array]], PyTree[Array]]:
        """x ↦ (S + s)⁻¹ x, with one shift s for an array, or for a layer."""
        structure = jax.tree.structure(self.scale)
        numbers = map(jax.tree.leaves, (self.scale, shift, self.stacked))
        rows = list(zip(structure.flatten_up_to(self.factors), *numbers, strict=True))
        shifted = [_each(_shifted, stacked)(factors, m, s) for factors, m, s, stacked in rows]
        inverses = _inverted([factors for factors, _ in shifted], [row[3] for row in rows])

        def apply(x: PyTree[Array]) -> PyTree[Array]:
            given = zip(inverses, shifted, rows, structure.flatten_up_to(x), strict=True)
            done = [_each(_product, row[3])(inverse, unit, x) for inverse, (_, unit), row, x in given]
            return jax.tree.unflatten(structure, done)

        return apply

    def each(self, function: Callable, x: PyTree[Array], *others: PyTree[Array]) -> PyTree[Array]:
        """`function` of every array of x and one number of it, or of its layers, from each of the other trees."""
        one = lambda stacked, x, *numbers: _each(function, stacked)(x, *numbers)
        return jax.tree.map(one, self.stacked, x, *others)


def _each(function: Callable, stacked: bool, axis: int = 0) -> Callable:
    """The function, or the function layer by layer."""
    return jax.vmap(function, in_axes=axis) if stacked else function


def _factors(samples: Float[Array, "sample ..."]) -> tuple[list[Array], Float[Array, ""]]:
    """F_i for each axis, and m."""
    mean, shape = jnp.mean(samples**2), samples.shape[1:]
    # What is this small leaves nothing of m · m⁻¹ (or of its parts) but underflow: it has no influence.
    mean = jnp.where(mean > jnp.sqrt(jnp.finfo(mean.dtype).tiny), mean, jnp.zeros_like(mean))
    unit = jnp.where(mean > 0, mean, jnp.ones_like(mean))
    factors = []
    for axis, size in enumerate(shape):
        unfolded = jnp.moveaxis(samples, axis + 1, 0).reshape(size, -1)
        columns = unfolded.shape[1]
        drawn = size / (size + columns)
        if size > _LONGEST or len(shape) == 1:
            factors.append((1.0 - drawn) / unit * jnp.mean(unfolded**2, axis=1) + drawn)
            continue
        factor = (1.0 - drawn) / (columns * unit) * (unfolded @ unfolded.T)
        factors.append(factor + drawn * jnp.eye(size, dtype=factor.dtype))
    return factors, mean


def _shifted(factors: list[Array], mean: Array, shift: Array) -> tuple[list[Array], Array]:
    """F_i + γ, and m; where m = 0, γ alone, and 1."""
    none = mean <= 0
    unit = jnp.where(none, jnp.ones_like(mean), mean)
    part = (shift / unit) ** (1.0 / max(len(factors), 1))
    # What has no influence and no shift stays where it is.
    part = jnp.where(none & (shift <= 0), jnp.ones_like(part), part)

    def one(factor: Array) -> Array:
        added = part if factor.ndim == 1 else part * jnp.eye(len(factor), dtype=factor.dtype)
        return jnp.where(none, 0.0, 1.0) * factor + added

    return [one(factor) for factor in factors], unit


def _inverted(parts: list[list[Array]], stacked: list[bool]) -> list[list[Array]]:
    """The inverse of every matrix, those of one size together: a program with a loop for each takes long to compile."""
    flat, structure = jax.tree.flatten(parts)
    axes = [2 + batch for batch, part in zip(stacked, parts, strict=True) for _ in part]
    matrices = [k for k, leaf in enumerate(flat) if leaf.ndim == axes[k]]
    for size in sorted({flat[k].shape[-1] for k in matrices}):
        same = [k for k in matrices if flat[k].shape[-1] == size]
        roots = inverse_root(jnp.concatenate([flat[k].reshape(-1, size, size) for k in same]))
        whole, first = roots.mT @ roots, 0
        for k in same:
            count = flat[k].size // size**2
            flat[k], first = whole[first : first + count].reshape(flat[k].shape), first + count
    return jax.tree.unflatten(structure, flat)


def _product(inverses: list[Array], unit: Array, x: Array) -> Array:
    for axis, inverse in enumerate(inverses):
        if inverse.ndim == 1:
            x = x / jnp.expand_dims(inverse, [k for k in range(x.ndim) if k != axis])
        else:
            x = jnp.moveaxis(jnp.tensordot(inverse, x, axes=(1, axis)), 0, axis)
    return x / unit
