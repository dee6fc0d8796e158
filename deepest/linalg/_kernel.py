"""What every solver of bordered block-tridiagonal systems offers, and how one is chosen."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from deepest.linalg._bordered import BlockVector, BorderedTridiagonal
from deepest.linalg._layout import AbstractLayout


class AbstractFactor(eqx.Module):
    """A Cholesky factor H = R Rᵀ of a positive definite bordered block-tridiagonal matrix.

    Where H is not positive definite the factor holds NaN, as LAPACK's does; nothing is raised,
    because under `vmap` one bad matrix must not stop the others.
    """

    @abc.abstractmethod
    def solve(self, right_side: BlockVector) -> BlockVector:
        """H⁻¹ right_side, one sweep there and one back."""

    @abc.abstractmethod
    def log_determinant(self) -> Float[Array, ""]:
        """log det H."""


class AbstractKernel(eqx.Module):
    """One way to factor a `BorderedTridiagonal`, with the layout in which it wants the blocks."""

    layout: eqx.AbstractVar[AbstractLayout]

    @abc.abstractmethod
    def factor(self, system: BorderedTridiagonal) -> AbstractFactor:
        """The Cholesky factor, for any number of solves."""

    @abc.abstractmethod
    def solve(self, system: BorderedTridiagonal, right_side: BlockVector) -> BlockVector:
        """H⁻¹ right_side for one right side: the forward sweep rides along with the factorisation."""
