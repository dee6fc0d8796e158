"""Forecasts of three measured series beyond what was estimated from, beside the plain ones.

Each configuration of `examples` is run as `deepest anneal` runs it, its best model goes on from the end of its path,
and is scored on what was held out: the root mean square error, in the series' units. Beside it persistence (the last
value), climatology (the mean of what was estimated from), and the last cycle over again: 10 years for hare and lynx, 11
for sunspots, and for carbon dioxide the last year, raised by the mean growth of the last ten.

    python benchmarks/forecasts.py [hare_lynx sunspots co2]
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from _common import one_core, save, saved

import deepest as dp
from deepest.cli import _config
from deepest.io import read_table
from deepest.models import integrate

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CYCLES = {"hare_lynx": 10.0, "sunspots": 11.0, "co2": 1.0}


def rms(error: np.ndarray) -> list[float]:
    """A figure a column, over what was measured."""
    return np.round(np.sqrt(np.nanmean(error**2, axis=0)), 3).tolist()


def cycled(known, later, period: float) -> np.ndarray:
    """The last cycle over and over, for carbon dioxide with the growth of the last ten years."""
    end = known.times[-1]
    back = later.times - period * np.ceil((later.times - end) / period - 1e-9)
    past = lambda at: np.stack(
        [np.interp(at, known.times[~np.isnan(c)], c[~np.isnan(c)]) for c in known.values.T], axis=1
    )
    if period > 1.0:
        return past(back)
    growth = (past(np.array([end])) - past(np.array([end - 10.0]))) / 10.0
    return past(back) + growth * (later.times - back)[:, None]


def score(name: str) -> dict:
    """The figures of one series."""
    plan = _config.read(EXAMPLES / f"{name}.toml")
    known, later = read_table(EXAMPLES / f"{name}.csv"), read_table(EXAMPLES / f"{name}_later.csv")
    begin = time.process_time()
    spread = {} if plan.spread is None else {"spread": plan.spread}
    found = dp.anneal(plan.action, plan.ladder, members=plan.members, key=jax.random.key(plan.seed), **spread)
    seconds, best = time.process_time() - begin, found.best
    columns = list(plan.action.observations.components)
    path = integrate(best.model, jax.numpy.asarray(best.path[-1]), np.append(best.times[-1], later.times), best.args)
    predicted = np.asarray(path)[1:, columns]
    mean = np.nanmean(known.values, axis=0)
    last = known.values[np.flatnonzero(~np.isnan(known.values).any(axis=1))[-1]]
    one = max(1, round(CYCLES[name] / np.median(np.diff(later.times))))
    errors = {
        "deepest": predicted - later.values,
        "last_cycle": cycled(known, later, CYCLES[name]) - later.values,
        "persistence": last - later.values,
        "climatology": mean - later.values,
    }
    return {
        "level": round(best.level, 3),
        "consistent": bool(found.report.consistent),
        "parameters": {k: float(f"{v:.4g}") for k, v in best.parameters.items()},
        "seconds": round(seconds, 1),
        "held_out": int((~np.isnan(later.values)).sum()),
        "first_cycle": {k: rms(e[:one]) for k, e in errors.items()},
        "all": {k: rms(e) for k, e in errors.items()},
    }


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*CYCLES, []])
    one_core()
    jax.config.update("jax_enable_x64", True)
    held = saved("forecasts")
    for name in parser.parse_args().names or CYCLES:
        held[name] = score(name)
        save("forecasts", held)
        print(name, json.dumps(held[name], indent=1), flush=True)


if __name__ == "__main__":
    main()
