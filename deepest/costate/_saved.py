"""What a `diffrax.SaveAt` saved, walked backward."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from deepest.costate._grid import Clock, pick
from deepest.costate._tableau import added


class Saved(eqx.Module):
    """What one `diffrax.SubSaveAt` saved, and the derivatives of a scalar by it, (slots, …), taken from the last slot.

    diffrax fills the slots in this order: t_0; in every step the times that lie in it, then its end; t_1. A cursor is
    (slots left, times left). `function(t, y, model)` is what was saved.
    """

    sub: diffrax.SubSaveAt
    bars: PyTree[Array]
    function: Callable
    clock: Clock

    def _pulled(self, slot, values: Callable, *primals) -> tuple[PyTree, ...]:
        """The derivatives by the primals of one slot's inexact values."""
        _, transpose = jax.vjp(lambda *given: eqx.filter(values(*given), eqx.is_inexact_array), *primals)
        return transpose(pick(self.bars, slot))

    def _node(self, slot, time, y, model, bars, use):
        """The derivatives by (y, model) with those of one slot at a node, if it is of use."""
        more = lambda: added(bars, self._pulled(slot, lambda y, model: self.function(time, y, model), y, model))
        return lax.cond(use, more, lambda: bars) if not isinstance(use, bool) else (more() if use else bars)

    def last(self, y: PyTree[Array], model: PyTree, bars: PyTree) -> tuple[PyTree[Array], PyTree]:
        """The cursor at the end, and the derivatives by (y_N, model) with those of the slot of t_1."""
        times = 0 if self.sub.ts is None else jnp.sum(self.sub.ts <= self.clock.until, dtype=jnp.int32)
        steps = self.clock.count // self.sub.steps if self.sub.steps else 0
        slot = jnp.asarray(int(self.sub.t0) + times + steps, jnp.int32)
        by_steps = self.sub.steps and self.clock.count % self.sub.steps == 0
        use = self.sub.t1 and (jnp.logical_not(by_steps) if self.sub.steps else True)
        return (slot, jnp.asarray(times, jnp.int32)), self._node(slot, self.clock.until, y, model, bars, use)

    def end(self, cursor, n, time, y, model, bars) -> tuple[PyTree[Array], PyTree]:
        """The same at the end of step n, where every so many steps were saved."""
        if not self.sub.steps:
            return cursor, bars
        slot, times = cursor
        use = (n + 1) % self.sub.steps == 0
        slot = slot - use.astype(slot.dtype)
        return (slot, times), self._node(slot, time, y, model, bars, use if self.sub.steps > 1 else True)

    def within(self, cursor, n, start, evaluate: Callable, dense: PyTree, model: PyTree, bars: PyTree):
        """The same for the times in step n: derivatives by (dense, model), `evaluate(dense, t)` being dense output."""
        ts = self.sub.ts
        if ts is None:
            return cursor, bars
        values = lambda time: lambda dense, model: self.function(time, evaluate(dense, time), model)

        def inside(carry):
            (_, times), _ = carry
            return (times > 0) & ((ts[times - 1] > start) | (n == 0))

        def one(carry):
            (slot, times), bars = carry
            pulled = self._pulled(slot - 1, values(ts[times - 1]), dense, model)
            return (slot - 1, times - 1), added(bars, pulled)

        return lax.while_loop(inside, one, (cursor, bars))

    def first(self, cursor, time, y, model, bars) -> PyTree:
        """The derivatives by (y_0, model) with those of the slots that are left: t_0's; all, where no step was made."""

        def one(slot, bars):
            return added(bars, self._pulled(slot, lambda y, model: self.function(time, y, model), y, model))

        return lax.fori_loop(0, cursor[0], one, bars)


def saved(subs: list, bars: list, ys: list, function: Callable, clock: Clock) -> list[Saved]:
    """One `Saved` for each part of a `SaveAt` that a scalar depends on; `function(fn, t, y, model)` calls its fn."""
    found = []
    for sub, bar, y in zip(subs, bars, ys, strict=True):
        if jax.tree.leaves(bar):
            # None stands for a derivative that is zero.
            zero = lambda y, bar: jnp.zeros_like(y) if bar is None and eqx.is_inexact_array(y) else bar
            full = jax.tree.map(zero, y, bar)
            call = lambda t, y, model, fn=sub.fn: function(fn, t, y, model)
            found.append(Saved(sub, full, call, clock))
    return found
