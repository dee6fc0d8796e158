"""A fixed grid of diffrax, walked by its own controller."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree


class Clock(eqx.Module):
    """The steps 0 … count − 1 of a fixed grid; a place on it is (n, start, end, the controller's state).

    The controller's public method is asked for every next step, because the times that it makes differ in rounding
    between diffrax's versions. Neither y nor an error estimate enters, since the controller is one that looks at none.
    """

    controller: diffrax.AbstractStepSizeController
    count: Array
    until: Array

    def first(self, start: Array, end: Array, state: PyTree) -> PyTree[Array]:
        """The place at step 0."""
        return self._clipped(jnp.zeros_like(self.count), start, end, jax.tree.map(jnp.asarray, state))

    def next(self, place: PyTree[Array]) -> PyTree[Array]:
        """The place one step on."""
        n, start, end, state = place
        _, start, end, _, state, _ = self.controller.adapt_step_size(start, end, None, None, None, None, 0.0, state)
        return self._clipped(n + 1, start, end, state)

    def _clipped(self, n, start, end, state):
        return n, start, jnp.where(n == self.count - 1, self.until, end), state

    def segments(self, place: PyTree[Array], stride: int, most: int) -> PyTree[Array]:
        """The places at steps 0, stride, 2 stride, …, stacked: room for `most` of them."""

        def one(j, carry):
            place, kept = carry
            return lax.fori_loop(0, stride, lambda _, place: self.next(place), place), put(kept, j, place)

        return lax.fori_loop(0, -(-self.count // stride), one, (place, room(place, most)))[1]


def room(tree: PyTree[Array], size: int) -> PyTree[Array]:
    """Zeros for `size` such trees, (size, …)."""
    return jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), tree)


def put(stack: PyTree[Array], n: Array, tree: PyTree[Array]) -> PyTree[Array]:
    """The stack with another n-th."""
    return jax.tree.map(lambda s, leaf: lax.dynamic_update_index_in_dim(s, leaf.astype(s.dtype), n, 0), stack, tree)


def pick(stack: PyTree[Array], n: Array) -> PyTree[Array]:
    """The n-th of a stack."""
    return jax.tree.map(lambda s: lax.dynamic_index_in_dim(s, n, 0, keepdims=False), stack)
