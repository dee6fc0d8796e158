"""Ways to train: each a sequence of stages, from one state to the next."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from deepest._program import program
from deepest.anneal import Ladder
from deepest.minimise import AbstractForm, AbstractMinimiser, DampedNewton, Joint, Representers, Samples, Solution
from deepest.networks._action import NetworkAction, NetworkProblem


class AbstractRoad(eqx.Module):
    """A way to train a network, in stages after each of which it can be looked at, saved, and gone on with."""

    @abc.abstractmethod
    def ratios(self) -> Float[np.ndarray, " stage"]:
        """R_f/R_m of every stage, infinite where the network is taken as exact."""

    @abc.abstractmethod
    def begin(self, action: NetworkAction) -> PyTree[Array]:
        """The state before the first stage, or `ValueError` where the road does not lead to this action's minimum."""

    @abc.abstractmethod
    def advance(self, action: NetworkAction, state: PyTree[Array], stage: int) -> tuple[PyTree[Array], Array, Array]:
        """The state after a stage, the action that it reached, and how many steps it took, two scalars."""

    @abc.abstractmethod
    def weights(self, state: PyTree[Array]) -> PyTree[Array]:
        """The weights of a state, a tree like that of `NetworkAction.start`."""


class _Place(eqx.Module):
    z: Joint
    damping: Float[Array, ""]

    @staticmethod
    def start(action: NetworkAction, damping: float) -> "_Place":
        return _Place(action.start(), jnp.full_like(action.unit, damping))


class Annealed(AbstractRoad):
    """The weak constraint: minimise the action over weights and states at every R_f/R_m of a ladder, and at R_f = ∞.

    - `ladder`: a short one, as residual networks need it. Plain chains of saturating layers lose what the data say when
      it begins low: their model errors then carry the data and the weights shrink to nothing. Begin at 10 there.
    - `strong`: whether R_f = ∞ follows.
    - `steps`: the most Gauss–Newton steps a rung; `form`: how they are computed, `Representers`, or `Conjugate`.
    - `minimiser`: another way to minimise on every rung, `LBFGS`, in the place of both.

    Representers are the default at every R_f, by `benchmarks/minimisers.py`, in about equal time, means over seeds: on
    residual networks of width 10 they end within 3.1 % of the lowest action that any way found; `Conjugate` is level
    with them up to R_f/R_m = 1, and 3 to 69 % higher from 100 on; L-BFGS on all states is 3 to 330 % higher there.
    With more outputs than neurons between (an autoencoder, 64 and 8) choose `Conjugate` up to R_f/R_m = 100: it was
    lowest there always, and the representers' action up to three times that; at 10⁴ it is 17 % higher than theirs.
    Raises `ValueError` where `form` or `minimiser` does not go as far as the ladder, or to R_f = ∞.
    """

    ladder: Ladder = Ladder(0.03, 10.0, 6)
    strong: bool = True
    steps: int = 8
    form: AbstractForm = Representers()
    minimiser: AbstractMinimiser | None = None

    def ratios(self):
        return np.append(self.ladder.ratios, [np.inf] * self.strong)

    def begin(self, action):
        highest, ratio = self._minimiser().highest(action.unit.dtype), self.ratios()[-1]
        if ratio > highest:
            raise ValueError(
                f"This way to minimise goes up to R_f/R_m = {highest:.2g}, and the ladder to {ratio:.2g}; use "
                "strong=False or fewer rungs, and Strong() afterwards, or form=Representers()."
            )
        return _Place.start(action, 1e-2)

    def advance(self, action, state, stage):
        return _minimised(action.at(self.ratios()[stage]), self._minimiser(), state)

    def _minimiser(self) -> AbstractMinimiser:
        return DampedNewton(limit=self.steps, form=self.form) if self.minimiser is None else self.minimiser

    def weights(self, state):
        return state.z.weights


