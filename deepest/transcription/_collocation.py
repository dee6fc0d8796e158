"""Transcriptions whose defects are linear in the vector field at the grid points: coefficients are the whole method."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jax import lax
from jaxtyping import Array, Float

from deepest.linalg import AbstractLayout, BlockVector
from deepest.transcription._assemble import add_points, assemble
from deepest.transcription._base import AbstractTranscription, PathProblem, points


@dataclasses.dataclass(frozen=True)
class CollocationTableau:
    """Coefficients of c_i = Σ_j α_ij x_j + h Σ_j β_ij F(t_j, x_j) on the points j = 0 … stride of one interval.

    `points` holds the points' places in the interval, from 0 to 1. The tableau checks at construction that each
    defect vanishes on polynomials up to its declared `exactness`: Σ_j α_ij s_j^k + k β_ij s_j^(k−1) = 0.
    """

    points: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    exactness: tuple[int, ...]

    def __post_init__(self):
        s = self.points
        for alpha, beta, exactness in zip(self.alpha, self.beta, self.exactness, strict=True):
            for k in range(exactness + 1):
                slope = k * s ** max(k - 1, 0) if k else 0.0 * s
                defect = alpha @ s**k + beta @ slope
                if abs(defect) > 1e-14:
                    raise ValueError(f"These coefficients leave a defect {defect:.2g} on t^{k}.")


_EULER = CollocationTableau(
    np.array([0.0, 1.0]), np.array([[-1.0, 1.0]]), np.array([[-1.0, 0.0]]), exactness=(1,)
)
_TRAPEZOID = CollocationTableau(
    np.array([0.0, 1.0]), np.array([[-1.0, 1.0]]), np.array([[-0.5, -0.5]]), exactness=(2,)
)
_HERMITE_SIMPSON = CollocationTableau(
    np.array([0.0, 0.5, 1.0]),
    np.array([[-1.0, 0.0, 1.0], [-0.5, 1.0, -0.5]]),
    np.array([[-1 / 6, -4 / 6, -1 / 6], [-1 / 8, 0.0, 1 / 8]]),
    exactness=(4, 3),
)


class _Slopes(eqx.Module):
    """F at the grid points (N, D), and its derivatives by state and parameters, in a layout."""

    values: Float[Array, "time state"]
    state: Float[Array, "..."]
    parameters: Float[Array, "..."]


def _slopes(problem: PathProblem, path, shared, layout: AbstractLayout) -> _Slopes:
    size = path.shape[1]
    seeds = jnp.eye(size + shared.shape[0], dtype=path.dtype)

    def tangents(t, x, seeds):
        push = lambda seed: jax.jvp(
            lambda x, p: problem.field(t, x, p), (x, shared), (seed[:size], seed[size:])
        )[1]
        return jax.vmap(push, out_axes=1)(seeds)

    values = jax.vmap(lambda t, x: problem.field(t, x, shared))(problem.times, path)
    slopes = layout.vmap(tangents, batched=(True, True, False))(problem.times, path, seeds)
    state, parameters = layout.columns(slopes, slice(0, size)), layout.columns(slopes, slice(size, None))
    return _Slopes(values, state, parameters)


def _second(problem: PathProblem, path, shared, multipliers) -> Float[Array, "time unknown unknown"]:
    """Second derivatives of Σ μ · F(t, x, p) in (x, p) at every grid point."""
    size = path.shape[1]

    def one(t, x, multiplier):
        scalar = lambda z: jnp.vdot(multiplier, problem.field(t, z[:size], z[size:]))
        return jax.hessian(scalar)(jnp.concatenate([x, shared]))

    return jax.vmap(one)(problem.times, path, multipliers)


class AbstractCollocation(AbstractTranscription):
    """A transcription given by a `CollocationTableau`.

    Its Hessian needs one derivative of F a grid point, however many defects share it, and one product
    A_jᵀ R_f A_l a pair of points:

        H_jl = (αᵀα)_jl R_f + h [(βᵀα)_jl A_jᵀ R_f + (αᵀβ)_jl R_f A_l] + h² (βᵀβ)_jl A_jᵀ R_f A_l.

    Second order adds μ_j · ∇²F at each grid point, μ_j = h Σ_i β_ij R_f c_i: no coupling that was not there.
    """

    tableau: AbstractClassVar[CollocationTableau]

    def residuals(self, problem, z):
        path = points(z, self.stride)
        values = jax.vmap(lambda t, x: problem.field(t, x, z.shared))(problem.times, path)
        return self._defects(problem, path, values)

    def _defects(self, problem, path, values):
        tableau, last = self.tableau, path.shape[0] - self.stride
        steps = jnp.diff(problem.times[:: self.stride])[:, None]
        at = lambda array, j: array[j : last + j : self.stride]

        def one(alpha, beta):
            moved = sum(a * at(path, j) for j, a in enumerate(alpha) if a)
            return moved + steps * sum(b * at(values, j) for j, b in enumerate(beta) if b)

        return jnp.stack([one(*rows) for rows in zip(tableau.alpha, tableau.beta, strict=True)], axis=1)

    def quadratic(self, problem, z, layout, curvature):
        path = points(z, self.stride)
        slopes = _slopes(problem, path, z.shared, layout)
        residuals = self._defects(problem, path, slopes.values)
        interval = _Interval(self.tableau, self.stride, problem, layout)
        hessian = interval.hessian(slopes)
        loads, corner, multipliers = interval.loads(slopes, residuals)
        gradient, system = assemble(layout, hessian, loads, corner)
        if curvature is False:
            return residuals, gradient, system
        multipliers = self._gather(multipliers)
        second = lax.cond(
            curvature,
            lambda: _second(problem, path, z.shared, multipliers),
            lambda: jnp.zeros((path.shape[0],) + 2 * (path.shape[1] + z.shared.shape[0],), path.dtype),
        )
        size = path.shape[1]
        own, mixed, shared = second[:, :size, :size], second[:, :size, size:], second[:, size:, size:].sum(0)
        return residuals, gradient, add_points(system, own, mixed, shared, self.stride)

    def _gather(self, multipliers):
        """Multipliers of each interval's points, (K, D) each, summed where intervals meet: (N, D)."""
        first, *inside, last = multipliers
        pad = ((0, 0),)
        nodes = jnp.pad(first, ((0, 1), *pad)) + jnp.pad(last, ((1, 0), *pad))
        inner = jnp.concatenate([first[:, :0], *inside], axis=1)
        return points(BlockVector(nodes, inner, nodes[0, :0]), self.stride)


