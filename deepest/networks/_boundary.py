"""Training as a two-point boundary value problem."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from deepest.anneal import Ladder
from deepest.boundary import (
    AbstractCollocation,
    Conditions,
    Ends,
    Gauss,
    Guess,
    Solution,
    Status,
    System,
    Variational,
    solve,
)
from deepest.boundary import Annealed as Softened
from deepest.mechanics import ModelError
from deepest.minimise import Joint
from deepest.models import Normal, Unknown
from deepest.networks._action import Datum, NetworkAction
from deepest.networks._continuous import ContinuousNetwork
from deepest.networks._end_cost import AbstractEndCost
from deepest.networks._momenta import momenta
from deepest.networks._roads import AbstractRoad, Annealed

# All unknowns of a node stand in one dense block; more of them take minutes and gigabytes.
_MOST = 400


class _Place(eqx.Module):
    path: Float[Array, "node state"]
    momenta: Float[Array, "node state"]
    weights: PyTree[Array]


class BoundaryValue(AbstractRoad):
    """The weak constraint as a two-point boundary value problem, for a `ContinuousNetwork` and few pairs.

        dx/dt = F + p/R_f,   dp/dt = −DFᵀ p,   ∫ pᵀ ∂F/∂W dt = μ (W − W_0),
        p(0) = R_i (x − y_0), or x = y_0 where it is exact,   p(T) = −∂Φ/∂x

    The states of all M pairs are one state, and its weights are theirs together. This makes
    Σ_k [Φ + ½ R_i |x − y_0|²] + ½ ∫ R_f |dx/dt − F|² dt + ½ μ |W − W_0|² stationary, which the action of a network
    approaches when its layers are refined.

    - `ladder`: of R_f/R_m; the solution on a rung is where the next begins. The first begins where `steps` steps of
      Gauss–Newton on the network's own action end: Newton's method on these equations finds stationary paths, be they
      minima or not, and W = 0 is one for many networks.
    - `strong`: whether R_f = ∞ follows, the strong constraint as Pontryagin's principle has it.
    - `method`: `boundary.Gauss`, `Lobatto` or `Obreshkov`, or `boundary.Annealed` around one, with which every rung is
      approached from a smaller R_f.
    - `intervals`: of the mesh; as many as the network has layers where None is given. `limit`: the most Newton steps.

    A rung that is not solved ends the training. Source: [abarbanel2018].
    """

    ladder: Ladder = Ladder(0.03, 10.0, 6)
    strong: bool = True
    method: AbstractCollocation | Softened = Gauss(2)
    intervals: int | None = None
    steps: int = 60
    limit: int = 60

    def __check_init__(self):
        base = self.method.method if isinstance(self.method, Softened) else self.method
        if not isinstance(base, AbstractCollocation):
            raise ValueError(f"BoundaryValue solves by collocation; received a {type(base).__name__}.")
        if self.intervals is not None and self.intervals < 1:
            raise ValueError(f"The mesh has at least one interval; received intervals={self.intervals}.")

    def ratios(self):
        return np.append(self.ladder.ratios, [np.inf] * self.strong)

    def begin(self, action):
        network = _suited(action)
        times, (start, _) = self._times(network), _start(network, action.data)
        still = jnp.zeros((times.size, start.size), start.dtype)
        return _Place(still, still, action.start().weights)

    def advance(self, action, state, stage):
        ratio, times = self.ratios()[stage], self._times(_suited(action))
        state, before = self._approached(action, times) if stage == 0 else (state, 0)
        exact = np.isinf(ratio)
        problem, ends = posed(action, 1.0 if exact else ratio)
        found = (self._exact if exact else self._solved)(problem, ends, times, state)
        weights = _shaped(state.weights, found.parameters)
        prior = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(action.at(1.0).away(weights)))
        path = _cost(found, problem, ends, action.at(ratio).precision)
        cost = path + 0.5 * action.decay * prior
        x, p, _ = problem.split(found.y)
        after = _Place(x, p, weights)
        return after, jnp.where(found.status == Status.converged, cost, jnp.nan), before + found.steps

    def weights(self, state):
        return state.weights

    def _solved(self, problem: Variational, ends: Ends, times: np.ndarray, state: _Place) -> Solution:
        guess = Guess(times, state.path, state.momenta, parameters=_flat(state.weights))
        return solve(problem, ends, self.method, guess, limit=self.limit)

    def _exact(self, problem: Variational, ends: Ends, times: np.ndarray, state: _Place) -> Solution:
        """With R_f = ∞, where there is no Lagrangian but still a Hamiltonian."""
        method = self.method.method if isinstance(self.method, Softened) else self.method
        q = _flat(state.weights)
        summed = jnp.zeros((times.size, q.size), q.dtype)  # the third of y = (x, p, s)
        y = jnp.concatenate([state.path, state.momenta, summed], axis=1)
        guess, conditions = Guess(times, y, parameters=q), Conditions(_Conditions(problem, ends))
        return solve(System(_Exact(problem)), conditions, method, guess, limit=self.limit)

    def _approached(self, action: NetworkAction, times: np.ndarray) -> tuple[_Place, Array]:
        """Near the minimum of the network's own action on the first rung, and the steps there."""
        road = Annealed(Ladder(self.ladder.start, rungs=1), strong=False, steps=self.steps)
        place, _, count = road.advance(action, road.begin(action), 0)
        return _Place(*_guessed(action, place.z, self.ladder.start, times), place.z.weights), count

    def _times(self, network: ContinuousNetwork) -> np.ndarray:
        count = network.layers if self.intervals is None else self.intervals
        return np.linspace(0.0, network.depth, count + 1)


