"""The time to find the global minimum: scipy's L-BFGS-B (varanneal's way) against deepest, on one core.

Same data, same starts, same ladder, one run. For each setting it measures
- L-BFGS-B with a jitted gradient, one start after the other: success rate and processor time a path;
- deepest without pruning, one start after the other: the same two figures;
- deepest as one uses it: ensembles with pruning of as many starts as the unpruned success rate needs for 99 %,
  repeated with new starts, and how many of the ensembles found the minimum.

    python benchmarks/annealing.py [--setting lorenz96_20] [--kind quiet] [--paths 20] [--starts 96] [--ensembles 10]
"""

import argparse
import json
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
from _common import one_core, save, time_to_certainty, wilson
from scipy import optimize

import deepest as dp

SETTINGS = {
    "lorenz96_20": {"dimension": 20, "components": (0, 2, 4, 6, 8, 10, 14, 16)},
    "lorenz96_10": {"dimension": 10, "components": (0, 2, 4, 6)},
}
POINTS, STEP, NOISE, FORCING = 161, 0.025, 0.5, 8.17
LADDER = dp.Ladder(start=4e-7, factor=3.4, rungs=24)


def problem(dimension: int, components: tuple[int, ...], seed: int) -> tuple[dp.Action, np.ndarray]:
    """A twin of Lorenz96: the action and the true path."""
    rng = np.random.default_rng(seed)
    model, times = dp.models.Lorenz96(dimension, FORCING), STEP * np.arange(POINTS)
    spun = dp.models.integrate(model, jnp.asarray(rng.normal(size=dimension)), np.array([0.0, 25.0]))[-1]
    truth = np.asarray(dp.models.integrate(model, spun, times))
    values = truth[:, components] + NOISE * rng.normal(size=(POINTS, len(components)))
    observations = dp.Observations(times, values, components=components, noise=NOISE)
    unknown = dp.models.Lorenz96(dimension, dp.Unknown(6.0, 10.0))
    return dp.Action(unknown, observations, dp.HermiteSimpson()), truth


SPREAD = {"wide": (-10.0, 10.0), "quiet": (-1.0, 1.0)}


def starts(action: dp.Action, count: int, seed: int, kind: str) -> tuple[jax.Array, jax.Array]:
    """Measured components at the data, the others wide as varanneal starts them, U(−10, 10),
    or quiet, U(−1, 1)."""
    return dp.initial_paths(action, count, jax.random.key(seed), spread=SPREAD[kind])


class Peer:
    """The ladder with scipy's L-BFGS-B, each rung started at the previous minimum; one compiled gradient for all."""

    def __init__(self, action: dp.Action):
        size = (action.grid.size, action.estimable.size)
        split = math.prod(size)

        def cost(u, ratio):
            return action.at(ratio).cost(action.pack(u[:split].reshape(size), u[split:]))

        self.slope = jax.jit(jax.value_and_grad(cost))
        self.level = lambda cost: 2.0 * cost / float(action.count)
        self.bounds = [(None, None)] * split + [(6.0, 10.0)]
        jax.block_until_ready(self.slope(jnp.zeros(split + 1), 1.0))

    def climb(self, path, parameters) -> tuple[float, int]:
        """The reduced level at the top, and the number of gradients."""
        u, count = np.concatenate([np.ravel(path), np.ravel(parameters)]), 0
        options = {"ftol": 1e-8, "gtol": 1e-8, "maxiter": 10**6, "maxfun": 10**6}
        for ratio in LADDER.ratios:

            def host(v, ratio=float(ratio)):
                cost, gradient = self.slope(v, ratio)
                return float(cost), np.asarray(gradient)

            found = optimize.minimize(host, u, jac=True, method="L-BFGS-B", bounds=self.bounds, options=options)
            u, count = found.x, count + found.nfev
        return self.level(found.fun), count


def yardstick(action: dp.Action, truth: np.ndarray) -> float:
    """The level of the path started at the truth: the global minimum, for all that is known."""
    top = dp.Ladder(start=LADDER.ratios[-4], factor=LADDER.factor, rungs=4)
    begin = (truth[None], np.array([[FORCING]]))
    return dp.anneal(action, top, starts=begin, prune=None, stop=False).best.level


