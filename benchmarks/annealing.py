"""The time to find the global minimum: scipy's L-BFGS-B (varanneal's way) against deepest, on one core.

Same data, same starts, same ladder, one run, over several data sets. For each it measures
- L-BFGS-B with a jitted gradient, one start after the other: success rate and processor time a path;
- deepest without pruning, one start after the other: the same two figures;
- deepest as one uses it: ensembles that begin members as they are needed, repeated with new starts;
- the same in its leanest form, `Prune(width=1, batch=2)`, which takes one member at a time to the top.

`--ladder` is varanneal's usual factor 1.5, or 3.4, the largest that L-BFGS-B was seen to follow; `--kind` of starts is
`wide`, U(−10, 10) where nothing is measured, as varanneal starts, or `own`, `initial_paths` as it comes.

    python benchmarks/annealing.py [--setting lorenz96_20] [--ladder 1.5] [--kind wide] [--paths 16] [--seeds 1 2 3]
"""

import argparse
import dataclasses
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
PRUNE = {"ensembles": dp.Prune(), "lean": dp.Prune(width=1, batch=2)}
LADDERS = {"1.5": dp.Ladder(start=4e-7, factor=1.5, rungs=71), "3.4": dp.Ladder(start=4e-7, factor=3.4, rungs=24)}


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


def starts(action: dp.Action, count: int, seed: int, kind: str) -> tuple[jax.Array, jax.Array]:
    """Measured components at the data, the others wide or as `initial_paths` has them."""
    paths, parameters = dp.initial_paths(action, count, jax.random.key(seed))
    if kind == "own":
        return paths, parameters
    wide = jax.random.uniform(jax.random.key(seed + 1), paths.shape, minval=-10.0, maxval=10.0)
    measured = jnp.asarray(action.observations.components)
    return wide.at[:, :, measured].set(paths[:, :, measured]), parameters


class Peer:
    """The ladder with scipy's L-BFGS-B, each rung started at the previous minimum; one compiled gradient for all."""

    def __init__(self, action: dp.Action, ladder: dp.Ladder):
        self.ladder, size = ladder, (action.grid.size, action.estimable.size)
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
        for ratio in self.ladder.ratios:

            def host(v, ratio=float(ratio)):
                cost, gradient = self.slope(v, ratio)
                return float(cost), np.asarray(gradient)

            found = optimize.minimize(host, u, jac=True, method="L-BFGS-B", bounds=self.bounds, options=options)
            u, count = found.x, count + found.nfev
        return self.level(found.fun), count


def yardstick(action: dp.Action, truth: np.ndarray, ladder: dp.Ladder) -> float:
    """The level of the path started at the truth: the global minimum, for all that is known."""
    top = dp.Ladder(start=ladder.ratios[-4], factor=ladder.factor, rungs=4)
    begin = (truth[None], np.array([[FORCING]]))
    return dp.anneal(action, top, starts=begin, prune=None, stop=False).best.level


def timed(function) -> tuple[float, object]:
    """Processor seconds of one call, and what it returned."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set, one kind of starts, one ladder; a path that ends below `goal` has found the global minimum."""

    action: dp.Action
    ladder: dp.Ladder
    kind: str
    seed: int
    goal: float

    def starts(self, count: int, offset: int = 0) -> tuple[jax.Array, jax.Array]:
        """`count` starts of this kind."""
        return starts(self.action, count, 1000 * self.seed + offset, self.kind)

    def peer(self, count: int) -> dict:
        """scipy's L-BFGS-B on `count` starts."""
        solver, (paths, parameters) = Peer(self.action, self.ladder), self.starts(count)
        runs = []
        for k in range(count):
            seconds, (level, gradients) = timed(lambda k=k: solver.climb(paths[k], parameters[k]))
            runs.append((seconds, level))
            print(f"  L-BFGS-B start {k}: level {level:.3f}, {gradients} gradients, {seconds:.1f} s", flush=True)
        return tally([level for _, level in runs], [seconds for seconds, _ in runs], self.goal)

    def unpruned(self, count: int) -> dict:
        """deepest on the same starts, every member taken to the top."""
        begin = self.starts(count)
        climb = lambda: dp.anneal(self.action, self.ladder, starts=begin, prune=None, stop=False)
        climb()
        seconds, result = timed(climb)
        return tally(result.levels[-1], [seconds / count] * count, self.goal)

    def ensembles(self, members: int, count: int, prune: dp.Prune) -> dict:
        """deepest as one uses it: ensembles of up to `members`, `count` of them with new starts."""
        climb = lambda k: dp.anneal(self.action, self.ladder, starts=self.starts(members, 500 + k), prune=prune)
        climb(0)
        runs = [timed(lambda k=k: climb(k)) for k in range(1, count + 1)]
        return tally([result.best.level for _, result in runs], [seconds for seconds, _ in runs], self.goal)


