"""Orthogonal elimination of a node from the equations of its two intervals, in many lanes side by side.

Qᵀ [column, rest] = [[R, coupling], [0, what remains]], for blocks (row, column, lane) with the lane axis last.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Blocks = Float[Array, "_ _ lane"]
Vectors = Float[Array, "_ lane"]


class AbstractElimination(eqx.Module):
    """Q, R and the couplings of the eliminated unknowns to the others, of one elimination or of several in turn."""

    lane: eqx.AbstractClassVar[int]  # the axis of the lanes, where the first is that of eliminations in turn

    @abc.abstractmethod
    def split(self, rows: Vectors) -> tuple[Vectors, Vectors]:
        """Qᵀ times a right side: the part of what was eliminated, and what remains."""

    @abc.abstractmethod
    def back(self, own: Vectors, known: Vectors) -> Vectors:
        """What was eliminated, once the other unknowns are known."""

    def apart(self, systems: int) -> "AbstractElimination":
        """Of eliminations in turn: the lanes of every system by themselves, with the systems' axis in front."""

        def one(x):
            axis = self.lane % x.ndim
            split = x.reshape(*x.shape[:axis], x.shape[axis] // systems, systems, *x.shape[axis + 1 :])
            return jnp.moveaxis(split, axis + 1, 0)

        return jax.tree.map(one, self)

    def together(self) -> "AbstractElimination":
        """The inverse of `apart`."""

        def one(x):
            axis = self.lane % (x.ndim - 1)
            side = jnp.moveaxis(x, 0, axis + 1)
            return side.reshape(*side.shape[:axis], side.shape[axis] * side.shape[axis + 1], *side.shape[axis + 2 :])

        return jax.tree.map(one, self)


class Reflections(AbstractElimination):
    """Householder's I − β v vᵀ, one for each unknown, written out so that every operation runs along the lanes.

    `upper` holds a row of [R, couplings] without its diagonal, whose reciprocals are `pivots`.
    """

    lane: ClassVar[int] = -1

    vectors: Float[Array, "*step own row lane"]
    scales: Float[Array, "*step own lane"]
    pivots: Float[Array, "*step own lane"]
    upper: Float[Array, "*step own column lane"]

    @classmethod
    def make(cls, column: Blocks, rest: Blocks) -> tuple["Reflections", Blocks]:
        """Eliminate `column`; also what remains of the other columns."""
        blocks, levels = jnp.concatenate([column, rest], axis=1), []
        for done in range(column.shape[1]):
            first, blocks = blocks[:, 0], blocks[:, 1:]
            size = jnp.sqrt(jnp.sum(first**2, axis=0))
            pivot = jnp.where(first[0] > 0, -size, size)
            scale = inverse(size * (size + jnp.abs(first[0])))
            vector = first.at[0].add(-pivot)
            shares = scale[None] * jnp.sum(vector[:, None] * blocks, axis=0)
            blocks = blocks - vector[:, None] * shares[None]
            above = ((done, 0), (0, 0))
            levels.append((jnp.pad(vector, above), scale, 1.0 / pivot, jnp.pad(blocks[0], above)))
            blocks = blocks[1:]
        return cls(*(jnp.stack(x) for x in zip(*levels, strict=True))), blocks

    def split(self, rows):
        for vector, scale in zip(self.vectors, self.scales, strict=True):
            share = scale * jnp.sum(vector * rows, axis=0)
            rows = rows - vector * share[None]
        own = self.scales.shape[0]
        return rows[:own], rows[own:]

    def back(self, own, known):
        size, found = own.shape[0], []
        given = own - jnp.sum(self.upper[:, size - 1 :] * known[None], axis=1)
        for i in reversed(range(size)):
            spent = sum((self.upper[i, i + j] * x for j, x in enumerate(found)), jnp.zeros_like(given[i]))
            found.insert(0, (given[i] - spent) * self.pivots[i])
        return jnp.stack(found)


class Rotation(AbstractElimination):
    """LAPACK's Q R of every lane."""

    lane: ClassVar[int] = 1

    q: Float[Array, "*step lane row row"]
    root: Float[Array, "*step lane own own"]
    couplings: Float[Array, "*step lane own column"]

    @classmethod
    def make(cls, column: Blocks, rest: Blocks) -> tuple["Rotation", Blocks]:
        """Eliminate `column`; also what remains of the other columns."""
        column, rest, own = jnp.moveaxis(column, 2, 0), jnp.moveaxis(rest, 2, 0), column.shape[1]
        q, root = jnp.linalg.qr(column, mode="complete")
        turned = q.mT @ rest
        return cls(q, root[:, :own], turned[:, :own]), jnp.moveaxis(turned[:, own:], 0, 2)

    def split(self, rows):
        turned, own = jnp.einsum("gij,ig->jg", self.q, rows), self.root.shape[1]
        return turned[:own], turned[own:]

    def back(self, own, known):
        right = (own - jnp.einsum("gij,jg->ig", self.couplings, known)).T[:, :, None]
        return lax.linalg.triangular_solve(self.root, right, left_side=True, lower=False)[:, :, 0].T


def eliminate(column: Blocks, rest: Blocks, small: int) -> tuple[AbstractElimination, Blocks]:
    """Eliminate `column`, by `Reflections` if it has no more than `small` unknowns; also what remains of `rest`."""
    kind = Reflections if column.shape[1] <= small else Rotation
    return kind.make(column, rest)


def inverse(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1/x, and 1 where x is 0."""
    return 1.0 / jnp.where(x > 0, x, jnp.ones_like(x))
