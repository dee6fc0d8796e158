"""Digits of which pixels are missing or noisy: unknown inputs in the action, beside filling them in."""

import time

import jax
import numpy as np
from _common import save
from _curves import mean_error, score, show, split, stages, without_nan
from sklearn.impute import KNNImputer

from deepest import networks
from deepest.anneal import Ladder
from deepest.networks import Annealed, CrossEntropy, NetworkAction, Pairs, Strong

PAIRS, LAYERS, DECAYS = 200, 4, (0.3, 2.0)
MISSING, NOISE = 0.6, 0.3
STRONG, LADDER = Strong(stages=5, steps=4), Annealed(Ladder(0.1, 10.0, 4), steps=4)


def fitted(pairs: Pairs, road, validation: Pairs, seed: int):
    """The network of the decay with the least validation log-loss."""
    network, found = networks.digits_network(layers=LAYERS, key=jax.random.key(seed)), {}
    for decay in DECAYS:
        *_, last = stages(NetworkAction(network, pairs, cost=CrossEntropy(), decay=decay), road)
        found[score(last, validation)[1]] = last
    return found[min(found)]


def with_inputs(pairs: Pairs, inputs, **options) -> Pairs:
    """The same labels with other inputs."""
    return Pairs(inputs, pairs.targets, **options)


def holes(seeds: int) -> None:
    """Both experiments, all seeds."""
    found, began = {}, time.perf_counter()
    for name, experiment in (("missing", missing), ("noisy", noisy)):
        runs = []
        for seed in range(seeds):
            runs.append(experiment(seed))
            print(name, seed, f"{time.perf_counter() - began:.0f} s", runs[-1], flush=True)
        found[name] = {
            method: {where: summary([run[method][where] for run in runs]) for where in runs[0][method]}
            for method in runs[0]
        }
    save("networks_holes", {"pairs": PAIRS, "missing": MISSING, "noise": NOISE, "seeds": seeds, **without_nan(found)})
    for name, rows in found.items():
        print(name)
        for method, row in rows.items():
            said = [f"{w}: {show(r['error'], 100, 1)} %, {show(r['loss'], 1, 3)}" for w, r in row.items()]
            print(f"  {method:38s} " + "   ".join(said))


def summary(scores) -> dict:
    """Mean and standard error of errors and losses."""
    errors, losses = np.array(scores).T
    return {"error": mean_error(errors), "loss": mean_error(losses)}


def missing(seed: int) -> dict:
    """Each pixel missing with the same probability, in training, validation and test images; and whole test images."""
    rest, validation, test = split(seed)
    training, generator = rest.take(slice(0, PAIRS)), np.random.default_rng(seed)
    hole = lambda pairs: np.where(generator.random(pairs.inputs.shape) < MISSING, np.nan, pairs.inputs)
    holed, held, tested = map(hole, (training, validation, test))
    mean, deviation = np.nanmean(holed, axis=0), np.maximum(np.nanstd(holed, axis=0), 0.05)
    filled = lambda inputs: np.where(np.isnan(inputs), mean, inputs)
    neighbours = KNNImputer(n_neighbors=10).fit(holed)
    unknown = with_inputs(training, holed, input_prior=(mean, deviation))
    ways = {
        "unknown inputs, strong": (unknown, STRONG, filled),
        "unknown inputs, annealed to ∞": (unknown, LADDER, filled),
        "unknown inputs, strong; neighbours at test": (unknown, STRONG, neighbours.transform),
        "filled with means, strong": (with_inputs(training, filled(holed)), STRONG, filled),
        "filled from neighbours, strong": (
            with_inputs(training, neighbours.transform(holed)),
            STRONG,
            neighbours.transform,
        ),
    }
    scores = {}
    for name, (pairs, road, fill) in ways.items():
        network = fitted(pairs, road, with_inputs(validation, fill(held)), seed)
        scores[name] = {"whole": score(network, test), "holed": score(network, with_inputs(test, fill(tested)))}
    for name, fill in (("means", filled), ("neighbours", neighbours.transform)):
        pairs = with_inputs(training, fill(holed))
        scores |= plain(f"filled, {name}", pairs, {"whole": test, "holed": with_inputs(test, fill(tested))})
    return scores


def noisy(seed: int) -> dict:
    """Gaussian noise on every pixel, in training, validation and test images; and test images without it."""
    rest, validation, test = split(seed)
    training, generator = rest.take(slice(0, PAIRS)), np.random.default_rng(seed)
    blur = lambda pairs: pairs.inputs + NOISE * generator.normal(size=pairs.inputs.shape)
    blurred, held, tested = map(blur, (training, validation, test))
    tests = {"clean": test, "noisy": with_inputs(test, tested)}
    unknown, exact = with_inputs(training, blurred, input_noise=NOISE), with_inputs(training, blurred)
    ways = {
        "inputs with noise, strong": (unknown, STRONG),
        "inputs with noise, annealed to ∞": (unknown, LADDER),
        "inputs taken as exact, strong": (exact, STRONG),
        "inputs taken as exact, annealed to ∞": (exact, LADDER),
    }
    scores = {}
    for name, (pairs, road) in ways.items():
        network = fitted(pairs, road, with_inputs(validation, held), seed)
        scores[name] = {where: score(network, pairs) for where, pairs in tests.items()}
    return scores | plain("exact", exact, tests)


def plain(what: str, pairs: Pairs, tests: dict[str, Pairs]) -> dict:
    """Softmax regression and ridge regression."""
    found: dict[str, dict] = {}
    for where, test in tests.items():
        for one in networks.plain_classifiers(pairs, test):
            if "regression" in one.name:
                found.setdefault(f"{one.name}, {what}", {})[where] = (one.error, one.loss)
    return found