def posed(action: NetworkAction, ratio: float) -> tuple[Variational, Ends]:
    """The Lagrangian of all pairs with unknown weights, and the conditions at both ends, at one finite R_f/R_m."""
    problem, (start, variance) = action.at(ratio), _start(_suited(action), action.data)
    weights, centre = _flat(action.start().weights), np.asarray(_flat(action.centre))
    decay = float(action.decay)
    prior = Normal(centre, np.asarray(decay**-0.5)) if decay > 0 else None
    free = np.full(weights.shape, np.inf)
    field = _Together(action.start().weights, problem.fixed, start.shape)
    lagrangian = ModelError(field, problem.precision)
    together = Variational(lagrangian, dimension=start.size, args=Unknown(-free, free, prior=prior))
    exact = np.flatnonzero(np.asarray(variance.ravel()) == 0)
    given = {int(i): start.ravel()[i] for i in exact}
    cost = None if exact.size == start.size else _Inputs(start.ravel(), variance.ravel())
    return together, Ends(given, {}, cost, _Outputs(action.data, action.cost, start.shape))


class _Together(eqx.Module):
    """The vector field of all pairs, with the weights as args."""

    weights: PyTree[Array]
    fixed: PyTree
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, t, x, args):
        run = eqx.combine(_shaped(self.weights, args), self.fixed)[-1]
        return jax.vmap(lambda x: run.shared.field(t, x, None))(x.reshape(self.shape)).ravel()


class _Exact(eqx.Module):
    """Hamilton's equations of H = p · F, and what the weights add to them."""

    problem: Variational

    def __call__(self, t, y, q):
        x, p, _ = self.problem.split(y)
        lagrangian, args = self.problem.estimable.fill(q, q[:0])
        rate, back = jax.vjp(lambda x, args: lagrangian.field(t, x, args), x, args)
        return jnp.concatenate([rate, *jax.tree.map(jnp.negative, back(p))])


class _Conditions(eqx.Module):
    """Those of a problem with an R_f, which do not depend on it."""

    problem: Variational
    ends: Ends

    def __call__(self, start, end, q):
        return self.ends.residual(self.problem, start, end, q)