class _Interval(eqx.Module):
    """The blocks of every interval at once, from the tableau and the slopes at the grid points."""

    tableau: CollocationTableau = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    problem: PathProblem
    layout: AbstractLayout = eqx.field(static=True)

    def at(self, blocks, j):
        """Blocks at point j of every interval, from blocks at all grid points."""
        last = self.problem.times.shape[0] - 1
        return self.layout.window(blocks, slice(j, last + j, self.stride))

    @property
    def steps(self):
        return self.layout.scalars(jnp.diff(self.problem.times[:: self.stride]))

    def hessian(self, slopes):
        """H_jl for j ≤ l."""
        alpha, beta, layout, weight = self.tableau.alpha, self.tableau.beta, self.layout, self.problem.weight
        last, steps, own = self.stride, self.steps, weight.blocks(self.layout)
        slope = [self.at(slopes.state, j) for j in range(last + 1)]
        weighed = [weight.times(layout, a) for a in slope]
        # Neighbouring intervals share a node: where the weight is the same for both, its product is made once.
        nodes = layout.window(slopes.state, slice(None, None, last))
        square = layout.tmul(nodes, weight.times(layout, nodes)) if weight.uniform else None
        shared = {0: slice(0, -1), last: slice(1, None)}

        def product(j, l):
            if square is not None and j == l and j in shared:
                return layout.window(square, shared[j])
            return layout.tmul(slope[j], weighed[l])

        def block(j, l):
            terms = [(alpha[:, j] @ alpha[:, l]) * own]
            if beta[:, j] @ alpha[:, l]:
                terms.append((beta[:, j] @ alpha[:, l]) * steps * layout.transpose(weighed[j]))
            if alpha[:, j] @ beta[:, l]:
                terms.append((alpha[:, j] @ beta[:, l]) * steps * weighed[l])
            if beta[:, j] @ beta[:, l]:
                terms.append((beta[:, j] @ beta[:, l]) * steps**2 * product(j, l))
            return sum(terms) + jnp.zeros_like(slope[j])

        return {(j, l): block(j, l) for j in range(last + 1) for l in range(j, last + 1)}

    def loads(self, slopes, residuals):
        """Columns that couple each point to the parameters and the gradient, the corner, and each point's μ."""
        alpha, beta, layout, steps = self.tableau.alpha, self.tableau.beta, self.layout, self.steps
        reach = [self.at(slopes.parameters, j) for j in range(self.stride + 1)]
        forces, corner = [], 0.0
        for i in range(alpha.shape[0]):
            column = layout.matrices(residuals[:, i, :, None])
            pushed = steps * sum(b * reach[j] for j, b in enumerate(beta[i]) if b)
            force = self.problem.weight.times(layout, layout.stack([[pushed, column]]))
            forces.append(force)
            corner = corner + layout.gram(pushed, force)
        loads, multipliers = [], []
        for j in range(self.stride + 1):
            pull = steps * sum(b * forces[i] for i, b in enumerate(beta[:, j]) if b) if np.any(beta[:, j]) else None
            load = sum(a * forces[i] for i, a in enumerate(alpha[:, j]) if a)
            if pull is not None:
                load = load + layout.tmul(self.at(slopes.state, j), pull)
            loads.append(load)
            pull = jnp.zeros_like(forces[0]) if pull is None else pull
            multipliers.append(layout.restore(layout.columns(pull, slice(-1, None)))[:, :, 0])
        return loads, corner, multipliers


class Euler(AbstractCollocation):
    """c = x_{n+1} − x_n − h F(t_n, x_n): first order, explicit."""

    tableau: ClassVar[CollocationTableau] = _EULER
    stride: ClassVar[int] = 1
    defects: ClassVar[int] = 1
    order: ClassVar[int] = 1


class Trapezoid(AbstractCollocation):
    """c = x_{n+1} − x_n − (h/2)(F_n + F_{n+1}): second order."""

    tableau: ClassVar[CollocationTableau] = _TRAPEZOID
    stride: ClassVar[int] = 1
    defects: ClassVar[int] = 1
    order: ClassVar[int] = 2


class HermiteSimpson(AbstractCollocation):
    """Simpson's rule with a Hermite interpolated midpoint: fourth order, one interior point an interval.

    On an interval of width h with ends a, b and midpoint m, two grid steps:

        c_1 = x_b − x_a − (h/6)(F_a + 4 F_m + F_b),   c_2 = x_m − ½ (x_a + x_b) − (h/8)(F_a − F_b).

    The midpoint is a grid point like any other and may be observed. Source: [hargraves1987].
    """

    tableau: ClassVar[CollocationTableau] = _HERMITE_SIMPSON
    stride: ClassVar[int] = 2
    defects: ClassVar[int] = 2
    order: ClassVar[int] = 4
