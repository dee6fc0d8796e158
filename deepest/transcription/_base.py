"""What every transcription offers, and the weights of its defects."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from deepest.linalg import AbstractLayout, BlockVector, BorderedTridiagonal, Equations

Field = Callable[[Float[Array, ""], Float[Array, " state"], Float[Array, " parameter"]], Float[Array, " state"]]


class Weight(eqx.Module):
    """The model precision R_f of each interval's defects: (K or 1, D) diagonal, or (K or 1, D, D) full.

    A leading axis of 1 means the same weight on every interval.
    """

    value: Float[Array, "interval state"] | Float[Array, "interval state state"]

    @property
    def uniform(self) -> bool:
        """Whether one weight serves every interval."""
        return self.value.shape[0] == 1

    def diagonal(self) -> Float[Array, "interval state"]:
        """The diagonal of R_f on each interval."""
        return self.value if self.value.ndim == 2 else jnp.diagonal(self.value, axis1=1, axis2=2)

    def ghosted(self) -> "Weight":
        """The weight for one more interval at either end, which repeats the last one's."""
        pad = ((1, 1), *((0, 0) for _ in self.value.shape[1:]))
        return self if self.uniform else Weight(jnp.pad(self.value, pad, mode="edge"))

    def apply(self, columns: Float[Array, "interval state column"]) -> Float[Array, "interval state column"]:
        """R_f c for defects c with the interval axis first."""
        if self.value.ndim == 2:
            return self.value[:, :, None] * columns
        return self.value @ columns

    def times(self, layout: AbstractLayout, blocks: Float[Array, "..."]) -> Float[Array, "..."]:
        """R_f A for matrices A in a layout."""
        if self.value.ndim == 2:
            return layout.matrices(self.value[:, :, None]) * blocks
        return layout.mul(layout.matrices(self.value), blocks)

    def after(self, layout: AbstractLayout, blocks: Float[Array, "..."]) -> Float[Array, "..."]:
        """A R_f for matrices A in a layout."""
        if self.value.ndim == 2:
            return layout.matrices(self.value[:, None, :]) * blocks
        return layout.mul(blocks, layout.matrices(self.value))

    def scaled(self, scale: Float[Array, " interval"]) -> "Weight":
        """The weight times one number an interval."""
        return Weight(scale.reshape(-1, *(1 for _ in self.value.shape[1:])) * self.value)

    def where(self, chosen: Float[Array, " interval"], other: "Weight") -> "Weight":
        """This weight on intervals where `chosen` is not zero, and the other one elsewhere."""
        mask = chosen.reshape(-1, *(1 for _ in self.value.shape[1:])) != 0.0
        return Weight(jnp.where(mask, self.value, other.value))

    def inverse(self) -> "Weight":
        """R_f⁻¹."""
        return Weight(1.0 / self.value if self.value.ndim == 2 else jnp.linalg.inv(self.value))

    def blocks(self, layout: AbstractLayout) -> Float[Array, "..."]:
        """R_f itself as matrices in a layout."""
        value = self.value if self.value.ndim == 3 else jax.vmap(jnp.diag)(self.value)
        return layout.matrices(value)


class PathProblem(eqx.Module):
    """A vector field on a grid, with the weight of its defects: what a transcription works on.

    `times` (N,) with N − 1 a multiple of the transcription's `stride`, and the intervals' `widths`, which rounded times
    may not tell. `jumps` says that the field may jump at nodes: an interval then sees its limits from inside, F(t_n⁺)
    where it begins and F(t_{n+1}⁻) where it ends. `linked` is 0 for intervals across which the model says nothing, 1
    for the others, and None where there are no such; the former have no width, however long they last: a model that is
    run across them, in vain, may overflow.
    """

    field: Field
    times: Float[Array, " time"]
    widths: Float[Array, " interval"]
    weight: Weight
    jumps: bool = eqx.field(static=True, default=False)
    linked: Float[Array, " interval"] | None = None


class AbstractTranscription(eqx.Module):
    """A rule that turns dx/dt = F(t, x) into defects c_n on the K intervals of a grid.

    `stride` grid steps make one interval, so that a grid of N points has K = (N − 1)/stride; the stride − 1 points
    inside an interval are its interior unknowns. `defects` vectors of the state's size arise on each interval.
    `order` is the order at which the exact solution of c = 0 converges to the flow.
    """

    stride: AbstractClassVar[int]
    defects: AbstractClassVar[int]
    order: AbstractClassVar[int]

    @abc.abstractmethod
    def residuals(self, problem: PathProblem, z: BlockVector) -> Float[Array, "interval defect state"]:
        """The defects c of a path; zero where it follows the model."""

    @abc.abstractmethod
    def quadratic(
        self, problem: PathProblem, z: BlockVector, layout: AbstractLayout
    ) -> tuple[Float[Array, "interval defect state"], BlockVector, BorderedTridiagonal]:
        """Defects, and gradient JᵀR_f c and Gauss–Newton Hessian JᵀR_f J of ½ Σ cᵀ R_f c."""

    @abc.abstractmethod
    def equations(
        self, problem: PathProblem, z: BlockVector
    ) -> tuple[Float[Array, "interval defect state"], Equations]:
        """Defects, and their derivatives J, the defects of an interval one under the other."""

    @abc.abstractmethod
    def bend(
        self,
        problem: PathProblem,
        z: BlockVector,
        multipliers: Float[Array, "interval defect state"],
        system: BorderedTridiagonal,
    ) -> BorderedTridiagonal:
        """The matrix plus Σ multipliers · ∇²c: with R_f c, what `quadratic` lacks of the exact Hessian."""


def just_before(times: Float[Array, "..."]) -> Float[Array, "..."]:
    """The largest times below the given ones, at which a field that jumps still has its limit from the left."""
    below = jnp.nextafter(times, jnp.full_like(times, -jnp.inf))
    # Next to zero stand numbers that a processor may take for zero.
    least = jnp.finfo(below.dtype).tiny
    return jnp.where(jnp.abs(below) < least, -least, below)


def points(z: BlockVector, stride: int) -> Float[Array, "time state"]:
    """The path on all N grid points, nodes and interiors in order of time."""
    if stride == 1:
        return z.nodes
    count, size = z.nodes.shape
    inside = z.interior.reshape(count - 1, stride - 1, size)
    body = jnp.concatenate([z.nodes[:-1, None, :], inside], axis=1)
    return jnp.concatenate([body.reshape(-1, size), z.nodes[-1:]])


def unpoints(path: Float[Array, "time state"], shared: Float[Array, " parameter"], stride: int) -> BlockVector:
    """The inverse of `points`."""
    size = path.shape[1]
    body = path[:-1].reshape(-1, stride, size)
    inside = body[:, 1:, :].reshape(body.shape[0], (stride - 1) * size)
    return BlockVector(jnp.concatenate([body[:, 0], path[-1:]]), inside, shared)


def energy(weight: Weight, residuals: Float[Array, "interval defect state"]) -> Float[Array, ""]:
    """½ Σ cᵀ R_f c."""
    columns = residuals.mT
    return 0.5 * jnp.sum(columns * weight.apply(columns))
