"""The perceptron twins: levels and held-out errors against depth and pairs, and what needs no network beside them.

`released` is the paper's experiment with the settings of its code, `preserving` one in which there is something to
learn. Each row is one network, one set of pairs and some random starts. Levels are 2A/measured at the top of the
ladder, counted as distinct where they are 1 % apart; errors are mean square errors over the measured components of the
held-out outputs, in units of the noise's variance, of the forward pass of the start with the lowest level; beside it
those of the training outputs' mean, of a ridge regression, and of the network that made the data. `ladders` compares
the release's 436 rungs with few, and `descent` minimises by L-BFGS without a prior, which is how the paper did it.
`finer` transcribes one continuous network with more and more layers.

    python benchmarks/twins.py [released preserving high ladders descent finer]
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator

import diffrax
import jax
import numpy as np
from _common import one_core, save, saved

from deepest.anneal import Ladder
from deepest.minimise import LBFGS
from deepest.twin import Finer, Learned, finer, learn, perceptron, preserving

SEED = 0


def rounded(values) -> list:
    """Four digits are enough to compare by."""
    return [float(f"{value:.4g}") for value in np.ravel(values)]


def row(learned: Learned, **more) -> dict:
    """The figures of one experiment."""
    setting, climbed = learned.twin.setting, learned.climbed
    best = int(np.nanargmin(learned.held_out))
    return {
        "data_layers": setting.data_layers,
        "layers": setting.layers,
        "pairs": setting.pairs,
        "measured": setting.measured,
        "starts": climbed.levels.shape[1],
        "distinct": len(climbed.distinct()[-1]),
        "most_distinct": max(map(len, climbed.distinct())),
        "levels": rounded(np.sort(climbed.levels[-1])),
        "yardstick": rounded(learned.yardstick)[0],
        "held_out": rounded(learned.held_out[-1])[0],
        "held_out_range": rounded([np.min(climbed.held_out[-1]), np.max(climbed.held_out[-1])]),
        "best_held_out": rounded(learned.held_out[best])[0],
        "best_ratio": rounded(climbed.ratios[best])[0],
        **{key: rounded(value)[0] for key, value in dataclasses.asdict(learned.baselines).items()},
        "seconds": round(learned.seconds, 1),
        "lowest_by_rung": rounded(learned.lowest),
        "held_out_by_rung": rounded(learned.held_out),
        **more,
    }


def told(name: str, one: dict) -> None:
    """One row, printed."""
    levels = f"{one['levels'][0]:9.4g} … {one['levels'][-1]:<9.4g} ({one['yardstick']:.4g})"
    print(
        f"{name:<16}{one['layers']:>4}{one['pairs']:>5}{one['measured']:>4}{one['starts']:>3} |{one['distinct']:>3} "
        f"{levels:<34}| {one['held_out']:9.4g}{one['best_held_out']:9.4g} at {one['best_ratio']:<7.1g}| "
        f"{one['mean']:9.4g}{one['linear']:9.4g}{one['truth']:9.4g} |{one['seconds']:7.1f}",
        flush=True,
    )


def released() -> Iterator[dict]:
    """Depth and pairs as in the paper, then fewer measured components."""
    grid = [(20, 1, 10), (20, 10, 10), (20, 100, 10), (100, 1, 10), (100, 10, 10), (100, 100, 10)]
    grid += [(30, 10, 10), (50, 10, 10), (20, 10, 5), (20, 10, 1), (100, 10, 5), (100, 10, 1)]
    grid += [(30, 1, 10), (30, 100, 10), (50, 1, 10), (50, 100, 10)]
    for layers, pairs, measured in grid:
        twin = perceptron(layers=layers, pairs=pairs, measured=measured).simulate(jax.random.key(SEED))
        yield row(learn(twin, members=5, key=jax.random.key(SEED + 1)))


def kept(ladder: Ladder | None) -> Iterator[dict]:
    """Depth and pairs where there is something to learn."""
    grid = [(5, 1), (5, 10), (5, 100), (5, 300), (3, 100), (9, 100), (17, 100), (3, 10), (9, 10), (17, 10)]
    for layers, pairs in grid:
        twin = preserving(layers=layers, pairs=pairs).simulate(jax.random.key(SEED))
        yield row(learn(twin, ladder, members=5, key=jax.random.key(SEED + 1)))


def high() -> Iterator[dict]:
    """The same from R_f/R_m = 1 upwards."""
    return kept(Ladder(1.0, 10.0 ** (5 / 9), 10))


def ladders() -> Iterator[dict]:
    """The release's ladder, one of factor 10, one of factor 100."""
    twin = perceptron().simulate(jax.random.key(SEED))
    for ladder in (Ladder(1e-8, 1.1, 436), Ladder(1e-8, 10.0, 19), Ladder(1e-8, 100.0, 10)):
        found = learn(twin, ladder, members=3, key=jax.random.key(SEED + 1))
        yield row(found, factor=ladder.factor, rungs=ladder.rungs)


def descent() -> Iterator[dict]:
    """L-BFGS on all weights and states, without a prior on the weights."""
    for layers, pairs in [(20, 1), (20, 10), (100, 1), (100, 10)]:
        setting = dataclasses.replace(perceptron(layers=layers, pairs=pairs), decay=0.0)
        found = learn(
            setting.simulate(jax.random.key(SEED)), members=5, minimiser=LBFGS(limit=1000), key=jax.random.key(SEED + 1)
        )
        yield row(found)


def refined() -> Iterator[dict]:
    """Levels and errors of 5 to 160 layers by two solvers, at a finite R_f and at infinity, and their orders."""
    for solver in (diffrax.Euler(), diffrax.Heun()):
        found = finer(solver=solver, key=jax.random.key(SEED))
        one = {"solver": type(solver).__name__, "layers": found.layers.tolist(), "ratios": ["1", "infinite"]}
        for name in ("levels", "held_out"):
            values = getattr(found, name)
            one[name], one[f"{name}_orders"] = values.tolist(), np.round(Finer.orders(values), 2).tolist()
        yield one


PARTS: dict[str, Callable[[], Iterator[dict]]] = {
    "released": released,
    "preserving": lambda: kept(None),
    "high": high,
    "ladders": ladders,
    "descent": descent,
    "finer": refined,
}


def main() -> None:
    """Parse, run, print, save after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    one_core()
    jax.config.update("jax_enable_x64", True)
    table = saved("twins")
    for part in parser.parse_args().parts or PARTS:
        table[part] = []
        for one in PARTS[part]():
            table[part].append(one)
            save("twins", table)
            if part == "finer":
                print(json.dumps(one, indent=1), flush=True)
            else:
                told(part, one)


if __name__ == "__main__":
    main()
