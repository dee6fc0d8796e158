"""A leaky integrate-and-fire neuron, and shooting by differential evolution."""

import contextlib
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.optimize import differential_evolution

NAMES = ("capacitance", "leak", "rest", "threshold", "reset", "refractory", "adaptation", "decay")
# pF, nS, mV, mV, mV, ms, pA a spike, ms
RANGES = (
    (30.0, 600.0),
    (1.0, 20.0),
    (-100.0, -70.0),
    (-65.0, -40.0),
    (-75.0, -50.0),
    (2.0, 10.0),
    (0.0, 300.0),
    (5.0, 1000.0),
)


def fire(theta: jax.Array, current: jax.Array, interval: float) -> tuple[jax.Array, jax.Array]:
    """Voltage (T,) and whether it fires (T,), a step an `interval`.

    C dV/dt = g (E − V) + I − w,  dw/dt = −w/τ;  at the threshold V is reset and held for a while, and w grows.
    """
    c, g, rest, threshold, reset, refractory, adaptation, decay = theta
    fade, forget = jnp.exp(-interval * g / c), jnp.exp(-interval / decay)

    def step(state, drive):
        v, w, held = state
        still = rest + (drive - w) / g
        v = jnp.where(held > 0.0, reset, still + (v - still) * fade)
        fires = (v >= threshold) & (held <= 0.0)
        w = w * forget + jnp.where(fires, adaptation, 0.0)
        after = jnp.where(fires, reset, v), w, jnp.where(fires, refractory, held - interval)
        return after, (v, fires)

    start = (rest + current[0] / g, jnp.zeros(()), jnp.zeros(()))
    return lax.scan(step, start, current)[1]


def fitted(currents, voltages, counted, quiet, interval: float) -> tuple[np.ndarray, float]:
    """The parameters whose spikes, counted up to each time, and voltage between spikes are nearest, and the seconds.

    `counted` (S, T) is how many spikes were measured until then, and `quiet` (S, T) is True between them.
    """

    @jax.jit
    def cost(population):
        def one(theta):
            v, fires = jax.vmap(lambda i: fire(theta, i, interval))(currents)
            ahead = jnp.cumsum(fires, axis=1) - counted
            spikes = jnp.mean(ahead**2) / jnp.mean(counted[:, -1]) ** 2
            return spikes * 1e2 + jnp.sum(jnp.where(quiet, (v - voltages) ** 2, 0.0)) / jnp.sum(quiet) / 25.0

        return jax.vmap(one)(population.T)

    begin = time.process_time()
    options = {"vectorized": True, "polish": False, "updating": "deferred"}
    found = differential_evolution(
        lambda x: np.asarray(cost(jnp.asarray(x))), RANGES, popsize=12, maxiter=250, tol=1e-4, seed=0, **options
    )
    return found.x, time.process_time() - begin


def shoot(cost: Callable, bounds: np.ndarray, seconds: float, seed: int) -> tuple[np.ndarray, float, int, float]:
    """scipy's differential evolution of a vectorised cost until the processor seconds are spent: what it found, its
    cost, how many evaluations, and the seconds."""
    evolve = jax.jit(jax.vmap(cost))
    calls, best = [0], [np.inf, bounds.mean(axis=1)]
    begin = [0.0]

    class SpentError(Exception):
        pass

    def evaluate(x):
        values = np.asarray(evolve(jnp.asarray(x.T)))
        values = np.where(np.isfinite(values), values, 1e9)
        calls[0] += values.size
        if values.min() < best[0]:
            best[:] = values.min(), x[:, int(values.argmin())].copy()
        if time.process_time() - begin[0] > seconds:
            raise SpentError
        return values

    width = 15 * bounds.shape[0]
    jax.block_until_ready(evolve(jnp.asarray(np.tile(bounds.mean(axis=1), (width, 1)))))
    begin[0] = time.process_time()
    with contextlib.suppress(SpentError):
        # Where it has converged before the time is spent it begins anew.
        while True:
            options = {"vectorized": True, "polish": False, "updating": "deferred"}
            differential_evolution(evaluate, bounds, popsize=15, maxiter=10**6, seed=seed, **options)
            seed += 1
    return best[1], float(best[0]), calls[0], time.process_time() - begin[0]
