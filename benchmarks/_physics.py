"""A network inside a physical model: one equation of Lorenz63 unknown, its variable unmeasured."""

import time

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _common import one_core, save
from _curves import mean_error, show
from jaxtyping import Array, Float

from deepest.action import Action
from deepest.anneal import Ladder, Prune, anneal
from deepest.models import Lorenz63, integrate, unknown_weights
from deepest.networks import Dense
from deepest.paths import Observations
from deepest.transcription import HermiteSimpson

# 401 times, ten units: about nine Lyapunov times.
POINTS, STEP, NOISE, BEYOND, MEMBERS = 401, 0.025, 0.5, 400, 16
SPREAD = (np.array([-20.0, -25.0, 0.0]), np.array([20.0, 25.0, 50.0]))
LADDER = Ladder()
# The peers' settings; of all of them the result nearest to the truth counts.
RATES, STEPS = (3e-3, 1e-2, 3e-2), 1500
WINDOWS = (0.1, 0.2, 0.4, 0.7, 1.0)
SEGMENT, CONTINUITY = 10, (1.0, 10.0)
UNIT = 8.0  # of the states that Adam moves, so that they and the weights are of one size


class Hybrid(eqx.Module):
    """dx/dt = 10 (y − x), dy/dt = x (28 − z) − y are known; dz/dt = 50 · network(x, y, z) is not."""

    inside: Dense
    readout: Dense
    dimension: int = eqx.field(static=True, default=3, init=False)

    def __call__(self, t, x: Float[Array, "3"], args) -> Float[Array, "3"]:
        u, v, w = x
        scaled = jnp.stack([u / 8.0, v / 9.0, (w - 23.5) / 8.6])
        return jnp.stack([10.0 * (v - u), u * (28.0 - w) - v, 50.0 * self.readout(self.inside(scaled))[0]])


def hybrid(seed: int) -> Hybrid:
    """3 → 8 tanh neurons → 1: 41 weights."""
    one, other = jax.random.split(jax.random.key(seed))
    return Hybrid(Dense(3, 8, key=one), Dense(8, 1, None, key=other))


def physics(seeds: int) -> None:
    """All seeds, with x and y measured, and with x alone."""
    one_core()
    jax.config.update("jax_enable_x64", True)
    table, began = {}, time.perf_counter()
    for measured in ((0, 1), (0,)):
        runs = []
        for seed in range(seeds):
            runs.append(one(seed, measured))
            print(measured, seed, f"{time.perf_counter() - began:.0f} s", runs[-1], flush=True)
        name = "x and y measured" if len(measured) > 1 else "x measured"
        table[name] = {way: _row([run[way] for run in runs]) for way in runs[0]}
    settings = {"points": POINTS, "step": STEP, "noise": NOISE, "members": MEMBERS, "steps": STEPS, "seeds": seeds}
    save("networks_physics", {**settings, "table": table})
    for name, rows in table.items():
        print(name)
        for way, row in rows.items():
            print(
                f"  {way:34s} below 0.2: {row['found']} of {seeds}; median {row['median']:.2g}, valid for "
                f"{show(row['valid'], 1, 1)}, {row['seconds']:.0f} s"
            )


def _row(runs: list) -> dict:
    errors, valid, seconds = np.array(runs).T
    found = int(np.sum(errors < 0.2))
    return {
        "errors": errors.tolist(), "found": found, "median": float(np.median(errors)), "valid": mean_error(valid),
        "seconds": float(np.median(seconds)),
    }  # fmt: skip


def one(seed: int, measured: tuple[int, ...]) -> dict[str, tuple[float, float, float]]:
    """Of every way: the rms error of dz/dt on the attractor over its standard deviation there, how long a forecast from
    the last estimate is within half a standard deviation of the truth, and seconds.

    Only the first seed compiles.
    """
    generator = np.random.default_rng(seed)
    start = jnp.asarray(5.0 * generator.normal(size=3) + [0.0, 0.0, 25.0])
    whole = np.asarray(integrate(Lorenz63(), start, STEP * np.arange(800 + POINTS + BEYOND + 4000)))[800:]
    truth, beyond = whole[:POINTS], whole[POINTS - 1 : POINTS + BEYOND]
    values = truth[:, measured] + NOISE * generator.normal(size=(POINTS, len(measured)))
    data = Observations(STEP * np.arange(POINTS), values, components=measured, noise=NOISE)
    places = whole[POINTS + BEYOND :: 4]
    true = jax.vmap(lambda x: Lorenz63()(0.0, x, None)[2])(jnp.asarray(places))

    def judged(model, last) -> tuple[float, float]:
        learned = jax.vmap(lambda x: model(0.0, x, None)[2])(jnp.asarray(places))
        error = float(jnp.sqrt(jnp.mean((learned - true) ** 2) / jnp.var(true)))
        path = np.asarray(integrate(model, jnp.asarray(last), STEP * np.arange(BEYOND + 1)))
        far = ~(np.sqrt(np.mean(((path - beyond) / whole.std(axis=0)) ** 2, axis=1)) < 0.5)
        return error, STEP * float(np.argmax(far) if far.any() else BEYOND)

    found = {}
    for name, ladder in (("annealed", LADDER), ("strong at once", Ladder(LADDER.ratios[-1], 5.0, 1))):
        began = time.perf_counter()
        best = climbed(data, ladder, seed)
        found[name] = (*judged(best.model, best.path[-1]), time.perf_counter() - began)
    network = hybrid(seed)
    for name, way, settings in (
        ("diffrax + Adam, single shooting", single, [(1.0,)]),
        ("diffrax + Adam, growing windows", single, [WINDOWS]),
        ("diffrax + Adam, multiple shooting", multiple, CONTINUITY),
    ):
        tried = []
        for rate in RATES:
            for setting in settings:
                began = time.perf_counter()
                end = way(network, values, measured, rate, setting)
                tried.append((*judged(*end), time.perf_counter() - began))
        found[name] = min(tried, key=lambda row: row[0] if np.isfinite(row[0]) else np.inf)
    return found


