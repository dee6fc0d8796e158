"""Where the batch axis of many small matrices lies: first (one BLAS call a block) or last (SIMD lanes)."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.custom_batching
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float, PyTree


class AbstractLayout(eqx.Module):
    """Elementary operations on a batch of small matrices, blind to where the batch axis lies.

    A batch of K matrices of shape (r, c) is (K, r, c) in `Leading` and (r, c, K) in `Trailing`;
    a batch of vectors is (K, r) or (r, K). Everything that is elementwise needs no method.
    """

    @abc.abstractmethod
    def matrices(self, array: Float[Array, "batch row column"]) -> Float[Array, "..."]:
        """Bring matrices with their batch axis first into this layout."""

    @abc.abstractmethod
    def restore(self, array: Float[Array, "..."]) -> Float[Array, "batch row column"]:
        """Bring matrices of this layout back to batch axis first."""

    @abc.abstractmethod
    def vmap(self, function: Callable, *, batched: tuple[bool, ...]) -> Callable:
        """Map a function over the batch: inputs have it first, outputs are in this layout."""

    @abc.abstractmethod
    def slopes(
        self,
        function: Callable,
        places: Float[Array, " batch"],
        vectors: Float[Array, "batch row"],
        shared: Float[Array, " shared"],
    ) -> tuple[Float[Array, "batch row"], Float[Array, "..."]]:
        """Values f(place, vector, shared) of a vector function, and its transposed derivatives (row + shared, row).

        One direction of (vector, shared) a row: so forward mode makes them, and so products aᵀ b need no transposed
        operand, with which batched matrix multiplication is slower.
        """

    @abc.abstractmethod
    def tmul(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """aᵀ b for every matrix of the batch."""

    @abc.abstractmethod
    def mul(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """a b for every matrix of the batch."""

    @abc.abstractmethod
    def transpose(self, a: Float[Array, "..."]) -> Float[Array, "..."]:
        """aᵀ for every matrix of the batch."""

    @abc.abstractmethod
    def store(self, blocks: PyTree[Array]) -> PyTree[Array]:
        """The same blocks; where the layout's products would make them anew in every use, they are made once."""

    @abc.abstractmethod
    def scalars(self, values: Float[Array, " batch"]) -> Float[Array, "..."]:
        """One number a matrix, shaped so that it multiplies matrices."""

    @abc.abstractmethod
    def window(self, a: Float[Array, "..."], window: slice) -> Float[Array, "..."]:
        """A slice of the batch."""

    @abc.abstractmethod
    def columns(self, a: Float[Array, "..."], window: slice) -> Float[Array, "..."]:
        """The same columns of every matrix."""

    @abc.abstractmethod
    def rows(self, a: Float[Array, "..."], window: slice) -> Float[Array, "..."]:
        """The same rows of every matrix."""

    @abc.abstractmethod
    def gram(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "row column"]:
        """Σ_k a_kᵀ b_k, summed over the batch: one ordinary matrix."""

    @abc.abstractmethod
    def stack(self, rows: list[list[Float[Array, "..."]]]) -> Float[Array, "..."]:
        """A block matrix from its blocks, for every matrix of the batch."""

    @abc.abstractmethod
    def overlap(self, left: Float[Array, "..."], right: Float[Array, "..."]) -> Float[Array, "..."]:
        """Sum of what K intervals give their left and their right nodes: K + 1 matrices."""


class Leading(AbstractLayout):
    """The batch axis comes first: (K, r, c). For blocks large enough for one BLAS call each."""

    def matrices(self, array):
        return array

    def restore(self, array):
        return array

    def vmap(self, function, *, batched):
        return jax.vmap(function, in_axes=tuple(0 if flag else None for flag in batched))

    def slopes(self, function, places, vectors, shared):
        size = vectors.shape[1]
        seeds = jnp.eye(size + shared.shape[0], dtype=vectors.dtype)

        def one(place, vector):
            value, push = jax.linearize(lambda x, p: function(place, x, p), vector, shared)
            return value, jax.vmap(lambda seed: push(seed[:size], seed[size:]))(seeds)

        return jax.vmap(one)(places, vectors)

    def tmul(self, a, b):
        return jnp.matmul(a.mT, b)

    def mul(self, a, b):
        return jnp.matmul(a, b)

    def transpose(self, a):
        return a.mT

    def store(self, blocks):
        return blocks

    def scalars(self, values):
        return values[:, None, None]

    def window(self, a, window):
        return a[window]

    def columns(self, a, window):
        return a[:, :, window]

    def rows(self, a, window):
        return a[:, window, :]

    def gram(self, a, b):
        flat = lambda x: x.reshape(x.shape[0] * x.shape[1], x.shape[2])
        return flat(a).T @ flat(b)

    def stack(self, rows):
        return jnp.concatenate([jnp.concatenate(row, axis=2) for row in rows], axis=1)

    def overlap(self, left, right):
        pad = ((0, 0), (0, 0))
        return jnp.pad(left, ((0, 1), *pad)) + jnp.pad(right, ((1, 0), *pad))


