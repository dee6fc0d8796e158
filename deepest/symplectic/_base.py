"""What all the solvers share: no error estimate, and cubic dense output from the slopes at both ends of a step."""

import abc
from typing import Any, ClassVar

import diffrax
import jax
from jaxtyping import PyTree


class AbstractSymplectic(diffrax.AbstractSolver):
    """A one-step diffrax solver that keeps the symplectic form, at constant steps.

    A step size that follows the solution would break what the method keeps, so there is no error estimate, and
    diffrax refuses an adaptive controller. Dense output is the cubic Hermite polynomial of every step. Subclasses give
    `advance`, and the order as a number in `declared`.
    """

    interpolation_cls: ClassVar[Any] = diffrax.ThirdOrderHermitePolynomialInterpolation

    @property
    @abc.abstractmethod
    def declared(self) -> int:
        """The order of the method, a number."""

    @abc.abstractmethod
    def advance(self, terms, t0, t1, y0, args, state, jumped) -> tuple[PyTree, PyTree, diffrax.RESULTS]:
        """One step: the new y, the new solver state, and a result code; what was kept from before is stale where
        `jumped`."""

    def order(self, terms):
        del terms
        return self.declared

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y1, solver_state, result = self.advance(terms, t0, t1, y0, args, solver_state, made_jump)
        slope = lambda t, y: jax.tree.map(lambda k: (t1 - t0) * k, self.func(terms, t, y, args))
        dense = {"y0": y0, "y1": y1, "k0": slope(t0, y0), "k1": slope(t1, y1)}
        return y1, None, dense, solver_state, result


def pair(y: PyTree, who: str) -> tuple[PyTree, PyTree]:
    """y as (x, p), or a `ValueError` in the name of a method."""
    if not isinstance(y, tuple) or len(y) != 2:
        raise ValueError(f"{who} treats x and p differently: y must be a pair (x, p).")
    return y
