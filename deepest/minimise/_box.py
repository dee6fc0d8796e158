"""Bounds on the unknowns."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from deepest.linalg import BlockVector


class Box(eqx.Module):
    """lower ≤ z ≤ upper, infinite where there is no bound.

    `states` says whether any node or interior is bounded at all, so that the usual case of bounded parameters
    and free states costs nothing.
    """

    lower: BlockVector
    upper: BlockVector
    states: bool = eqx.field(static=True)

    def clip(self, z: BlockVector) -> BlockVector:
        """The nearest point of the box."""
        if self.states:
            return jax.tree.map(jnp.clip, z, self.lower, self.upper)
        return BlockVector(z.nodes, z.interior, jnp.clip(z.shared, self.lower.shared, self.upper.shared))

    def touches(self, z: BlockVector) -> Bool[Array, ""]:
        """Whether any component sits at a bound."""
        one = lambda z, low, high: jnp.any((z <= low) | (z >= high))
        if self.states:
            return jnp.any(jnp.stack(jax.tree.leaves(jax.tree.map(one, z, self.lower, self.upper))))
        return one(z.shared, self.lower.shared, self.upper.shared)

    def inside(self, z: BlockVector) -> BlockVector:
        """1 where a component lies between its bounds, 0 where it sits at one."""
        one = lambda z, low, high: ((z > low) & (z < high)).astype(z.dtype)
        if self.states:
            return jax.tree.map(one, z, self.lower, self.upper)
        shared = one(z.shared, self.lower.shared, self.upper.shared)
        return BlockVector(jnp.ones_like(z.nodes), jnp.ones_like(z.interior), shared)

    def free(self, z: BlockVector, gradient: BlockVector) -> BlockVector:
        """1 where a component may move, 0 where it sits at a bound and descent would leave the box."""

        def one(z, g, low, high):
            held = ((z <= low) & (g > 0)) | ((z >= high) & (g < 0))
            return jnp.where(held, jnp.zeros_like(z), jnp.ones_like(z))

        if self.states:
            return jax.tree.map(one, z, gradient, self.lower, self.upper)
        shared = one(z.shared, gradient.shared, self.lower.shared, self.upper.shared)
        return BlockVector(jnp.ones_like(z.nodes), jnp.ones_like(z.interior), shared)
