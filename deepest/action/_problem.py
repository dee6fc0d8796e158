"""The action at one R_f, as the block problem that a minimiser sees."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from deepest.linalg import AbstractKernel, BlockVector, BorderedTridiagonal, Equations, Saddle
from deepest.minimise import AbstractConstrainedProblem, Box, Constrained, Quadratic
from deepest.transcription import AbstractTranscription, PathProblem, Weight, add_points, energy, points, unpoints

# R_f/R_m that the stiffness of the merit, and the unit of damping, tend to as R_f grows.
BOUND = 1e3


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

    mean: Float[Array, "*unknown"]
    precision: Float[Array, "*unknown"]

    def cost(self, u):
        return 0.5 * jnp.sum(self.precision * (u - self.mean) ** 2)

    def gradient(self, u):
        return self.precision * (u - self.mean)


class Held(eqx.Module):
    """A Gaussian term for the states at some points of the grid: one row (size,) for each of `places`."""

    places: tuple[int, ...] = eqx.field(static=True)
    prior: Gaussian

    def cost(self, path):
        return self.prior.cost(path[np.asarray(self.places)])

    def gradient(self, path):
        """The gradient (N, size) by the path."""
        here = np.asarray(self.places)
        return jnp.zeros_like(path).at[here].set(self.prior.gradient(path[here]), unique_indices=True)


class Relaxation(eqx.Module):
    """What stands for R_f where it may be infinite: Γ = R_f⁻¹, a fixed E, and the bounded precision (Γ + E)⁻¹.

    E is the inverse of the model precision at R_f/R_m = `BOUND`, and zero below, where the merit needs no bound and is
    the cost. Damping is counted in a `unit` that goes over smoothly; `share` is its share of R_f.
    """

    slack: Weight
    excess: Weight
    bounded: Weight
    unit: Weight
    share: Float[Array, ""]


def _each(linked: Float[Array, " interval"], rows: Float[Array, "interval ..."]) -> Bool[Array, "interval ..."]:
    """Whether a row belongs to an interval that is linked, to choose between rows."""
    return (linked > 0.0).reshape(-1, *(1,) * (rows.ndim - 1))


class PathAction(AbstractConstrainedProblem):
    """A(z) at one R_f, with z the path's nodes and interiors and the shared parameters.

    `held` is the prior of first states, `prior` that of the parameters.
    """

    transcription: AbstractTranscription
    problem: PathProblem
    relaxation: Relaxation
    measurement: Measurement
    held: Held
    prior: Gaussian
    bounds: Box | None
    kernel: AbstractKernel

    def terms(self, z: BlockVector) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        """The measurement, model-error and prior terms of the action."""
        residuals = self.transcription.residuals(self.problem, z)
        measurement, prior = self._data(z)
        return measurement, energy(self.problem.weight, residuals), prior

    def _data(self, z):
        path = points(z, self.transcription.stride)
        return self.measurement.cost(path), self.held.cost(path) + self.prior.cost(z.shared)

    def cost(self, z: BlockVector) -> Float[Array, ""]:
        measurement, model, prior = self.terms(z)
        return measurement + model + prior

    def _add_data(self, z, curvature, gradient: BlockVector, hessian: BorderedTridiagonal):
        """Cost of measurements and priors, and a gradient and a Hessian to which theirs are added."""
        stride = self.transcription.stride
        path = points(z, stride)
        cost, force, own = self.measurement.quadratic(path, curvature)
        cost = cost + self.held.cost(path) + self.prior.cost(z.shared)
        force = force + self.held.gradient(path)
        here, precision = np.asarray(self.held.places), self.held.prior.precision
        gradient = jax.tree.map(jnp.add, gradient, unpoints(force, self.prior.gradient(z.shared), stride))
        if own.ndim == 2:
            own = own.at[here].add(precision, unique_indices=True)
            return cost, gradient, hessian.shift(unpoints(own, self.prior.precision, stride))
        own = own.at[here].add(jax.vmap(jnp.diag)(precision), unique_indices=True)
        return cost, gradient, add_points(hessian, own, None, jnp.diag(self.prior.precision), stride)

    def _bend(self, z, multipliers, hessian, curvature):
        """The Hessian with Σ multipliers · ∇²c where `curvature` is true."""
        if curvature is False:
            return hessian
        bent = lambda: self.transcription.bend(self.problem, z, multipliers, hessian)
        return lax.cond(curvature, bent, lambda: hessian)

    def quadratic(self, z, curvature):
        weight = self.problem.weight
        residuals, gradient, hessian = self.transcription.quadratic(self.problem, z, self.kernel.layout)
        # Parameters carry units of their own: damp them by their own curvature.
        scale = self._scale(self.relaxation.share * jnp.diagonal(hessian.corner))
        hessian = self._bend(z, weight.apply(residuals.mT).mT, hessian, curvature)
        cost, gradient, hessian = self._add_data(z, curvature, gradient, hessian)
        return Quadratic(cost + energy(weight, residuals), gradient, hessian, scale)

    def _scale(self, corner: Float[Array, " parameter"]) -> BlockVector:
        diagonal = self.relaxation.unit.diagonal()
        shape = (self.problem.times.shape[0], diagonal.shape[1])
        path = jnp.broadcast_to(jnp.max(diagonal, axis=0)[None], shape)
        return unpoints(path, jnp.where(corner > 0, corner, 1.0), self.transcription.stride)

    def defects(self, z):
        residuals = self.transcription.residuals(self.problem, z)
        return self._linking(residuals.reshape(residuals.shape[0], -1))

    def _linking(self, rows):
        """The rows of defects that count, zero in place of the others."""
        linked = self.problem.linked
        return rows if linked is None else jnp.where(_each(linked, rows), rows, jnp.zeros_like(rows))

    def _open(self, equations: Equations) -> Equations:
        """The equations, with d_b = Γ p_1 and d_m = Γ p_2 where nothing links the nodes a and b: as elimination needs
        rows that can be solved for them, and Γ is large there, which damps steps by next to nothing."""
        linked = self.problem.linked
        if linked is None:
            return equations
        rows, (size, within) = equations.right.shape[1], (equations.right.shape[2], equations.inside.shape[2])
        eye = jnp.eye(rows, dtype=equations.right.dtype)
        free = jax.tree.map(jnp.zeros_like, equations)
        free = dataclasses.replace(
            free, right=free.right + eye[None, :, :size], inside=free.inside + eye[None, :, size : size + within]
        )
        return jax.tree.map(lambda x, y: jnp.where(_each(linked, x), x, y), equations, free)

    def constrained(self, z, momenta, curvature):
        residuals, equations = self.transcription.equations(self.problem, z)
        defects = self._linking(residuals.reshape(residuals.shape[0], -1))
        equations, momenta = self._open(equations), self._linking(momenta)
        hessian = self._bend(z, momenta.reshape(residuals.shape), BorderedTridiagonal.zeros(z), curvature)
        _, gradient, hessian = self._add_data(z, curvature, jax.tree.map(jnp.zeros_like, z), hessian)
        weighed = self._apply(self.relaxation.unit, equations.shared)
        scale = self._scale(jnp.sum(equations.shared * weighed, axis=(0, 1)))
        return Constrained(gradient, defects, Saddle(hessian, equations, self.relaxation.slack.value), scale)

    def _apply(self, weight: Weight, rows: Float[Array, "interval row column"]) -> Float[Array, "interval row column"]:
        """The weight on each of an interval's defects, which stand one under the other."""
        size = weight.value.shape[1]
        split = rows.reshape(rows.shape[0], rows.shape[1] // size, size, rows.shape[2])
        each = jax.vmap(weight.apply, in_axes=1, out_axes=1)(split)
        return each.reshape(rows.shape)

    def forces(self, defects, momenta):
        relaxation, momenta = self.relaxation, self._linking(momenta)
        shifted = defects[:, :, None] + self._apply(relaxation.excess, momenta[:, :, None])
        return self._linking(self._apply(relaxation.bounded, shifted)[:, :, 0])

    def merit(self, z, momenta):
        defects, momenta = self.defects(z), self._linking(momenta)
        shifted = defects + self._apply(self.relaxation.excess, momenta[:, :, None])[:, :, 0]
        return sum(self._data(z)) + 0.5 * jnp.vdot(shifted, self.forces(defects, momenta))

    def dual(self, z, momenta):
        momenta = self._linking(momenta)
        yielded = self._apply(self.relaxation.slack, momenta[:, :, None])[:, :, 0]
        return sum(self._data(z)) + 0.5 * jnp.vdot(momenta, yielded)
