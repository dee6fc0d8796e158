"""Ladders of fixed and of adaptive factors: rungs, factorisations and time at what rate of success.

Lorenz96 with D = 20, 8 measured, and with D = 10, 4 measured, from the same starts of `initial_paths`, no member pruned
and no stop, so that every start goes all the way; a success ends within 1e-3 of the lowest level that any ladder found.
"Up to" ladders leave out rungs as far as the tangent of each member's branch allows (`deepest.Ladder`).

    python benchmarks/ladders.py [--members 24] [--sets 3]
"""

import argparse
import functools
import time

import jax
import numpy as np
from _common import one_core, save, wilson

import deepest as dp
from deepest import twin

LADDERS = {
    "factor 5": dp.Ladder(),
    "factor 25": dp.Ladder(factor=25.0, rungs=10),
    "factor 1.5, every rung": dp.Ladder(factor=1.5, rungs=68, largest=1.0),
    "factor 1.5, up to 5": dp.Ladder(factor=1.5, rungs=68),
    "factor 1.5, up to 100": dp.Ladder(factor=1.5, rungs=68, largest=100.0),
    "factor 1.1, every rung": dp.Ladder(factor=1.1, rungs=287, largest=1.0),
    "factor 1.1, up to 5": dp.Ladder(factor=1.1, rungs=287),
    "factor 1.1, up to 100": dp.Ladder(factor=1.1, rungs=287, largest=100.0),
}


def small() -> twin.Setting:
    """Ten sites, four measured."""
    model = dp.models.Lorenz96(10, 8.17)
    return twin.Setting(
        name="lorenz96, 10 sites",
        about="",
        model=model,
        estimated=dp.models.Lorenz96(10, dp.Unknown(6.0, 10.0)),
        times=0.025 * np.arange(161),
        components=(0, 2, 4, 6),
        noise=0.5,
        beyond=0.0,
        transcription=dp.HermiteSimpson(),
    )


def climbed(setting: twin.Setting, members: int, sets: int) -> dict[str, dict]:
    """Every ladder on the same data sets and starts; time of the processor, without what compiles."""
    runs: dict[str, list] = {name: [] for name in LADDERS}
    best = []
    for k in range(sets):
        experiment = setting.simulate(jax.random.key(k))
        starts = dp.initial_paths(experiment.action, members, jax.random.key(100 + k))
        for name, ladder in LADDERS.items():
            climb = functools.partial(dp.anneal, experiment.action, ladder, starts=starts, prune=None, stop=False)
            if k == 0:
                climb()
            began = time.process_time()
            result = climb()
            runs[name].append((result, time.process_time() - began))
        best.append(min(np.nanmin(each[-1][0].levels[-1]) for each in runs.values()))
    rows = {}
    for name, each in runs.items():
        reached = sum(int((r.levels[-1] <= low * 1.001).sum()) for (r, _), low in zip(each, best, strict=True))
        tries = members * sets
        rows[name] = {
            "found": [reached, tries, *wilson(reached, tries)],
            "rungs": float(np.mean([np.isfinite(r.levels).all(axis=1).sum() for r, _ in each])),
            "steps": float(sum(r.steps.sum() for r, _ in each) / tries),
            "seconds": sum(seconds for _, seconds in each) / tries,
        }
        row = rows[name]
        print(
            f"{setting.name:20} {name:24} found {reached} of {tries}, rungs {row['rungs']:.1f}, "
            f"steps {row['steps']:.0f}, {row['seconds']:.3f} s a member"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--members", type=int, default=24)
    parser.add_argument("--sets", type=int, default=3)
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    rows = {s.name: climbed(s, options.members, options.sets) for s in (twin.lorenz96(), small())}
    print(save("ladders", {"members": options.members, "sets": options.sets, "ladders": rows}))


if __name__ == "__main__":
    main()
