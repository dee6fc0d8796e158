"""Transcriptions whose defects are linear in the vector field at the grid points: coefficients are the whole method."""

import dataclasses
import functools
import itertools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from deepest.linalg import AbstractLayout, BlockVector, Equations, Leading
from deepest.transcription._assemble import add_points, assemble
from deepest.transcription._base import AbstractTranscription, Field, PathProblem, Weight, just_before, points


@dataclasses.dataclass(frozen=True)
class CollocationTableau:
    """Coefficients of c_i = Σ_j α_ij x_j + h Σ_j β_ij F(t_j, x_j) on the points j = 0 … stride of one interval.

    `points` (J,) holds the J = stride + 1 points' places in the interval, from 0 to 1, `alpha` and `beta` (I, J) the
    coefficients of I defects. The tableau checks at construction that each defect vanishes on
    polynomials up to its declared `exactness`: Σ_j α_ij s_j^k + k β_ij s_j^(k−1) = 0.
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


_EULER = CollocationTableau(np.array([0.0, 1.0]), np.array([[-1.0, 1.0]]), np.array([[-1.0, 0.0]]), exactness=(1,))
_TRAPEZOID = CollocationTableau(np.array([0.0, 1.0]), np.array([[-1.0, 1.0]]), np.array([[-0.5, -0.5]]), exactness=(2,))
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

    In this order point j of every interval is one contiguous window, which vector lanes can load. An interval of
    width zero stands at either end of the grid: with these ghosts every node has an interval on both sides, and
    what intervals give to nodes is summed by windows too, without a special case at the ends.

    Where the field `jumps`, a node is two stations: the interval that begins there sees the limit from the right, and
    the one that ends there that from the left, for which right ends have a window of their own behind all others.
    """

    stride: int
    count: int
    jumps: bool

    @staticmethod
    def of(transcription: AbstractTranscription, problem: PathProblem) -> "_Stations":
        """The stations of a problem's grid."""
        return _Stations(transcription.stride, (problem.times.size - 1) // transcription.stride, problem.jumps)

    def order(self) -> np.ndarray:
        """Places on the time axis of the points in this order."""
        nodes = np.arange(self.count + 1) * self.stride
        ended = lambda inside: np.concatenate([nodes[:1], inside, nodes[-1:]])
        ends = [ended(nodes[1:])] if self.jumps else []
        return np.concatenate([ended(nodes), *(ended(nodes[:-1] + j) for j in range(1, self.stride)), *ends])

    def times(self, times: Float[Array, " time"]) -> Float[Array, " station"]:
        """When the field is evaluated at the points in this order."""
        places = times[self.order()]
        if not self.jumps:
            return places
        split = self.window(self.stride).start
        return jnp.concatenate([places[:split], just_before(places[split:])])

    def window(self, j: int) -> slice:
        """Where point j of every interval lies, ghosts included."""
        width = self.count + 2
        last = self.stride * width + 1 if self.jumps else 1
        start = {0: 0, self.stride: last}.get(j, j * width + 1)
        return slice(start, start + width)

    def real(self, j: int) -> slice:
        """Where point j of every interval of the grid lies."""
        window = self.window(j)
        return slice(window.start + 1, window.stop - 1)

    @property
    def nodes(self) -> slice:
        """Where the nodes lie."""
        return slice(1, self.count + 2)

    @property
    def shared(self) -> list[list[slice]]:
        """For the nodes, the first interior points, …: where they lie, one window a limit of the field."""
        ends = self.window(self.stride)
        left = [slice(ends.start, ends.stop - 1)] if self.jumps else []
        return [[self.nodes, *left], *([self.real(j)] for j in range(1, self.stride))]

    def states(self, z: BlockVector) -> Float[Array, "station state"]:
        """The states of a path in this order."""
        inside = z.interior.reshape(self.count, self.stride - 1, z.nodes.shape[1])
        ended = lambda points: (z.nodes[:1], points, z.nodes[-1:])
        parts = [*ended(z.nodes), *(x for j in range(self.stride - 1) for x in ended(inside[:, j]))]
        return jnp.concatenate([*parts, *(ended(z.nodes[1:]) if self.jumps else ())])


class AbstractCollocation(AbstractTranscription):
    """A transcription given by a `CollocationTableau`.

    Its Hessian needs one derivative of F a grid point, however many defects share it, and one product
    A_jᵀ R_f A_l a pair of points:

        H_jl = (αᵀα)_jl R_f + h [(βᵀα)_jl A_jᵀ R_f + (αᵀβ)_jl R_f A_l] + h² (βᵀβ)_jl A_jᵀ R_f A_l.

    Second order adds μ_j · ∇²F at each grid point, μ_j = h Σ_i β_ij R_f c_i: no coupling that was not there.
    """

    tableau: AbstractClassVar[CollocationTableau]

    def residuals(self, problem, z):
        stations = _Stations.of(self, problem)
        states, times = stations.states(z), stations.times(problem.times)
        values = jax.vmap(lambda t, x: problem.field(t, x, z.shared))(times, states)
        return self._defects(stations, problem, states, values)[1:-1]

    def _defects(self, stations, problem, states, values):
        """The defects of all intervals, the ghosts' included, which are zero."""
        steps = jnp.pad(problem.widths, 1)[:, None]

        def one(alpha, beta):
            moved = sum(a * states[stations.window(j)] for j, a in enumerate(alpha) if a)
            return moved + steps * sum(b * values[stations.window(j)] for j, b in enumerate(beta) if b)

        return jnp.stack([one(*rows) for rows in zip(self.tableau.alpha, self.tableau.beta, strict=True)], axis=1)

    def equations(self, problem, z):
        stations, layout = _Stations.of(self, problem), Leading()
        states, times = stations.states(z), stations.times(problem.times)
        slopes = _slopes(problem.field, times, states, z.shared, layout)
        eye = jnp.eye(z.nodes.shape[1], dtype=states.dtype)
        steps = problem.widths[:, None, None]

        def point(j):
            pairs = zip(self.tableau.alpha[:, j], self.tableau.beta[:, j], strict=True)
            return jnp.concatenate(
                [a * eye[None] + b * steps * slopes.state[stations.real(j)].mT for a, b in pairs], axis=1
            )

        reach = [slopes.parameters[stations.real(j)] for j in range(self.stride + 1)]
        shared = [steps * _total([b * x for b, x in zip(row, reach, strict=True)]) for row in self.tableau.beta]
        left, *inside, right = map(point, range(self.stride + 1))
        none = jnp.zeros((*left.shape[:2], 0), left.dtype)
        rows = Equations(left, jnp.concatenate([none, *inside], axis=2), right, jnp.concatenate(shared, axis=1))
        return self._defects(stations, problem, states, slopes.values)[1:-1], rows

    def bend(self, problem, z, multipliers, system):
        count, steps = z.nodes.shape[0] - 1, problem.widths
        shares = jnp.asarray(self.tableau.beta, steps.dtype)
        forces = steps[:, None, None] * jnp.einsum("ij,kid->kjd", shares, multipliers)
        right, left = jnp.pad(forces[:, 0], ((0, 1), (0, 0))), jnp.pad(forces[:, -1], ((1, 0), (0, 0)))
        nodes = right if problem.jumps else right + left
        along = points(BlockVector(nodes, forces[:, 1:-1].reshape(count, -1), z.shared), self.stride)
        second = _second(problem.field, problem.times, points(z, self.stride), z.shared, along)
        if problem.jumps:
            ends = just_before(problem.times[:: self.stride])
            second = second.at[:: self.stride].add(_second(problem.field, ends, z.nodes, z.shared, left))
        size = z.nodes.shape[1]
        own, mixed, shared = second[:, :size, :size], second[:, :size, size:], second[:, size:, size:].sum(0)
        return add_points(system, own, mixed, shared, self.stride)

    def quadratic(self, problem, z, layout):
        stations = _Stations.of(self, problem)
        states, times = stations.states(z), stations.times(problem.times)
        slopes = _slopes(problem.field, times, states, z.shared, layout)
        residuals = self._defects(stations, problem, states, slopes.values)
        interval = _Interval(self.tableau, stations, problem, layout)
        shares, force = interval.shares(slopes), interval.forces(residuals)
        responses, reach = interval.spots(slopes.state), interval.spots(slopes.parameters)
        through = lambda acts, slope: [layout.mul(a, m) for a, m in zip(acts, slope, strict=True)]
        loads = lambda push: [
            _total([d, *through(acts, m)]) for d, acts, m in zip(push.direct, responses, push.slope, strict=True)
        ]
        against = lambda push: _total(
            [layout.gram(r, m) for r, m in zip(itertools.chain(*reach), itertools.chain(*push.slope), strict=True)]
        )
        border, push = loads(shares), loads(force)
        gradient, system = assemble(
            layout,
            interval.hessian(slopes),
            diagonal=interval.diagonal(slopes),
            border=border,
            corner=against(shares),
            gradient=push,
            shared=against(force)[:, 0],
        )
        return residuals[1:-1], gradient, system


def _total(terms: list[Float[Array, "..."]]) -> Float[Array, "..."]:
    return functools.reduce(jnp.add, terms)


class _Push(eqx.Module):
    """What forces on the defects do at the grid points, summed over intervals: [nodes, first interiors, …].

    `direct` is Σ α_ij f_i, and `slope` is h Σ β_ij f_i, which acts through F and so has yet to be multiplied by Aᵀ:
    one sum for each limit that F has there.
    """

    direct: list[Float[Array, "..."]]
    slope: list[list[Float[Array, "..."]]]


class _Interval(eqx.Module):
    """The blocks of every interval at once, from the tableau and the slopes at the grid points."""

    tableau: CollocationTableau = eqx.field(static=True)
    stations: _Stations
    problem: PathProblem
    layout: AbstractLayout = eqx.field(static=True)

    def at(self, blocks, j):
        """Blocks at point j of every interval of the grid, from blocks at all grid points."""
        return self.layout.window(blocks, self.stations.real(j))

    def spots(self, blocks):
        """Blocks at the nodes, at the first interior points, …, one for each limit, from blocks at all stations."""
        return [[self.layout.window(blocks, window) for window in windows] for windows in self.stations.shared]

    def gather(self, blocks):
        """What intervals, ghosts included, give to their points j: as `spots` has it."""
        first, *inside, last = blocks
        window = self.layout.window
        right, left = window(first, slice(1, None)), window(last, slice(0, -1))
        nodes = [right, left] if self.stations.jumps else [left + right]
        return [nodes, *([window(x, slice(1, -1))] for x in inside)]

    @property
    def widths(self):
        """The width of every interval, ghosts included, to multiply matrices."""
        return self.layout.scalars(jnp.pad(self.problem.widths, 1))

    def diagonal(self, slopes):
        """H_jj at the nodes, summed over the intervals on both sides.

        The weights are summed before the product: one product a node and limit of F, and no sum of matrices over
        intervals.
        """
        alpha, beta, layout = self.tableau.alpha, self.tableau.beta, self.layout
        steps, weight = jnp.pad(self.problem.widths, 1), self.problem.weight.ghosted()
        pairs = (alpha.T @ alpha, alpha.T @ beta, beta.T @ beta)

        def summed(power, given, sides):
            value = weight.scaled(jnp.where(steps != 0, steps**power, 0.0)).value
            ended = {0: value[1:], -1: value[:-1]}
            return Weight(_total([float(given[side, side]) * ended[side] for side in sides]))

        def squares(sides, nodes):
            constant, linear, square = (summed(power, given, sides) for power, given in enumerate(pairs))
            rest = linear.blocks(layout) + square.after(layout, nodes)
            return constant.blocks(layout) + linear.after(layout, nodes) + layout.mul(rest, layout.transpose(nodes))

        limits = [(0,), (-1,)] if self.stations.jumps else [(-1, 0)]
        return _total([squares(*limit) for limit in zip(limits, self.spots(slopes.state)[0], strict=True)])

    def hessian(self, slopes):
        """H_jl of every interval for all that `assemble` asks for but the nodes' own blocks."""
        alpha, beta, layout, weight = self.tableau.alpha, self.tableau.beta, self.layout, self.problem.weight
        last, own = self.stations.stride, weight.blocks(layout)
        steps = layout.window(self.widths, slice(1, -1))
        turned = [self.at(slopes.state, j) for j in range(last + 1)]
        weighed = [weight.after(layout, a) for a in turned]

        def block(j, l):
            given = lambda a, b: float(a[:, j] @ b[:, l])
            # The product takes A_l transposed as it stands, which costs a matrix product nothing.
            rest = steps * (given(alpha, beta) * own + given(beta, beta) * steps * weighed[j])
            straight = given(alpha, alpha) * own + given(beta, alpha) * steps * weighed[j]
            return straight + layout.mul(rest, layout.transpose(turned[l]))

        inside = [(j, l) for l in range(1, last) for j in (0, *range(1, l + 1), last)]
        return {(j, l): block(j, l) for j, l in [*inside, (0, last)]}

    def shares(self, slopes) -> _Push:
        """Of the forces R_f J_θ, a column a parameter."""
        alpha, beta = self.tableau.alpha, self.tableau.beta
        places = [self.stations.window(j) for j in range(self.stations.stride + 1)]
        columns = [self.layout.window(slopes.parameters, place) for place in places]
        return self._push(alpha.T @ beta, beta.T @ beta, columns, 1)

    def forces(self, residuals) -> _Push:
        """Of the forces R_f c."""
        columns = [self.layout.matrices(c) for c in jnp.unstack(residuals[:, :, :, None], axis=1)]
        return self._push(self.tableau.alpha.T, self.tableau.beta.T, columns, 0)

    def _push(self, direct, slope, columns, power) -> _Push:
        """Sums of columns x_l, with coefficients R_f h^power direct_jl and R_f h^(power + 1) slope_jl at point j."""
        weight = self.problem.weight.ghosted()

        def mix(coefficients, power):
            scale, sums = self.widths**power, []
            for row in coefficients:
                terms = [c * scale * x for c, x in zip(row, columns, strict=True) if c]
                sums.append(weight.times(self.layout, _total(terms)) if terms else jnp.zeros_like(columns[0]))
            return self.gather(sums)

        return _Push([_total(x) for x in mix(direct, power)], self.layout.store(mix(slope, power + 1)))


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
