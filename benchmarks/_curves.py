"""Learning curves on digits: error and log-loss against the number of training pairs."""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from _common import RESULTS, save
from jax.flatten_util import ravel_pytree
from matplotlib import pyplot as plt

from deepest import networks
from deepest.anneal import Ladder
from deepest.networks import Annealed, CrossEntropy, Descent, NetworkAction, Strong

PAIRS = (30, 100, 300, 1000)
VALIDATION = 200
DECAYS = (0.3, 2.0)
LAYERS = 4
LADDER = Annealed(Ladder(0.03, 10.0, 5), steps=6)
# Made once: a new optimiser would be a new program.
ADAM = optax.adam(3e-3), optax.adam(1e-2)
NETS = ("annealed, best rung", "annealed to ∞", "strong Gauss–Newton", "Adam", "L-BFGS")
PLAIN = ("softmax regression", "ridge regression", "nearest centroid", "most frequent label")


def split(seed: int):
    """1437 training images in an order of the seed, less the validation pairs; those; the test pairs."""
    example = networks.digits()
    order = np.random.default_rng(seed).permutation(example.action.pairs.count)
    shuffled = example.action.pairs.take(order)
    return shuffled.take(slice(VALIDATION, None)), shuffled.take(slice(0, VALIDATION)), example.held_out


@eqx.filter_jit
def judged(network, inputs, labels):
    """Share of wrong labels and mean −log p of the right one."""
    logits = jax.vmap(network)(inputs)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(jnp.argmax(logits, axis=1) != labels), jnp.mean(losses)


def score(network, pairs) -> tuple[float, float]:
    """`judged` of pairs, as two numbers."""
    return tuple(map(float, judged(network, jnp.asarray(pairs.inputs), jnp.asarray(pairs.targets))))


def stages(action: NetworkAction, road):
    """The network after every stage."""
    state = road.begin(action)
    for stage in range(road.ratios().size):
        state, _, _ = road.advance(action, state, stage)
        yield action.trained(road.weights(state))


@eqx.filter_jit
def _slope(flat, unravel, fixed, inputs, labels, decay):
    def cost(flat):
        network = eqx.combine(unravel(flat), fixed)
        ends = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(network)(inputs), labels)
        return jnp.sum(ends) + 0.5 * decay * jnp.sum(flat**2)

    return jax.value_and_grad(cost)(flat)


def quasi_newton(action: NetworkAction, evaluations: int = 300):
    """The same strong cost by scipy's L-BFGS-B."""
    weights, fixed = eqx.partition(action.network, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(weights)
    inputs, labels = jnp.asarray(action.pairs.inputs), jnp.asarray(action.pairs.targets)
    unravel = jax.tree_util.Partial(unravel)

    def host(u):
        value, slope = _slope(jnp.asarray(u, flat.dtype), unravel, fixed, inputs, labels, action.decay)
        return float(value), np.asarray(slope, float)

    options = {"maxfun": evaluations, "maxiter": evaluations}
    found = scipy.optimize.minimize(host, np.asarray(flat, float), jac=True, method="L-BFGS-B", options=options)
    return eqx.combine(unravel(jnp.asarray(found.x, flat.dtype)), fixed)


def candidates(action: NetworkAction, seed: int):
    """(method, network): all networks among which validation chooses, the roads' lengths being fixed."""
    rungs = list(stages(action, LADDER))
    yield from (("annealed, best rung", network) for network in rungs)
    yield "annealed to ∞", rungs[-1]
    *_, last = stages(action, Strong(stages=4, steps=6))
    yield "strong Gauss–Newton", last
    for optimiser in ADAM:
        count = action.pairs.count
        road = Descent(optimiser, stages=1, epochs=max(60, 20_000 // count), batch=min(32, count), seed=seed)
        *_, last = stages(action, road)
        yield "Adam", last
    yield "L-BFGS", quasi_newton(action)


def one(pairs: int, seed: int) -> dict[str, tuple[float, float]]:
    """Test error and log-loss of every method; what has the least validation log-loss is chosen within each."""
    rest, validation, test = split(seed)
    training = rest.take(slice(0, pairs))
    network = networks.digits_network(layers=LAYERS, key=jax.random.key(seed))
    best: dict[str, tuple[float, tuple[float, float]]] = {}
    for decay in DECAYS:
        action = NetworkAction(network, training, cost=CrossEntropy(), decay=decay)
        for method, found in candidates(action, seed):
            loss = score(found, validation)[1]
            if np.isfinite(loss) and loss < best.get(method, (np.inf,))[0]:
                best[method] = loss, score(found, test)
    plain = networks.plain_classifiers(training, test)
    return {name: found for name, (_, found) in best.items()} | {s.name: (s.error, s.loss) for s in plain}


def mean_error(values) -> list[float]:
    """Mean and standard error."""
    values = np.asarray(values, float)
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))]


def table(found: list[dict[str, tuple[float, float]]], reference: str) -> dict:
    """Mean ± standard error over seeds of error and loss, and of the paired difference to a reference."""
    rows = {}
    for name in found[0]:
        errors, losses = np.array([each[name] for each in found]).T
        rows[name] = {"error": mean_error(errors), "loss": mean_error(losses)}
        own = np.array([each[reference] for each in found]).T
        rows[name] |= {"error less": mean_error(errors - own[0]), "loss less": mean_error(losses - own[1])}
    return rows


def curves(seeds: int) -> None:
    """All numbers of pairs and seeds."""
    found, began = {}, time.perf_counter()
    for pairs in PAIRS:
        runs = []
        for seed in range(seeds):
            runs.append(one(pairs, seed))
            print(pairs, seed, f"{time.perf_counter() - began:.0f} s", runs[-1], flush=True)
        found[str(pairs)] = table(runs, "softmax regression")
        settings = {"decays": DECAYS, "layers": LAYERS, "ladder": LADDER.ratios()[:-1].tolist(), "seeds": seeds}
        save("networks_curves", {**settings, "validation": VALIDATION, "pairs": without_nan(found)})
    for pairs, rows in found.items():
        print(f"M = {pairs}")
        for name, row in rows.items():
            print(f"  {name:22s} error {show(row['error'], 100, 1)} %  log-loss {show(row['loss'], 1, 3)}")
    _draw(found)


def without_nan(tree):
    """What has no number, as null: JSON knows no NaN."""
    return jax.tree.map(lambda value: None if np.isnan(value) else value, tree)


def show(pair, scale: float, digits: int) -> str:
    """Mean ± standard error."""
    return " ± ".join(f"{scale * value:.{digits}f}" for value in pair)


def _draw(found: dict) -> None:
    _, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    numbers = np.array([int(pairs) for pairs in found])
    for axis, what, scale in zip(axes, ("error", "loss"), (100.0, 1.0), strict=True):
        for k, name in enumerate((*NETS, *PLAIN[:3])):
            values = scale * np.array([rows[name][what] for rows in found.values()])
            if np.isfinite(values).all():
                style = "--" if name in PLAIN else "-"
                shifted = numbers * 1.03 ** (k - 3)
                axis.errorbar(shifted, values[:, 0], values[:, 1], color=f"C{k}", linestyle=style, label=name)
        axis.set(xscale="log", yscale="log", xlabel="training pairs M")
        axis.set_ylabel("test error, %" if what == "error" else "test log-loss")
    axes[0].legend(fontsize="small")
    axes[0].figure.savefig(RESULTS / "networks_curves.png", dpi=150)
