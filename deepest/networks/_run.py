"""Layers of one shape, as one scan."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from deepest.networks._layers import defects, forced


class Run(eqx.Module):
    """`count` layers that differ in numbers only: `stacked` has their own arrays, with a leading axis for the layer,
    and `shared` what they have in common. `shape` is that of the state after each; if there are several, also of the
    state before.

    `stiffness` is the model precision of one of them, in units of R_f.
    """

    stacked: PyTree[Array]
    shared: Any
    count: int = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    stiffness: float = eqx.field(static=True, default=1.0)

    @staticmethod
    def of(layers: list, shape: tuple[int, ...], stiffness: float = 1.0) -> "Run":
        """From layers of the same structure."""
        arrays, shared = zip(*(eqx.partition(layer, eqx.is_array) for layer in layers), strict=True)
        return Run(jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays), shared[0], len(layers), shape, stiffness)

    @property
    def layers(self) -> list:
        """The layers, one by one."""
        return [self._layer(jax.tree.map(lambda leaf, k=k: leaf[k], self.stacked)) for k in range(self.count)]

    def _layer(self, own):
        return eqx.combine(own, self.shared)

    def __call__(self, x: Array) -> Array:
        """The state after the last layer, without errors."""
        return self._scan(lambda x, own: (self._layer(own)(x), None), x, self.stacked)[0]

    def states(self, x: Array, errors: Array) -> tuple[Array, Array]:
        """The state after the last layer and those after all (count, …), from errors (count, …)."""

        def one(x, given):
            own, e = given
            y = forced(self._layer(own), x, e)
            return y, y

        return self._scan(one, x, (self.stacked, errors))

    def errors(self, x: Array, states: Array) -> Array:
        """The errors (count, …) with which x becomes these states, all layers side by side."""
        before = x[None] if self.count == 1 else jnp.concatenate([x[None], states[:-1]])
        return jax.vmap(lambda own, x, y: defects(self._layer(own), x, y))(self.stacked, before, states)

    def _scan(self, one, x, given):
        # One layer may change the shape, which a scan does not.
        if self.count > 1:
            return lax.scan(one, x, given)
        x, ys = one(x, jax.tree.map(lambda leaf: leaf[0], given))
        return x, jax.tree.map(lambda y: y[None], ys)
