"""What a minimiser asks of a problem, and what it answers."""

import abc

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from deepest.linalg import AbstractKernel, BlockVector, BorderedTridiagonal
from deepest.minimise._box import Box


class Quadratic(eqx.Module):
    """Cost, gradient and Hessian at one point: A(z + d) ≈ cost + gradientᵀ d + ½ dᵀ hessian d."""

    cost: Float[Array, ""]
    gradient: BlockVector
    hessian: BorderedTridiagonal


class AbstractBlockProblem(eqx.Module):
    """A cost over block vectors, with optional bounds."""

    kernel: eqx.AbstractVar[AbstractKernel]
    bounds: eqx.AbstractVar[Box | None]

    @abc.abstractmethod
    def cost(self, z: BlockVector) -> Float[Array, ""]:
        """The cost A(z)."""

    @abc.abstractmethod
    def quadratic(self, z: BlockVector, curvature: Bool[Array, ""] | bool) -> Quadratic:
        """The local model: Gauss–Newton's, or where `curvature` is true the exact second-order one."""

    @abc.abstractmethod
    def scale(self, quadratic: Quadratic) -> BlockVector:
        """The positive diagonal S by which damping is counted, in the Hessian's units."""


class Solution(eqx.Module):
    """Where a minimisation ended.

    `damping` is the λ to start a neighbouring problem with; `steps` counts factorisations, `status` is a
    `Status`, as an integer.
    """

    z: BlockVector
    cost: Float[Array, ""]
    damping: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class AbstractMinimiser(eqx.Module):
    """A way to minimise a block problem, traceable: it may stand inside `jit`, `vmap` and `lax.map`."""

    @abc.abstractmethod
    def minimise(
        self,
        problem: AbstractBlockProblem,
        z: BlockVector,
        *,
        tolerance: Float[Array, ""] | float,
        damping: Float[Array, ""] | float = 1e-3,
        floor: Float[Array, ""] | float = 0.0,
        curvature: Bool[Array, ""] | bool = False,
    ) -> Solution:
        """Minimise from z until a step decreases the cost by less than `tolerance` × cost.

        Damping λ starts at `damping` and never falls below `floor`, both in units of the problem's scale S.
        The Hessian is Gauss–Newton's, or the exact one where `curvature` is true.
        """
