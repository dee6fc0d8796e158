"""What every way to make a boundary value problem finite offers."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from deepest.linalg import BlockVector

Rates = Callable[..., Float[Array, " state"]]
# Slopes of an interval's equations along its left node, its interior, its right node, and the parameters.
Slopes = tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]


class AbstractMethod(eqx.Module):
    """Equations of every interval between two nodes of a mesh, in its ends, interior unknowns and parameters.

    `noise` is the relative error with which they are evaluated where it is more than rounding.
    """

    noise: eqx.AbstractVar[float]

    @abc.abstractmethod
    def mesh(self, count: int) -> Int[np.ndarray, " node"]:
        """Which of so many guessed nodes it uses."""

    @abc.abstractmethod
    def inside(self, rates: Rates, times: Array, nodes: Array, q: Array) -> Float[Array, "interval interior"]:
        """Interior unknowns (K, E) for guessed nodes (K + 1, M)."""

    @abc.abstractmethod
    def residual(self, rates: Rates, times: Array, z: BlockVector) -> Float[Array, "interval row"]:
        """The equations (K, E + M), zero at a solution."""

    @abc.abstractmethod
    def linearise(self, rates: Rates, times: Array, z: BlockVector) -> tuple[Float[Array, "interval row"], Slopes]:
        """The equations and their slopes."""

    @abc.abstractmethod
    def evaluate(self, rates: Rates, times: Array, z: BlockVector, t: Array) -> Float[Array, " state"]:
        """y between the nodes."""

    @abc.abstractmethod
    def defects(self, rates: Rates, times: Array, z: BlockVector) -> Float[Array, " interval"]:
        """How far y between the nodes is from satisfying dy/dt = f: relative, root mean square; zero if it is exact."""

    @abc.abstractmethod
    def growth(self, rates: Rates, guess: tuple[Array, Array], times: Array, z: BlockVector) -> Float[Array, ""]:
        """The most that an interval's flow magnifies what it starts from; NaN where there is no such flow.

        `guess` holds all times and nodes that were guessed, those that the mesh leaves out among them.
        """

    @abc.abstractmethod
    def transposable(self) -> "AbstractMethod":
        """The same method, with equations that reverse mode can go through."""


class Annealed(eqx.Module):
    """Continuation in R_f: `method` at R_f times start, …, 1, each rung begun at the solution of the one before.

    `factor` is at most from rung to rung. For a `Variational` problem with a `ModelError` Lagrangian: at small R_f the
    measurements are followed and the model hardly counts, and the problem is nearly linear. Source: [abarbanel2018].

    Raises `ValueError` unless 0 < start < 1 and factor > 1.
    """

    method: AbstractMethod
    start: float = 1e-2
    factor: float = 3.0

    def __check_init__(self):
        if not 0 < self.start < 1 or not self.factor > 1:
            raise ValueError(
                f"Annealing needs 0 < start < 1 and factor > 1; received start={self.start}, factor={self.factor}."
            )

    @property
    def rungs(self) -> Float[np.ndarray, " rung"]:
        """Fractions of R_f at which the problem is solved in turn, the last of them 1."""
        count = math.ceil(-math.log(self.start) / math.log(self.factor))
        return self.start ** (1.0 - np.arange(count + 1) / count)


def locate(times: Float[Array, " node"], t: Float[Array, ""]) -> Array:
    """The interval in which t lies, the first or the last where it lies outside."""
    return jnp.clip(jnp.searchsorted(times, t, side="right") - 1, 0, times.shape[0] - 2)
