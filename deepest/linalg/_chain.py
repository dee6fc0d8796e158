"""Chains of nodes coupled two by two and closed by their ends, for one system or for many side by side.

About √K lanes of √K consecutive intervals are swept together, node after node, and then along the lanes; what remains
couples the ends and the shared unknowns. Of many systems at once every system is a lane, so that a batch is as fast as
the processor's vector registers are wide: that is why `vmap` has a rule of its own here.
"""

import functools

import equinox as eqx
import jax
import jax.custom_batching
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg._elimination import AbstractElimination, eliminate

# On a CPU more lanes than this gain nothing, and cost what leaves its cache.
_WIDE = 32
# Nodes of up to so many unknowns are eliminated by reflections written out, which pays in many lanes; in few, beyond
# three LAPACK takes no longer, and half as long to compile.
_SMALL, _SMALL_IN_MANY = 3, 6


class Chain(eqx.Module):
    """What elimination makes of K intervals [left, right, border] and of the ends' [first, last, corner].

    How many lanes a system has depends on how many systems were eliminated with it.
    """

    inner: AbstractElimination
    outer: AbstractElimination
    closed: Float[Array, "*batch end end"]
    pivots: Array

    @staticmethod
    def make(
        blocks: Float[Array, "interval state column"], ends: Float[Array, "condition column"], constant: bool
    ) -> "Chain":
        """Of one system. `constant` where it is not differentiated: then a `vmap` over it has systems as lanes."""
        return (_CONSTANT_FACTOR if constant else _FACTOR)(blocks, ends)

    def solve(
        self, rows: Float[Array, "interval state"], ends: Float[Array, " condition"], constant: bool
    ) -> tuple[Float[Array, "node state"], Float[Array, " parameter"]]:
        """Nodes and shared unknowns for one right side."""
        return (_CONSTANT_SOLVE if constant else _SOLVE)(self, rows, ends)


def _lanes(count: int, systems: int) -> tuple[int, int]:
    """Steps and lanes of every system's K intervals."""
    most = _WIDE // systems if jax.default_backend() == "cpu" else count
    lanes = max(1, min(most, round(count**0.5)))
    steps = -(-count // lanes)
    return steps, -(-count // steps)


def _deal(
    blocks: Float[Array, "... interval system"], fill: Float[Array, "..."], steps: int, lanes: int
) -> Float[Array, "step ... all"]:
    """Consecutive intervals to one lane."""
    *shape, count, systems = blocks.shape
    extra = jnp.broadcast_to(fill[..., None, None], (*shape, lanes * steps - count, systems))
    dealt = jnp.concatenate([blocks, extra], axis=-2).reshape(*shape, lanes, steps, systems)
    return jnp.moveaxis(dealt, -2, 0).reshape(steps, *shape, lanes * systems)


def _in_turn(blocks: Float[Array, "... all"], systems: int) -> Float[Array, "lane ... system"]:
    """A system's own lanes, one after the other."""
    return jnp.moveaxis(blocks.reshape(*blocks.shape[:-1], blocks.shape[-1] // systems, systems), -2, 0)


def _join(small: int, before: Float[Array, "state column lane"], after: Float[Array, "state column lane"]):
    """Two neighbouring intervals as one, without the node between them."""
    size = before.shape[0]
    (left, right, border), (left_, right_, border_) = (jnp.split(x, [size, 2 * size], axis=1) for x in (before, after))
    zero, side = jnp.zeros_like(left), lambda *blocks: jnp.concatenate(blocks, axis=1)
    rest = jnp.concatenate([side(left, zero, border), side(zero, right_, border_)])
    level, joined = eliminate(jnp.concatenate([right, left_]), rest, small)
    return joined, level


def _factor(
    blocks: Float[Array, "system interval state column"], ends: Float[Array, "system condition column"], *, small: int
) -> Chain:
    systems, _, size, width = blocks.shape
    # Intervals missing at the end say y_{n+1} = y_n.
    eye = jnp.eye(size, dtype=blocks.dtype)
    fill = jnp.concatenate([-eye, eye, jnp.zeros((size, width - 2 * size), blocks.dtype)], axis=1)
    dealt = _deal(jnp.transpose(blocks, (2, 3, 1, 0)), fill, *_lanes(blocks.shape[1], systems))
    join = functools.partial(_join, small)
    lanes, inner = lax.scan(join, dealt[0], dealt[1:])
    along = _in_turn(lanes, systems)
    whole, outer = lax.scan(join, along[0], along[1:])
    closed = jnp.concatenate([jnp.moveaxis(whole, 2, 0), ends], axis=1)
    return Chain(inner.apart(systems), outer.apart(systems), *jax.scipy.linalg.lu_factor(closed))


def _solve(chain: Chain, rows: Float[Array, "system interval state"], ends: Float[Array, "system condition"]):
    systems, count, size = rows.shape
    levels = chain.inner.together(), chain.outer.together()
    # As they were dealt when the chain was made: perhaps with another number of systems side by side.
    steps, lanes = (jax.tree.leaves(level)[0].shape[0] + 1 for level in levels)
    dealt = _deal(rows.T, jnp.zeros(size, rows.dtype), steps, lanes)

    def down(before, block):
        level, after = block
        own, rest = level.split(jnp.concatenate([before, after]))
        return rest, own

    stops, own_within = lax.scan(down, dealt[0], (levels[0], dealt[1:]))
    along = _in_turn(stops, systems)
    whole, own_between = lax.scan(down, along[0], (levels[1], along[1:]))
    right = jnp.concatenate([whole.T, ends], axis=1)[:, :, None]
    closed = jax.scipy.linalg.lu_solve((chain.closed, chain.pivots), right)[:, :, 0]
    first, last, shared = jnp.split(closed.T, [size, 2 * size])

    def up(levels, given, start, end, shared):
        def step(after, block):
            level, own = block
            node = level.back(own, jnp.concatenate([start, after, shared]))
            return node, node

        return lax.scan(step, end, (levels, given), reverse=True)[1]

    between = up(levels[1], own_between, first, last, shared)
    together = lambda nodes: jnp.moveaxis(nodes, 0, 1).reshape(size, lanes * systems)
    starts = together(jnp.concatenate([first[None], between]))
    stops = together(jnp.concatenate([between, last[None]]))
    within = up(levels[0], own_within, starts, stops, jnp.tile(shared, (1, lanes)))
    nodes = jnp.concatenate([starts[None], within]).reshape(steps, size, lanes, systems)
    nodes = jnp.moveaxis(nodes, 2, 0).reshape(lanes * steps, size, systems)[:count]
    return jnp.transpose(jnp.concatenate([nodes, last[None]]), (2, 0, 1)), shared.T


def _alone(function):
    """A function of many systems, their axis in front in all it takes and gives, for one of them."""
    return lambda *args: jax.tree.map(lambda x: x[0], function(*jax.tree.map(lambda x: x[None], args)))


def _side_by_side(function):
    """The same, of which `vmap` makes the function of many again."""
    single = jax.custom_batching.custom_vmap(_alone(function))

    @single.def_vmap
    def _(count, batched, *args):
        every = lambda x, along: x if along else jnp.broadcast_to(x[None], (count, *x.shape))
        result = function(*jax.tree.map(every, args, tuple(batched)))
        return result, jax.tree.map(lambda _: True, result)

    return single


_FACTOR, _SOLVE = _alone(functools.partial(_factor, small=_SMALL)), _alone(_solve)
_CONSTANT_FACTOR = _side_by_side(functools.partial(_factor, small=_SMALL_IN_MANY))
_CONSTANT_SOLVE = _side_by_side(_solve)
