"""The action of a network: end costs, model error of every layer, and a prior on the weights."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from deepest.minimise import AbstractForcedProblem, Joint, Samples
from deepest.networks._end_cost import AbstractEndCost, SquaredError
from deepest.networks._network import AbstractNetwork
from deepest.networks._pairs import Pairs
from deepest.networks._run import Run


class Along(eqx.Module):
    """States, or errors, of one pair along the layers: of the first one (…), and of all in each run (count, …)."""

    first: Array
    runs: tuple[Array, ...]


class Datum(eqx.Module):
    """What belongs to one pair: the input expected and its variance 1/R, zero where it is exact; target and weight."""

    expected: Array
    variance: Array
    target: Array
    weight: Array


class NetworkAction(eqx.Module):
    """A(W, X) = Σ_k [Φ(x_F; y) + ½ R_i |x_0 − y_0|² + ½ R_f Σ_l r_l |x_l − f_l(x_{l−1})|²]_k + ½ μ |W − W_0|²

    over the states x_0 … x_F of M pairs and the weights W of one network, which they share. It is the action of data
    assimilation with the layer number as time, and the first and the last layer measured.

    - `network`: an `AbstractNetwork`; W are all inexact arrays in it, and what they are is where a search begins.
    - `pairs`: M pairs; what is NaN in them has no measurement term. Exact inputs have R_i = ∞.
    - `cost`: Φ, `SquaredError()`, which is ½ R_m |x_F − y|², or `CrossEntropy()`, in which R_m = 1.
    - `decay`: μ, a scalar, the inverse variance of the weights' prior, whose mean W_0 is zero, or with `centred` the
      given weights.

    R_f is given by R_f/R_m, with R_m the mean over measured target components; r_l is 1 for the layers of a
    `LayerMap`, and N/T for those of a `ContinuousNetwork`. Source: [abarbanel2018].
    Raises `ValueError` where network, pairs and cost do not fit each other, or for a negative decay.
    """

    network: AbstractNetwork
    pairs: Pairs
    cost: AbstractEndCost
    decay: Float[Array, ""]
    data: Datum
    runs: tuple[Run, ...]
    centre: tuple[Run, ...]
    unit: Float[Array, ""]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        network: AbstractNetwork,
        pairs: Pairs,
        *,
        cost: AbstractEndCost = SquaredError(),
        decay: ArrayLike = 0.3,
        centred: bool = False,
    ):
        dtype = np.dtype(jnp.result_type(float))
        if np.shape(decay) or not 0 <= np.asarray(decay) < np.inf:
            raise ValueError(f"decay is an inverse variance, zero or more; received {decay}.")
        self.network, self.pairs, self.cost = network, pairs, cost
        self.runs = network.runs(pairs.inputs.shape[1:], dtype)
        self.shape = self.runs[-1].shape
        self.decay = jnp.asarray(decay, dtype)
        weights, _ = eqx.partition(self.runs, eqx.is_inexact_array)
        self.centre = weights if centred else jax.tree.map(jnp.zeros_like, weights)
        self.data = _data(pairs, cost, self.shape, dtype)
        weight = np.asarray(self.data.weight)
        self.unit = jnp.asarray(weight[weight > 0].mean(), dtype)

    def at(self, ratio: ArrayLike) -> "NetworkProblem":
        """The problem at one R_f/R_m, a scalar; infinity takes the network as exact.

        Raises `ValueError` for one that is not positive, where its value is known.
        """
        if not isinstance(ratio, Tracer) and not np.all(np.asarray(ratio) > 0):
            raise ValueError(f"R_f/R_m is positive; received {ratio}.")
        _, fixed = eqx.partition(self.runs, eqx.is_inexact_array)
        precision = self.unit * jnp.asarray(ratio, self.unit.dtype)
        return NetworkProblem(
            data=self.data, decay=self.decay, bounds=None, fixed=fixed, end=self.cost, centre=self.centre,
            precision=precision,
        )  # fmt: skip

    def start(self, network: AbstractNetwork | None = None) -> Joint:
        """Weights as they are in the network, or in another of the same structure, and states of a forward pass.

        Raises `ValueError` for a network of another structure.
        """
        runs = self.runs if network is None else network.runs(self.pairs.inputs.shape[1:], self.data.expected.dtype)
        weights, _ = eqx.partition(runs, eqx.is_inexact_array)
        if jax.tree.map(jnp.shape, weights) != jax.tree.map(jnp.shape, self.centre):
            raise ValueError("A search starts from a network with the same layers and widths as the action's.")
        return _forward(self.at(jnp.inf), weights)

    def trained(self, weights: Any) -> AbstractNetwork:
        """The network with other weights, which are a tree like that of `start`."""
        _, fixed = eqx.partition(self.runs, eqx.is_inexact_array)
        return self.network.trained(eqx.combine(weights, fixed))

    @property
    def measured(self) -> int:
        """How many numbers are measured, of the last layer and, where inputs have noise, of the first."""
        given = np.isfinite(self.pairs.inputs).sum() if self.pairs.input_noise is not None else 0
        return int(given + np.count_nonzero(np.asarray(self.data.weight)))

    def level(self, cost: ArrayLike) -> Array:
        """The reduced level 2A/measured, of the shape () or (N,) of `cost`: 1 at the truth, if the noise is right and
        the prior's part is small."""
        return 2.0 * jnp.asarray(cost) / self.measured