class Strong(AbstractRoad):
    """The strong constraint: Gauss–Newton on the weights alone, by forward passes and costates, the network exact.

    Inputs with noise are unknowns also here. `stages` of `steps` each; it stops early where nothing changes any more.

    With `batch` there are `passes` stages before those, each one pass through the pairs in an order that `seed`
    decides, with a step for every `batch` of them. What a pass ends with is the mean of its weights, the later ones
    weighing more. On the 1437 digits that reaches 3 % test errors in a third of the time (`benchmarks/networks.py`).
    Source: [martens2015].
    Raises `ValueError` where `form` does not go to R_f = ∞, for a batch of more pairs than there are, and for fewer
    than zero passes.
    """

    stages: int = 12
    steps: int = 4
    form: AbstractForm = Representers(iterations=10)
    batch: int | None = None
    passes: int = 3
    seed: int = 0

    def ratios(self):
        return np.full(self.stages + (0 if self.batch is None else self.passes), np.inf)

    def begin(self, action):
        if self.form.scaled:
            raise ValueError(f"{type(self.form).__name__} does not go to R_f/R_m = inf; use form=Representers().")
        _check_batch(self.batch, action)
        if self.passes < 0:
            raise ValueError(f"There are zero passes or more; received passes={self.passes}.")
        # Far from a minimum the linear model holds for short steps only.
        return _Place.start(action, 1.0)

    def advance(self, action, state, stage):
        problem = action.at(np.inf)
        if self.batch is not None and stage < self.passes:
            key = jax.random.fold_in(jax.random.key(self.seed), stage)
            return _passed(problem, self.form, state, self.batch, key)
        return _minimised(problem, DampedNewton(limit=self.steps, form=self.form), state)

    def weights(self, state):
        return state.z.weights


@program
def _minimised(problem: NetworkProblem, minimiser: AbstractMinimiser, place: _Place):
    found = rung_ended(problem, minimiser, place.z, place.damping, _tolerance(place))
    return _Place(found.z, found.damping), found.cost, found.steps


@program
def _passed(problem: NetworkProblem, form: AbstractForm, place: _Place, size: int, key):
    batches = _batches(problem, size, key)

    def one(carry, given):
        index, share = given
        place, mean = carry
        part = Joint(place.z.weights, jax.tree.map(lambda leaf: leaf[index], place.z.states))
        # The curvature of a batch is not that of all pairs.
        damping = jnp.maximum(place.damping, 1.0)
        found = rung_ended(_part(problem, index), DampedNewton(limit=1, form=form), part, damping, _tolerance(place))
        states = jax.tree.map(lambda old, new: old.at[index].set(new), place.z.states, found.z.states)
        mean = jax.tree.map(lambda mean, w: mean + share * (w - mean), mean, found.z.weights)
        return (_Place(Joint(found.z.weights, states), found.damping), mean), None

    number = jnp.arange(1, len(batches) + 1, dtype=place.damping.dtype)
    shares = 2.0 / (number + 1.0)  # the mean with weights 1, 2, 3, …
    (place, mean), _ = lax.scan(one, (place, place.z.weights), (batches, shares))
    z = problem.settled(Joint(mean, place.z.states))
    return _Place(z, place.damping), problem.cost(z), jnp.asarray(len(batches))


def _tolerance(place: _Place) -> Float[Array, ""]:
    dtype = place.damping.dtype
    return jnp.maximum(jnp.asarray(1e-6, dtype), 10.0 * jnp.finfo(dtype).eps)


def _check_batch(batch: int | None, action: NetworkAction) -> None:
    if batch is not None and not 1 <= batch <= action.pairs.count:
        raise ValueError(f"A batch has 1 to {action.pairs.count} pairs; received batch={batch}.")


