"""What a minimiser asks of a problem, and what it answers."""

import abc

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from deepest.linalg import AbstractKernel, BlockVector, BorderedTridiagonal, Saddle
from deepest.minimise._box import Box


class Quadratic(eqx.Module):
    """Cost, gradient and Hessian at one point: A(z + d) ≈ cost + gradientᵀ d + ½ dᵀ hessian d.

    `scale` is the positive diagonal S by which damping is counted, in the Hessian's units.
    """

    cost: Float[Array, ""]
    gradient: BlockVector
    hessian: BorderedTridiagonal
    scale: BlockVector


class Constrained(eqx.Module):
    """A cost m(z) + ½ cᵀ Γ⁻¹ c at one point, by its parts: gradient of m, defects c, and the matrix [[W, Jᵀ], [J, −Γ]].

    W is the Hessian of m, or of m + pᵀc. `defects` (K, R) has those of an interval one under the other; `scale` is the
    positive diagonal S by which damping is counted, in the units of W.
    """

    gradient: BlockVector
    defects: Float[Array, "interval row"]
    saddle: Saddle
    scale: BlockVector


class AbstractProblem(eqx.Module):
    """A cost over trees of arrays, with optional bounds."""

    bounds: eqx.AbstractVar[Box | None]

    @abc.abstractmethod
    def cost(self, z: PyTree[Array]) -> Float[Array, ""]:
        """The cost A(z)."""


class AbstractBlockProblem(AbstractProblem):
    """A cost over block vectors."""

    kernel: eqx.AbstractVar[AbstractKernel]

    @abc.abstractmethod
    def quadratic(self, z: BlockVector, curvature: Bool[Array, ""] | bool) -> Quadratic:
        """The local model: Gauss–Newton's, or where `curvature` is true the exact second-order one."""


class AbstractConstrainedProblem(AbstractBlockProblem):
    """A cost A(z) = m(z) + ½ cᵀ Γ⁻¹ c that also stands as m(z) with soft constraints c(z) = Γ p, hard where Γ = 0.

    Vectors p and c are (K, R), an interval's defects one under the other.
    """

    @abc.abstractmethod
    def defects(self, z: BlockVector) -> Float[Array, "interval row"]:
        """The defects c(z)."""

    @abc.abstractmethod
    def constrained(
        self, z: BlockVector, momenta: Float[Array, "interval row"], curvature: Bool[Array, ""] | bool
    ) -> Constrained:
        """The local model; with the second derivatives of m + pᵀc where `curvature` is true."""

    @abc.abstractmethod
    def dual(self, z: BlockVector, momenta: Float[Array, "interval row"]) -> Float[Array, ""]:
        """m + ½ pᵀ Γ p, which is A where c = Γ p, and finite where Γ = 0."""

    @abc.abstractmethod
    def merit(self, z: BlockVector, momenta: Float[Array, "interval row"]) -> Float[Array, ""]:
        """m + ½ (c + E p)ᵀ (Γ + E)⁻¹ (c + E p) with a fixed E ≥ 0, which bounds the stiffness: minimal where A is."""

    @abc.abstractmethod
    def forces(
        self, defects: Float[Array, "interval row"], momenta: Float[Array, "interval row"]
    ) -> Float[Array, "interval row"]:
        """(Γ + E)⁻¹ (c + E p), the derivative of the merit by c."""


class Solution(eqx.Module):
    """Where a minimisation ended.

    `damping` is the λ to start a neighbouring problem with; `steps` counts factorisations, `status` is a
    `Status`, as an integer. `momenta` is p = R_f c where the minimiser carries it along, an interval's defects one
    under the other; else (0, 0) or None.
    """

    z: PyTree[Array]
    cost: Float[Array, ""]
    damping: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    momenta: Float[Array, "interval row"] | None = None


def carried(dtype: type | np.dtype) -> float:
    """The R_f/R_m to which a cost that sums R_f and R_m can be minimised in a dtype.

    The measurements are lost to rounding when it approaches the reciprocal of the precision; measured on Lorenz96,
    float32 keeps the path to 1e-4 up to about 2e6 and breaks at 1e8.
    """
    return float(0.25 / np.finfo(dtype).eps)


class AbstractMinimiser(eqx.Module):
    """A way to minimise a problem, traceable: it may stand inside `jit`, `vmap` and `lax.map`."""

    @abc.abstractmethod
    def highest(self, dtype: type | np.dtype) -> float:
        """The R_f/R_m to which a dtype's precision carries this way."""

    @abc.abstractmethod
    def minimise(
        self,
        problem: AbstractProblem,
        z: PyTree[Array],
        *,
        tolerance: Float[Array, ""] | float,
        damping: Float[Array, ""] | float = 1e-3,
        floor: Float[Array, ""] | float = 0.0,
        curvature: Bool[Array, ""] | bool = False,
    ) -> Solution:
        """Minimise from z until a step decreases the cost by less than `tolerance` × cost.

        Damping λ starts at `damping` and never falls below `floor`, both in units of the local model's scale S.
        The Hessian is Gauss–Newton's, or the exact one where `curvature` is true.
        """