class _Inputs(eqx.Module):
    """½ Σ R_i |x − y_0|² over what is not exact."""

    expected: Float[Array, " state"]
    variance: Float[Array, " state"]

    def __call__(self, x):
        free = self.variance > 0
        precision = jnp.where(free, 1.0 / jnp.where(free, self.variance, 1.0), 0.0)
        return 0.5 * jnp.sum(precision * (x - self.expected) ** 2)


class _Outputs(eqx.Module):
    """Σ Φ over all pairs."""

    data: Datum
    end: AbstractEndCost
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x):
        return jnp.sum(jax.vmap(self.end)(x.reshape(self.shape[0], -1), self.data.target, self.data.weight))


@eqx.filter_jit
def _cost(found: Solution, problem: Variational, ends: Ends, precision: Array) -> Float[Array, ""]:
    """What the path costs, without the prior: the ends, and ½ ∫ |p|²/R_f dt by Gauss' rule."""
    shares, weights = np.polynomial.legendre.leggauss(4)
    widths = jnp.diff(found.times)
    places = found.times[:-1, None] + widths[:, None] * jnp.asarray(0.5 * (1.0 + shares), widths.dtype)[None]
    p = problem.split(found(places))[1]
    total = jnp.sum(widths * (jnp.sum(p**2, axis=2) @ jnp.asarray(0.25 * weights, widths.dtype))) / precision
    path, _, _ = problem.split(found.y)
    for cost, x in ((ends.start_cost, path[0]), (ends.end_cost, path[-1])):
        total = total if cost is None else total + cost(x)
    return total


def _start(network: ContinuousNetwork, data: Datum) -> tuple[Array, Array]:
    """Where the flow begins and how uncertain that is, (M, …) each, zeros appended where the state is augmented."""
    extra = lambda leaf: jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, network.augment)])
    return extra(data.expected), extra(data.variance)


def _guessed(action: NetworkAction, z: Joint, ratio: float, times: np.ndarray) -> tuple[Array, Array]:
    """Path and momenta (K + 1, M D) on a mesh, linear between the layers of the network."""
    found = momenta(action, z, ratio)
    layers = np.linspace(0.0, times[-1], _suited(action).layers + 1)
    augmented = len(z.states.runs) > 1
    begun = (z.states.runs[0][:, 0], found.runs[0][:, 0]) if augmented else (z.states.first, found.first)

    def nodes(first, flow):
        along = np.moveaxis(np.concatenate([first[:, None], flow], axis=1), 1, 0).reshape(layers.size, -1)
        return jnp.asarray(np.stack([np.interp(times, layers, column) for column in along.T], axis=1), flow.dtype)

    return nodes(begun[0], z.states.runs[-1]), nodes(begun[1], found.runs[-1])


def _suited(action: NetworkAction) -> ContinuousNetwork:
    network = action.network
    if not isinstance(network, ContinuousNetwork):
        raise ValueError(
            f"A boundary value problem needs a continuous depth: a ContinuousNetwork; received a "
            f"{type(network).__name__}."
        )
    if network.entry is not None or network.readout is not None:
        raise ValueError(
            "BoundaryValue is of the flow alone: give a ContinuousNetwork without entry= and readout= (augment= is "
            "allowed), or use Annealed()."
        )
    weights, states = _flat(action.start().weights).size, 2 * _start(network, action.data)[0].size
    if weights + states > _MOST:
        raise ValueError(
            f"BoundaryValue solves for all unknowns of a node at once, at most {_MOST}; received {states} of states "
            f"and momenta and {weights} weights: take fewer pairs or weights, or use Annealed()."
        )
    return network


def _flat(weights: PyTree[Array]) -> Float[Array, " weight"]:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(weights)])


def _shaped(like: PyTree[Array], flat: Float[Array, " weight"]) -> PyTree[Array]:
    """The inverse of `_flat`."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    return jax.tree.unflatten(
        structure, [part.reshape(leaf.shape) for part, leaf in zip(jnp.split(flat, ends), leaves, strict=True)]
    )