def tally(levels, seconds, goal: float) -> dict:
    """How many of the levels are the global minimum's, and the seconds of one try."""
    found = np.asarray(levels) <= goal
    return {"found": int(found.sum()), "tries": found.size, "seconds": float(np.mean(seconds))}


def pooled(tallies: list[dict]) -> dict:
    """All data sets together: the rate with its Wilson interval, and the expected seconds to 99 %."""
    found, tries = (sum(t[name] for t in tallies) for name in ("found", "tries"))
    seconds = sum(t["seconds"] * t["tries"] for t in tallies) / tries
    low, high = wilson(found, tries)
    certain = {name: time_to_certainty(seconds, rate) for name, rate in (("", found / tries), ("_at_least", high))}
    return {
        "found": found,
        "tries": tries,
        "wilson": [low, high],
        "seconds": seconds,
        **{f"seconds_to_99{name}": value for name, value in certain.items()},
    }


def compare(name: str, kind: str, ladder: dp.Ladder, options: argparse.Namespace) -> dict:
    """One setting, all three ways, over all data sets."""
    ways = {"lbfgsb": [], "unpruned": [], **{way: [] for way in PRUNE}}
    for seed in options.seeds:
        action, truth = problem(**SETTINGS[name], seed=seed)
        level = yardstick(action, truth, ladder)
        print(f"{name}, data {seed}, {kind} starts: level of the path started at the truth {level:.4f}", flush=True)
        task = Task(action, ladder, kind, seed, 1.01 * level)
        ways["unpruned"].append(task.unpruned(options.starts))
        for way, prune in PRUNE.items():
            ways[way].append(task.ensembles(options.members, options.ensembles, prune))
        print("  deepest:", {way: ways[way][-1] for way in ("unpruned", *PRUNE)}, flush=True)
        ways["lbfgsb"].append(task.peer(options.paths))
    total = {way: pooled(tallies) for way, tallies in ways.items()}
    certain = lambda name: {way: total["lbfgsb"][name] / total[way]["seconds_to_99"] for way in PRUNE}
    ratios = {"ratio": certain("seconds_to_99"), "ratio_at_least": certain("seconds_to_99_at_least")}
    return {"pooled": total, **ratios, "data": ways}


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, action="append")
    parser.add_argument("--ladder", choices=LADDERS, default="1.5", help="its factor")
    parser.add_argument("--kind", choices=("wide", "own"), default="wide", help="of starts")
    parser.add_argument("--paths", type=int, default=16, help="starts for L-BFGS-B on each data set")
    parser.add_argument("--starts", type=int, default=32, help="starts for deepest without pruning on each data set")
    parser.add_argument("--members", type=int, default=64, help="the most members of an ensemble")
    parser.add_argument("--ensembles", type=int, default=10, help="ensembles on each data set, each with new starts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the data sets")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    ladder = LADDERS[options.ladder]
    for name in options.setting or SETTINGS:
        result = compare(name, options.kind, ladder, options)
        print(json.dumps({k: v for k, v in result.items() if k != "data"}, indent=1))
        content = {"ladder": vars(ladder), "seeds": options.seeds, "kind": options.kind, **result}
        print("saved", save(f"annealing_{name}_{options.kind}_{options.ladder}", content))


if __name__ == "__main__":
    main()