def timed(function) -> tuple[float, object]:
    """Processor seconds of one call, and what it returned."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def rate(successes: int, trials: int) -> dict:
    """A success rate with its Wilson interval."""
    low, high = wilson(successes, trials)
    return {"successes": successes, "trials": trials, "rate": successes / trials, "wilson": [low, high]}


def peer(action: dp.Action, goal: float, count: int, seed: int, kind: str) -> dict:
    """scipy's L-BFGS-B on `count` starts."""
    solver, (paths, parameters) = Peer(action), starts(action, count, seed, kind)
    runs = []
    for k in range(count):
        seconds, (level, gradients) = timed(lambda k=k: solver.climb(paths[k], parameters[k]))
        runs.append((seconds, level, gradients))
        print(f"  L-BFGS-B start {k}: level {level:.3f}, {gradients} gradients, {seconds:.1f} s", flush=True)
    seconds, levels = np.mean([r[0] for r in runs]), np.array([r[1] for r in runs])
    return {**rate(int(np.sum(levels <= goal)), count), "seconds_a_path": seconds, "levels": levels.tolist()}


def unpruned(action: dp.Action, goal: float, count: int, seed: int, kind: str) -> dict:
    """deepest on the same starts, every member taken to the top."""
    begin = starts(action, count, seed, kind)
    climb = lambda: dp.anneal(action, LADDER, starts=begin, prune=None, stop=False)
    climb()
    seconds, result = timed(climb)
    found = int(np.sum(result.levels[-1] <= goal))
    return {**rate(found, count), "seconds_a_path": seconds / count, "steps_a_path": float(result.steps.sum() / count)}


def ensembles(action: dp.Action, goal: float, members: int, count: int, seed: int, kind: str) -> dict:
    """deepest as one uses it: pruned ensembles of `members`, `count` of them with new starts."""
    climb = lambda k: dp.anneal(action, LADDER, starts=starts(action, members, seed + k, kind))
    compiled, _ = timed(lambda: climb(0))
    runs = [timed(lambda k=k: climb(k)) for k in range(1, count + 1)]
    found = sum(result.best.level <= goal for _, result in runs)
    seconds = float(np.mean([s for s, _ in runs]))
    return {"members": members, **rate(found, count), "seconds": seconds, "seconds_with_compilation": compiled}


def compare(name: str, kind: str, paths: int, members: int, count: int, seed: int) -> dict:
    """One setting, all three ways."""
    action, truth = problem(**SETTINGS[name], seed=seed)
    goal = yardstick(action, truth) * 1.01
    print(f"{name}, {kind} starts: level of the path started at the truth {goal / 1.01:.4f}", flush=True)
    single = unpruned(action, goal, members, 1000 * seed, kind)
    needed = max(4, math.ceil(math.log(0.01) / math.log(1.0 - min(single["rate"], 0.7)))) if single["rate"] else members
    ours = ensembles(action, goal, needed, count, 1000 * seed + 500, kind)
    other = peer(action, goal, paths, 1000 * seed, kind)
    certain = {
        "deepest": time_to_certainty(ours["seconds"], ours["rate"]),
        "deepest_without_pruning": time_to_certainty(single["seconds_a_path"], single["rate"]),
        "lbfgsb": time_to_certainty(other["seconds_a_path"], other["rate"]),
        "lbfgsb_at_least": time_to_certainty(other["seconds_a_path"], other["wilson"][1]),
    }
    ratio = {k: certain[k] / certain["deepest"] for k in ("lbfgsb", "lbfgsb_at_least")}
    return {
        "yardstick": goal / 1.01,
        "unpruned": single,
        "ensembles": ours,
        "lbfgsb": other,
        "seconds_to_99": certain,
        "ratio": ratio,
    }


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, action="append")
    parser.add_argument("--kind", choices=SPREAD, default="wide", help="of starts")
    parser.add_argument("--paths", type=int, default=20, help="starts for L-BFGS-B")
    parser.add_argument("--starts", type=int, default=96, help="starts for deepest without pruning")
    parser.add_argument("--ensembles", type=int, default=10, help="pruned ensembles, each with new starts")
    parser.add_argument("--seed", type=int, default=1, help="of the data set")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    for name in options.setting or SETTINGS:
        result = compare(name, options.kind, options.paths, options.starts, options.ensembles, options.seed)
        print(json.dumps({k: v for k, v in result.items() if k != "lbfgsb"}, indent=1))
        peer_rate, ratio = result["lbfgsb"], result["ratio"]
        print(f"L-BFGS-B found it from {peer_rate['successes']} of {peer_rate['trials']} starts; its expected time to")
        print(f"99 % is {ratio['lbfgsb']:.0f} times ours, at least {ratio['lbfgsb_at_least']:.0f}")
        print(
            "saved", save(f"annealing_{name}_{options.kind}", {"ladder": vars(LADDER), "seed": options.seed, **result})
        )


if __name__ == "__main__":
    main()
