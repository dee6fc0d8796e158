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
from deepest.transcription._base import AbstractTranscription, Field, PathProblem


@dataclasses.dataclass(frozen=True)
class CollocationTableau:
    """Coefficients of c_i = Σ_j α_ij x_j + h Σ_j β_ij F(t_j, x_j) on the points j = 0 … stride of one interval.

    `points` (stride + 1,) holds the points' places in the interval, from 0 to 1, `alpha` and `beta` (defects, stride + 1)
    the coefficients. The tableau checks at construction that each
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
    """F at the grid points (N, D), and in a layout DFᵀ (D, D) and ∂F/∂θ (D, P)."""

    values: Float[Array, "time state"]
    state: Float[Array, "..."]
    parameters: Float[Array, "..."]


def _slopes(field: Field, times, states, shared, layout: AbstractLayout) -> _Slopes:
    size = states.shape[1]
    values, slopes = layout.slopes(field, times, states, shared)
    state, parameters = layout.rows(slopes, slice(0, size)), layout.rows(slopes, slice(size, None))
    return _Slopes(values, state, layout.transpose(parameters))


def _second(field: Field, times, states, shared, multipliers) -> Float[Array, "time unknown unknown"]:
    """Second derivatives of Σ μ · F(t, x, p) in (x, p) at every grid point."""
    size = states.shape[1]

    def one(t, x, multiplier):
        scalar = lambda z: jnp.vdot(multiplier, field(t, z[:size], z[size:]))
        return jax.hessian(scalar)(jnp.concatenate([x, shared]))

    return jax.vmap(one)(times, states, multipliers)


class _Stations(eqx.Module):
    """The grid points in the order nodes, first interior points of all intervals, second ones, …

    In this order point j of every interval is one contiguous window, which vector lanes can load.
    """

    stride: int
    count: int

    def order(self) -> np.ndarray:
        """Places on the time axis of the points in this order."""
        nodes = np.arange(self.count + 1) * self.stride
        return np.concatenate([nodes, *(nodes[:-1] + j for j in range(1, self.stride))])

    def window(self, j: int) -> slice:
        """Where point j of every interval lies."""
        if j in (0, self.stride):
            return slice(j // self.stride, self.count + j // self.stride)
        return slice(j * self.count + 1, (j + 1) * self.count + 1)

    def states(self, z: BlockVector) -> Float[Array, "time state"]:
        """The states of a path in this order."""
        inside = z.interior.reshape(self.count, self.stride - 1, z.nodes.shape[1])
        return jnp.concatenate([z.nodes, *(inside[:, j] for j in range(self.stride - 1))])


class AbstractCollocation(AbstractTranscription):
    """A transcription given by a `CollocationTableau`.

    Its Hessian needs one derivative of F a grid point, however many defects share it, and one product
    A_jᵀ R_f A_l a pair of points:

        H_jl = (αᵀα)_jl R_f + h [(βᵀα)_jl A_jᵀ R_f + (αᵀβ)_jl R_f A_l] + h² (βᵀβ)_jl A_jᵀ R_f A_l.

    Second order adds μ_j · ∇²F at each grid point, μ_j = h Σ_i β_ij R_f c_i: no coupling that was not there.
    """

    tableau: AbstractClassVar[CollocationTableau]

    def residuals(self, problem, z):
        stations = _Stations(self.stride, z.nodes.shape[0] - 1)
        states, times = stations.states(z), problem.times[stations.order()]
        values = jax.vmap(lambda t, x: problem.field(t, x, z.shared))(times, states)
        return self._defects(stations, problem, states, values)

    def _defects(self, stations, problem, states, values):
        steps = jnp.diff(problem.times[:: self.stride])[:, None]

        def one(alpha, beta):
            moved = sum(a * states[stations.window(j)] for j, a in enumerate(alpha) if a)
            return moved + steps * sum(b * values[stations.window(j)] for j, b in enumerate(beta) if b)

        return jnp.stack([one(*rows) for rows in zip(self.tableau.alpha, self.tableau.beta, strict=True)], axis=1)

    def quadratic(self, problem, z, layout, curvature):
        stations = _Stations(self.stride, z.nodes.shape[0] - 1)
        states, times = stations.states(z), problem.times[stations.order()]
        slopes = _slopes(problem.field, times, states, z.shared, layout)
        residuals = self._defects(stations, problem, states, slopes.values)
        interval = _Interval(self.tableau, stations, problem, layout)
        weigh = lambda columns: problem.weight.times(layout, columns)
        reach, columns = interval.reach(slopes), jnp.unstack(residuals[:, :, :, None], axis=1)
        forces = [weigh(layout.matrices(c)) for c in columns]
        gradient, system = assemble(
            layout,
            interval.hessian(slopes),
            border=interval.loads(slopes, [weigh(r) for r in reach]),
            corner=sum(layout.gram(r, weigh(r)) for r in reach),
            gradient=interval.loads(slopes, forces),
            shared=sum(layout.gram(r, f) for r, f in zip(reach, forces, strict=True))[:, 0],
        )
        if curvature is False:
            return residuals, gradient, system
        multipliers = self._gather(layout, interval.pull(forces))
        (count, size), parameters = states.shape, z.shared.shape[0]
        second = lax.cond(
            curvature,
            lambda: _second(problem.field, times, states, z.shared, multipliers),
            lambda: jnp.zeros((count, size + parameters, size + parameters), states.dtype),
        )[np.argsort(stations.order())]
        own, mixed, shared = second[:, :size, :size], second[:, :size, size:], second[:, size:, size:].sum(0)
        return residuals, gradient, add_points(system, own, mixed, shared, self.stride)

    def _gather(self, layout, pulls):
        """Multipliers μ of F at each interval's points, summed where intervals meet: (N, D), stations' order."""
        vectors = [None if pull is None else layout.restore(pull)[:, :, 0] for pull in pulls]
        zero = jnp.zeros_like(next(v for v in vectors if v is not None))
        first, *inside, last = (zero if v is None else v for v in vectors)
        nodes = jnp.pad(first, ((0, 1), (0, 0))) + jnp.pad(last, ((1, 0), (0, 0)))
        return jnp.concatenate([nodes, *inside])


class _Interval(eqx.Module):
    """The blocks of every interval at once, from the tableau and the slopes at the grid points."""

    tableau: CollocationTableau = eqx.field(static=True)
    stations: _Stations
    problem: PathProblem
    layout: AbstractLayout = eqx.field(static=True)

    def at(self, blocks, j):
        """Blocks at point j of every interval, from blocks at all grid points."""
        return self.layout.window(blocks, self.stations.window(j))

    @property
    def steps(self):
        """The width of every interval, to multiply matrices."""
        return self.layout.scalars(jnp.diff(self.problem.times[:: self.stations.stride]))

    def hessian(self, slopes):
        """H_jl for j ≤ l."""
        alpha, beta, layout, weight = self.tableau.alpha, self.tableau.beta, self.layout, self.problem.weight
        last, steps, own = self.stations.stride, self.steps, weight.blocks(self.layout)
        turned = [self.at(slopes.state, j) for j in range(last + 1)]
        weighed = [weight.times(layout, layout.transpose(a)) for a in turned]
        # Neighbouring intervals share a node: where the weight is the same for both, its product is made once.
        nodes = layout.window(slopes.state, slice(0, self.stations.count + 1))
        square = layout.mul(nodes, weight.times(layout, layout.transpose(nodes))) if weight.uniform else None
        shared = {0: slice(0, -1), last: slice(1, None)}

        def product(j, l):
            if square is not None and j == l and j in shared:
                return layout.window(square, shared[j])
            return layout.mul(turned[j], weighed[l])

        def block(j, l):
            terms = [(alpha[:, j] @ alpha[:, l]) * own]
            if beta[:, j] @ alpha[:, l]:
                terms.append((beta[:, j] @ alpha[:, l]) * steps * layout.transpose(weighed[j]))
            if alpha[:, j] @ beta[:, l]:
                terms.append((alpha[:, j] @ beta[:, l]) * steps * weighed[l])
            if beta[:, j] @ beta[:, l]:
                terms.append((beta[:, j] @ beta[:, l]) * steps**2 * product(j, l))
            return sum(terms) + jnp.zeros_like(turned[j])

        return {(j, l): block(j, l) for j in range(last + 1) for l in range(j, last + 1)}

    def reach(self, slopes):
        """J_iθ = h Σ_j β_ij ∂F_j/∂θ of every defect i."""
        reach = [self.at(slopes.parameters, j) for j in range(self.stations.stride + 1)]
        return [self.steps * sum(b * reach[j] for j, b in enumerate(beta) if b) for beta in self.tableau.beta]

    def pull(self, forces):
        """μ_j = h Σ_i β_ij f_i: what forces on the defects do to F at each point; None where it does not enter."""
        entering = [[(b, force) for b, force in zip(beta, forces, strict=True) if b] for beta in self.tableau.beta.T]
        return [self.steps * sum(b * force for b, force in terms) if terms else None for terms in entering]

    def loads(self, slopes, forces):
        """J_jᵀ f of every point j, for columns of forces f_i = R_f (…) on the defects."""
        pulls, loads = self.pull(forces), []
        for j, alpha in enumerate(self.tableau.alpha.T):
            load = sum(a * force for a, force in zip(alpha, forces, strict=True) if a)
            if pulls[j] is not None:
                load = load + self.layout.mul(self.at(slopes.state, j), pulls[j])
            loads.append(load)
        return loads


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