def _batches(problem: NetworkProblem, size: int, key) -> Int[Array, "batch pair"]:
    """Which pairs are in each batch, in a random order; what is left over waits for another pass."""
    count = problem.data.expected.shape[0]
    return jax.random.permutation(key, count)[: count // size * size].reshape(-1, size)


def _part(problem: NetworkProblem, index: Int[Array, " pair"]) -> NetworkProblem:
    """The problem of some pairs, with their share of the prior."""
    share = index.size / problem.data.expected.shape[0]
    data = jax.tree.map(lambda leaf: leaf[index], problem.data)
    return eqx.tree_at(lambda p: (p.data, p.decay), problem, (data, share * problem.decay))


def rung_ended(
    problem: NetworkProblem, minimiser: AbstractMinimiser, z: Joint, damping: Float[Array, ""], tolerance
) -> Solution:
    """The minimum at one R_f, from where the rung before ended."""
    # That may have ended with much more damping than this one needs.
    damping = jnp.clip(damping, 1e-6, 1e2)
    return minimiser.minimise(problem, problem.settled(z), tolerance=tolerance, damping=damping, floor=1e-9)


class _Descending(eqx.Module):
    weights: PyTree[Array]
    memory: PyTree[Array]
    epoch: Int[Array, ""]


class Descent(AbstractRoad):
    """The strong constraint by a first-order optimiser of optax, on batches of pairs, with costates as gradients.

    The gradient is ∂A/∂W_l = −p_l · ∂f_l/∂W_l with p backpropagated from the last layer, of the mean over a batch
    and of the prior's share in it. A stage is `epochs` passes through all pairs, in an order that `seed` decides;
    `batch` None takes all pairs at once.
    """

    optimiser: optax.GradientTransformation
    stages: int = 50
    epochs: int = 1
    batch: int | None = None
    seed: int = 0

    def ratios(self):
        return np.full(self.stages, np.inf)

    def begin(self, action):
        if action.pairs.input_noise is not None or np.isnan(action.pairs.inputs).any():
            raise ValueError("Descent takes inputs as exact: give complete Pairs without input_noise, or use Strong().")
        _check_batch(self.batch, action)
        weights = action.start().weights
        return _Descending(weights, self.optimiser.init(weights), jnp.asarray(0))

    def advance(self, action, state, stage):
        problem, count = action.at(np.inf), action.pairs.count
        size = count if self.batch is None else self.batch
        with jax.numpy_dtype_promotion("standard"):  # optax mixes types in its counters
            return _descended(problem, self.optimiser, state, self.epochs, size, jax.random.key(self.seed))

    def weights(self, state):
        return state.weights


@program
def _descended(problem: NetworkProblem, optimiser, state: _Descending, epochs: int, size: int, key):
    def one(carry, index):
        weights, memory = carry
        gradient = jax.grad(lambda weights: _free_cost(_part(problem, index), weights) / size)(weights)
        change, memory = optimiser.update(gradient, memory, weights)
        return (optax.apply_updates(weights, change), memory), None

    def epoch(carry, number):
        return lax.scan(one, carry, _batches(problem, size, jax.random.fold_in(key, number)))

    numbers = state.epoch + jnp.arange(epochs)
    (weights, memory), _ = lax.scan(epoch, (state.weights, state.memory), numbers)
    after = _Descending(weights, memory, state.epoch + epochs)
    count = problem.data.expected.shape[0]
    return after, _free_cost(problem, weights), jnp.asarray(epochs * (count // size))


def _free_cost(problem: NetworkProblem, weights: PyTree[Array]) -> Float[Array, ""]:
    """The end costs of a forward pass, and the prior."""
    outputs = forward(problem, weights)
    ends = jax.vmap(problem.end)(outputs, problem.data.target, problem.data.weight)
    prior = jax.tree.reduce(jnp.add, jax.tree.map(lambda w: jnp.sum(w**2), problem.away(weights)))
    return jnp.sum(ends) + 0.5 * problem.decay * prior


def forward(problem: NetworkProblem, weights: PyTree[Array]) -> Float[Array, "pair output"]:
    """The outputs of all pairs without model error."""
    errors = jax.vmap(lambda datum: jax.tree.map(jnp.zeros_like, problem.compliance(datum)))(problem.data)
    return Samples(problem).outputs(weights, errors)
