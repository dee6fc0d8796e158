"""Implicit Runge–Kutta methods that keep the symplectic form of any Hamiltonian: Gauss, and Lobatto IIIA–IIIB."""

import abc
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import PyTree

from deepest.symplectic._base import AbstractSymplectic, pair
from deepest.symplectic._roots import finder, size
from deepest.transcription import PartitionedTableau, gauss_nodes, lobatto_nodes


class AbstractStages(AbstractSymplectic):
    """An implicit solver given by a `PartitionedTableau`: k_i = f(t_i, y_0 + h Σ_j a_ij k_j), solved for all stages.

    `root_finder` is optimistix's; by default its `Chord` method (one Jacobian a step) to 50 times the rounding of the
    numbers, relative to the size of y. What it leaves is what the symplectic form is missed by. A step whose
    stages are not found ends the solve with diffrax's result code.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    root_finder: eqx.AbstractVar[optx.AbstractRootFinder | None]
    root_find_max_steps: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def tableau(self) -> PartitionedTableau:
        """The coefficients, (s,) and (s, s)."""

    @abc.abstractmethod
    def coefficients(self, y: PyTree) -> PyTree:
        """For every leaf of y its matrix a_ij (s, s)."""

    @property
    def declared(self) -> int:
        return self.tableau.order

    def init(self, terms, t0, t1, y0, args):
        del terms, t0, t1, y0, args

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def advance(self, terms, t0, t1, y0, args, state, jumped):
        del jumped
        tableau, control = self.tableau, terms.contr(t0, t1)
        times = [t0 + float(c) * (t1 - t0) for c in tableau.nodes]
        matrices = self.coefficients(y0)

        def places(slopes):
            """y_0 + Σ_j a_ij k_j for all stages, stacked."""
            mix = lambda y, a, k: y[None] + jnp.tensordot(jnp.asarray(a, k.dtype), k, axes=1)
            return jax.tree.map(mix, y0, matrices, slopes)

        def moved(stages):
            each = [jax.tree.map(lambda y, i=i: y[i], stages) for i in range(len(times))]
            slopes = [terms.vf_prod(t, y, args, control) for t, y in zip(times, each, strict=True)]
            return jax.tree.map(lambda *k: jnp.stack(k), *slopes)

        guess = terms.vf_prod(t0, y0, args, control)
        # Every leaf of y in units of its own, below whose rounding no mismatch falls.
        scale = jax.tree.map(size, y0, guess)

        def mismatch(slopes, scale):
            found = moved(places(jax.tree.map(jnp.multiply, scale, slopes)))
            return jax.tree.map(lambda s, f, k: f / s - k, scale, found, slopes)

        start = jax.tree.map(lambda s, k: jnp.broadcast_to(k / s, (len(times), *k.shape)), scale, guess)
        solver = finder(self.root_finder, jnp.result_type(*jax.tree.leaves(y0)))
        found = optx.root_find(mismatch, solver, start, scale, throw=False, max_steps=self.root_find_max_steps)
        add = lambda y, s, k: y + s * jnp.tensordot(jnp.asarray(tableau.weights, k.dtype), k, axes=1)
        return jax.tree.map(add, y0, scale, found.value), state, diffrax.RESULTS.promote(found.result)


class AbstractGauss(AbstractStages):
    """Stages at Gauss points, where one matrix serves x and p alike, so that y may be of any structure."""

    def coefficients(self, y):
        return jax.tree.map(lambda leaf: self.tableau.first, y)


class GaussLegendre(AbstractGauss):
    """Collocation at `stages` Gauss points: order 2 · stages, reversible, symplectic for any Hamiltonian.

    For one ODE term and y of any structure; keeps every quadratic first integral. One, two or three stages or more.
    Source: [hairer2006].
    """

    stages: int = 2
    root_finder: optx.AbstractRootFinder | None = None
    root_find_max_steps: int = 50

    def __check_init__(self):
        if self.stages < 1:
            raise ValueError(f"A Gauss method has at least one stage; received stages={self.stages}.")

    @property
    def tableau(self) -> PartitionedTableau:
        return PartitionedTableau.paired(gauss_nodes(self.stages), 2 * self.stages)


class ImplicitMidpoint(AbstractGauss):
    """y_1 = y_0 + h f((y_0 + y_1)/2): second order, reversible, symplectic for any Hamiltonian.

    For one ODE term and y of any structure: Gauss's method of one stage. Source: [hairer2006].
    """

    root_finder: optx.AbstractRootFinder | None = None
    root_find_max_steps: int = 50

    @property
    def tableau(self) -> PartitionedTableau:
        return PartitionedTableau.paired(gauss_nodes(1), 2)


class LobattoIIIAB(AbstractStages):
    """Lobatto IIIA for x and IIIB for p, with `stages` points: order 2 · stages − 2, reversible, symplectic.

    For one ODE term with y = (x, p), and any Hamiltonian; with two stages it is Störmer–Verlet's method where H is
    separable. Two, three or four stages or more. Source: [hairer2006].
    """

    stages: int = 3
    root_finder: optx.AbstractRootFinder | None = None
    root_find_max_steps: int = 50

    def __check_init__(self):
        if self.stages < 2:
            raise ValueError(f"A Lobatto method has at least two stages; received stages={self.stages}.")

    @property
    def tableau(self) -> PartitionedTableau:
        return PartitionedTableau.paired(lobatto_nodes(self.stages), 2 * self.stages - 2)

    def coefficients(self, y):
        (x, p), tableau = pair(y, "Lobatto IIIA–IIIB"), self.tableau
        return jax.tree.map(lambda leaf: tableau.first, x), jax.tree.map(lambda leaf: tableau.second, p)
