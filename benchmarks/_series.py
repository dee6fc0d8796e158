"""A recurrent network that predicts Lorenz63 from noisy measurements: weak and strong constraint."""

import itertools
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _common import save
from _curves import mean_error, show, stages
from jaxtyping import Array, Float

from deepest.anneal import Ladder
from deepest.models import Lorenz63
from deepest.networks import Annealed, Dense, Descent, Elman, LayerMap, NetworkAction, Pairs, Recurrent, Strong

# Windows of LENGTH measurements STEP apart, each the input of a pair whose target are the measurements one later.
LENGTH, STEP, SIZE, PAIRS, NOISE = 8, 0.1, 16, 60, 0.2
DECAYS = (0.1, 1.0, 10.0, 100.0)
ADAM = [Descent(optax.adam(rate), stages=10, epochs=300) for rate in (3e-3, 1e-2)]
REFERENCE = "annealed to ∞, inputs exact"
STRONG = [Strong(stages=12, steps=5)]
LADDER = [Annealed(Ladder(0.1, 10.0, 5), steps=5), Annealed(Ladder(1.0, 10.0, 4), steps=5)]


class EachTime(eqx.Module):
    """One layer at every τ: x (T, N) becomes (T, n)."""

    inside: Dense

    def __call__(self, x: Float[Array, "tau in"]) -> Float[Array, "tau out"]:
        return jax.vmap(self.inside)(x)


def network(seed: int) -> LayerMap:
    """3 → 16 recurrent neurons → 3."""
    one, other = jax.random.split(jax.random.key(seed))
    return LayerMap([Recurrent(Elman(3, SIZE, key=one), SIZE), EachTime(Dense(SIZE, 3, None, key=other))])


def truth(windows: int, generator) -> np.ndarray:
    """Windows (windows, LENGTH + 1, 3) of the attractor, in units of its mean and standard deviation."""
    model, inner = Lorenz63(), 10

    @jax.jit
    def march(x):
        def small(x, _):
            h, f = STEP / inner, lambda x: jax.vmap(lambda x: model(0.0, x, None))(x)
            a = f(x)
            b = f(x + 0.5 * h * a)
            c = f(x + 0.5 * h * b)
            return x + h / 6.0 * (a + 2.0 * b + 2.0 * c + f(x + h * c)), None

        one = lambda x, _: (jax.lax.scan(small, x, None, length=inner)[0], x)
        return jax.lax.scan(one, x, None, length=100 + LENGTH + 1)[1][100:]

    start = np.array([0.0, 0.0, 25.0]) + generator.normal(size=(windows, 3)) * 5.0
    path = np.asarray(march(jnp.asarray(start, jnp.result_type(float)))).transpose(1, 0, 2)
    return (path - [0.0, 0.0, 23.5]) / [7.9, 9.0, 8.6]


def series(seeds: int) -> None:
    """All seeds; errors are mean squares against the true next state, in units of its variance."""
    runs, began = [], time.perf_counter()
    for seed in range(seeds):
        runs.append(one(seed))
        print(seed, f"{time.perf_counter() - began:.0f} s", runs[-1], flush=True)
    table = {}
    for name in runs[0]:
        values = np.array([run[name] for run in runs])
        rest = values - np.array([run[REFERENCE] for run in runs])
        table[name] = {"error": mean_error(values), "paired": mean_error(rest)}
    settings = {"length": LENGTH, "step": STEP, "size": SIZE, "pairs": PAIRS, "noise": NOISE, "decays": DECAYS}
    save("networks_series", {**settings, "seeds": seeds, "table": table})
    for name, row in table.items():
        print(f"  {name:38s} {show(row['error'], 1, 4)}   less annealed's {show(row['paired'], 1, 4)}")


def one(seed: int) -> dict[str, float]:
    """The error of the last prediction of test windows, their inputs as noisy as those of training. Decay, ladder, rate
    and, where it says so, rung or stage are those of least error on validation windows."""
    generator = np.random.default_rng(seed)
    whole = truth(PAIRS + 60 + 1000, generator)
    noisy = whole + NOISE * generator.normal(size=whole.shape)
    parts = [slice(0, PAIRS), slice(PAIRS, PAIRS + 60), slice(PAIRS + 60, None)]
    (train, validation, test), true = [noisy[p] for p in parts], whole[parts[2]][:, -1]
    error = lambda predicted: float(np.mean((predicted - true) ** 2) / np.mean(np.var(true, axis=0)))
    exact = Pairs(train[:, :-1], train[:, 1:], noise=NOISE)
    unknown = Pairs(train[:, :-1], train[:, 1:], noise=NOISE, input_noise=NOISE)
    last = eqx.filter_jit(lambda net, x: jax.vmap(net)(x)[:, -1])
    guess = lambda net, windows: np.asarray(last(net, jnp.asarray(windows[:, :-1], jnp.result_type(float))))
    ways = {
        "strong, inputs exact": (exact, STRONG),
        "strong, inputs with noise": (unknown, STRONG),
        "strong, best stage, inputs exact": (exact, STRONG),
        "strong, best stage, inputs with noise": (unknown, STRONG),
        "annealed to ∞, inputs exact": (exact, LADDER),
        "annealed to ∞, inputs with noise": (unknown, LADDER),
        "annealed, best rung, inputs exact": (exact, LADDER),
        "annealed, best rung, inputs with noise": (unknown, LADDER),
        "Adam, inputs exact": (exact, ADAM),
        "Adam, best stage, inputs exact": (exact, ADAM),
    }
    found = {}
    for name, (pairs, roads) in ways.items():
        tried = {}
        for decay, road in itertools.product(DECAYS, roads):
            nets = list(stages(NetworkAction(network(seed), pairs, decay=decay), road))
            for net in nets if "best" in name else nets[-1:]:
                tried[float(np.mean((guess(net, validation) - validation[:, -1]) ** 2))] = net
        found[name] = error(guess(tried[min(tried)], test))
    return found | plain(train, test, error)


def plain(train, test, error) -> dict[str, float]:
    """The mean, persistence, and ridge regression on one and on all measurements, decay by leave-one-out."""
    found = {
        "mean": error(np.broadcast_to(train[:, -1].mean(axis=0), (len(test), 3))),
        "persistence": error(test[:, -2]),
    }
    for name, features in (
        ("ridge on the last measurement", lambda w: w[:, -2]),
        ("ridge on all measurements", lambda w: w[:, :-1].reshape(len(w), -1)),
        ("ridge on all and their products", products),
    ):
        x, new = (np.column_stack([features(w), np.ones(len(w))]) for w in (train, test))
        best = min((leave_one_out(x, train[:, -1], decay), decay) for decay in 10.0 ** np.arange(-3, 4))[1]
        found[name] = error(new @ np.linalg.solve(x.T @ x + best * np.eye(x.shape[1]), x.T @ train[:, -1]))
    return found


def products(windows: np.ndarray) -> np.ndarray:
    """The last three measurements and all their products of two."""
    x = windows[:, -4:-1].reshape(len(windows), -1)
    return np.column_stack([x, (x[:, :, None] * x[:, None])[:, *np.triu_indices(x.shape[1])]])


def leave_one_out(x: np.ndarray, y: np.ndarray, decay: float) -> float:
    """The sum of squares of a ridge regression's predictions of pairs left out."""
    hat = x @ np.linalg.solve(x.T @ x + decay * np.eye(x.shape[1]), x.T)
    return float(np.sum(((y - hat @ y) / (1.0 - np.diag(hat))[:, None]) ** 2))
