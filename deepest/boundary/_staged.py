"""Collocation at Gauss or Lobatto points."""

import abc

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Polynomial

from deepest.boundary._collocation import AbstractCollocation, at_shares, over_points
from deepest.transcription import PartitionedTableau, gauss_nodes, lobatto_nodes


class AbstractStaged(AbstractCollocation):
    """Slopes k_i at the points t_i = t_n + c_i h of an interval as interior unknowns (K, s · M):

        h (k_i − f(t_i, y_n + h Σ_j a_ij k_j, q)) = 0,   y_{n+1} − y_n − h Σ_j b_j k_j = 0.

    Between the nodes y is the polynomial of degree s with these slopes. Source: [ascher1995].
    """

    @property
    @abc.abstractmethod
    def tableau(self) -> PartitionedTableau:
        """The points c (s,), weights b (s,) and coefficients a (s, s)."""

    @property
    def power(self):
        return self.tableau.nodes.size

    @property
    def probes(self):
        return gauss_nodes(self.power + 1)

    @property
    def basis(self):
        c = self.tableau.nodes
        slopes = [Polynomial.fromroots(np.delete(c, j)) if c.size > 1 else Polynomial([1.0]) for j in range(c.size)]
        return [Polynomial([1.0]), *((p / p(c[j])).integ() for j, p in enumerate(slopes))]

    def pieces(self, rates, times, z):
        steps, slopes, _, _ = self._places(times, z)
        return jnp.concatenate([z.nodes[:-1, None], steps[:, None, None] * slopes], axis=1)

    def inside(self, rates, times, nodes, q):
        places = at_shares(times, self.tableau.nodes)
        between = nodes[:-1, None] + jnp.diff(nodes, axis=0)[:, None] * self.tableau.nodes[None, :, None]
        return over_points(rates)(places, between, q).reshape(times.size - 1, -1)

    def residual(self, rates, times, z):
        steps, slopes, places, states = self._places(times, z)
        return self._equations(z, steps, slopes, over_points(rates)(places, states, z.shared))

    def linearise(self, rates, times, z):
        steps, slopes, places, states = self._places(times, z)
        found = over_points(rates)(places, states, z.shared)
        along_y, along_q = over_points(jax.jacfwd(rates, argnums=(1, 2)))(places, states, z.shared)
        (count, stages, size), h = slopes.shape, steps[:, None, None]
        eye, rows = jnp.eye(size, dtype=h.dtype), stages * size
        stage = jnp.eye(stages, dtype=h.dtype)[None, :, None, :, None] * eye[None, None, :, None, :]
        coupled = jnp.asarray(self.tableau.first, h.dtype)[None, :, None, :, None] * along_y[:, :, :, None, :]
        inside = (h[:, :, :, None, None] * stage - (h**2)[:, :, :, None, None] * coupled).reshape(count, rows, rows)
        onward = (jnp.asarray(self.tableau.weights, h.dtype)[None, :, None] * eye[:, None, :]).reshape(size, rows)
        every = lambda block: jnp.broadcast_to(block, (count, *block.shape))
        slope = lambda block: (-h[:, :, :, None] * block).reshape(count, rows, -1) if block.ndim == 4 else block
        left = jnp.concatenate([slope(along_y), every(-eye)], axis=1)
        right = every(jnp.concatenate([jnp.zeros((rows, size), h.dtype), eye]))
        inside = jnp.concatenate([inside, -h * every(onward)], axis=1)
        border = jnp.concatenate([slope(along_q), jnp.zeros((count, size, z.shared.size), h.dtype)], axis=1)
        return self._equations(z, steps, slopes, found), (left, inside, right, border)

    def _places(self, times, z):
        count, size = z.nodes.shape[0] - 1, z.nodes.shape[1]
        steps, slopes = jnp.diff(times), z.interior.reshape(count, -1, size)
        first = jnp.asarray(self.tableau.first, steps.dtype)
        states = z.nodes[:-1, None] + steps[:, None, None] * jnp.einsum("ij,njd->nid", first, slopes)
        return steps, slopes, at_shares(times, self.tableau.nodes), states

    def _equations(self, z, steps, slopes, found):
        gaps = (steps[:, None, None] * (slopes - found)).reshape(slopes.shape[0], -1)
        weights = jnp.asarray(self.tableau.weights, steps.dtype)
        moved = steps[:, None] * jnp.einsum("j,njd->nd", weights, slopes)
        return jnp.concatenate([gaps, jnp.diff(z.nodes, axis=0) - moved], axis=1)


class Gauss(AbstractStaged):
    """Collocation at `stages` Gauss points: order 2 · stages at the nodes, symplectic for Hamilton's equations."""

    stages: int = 3

    def __check_init__(self):
        if self.stages < 1:
            raise ValueError(f"Gauss collocation has at least one point; received stages={self.stages}.")

    @property
    def tableau(self) -> PartitionedTableau:
        return PartitionedTableau.paired(gauss_nodes(self.stages), 2 * self.stages)


class Lobatto(AbstractStaged):
    """Collocation at `stages` Lobatto points, ends included: order 2 · stages − 2; with three, scipy's `solve_bvp`."""

    stages: int = 3

    def __check_init__(self):
        if self.stages < 2:
            raise ValueError(f"Lobatto collocation has at least two points; received stages={self.stages}.")

    @property
    def tableau(self) -> PartitionedTableau:
        return PartitionedTableau.paired(lobatto_nodes(self.stages), 2 * self.stages - 2)
