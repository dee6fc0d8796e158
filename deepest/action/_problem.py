"""The action at one R_f, as the block problem that a minimiser sees."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepest.linalg import AbstractKernel, BlockVector
from deepest.minimise import AbstractBlockProblem, Box, Quadratic
from deepest.transcription import AbstractTranscription, PathProblem, add_points, energy, points, unpoints


class Measurement(eqx.Module):
    """The measurement term on the grid: y (N, L) and R_m (N, L) or (N, L, L), zero where nothing was measured.

    `size` is the model's own state dimension, which is what an operator sees.
    """

    values: Float[Array, "time measured"]
    weight: Float[Array, "time measured"] | Float[Array, "time measured measured"]
    components: tuple[int, ...] | None = eqx.field(static=True)
    operator: Callable | None
    size: int = eqx.field(static=True)

    def _apply(self, residuals):
        if self.weight.ndim == 2:
            return self.weight * residuals
        return jnp.einsum("nij,nj->ni", self.weight, residuals)

    def _measure(self, state):
        if self.operator is None:
            return state[np.asarray(self.components)]
        return self.operator(state[: self.size])

    def residuals(self, path):
        return jax.vmap(self._measure)(path) - self.values

    def cost(self, path):
        residuals = self.residuals(path)
        return 0.5 * jnp.sum(residuals * self._apply(residuals))

    def quadratic(self, path, curvature):
        """Cost, gradient (N, D) and Hessian (N, D, D), or its diagonal (N, D) where that is all there is."""
        residuals = self.residuals(path)
        force = self._apply(residuals)
        cost = 0.5 * jnp.sum(residuals * force)
        if self.operator is None:
            return cost, *self._selected(path, force)
        slope = jax.vmap(jax.jacfwd(self._measure))(path)
        weighed = self.weight[:, :, None] * slope if self.weight.ndim == 2 else self.weight @ slope
        own = slope.mT @ weighed
        if curvature is not False:
            bend = jax.vmap(jax.hessian(lambda x, f: jnp.vdot(f, self._measure(x))))(path, force)
            own = own + jnp.where(curvature, bend, jnp.zeros_like(bend))
        return cost, jnp.einsum("nld,nl->nd", slope, force), own

    def _selected(self, path, force):
        index = np.asarray(self.components)
        gradient = jnp.zeros_like(path).at[:, index].set(force, unique_indices=True)
        if self.weight.ndim == 2:
            return gradient, jnp.zeros_like(path).at[:, index].set(self.weight, unique_indices=True)
        full = jnp.zeros(path.shape + path.shape[1:], path.dtype)
        return gradient, full.at[:, index[:, None], index[None, :]].set(self.weight)


class Gaussian(eqx.Module):
    """A diagonal Gaussian term ½ Σ precision (u − mean)²; precision 0 where there is none."""

    mean: Float[Array, " unknown"]
    precision: Float[Array, " unknown"]

    def cost(self, u):
        return 0.5 * jnp.sum(self.precision * (u - self.mean) ** 2)

    def gradient(self, u):
        return self.precision * (u - self.mean)


class PathAction(AbstractBlockProblem):
    """A(z) at one R_f, with z the path's nodes and interiors and the shared parameters.

    `initial` is the prior of the first state, `prior` that of the parameters.
    """

    transcription: AbstractTranscription
    problem: PathProblem
    measurement: Measurement
    initial: Gaussian
    prior: Gaussian
    bounds: Box | None
    kernel: AbstractKernel

    def terms(self, z: BlockVector) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        """The measurement, model-error and prior terms of the action."""
        path = points(z, self.transcription.stride)
        residuals = self.transcription.residuals(self.problem, z)
        prior = self.initial.cost(z.nodes[0]) + self.prior.cost(z.shared)
        return self.measurement.cost(path), energy(self.problem.weight, residuals), prior

    def cost(self, z: BlockVector) -> Float[Array, ""]:
        measurement, model, prior = self.terms(z)
        return measurement + model + prior

    def quadratic(self, z, curvature):
        layout, stride = self.kernel.layout, self.transcription.stride
        residuals, gradient, hessian = self.transcription.quadratic(self.problem, z, layout, curvature)
        path = points(z, stride)
        cost, force, own = self.measurement.quadratic(path, curvature)
        cost = cost + energy(self.problem.weight, residuals) + self.initial.cost(z.nodes[0]) + self.prior.cost(z.shared)
        force = force.at[0].add(self.initial.gradient(path[0]))
        measured = unpoints(force, self.prior.gradient(z.shared), stride)
        gradient = jax.tree.map(jnp.add, gradient, measured)
        if own.ndim == 2:
            own = own.at[0].add(self.initial.precision)
            return Quadratic(cost, gradient, hessian.shift(unpoints(own, self.prior.precision, stride)))
        own = own.at[0].add(jnp.diag(self.initial.precision))
        return Quadratic(cost, gradient, add_points(hessian, own, None, jnp.diag(self.prior.precision), stride))

    def scale(self, quadratic):
        diagonal = self.problem.weight.diagonal()
        shape = (self.problem.times.shape[0], diagonal.shape[1])
        path = jnp.broadcast_to(jnp.max(diagonal, axis=0)[None], shape)
        # Parameters carry units of their own: damp them by their own curvature.
        corner = jnp.diagonal(quadratic.hessian.corner)
        return unpoints(path, jnp.where(corner > 0, corner, 1.0), self.transcription.stride)