class Trailing(AbstractLayout):
    """The batch axis comes last: (r, c, K). Every operation is elementwise along it, so that a
    processor's vector lanes hold different matrices; products are written out as sums, which for
    small blocks beats both BLAS and einsum."""

    def matrices(self, array):
        return jnp.moveaxis(array, 0, -1)

    def restore(self, array):
        return jnp.moveaxis(array, -1, 0)

    def vmap(self, function, *, batched):
        in_axes = tuple(0 if flag else None for flag in batched)
        return jax.vmap(function, in_axes=in_axes, out_axes=-1)

    def slopes(self, function, places, vectors, shared):
        size, turned = vectors.shape[1], vectors.T
        seeds = jnp.eye(size + shared.shape[0], dtype=vectors.dtype)
        across = jax.vmap(function, in_axes=(0, 1, None), out_axes=1)
        values, push = jax.linearize(lambda x, p: across(places, x, p), turned, shared)
        row = lambda seed: push(jnp.broadcast_to(seed[:size, None], turned.shape), seed[size:])
        return store((values.T, pin(jax.vmap(row)(seeds))))

    def tmul(self, a, b):
        terms = [a[k, :, None] * b[k, None, :] for k in range(a.shape[0])]
        return sum(terms[1:], terms[0]) if terms else jnp.zeros((a.shape[1], *b.shape[1:]), b.dtype)

    def mul(self, a, b):
        terms = [a[:, k, None] * b[None, k] for k in range(a.shape[1])]
        return sum(terms[1:], terms[0]) if terms else jnp.zeros((a.shape[0], *b.shape[1:]), b.dtype)

    def transpose(self, a):
        return jnp.swapaxes(a, 0, 1)

    def store(self, blocks):
        return store(blocks)

    def scalars(self, values):
        return values[None, None, :]

    def window(self, a, window):
        return a[:, :, window]

    def columns(self, a, window):
        return a[:, window, :]

    def rows(self, a, window):
        return a[window]

    def gram(self, a, b):
        # One batched product, because products of single rows would copy every row.
        return jnp.matmul(a, b.mT).sum(0)

    def stack(self, rows):
        return jnp.concatenate([jnp.concatenate(row, axis=1) for row in rows], axis=0)

    def overlap(self, left, right):
        pad = ((0, 0), (0, 0))
        return jnp.pad(left, (*pad, (0, 1))) + jnp.pad(right, (*pad, (1, 0)))


def pin(array: Float[Array, "..."]) -> Float[Array, "..."]:
    """The array, stored row by row as its shape says.

    XLA otherwise picks the order in memory from the array's makers or users, and where those have the batch axis
    first, every elementwise operation along the last axis jumps through memory: measured twice slower.
    """
    return with_layout_constraint(array, Layout(tuple(range(array.ndim))))


@jax.custom_batching.custom_vmap
def _apart(arrays):
    first = jax.tree.leaves(arrays)[0].ravel()[0]
    again = lambda x: jnp.where(x == x, x, jnp.nan)
    return lax.cond(jnp.isnan(first), lambda xs: jax.tree.map(again, xs), lambda xs: xs, arrays)


@_apart.def_vmap
def _(size, batched, arrays):
    # A conditional on a batch would be a selection, which only costs.
    del size
    return arrays, batched[0]


@jax.custom_jvp
def store(arrays: PyTree[Array]) -> PyTree[Array]:
    """The same arrays, made once and stored.

    XLA otherwise fuses what is cheap into each of its uses, and a product of small blocks, written out as sums, uses
    every entry once a row: it would be made as many times. Fusion does not cross a conditional, whose two branches
    give the same here, in words that XLA does not see through; an optimisation barrier is gone before fusion begins.
    """
    return _apart(arrays) if all(x.size for x in jax.tree.leaves(arrays)[:1]) else arrays


@store.defjvp
def _(primals, tangents):
    return store(*primals), tangents[0]
