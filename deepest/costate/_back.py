"""The backward pass over a fixed grid, in segments."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from deepest.costate._grid import Clock, pick, put, room
from deepest.costate._saved import Saved
from deepest.costate._tableau import added


class Back(eqx.Module):
    """From the derivatives of a scalar by what a solve saved to those by y_0 and by `model`.

    `fixed` is what `model` lacks to be (terms, args); `adjoint` knows a step of its solver.
    """

    adjoint: Any
    solver: diffrax.AbstractSolver
    fixed: PyTree
    parts: list[Saved]
    clock: Clock
    stride: int = eqx.field(static=True)

    def __call__(self, first, y0: PyTree[Array], y_end: PyTree[Array], checkpoints, model: PyTree, steps: int):
        """Derivatives by (y_0, model)."""
        places = self.clock.segments(first, self.stride, -(-steps // self.stride))
        bars = jax.tree.map(jnp.zeros_like, (y0, model))
        cursors = []
        for part in self.parts:
            cursor, bars = part.last(y_end, model, bars)
            cursors.append(cursor)
        segments = -(-self.clock.count // self.stride)

        def segment(i, carry):
            j = segments - 1 - i
            earlier = lambda y, kept: jnp.where(j == 0, y, kept[jnp.maximum(j - 1, 0)])
            state = jax.tree.map(earlier, y0, checkpoints) if self.adjoint.keeps else None
            size = jnp.minimum(self.stride, self.clock.count - j * self.stride)
            nodes = self._remade(pick(places, j), state, size, model)
            return lax.fori_loop(0, size, lambda k, carry: self._step(pick(nodes, size - 1 - k), carry, model), carry)

        cursors, _, bars = lax.fori_loop(0, segments, segment, (cursors, y_end, bars))
        for part, cursor in zip(self.parts, cursors, strict=True):
            bars = part.first(cursor, first[1], y0, model, bars)
        return bars

    def _remade(self, place, y, size: Array, model) -> PyTree[Array]:
        """(n, start, end, y) of all steps in a segment, stacked; y is None where it is not kept."""

        def one(m, carry):
            place, y, nodes = carry
            nodes, (_, start, end, _) = put(nodes, m, (*place[:3], y)), place
            if y is not None:
                terms, args = eqx.combine(model, self.fixed)
                y = self.adjoint.advance(self.solver, terms, start, end, y, args)
            return self.clock.next(place), y, nodes

        empty = room((*place[:3], y), self.stride)
        place, y, nodes = lax.fori_loop(0, size - 1, one, (place, y, empty))
        return put(nodes, size - 1, (*place[:3], y))

    def _step(self, node, carry, model):
        """One step back: what was saved in it, then its transpose."""
        (n, start, end, y), (cursors, after, bars) = node, carry
        if y is None:
            terms, args = eqx.combine(model, self.fixed)
            y = self.adjoint.advance(self.solver, terms, end, start, after, args)
        inside = any(part.sub.ts is not None for part in self.parts)
        whole = lambda model: eqx.combine(model, self.fixed)
        dense, pull = self.adjoint.linearise(self.solver, whole, start, end, y, model, inside)
        evaluate = lambda dense, t: self.solver.interpolation_cls(t0=start, t1=end, **dense).evaluate(t)
        dense_bar, moved = jax.tree.map(jnp.zeros_like, dense), []
        for part, cursor in zip(self.parts, cursors, strict=True):
            cursor, bars = part.end(cursor, n, end, after, model, bars)
            cursor, (dense_bar, by_model) = part.within(cursor, n, start, evaluate, dense, model, (dense_bar, bars[1]))
            bars = bars[0], by_model
            moved.append(cursor)
        by_y, by_model = pull(bars[0], dense_bar)
        return moved, y, (by_y, added(bars[1], by_model))