class NetworkProblem(AbstractForcedProblem):
    """The action at one R_f, as `minimise` sees it."""

    data: Datum
    decay: Float[Array, ""]
    bounds: None
    fixed: tuple[Run, ...]
    end: AbstractEndCost
    centre: tuple[Run, ...]
    precision: Float[Array, ""]

    def compliance(self, datum):
        full = lambda run: jnp.full((run.count, *run.shape), 1.0 / (self.precision * run.stiffness))
        return Along(datum.variance, tuple(map(full, self.fixed)))

    def errors(self, weights, states, datum):
        free = datum.variance > 0
        # An input known exactly is no unknown, whatever a minimiser that knows no structure does with it.
        x, errors = jnp.where(free, states.first, datum.expected), []
        away = jnp.where(free, states.first - datum.expected, jnp.zeros_like(states.first))
        for run, along in zip(eqx.combine(weights, self.fixed), states.runs, strict=True):
            if math.isinf(run.stiffness):
                errors.append(jnp.zeros_like(along))
                x = run(x)  # nor are the states after a layer that never errs
                continue
            found = run.errors(x, along)
            errors.append(jnp.where(jnp.isinf(self.precision), jnp.zeros_like(found), found))
            x = along[-1]
        return Along(away, tuple(errors))

    def states(self, weights, errors, datum):
        first = x = datum.expected + errors.first
        along = []
        for run, error in zip(eqx.combine(weights, self.fixed), errors.runs, strict=True):
            x, states = run.states(x, error)
            along.append(states)
        return Along(first, tuple(along))

    def output(self, states):
        return states.runs[-1][-1].ravel()

    def end_cost(self, output, datum):
        return self.end.local(output, datum.target, datum.weight)

    def exact(self):
        return jnp.isinf(self.precision)

    def settled(self, z: Joint) -> Joint:
        """The same weights, with states that do not err where none may."""
        samples = Samples(self)
        roll = lambda z: Joint(z.weights, samples.states(z.weights, samples.errors(z.weights, z.states)))
        return lax.cond(self.exact(), roll, lambda z: z, z)

    def away(self, weights):
        return jax.tree.map(jnp.subtract, weights, self.centre)

    def stacked(self, weights):
        both = lambda run: (run.stacked, run.shared)
        each = lambda tree, value: jax.tree.map(lambda _: value, tree)
        return tuple(eqx.tree_at(both, run, (each(run.stacked, True), each(run.shared, False))) for run in weights)

    def cost(self, z):
        def one(states, datum):
            errors, compliance = self.errors(z.weights, states, datum), self.compliance(datum)
            force = lambda q, e: jnp.sum(jnp.where(q > 0, e**2 / jnp.where(q > 0, q, jnp.ones_like(q)), 0.0))
            model = sum(jax.tree.leaves(jax.tree.map(force, compliance, errors)))
            return self.end(self.output(states), datum.target, datum.weight) + 0.5 * model

        prior = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(self.away(z.weights)))
        return jnp.sum(jax.vmap(one)(z.states, self.data)) + 0.5 * self.decay * prior


@eqx.filter_jit
def _forward(problem: NetworkProblem, weights) -> Joint:
    none = jax.vmap(lambda datum: jax.tree.map(jnp.zeros_like, problem.compliance(datum)))(problem.data)
    return Joint(weights, Samples(problem).states(weights, none))


def _data(pairs: Pairs, cost: AbstractEndCost, shape: tuple[int, ...], dtype) -> Datum:
    measured = np.isfinite(pairs.inputs)
    whole = lambda name, value: _whole(name, value, pairs.inputs.shape[1:])[None]
    mean, deviation = (0.0, 1.0) if pairs.input_prior is None else pairs.input_prior
    known = whole("input_noise", 0.0 if pairs.input_noise is None else pairs.input_noise) ** 2
    expected = np.where(measured, pairs.inputs, whole("The mean of input_prior", mean)).astype(dtype)
    variance = np.where(measured, known, whole("The deviation of input_prior", deviation) ** 2).astype(dtype)
    target = cost.taken(pairs.targets, shape, dtype)
    precision = _whole("noise", pairs.noise, shape).ravel() ** -2.0
    weight = cost.weights(target, precision)
    if not (weight > 0).any():
        raise ValueError("None of the targets is measured: all are NaN.")
    return Datum(*map(jnp.asarray, (expected, variance, target, weight.astype(dtype))))


def _whole(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """One number for every component."""
    given = np.shape(value)
    if given not in ((), shape):
        raise ValueError(f"{name} is one number, or one for each component, of shape {shape}; received shape {given}.")
    return np.broadcast_to(np.asarray(value), shape)