def climbed(data: Observations, ladder: Ladder, seed: int):
    """The lowest path, with its weights."""
    action = Action(unknown_weights(hybrid(0)), data, HermiteSimpson())
    return anneal(action, ladder, members=MEMBERS, key=jax.random.key(seed), spread=SPREAD, prune=Prune()).best


@eqx.filter_jit
def solved(model: Hybrid, start: Float[Array, "3"], times: Float[Array, " time"]) -> Float[Array, "time 3"]:
    """The path, as diffrax's documentation solves a neural ODE."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(model), diffrax.Tsit5(), t0=times[0], t1=times[-1], dt0=0.01, y0=start,
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4), saveat=diffrax.SaveAt(ts=times),
        max_steps=4000, throw=False,
    ).ys  # fmt: skip


class Whole(eqx.Module):
    """Mean squares of a path from one state, by all data of a window."""

    times: Float[Array, " time"]
    data: Float[Array, "time measured"]
    measured: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, unknown) -> Float[Array, ""]:
        model, start = unknown
        path = solved(model, UNIT * start, self.times)
        return jnp.mean((path[:, self.measured] - self.data) ** 2)


class Segments(eqx.Module):
    """Mean squares of segments with states of their own to begin with, and a penalty for the jumps between them."""

    times: Float[Array, " time"]
    data: Float[Array, "segment time measured"]
    continuity: Float[Array, ""]
    measured: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, unknown) -> Float[Array, ""]:
        model, starts = unknown
        paths = jax.vmap(lambda start: solved(model, UNIT * start, self.times))(starts)
        jumps = paths[:-1, -1] - UNIT * starts[1:]
        return jnp.mean((paths[:, :, self.measured] - self.data) ** 2) + self.continuity * jnp.mean(jumps**2)


@eqx.filter_jit
def descended(loss, unknown, rate: Float[Array, ""], steps: int):
    """Adam, which leaves out gradients that are not finite."""
    optimiser = optax.apply_if_finite(optax.adam(rate), steps)
    arrays, static = eqx.partition(unknown, eqx.is_inexact_array)

    def one(carry, _):
        arrays, state = carry
        gradient = jax.grad(lambda arrays: loss(eqx.combine(arrays, static)))(arrays)
        change, state = optimiser.update(gradient, state, arrays)
        return (optax.apply_updates(arrays, change), state), None

    arrays = jax.lax.scan(one, (arrays, optimiser.init(arrays)), None, length=steps)[0][0]
    return eqx.combine(arrays, static)


def guess(data: Float[Array, "time measured"]) -> Float[Array, "time 3"]:
    """States to begin with: what was measured, y like x where it was not, and z = 25."""
    return jnp.column_stack([data[:, 0], data[:, -1], jnp.full(len(data), 25.0)]) / UNIT


def single(network: Hybrid, values, measured, rate: float, windows: tuple[float, ...]):
    """The initial state and the weights, by all data or by more and more of them."""
    times, data = STEP * jnp.arange(POINTS), jnp.asarray(values)
    unknown = network, guess(data[:1])[0]
    for window in windows:
        size = 1 + int(window * (POINTS - 1))
        loss = Whole(times[:size], data[:size], measured)
        unknown = descended(loss, unknown, jnp.asarray(rate), STEPS // len(windows))
    model, start = unknown
    return model, np.asarray(solved(model, UNIT * start, times)[-1])


def multiple(network: Hybrid, values, measured, rate: float, continuity: float):
    """Multiple shooting with a penalty."""
    times, data = STEP * jnp.arange(SEGMENT + 1), jnp.asarray(values)
    parts = jnp.stack([data[k : k + SEGMENT + 1] for k in range(0, POINTS - 1, SEGMENT)])
    loss = Segments(times, parts, jnp.asarray(continuity), measured)
    model, starts = descended(loss, (network, guess(data[:-1:SEGMENT])), jnp.asarray(rate), 2 * STEPS)
    return model, np.asarray(solved(model, UNIT * starts[-1], times)[-1])
