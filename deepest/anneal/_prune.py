"""Which members go on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Prune(eqx.Module):
    """Continue only the members whose level can still win, and begin only as many as are needed.

    A level never falls along a branch of minima, dA*/dR_f = ½ Σ c² ≥ 0, so a member whose level already exceeds the
    level of one that has reached the end cannot win, unless it leaves its branch, and one whose level exceeds what the
    data's χ² allows is no candidate. And levels on early rungs rank the members nearly as at the end, so from each rung
    only the better `share` goes on, down to `width` members; the rest wait. As long as the lowest level at the end is
    more than two standard deviations of χ² too high, `batch` new members begin; when all have begun, those that wait
    are taken up again, best first, `width` at a time.

    `batch` is 4 on a CPU and all members on an accelerator, where they climb side by side, unless given.
    Raises `ValueError` unless width ≥ 1, 0 < share ≤ 1 and batch ≥ 1.
    """

    width: int = 2
    share: float = 0.5
    batch: int | None = None

    def __check_init__(self):
        if self.width < 1 or not 0 < self.share <= 1 or (self.batch is not None and self.batch < 1):
            raise ValueError(
                "Pruning needs width ≥ 1, 0 < share ≤ 1 and batch ≥ 1; received "
                f"width={self.width}, share={self.share}, batch={self.batch}."
            )

    def begin(self, reached: Int[np.ndarray, " member"]) -> Bool[np.ndarray, " member"]:
        """The next members to begin, of those that have `reached` no rung (−1): none when all have begun."""
        batch = self.batch or (4 if jax.default_backend() == "cpu" else reached.size)
        fresh = reached < 0
        return fresh & (np.cumsum(fresh) <= batch)

    def keep(self, levels: Float[Array, " member"], active: Bool[Array, " member"]) -> Bool[Array, " member"]:
        """Of the active members, those that go on to the next rung; traceable."""
        ranked = jnp.where(active & jnp.isfinite(levels), levels, jnp.inf)
        rank = jnp.argsort(jnp.argsort(ranked))
        quota = jnp.maximum(self.width, jnp.ceil(self.share * jnp.sum(active).astype(levels.dtype)).astype(int))
        return active & (rank < quota) & jnp.isfinite(ranked)

    def resume(
        self,
        levels: Float[np.ndarray, " member"],
        reached: Int[np.ndarray, " member"],
        waiting: Bool[np.ndarray, " member"],
        bound: float,
    ) -> Bool[np.ndarray, " member"]:
        """Of the waiting members, the `width` most promising that can still fall below `bound`."""
        able = np.flatnonzero(waiting & (levels < bound))
        best = able[np.lexsort((levels[able], -reached[able]))][: self.width]
        chosen = np.zeros_like(waiting)
        chosen[best] = True
        return chosen
