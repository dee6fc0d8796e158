"""One function, many members."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, PyTree


def spread(
    function: Callable[[PyTree], PyTree],
    members: PyTree[Array],
    active: Bool[Array, " member"],
    *,
    vectorise: bool | None = None,
    devices: Sequence[Any] | None = None,
) -> PyTree[Array]:
    """`function(member)` for every active member; the others come back unchanged.

    `function` maps a member to a member of the same structure, shapes and dtypes; `members` carries a leading
    member axis. Members are shared out over `devices`, active ones evenly; by default over all accelerators, or on a
    CPU the first device alone, since long loops on several devices of one CPU have been seen to wait for each other
    for ever. On each device `vectorise` decides: `vmap`, in which all members iterate together until the last has
    ended, pays on an accelerator; one after the other, each stopping when it is done and inactive ones costing
    nothing, pays on a CPU, where a member's data then stays in cache. By default the platform decides.
    """
    found = jax.local_devices() if devices is None else devices
    on_cpu = found[0].platform == "cpu"
    used = np.asarray(found[:1] if devices is None and on_cpu else found)
    side_by_side = not on_cpu if vectorise is None else vectorise
    count = active.shape[0]
    if used.size == 1 or count == 1:
        return _local(function, members, active, side_by_side)
    # Active members first, then dealt like cards, so that every device has its share of them.
    padded = -(-count // used.size) * used.size
    order = jnp.pad(jnp.argsort(~active, stable=True), (0, padded - count))
    deal = order.reshape(-1, used.size).T.ravel()
    first = jnp.arange(padded).reshape(-1, used.size).T.ravel() < count
    mesh, spec = Mesh(used, ("member",)), PartitionSpec("member")
    local = lambda members, active: _local(function, members, active, side_by_side)
    run = jax.shard_map(local, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False)
    done = run(jax.tree.map(lambda x: x[deal], members), active[deal] & first)
    where = jnp.where(first, deal, count)
    return jax.tree.map(lambda old, new: old.at[where].set(new, mode="drop"), members, done)


def _local(function, members: Any, active, vectorise: bool):
    if vectorise:
        return jax.vmap(lambda member, on: lax.cond(on, function, lambda m: m, member))(members, active)
    order = jnp.argsort(~active, stable=True)

    def one(k, members):
        moved = function(jax.tree.map(lambda x: x[order[k]], members))
        return jax.tree.map(lambda old, new: old.at[order[k]].set(new), members, moved)

    return lax.fori_loop(0, jnp.sum(active), one, members)
