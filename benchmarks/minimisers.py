"""Ways to minimise a network's action at one R_f, from the same point and in equal time.

Twin problems, in units R_m = 1 with a weight decay of 0.3: `residual`, ten maps x + 0.5 tanh(Wx + b) of width 10 that
keep information, noise of 0.05 on inputs and outputs, for 100 and 300 pairs; and `autoencoder`, handwritten digits
through 64 - 32 - 8 - 32 - 64 tanh layers, so that the outputs outnumber the neurons between. Inputs are taken as exact.
Every rung begins for all methods where the best of them left the rung below, the first at a forward pass of random
weights. A method has about the same processor time on one core, compilation apart: as many steps as three of its steps
say. What it took is in `seconds`, half to 1.6 times that, of L-BFGS never more; it may end sooner. Entries are the
action there over the lowest that any method found, mean over seeds, lowest, highest. Problems not asked for keep the
figures that they have.

    python benchmarks/minimisers.py [--seeds 3] [--seconds 0.5] [--problems 'residual, 100 pairs']
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import one_core, save, saved
from sklearn.datasets import load_digits

from deepest.minimise import LBFGS, AbstractMinimiser, Conjugate, DampedNewton, Representers
from deepest.networks import Dense, LayerMap, NetworkAction, Pairs, Residual, perceptron

RATIOS = (1e-4, 1e-2, 1.0, 1e2, 1e4)
WIDTH, MAPS = 10, 10
METHODS = {
    "Representers": lambda limit: DampedNewton(limit=limit, form=Representers()),
    "Representers(proximal=0)": lambda limit: DampedNewton(limit=limit, form=Representers(proximal=0.0)),
    "Conjugate": lambda limit: DampedNewton(limit=limit, form=Conjugate()),
    "LBFGS": lambda limit: LBFGS(limit=limit),
}


def residual(pairs: int, seed: int) -> NetworkAction:
    """The twin that keeps information: orthogonal weights times two."""
    rng = np.random.default_rng(seed)
    x = y = rng.normal(size=(pairs, WIDTH))
    for _ in range(MAPS):
        weight, bias = 2.0 * np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0], 0.5 * rng.normal(size=WIDTH)
        y = y + 0.5 * np.tanh(y @ weight.T + bias)
    noisy = [values + 0.05 * rng.normal(size=values.shape) for values in (x, y)]
    keys = jax.random.split(jax.random.key(seed), MAPS)
    return NetworkAction(LayerMap([Residual(Dense(WIDTH, WIDTH, key=key), 0.5) for key in keys]), Pairs(*noisy))


def autoencoder(pairs: int, seed: int) -> NetworkAction:
    """Of images of digits, through eight numbers."""
    images = np.random.default_rng(seed).permutation(load_digits().data)[:pairs] / 16.0
    return NetworkAction(perceptron([64, 32, 8, 32, 64], key=jax.random.key(seed)), Pairs(images, images))


PROBLEMS = {"residual, 100 pairs": (residual, 100), "residual, 300 pairs": (residual, 300),
            "autoencoder, 100 pairs": (autoencoder, 100)}  # fmt: skip


@eqx.filter_jit
def minimised(minimiser: AbstractMinimiser, problem, z):
    """The end of one minimisation; how many steps it may take is no constant of the program."""
    return minimiser.minimise(problem, z, tolerance=1e-10, damping=1e-2, floor=1e-9)


def spent(minimiser: AbstractMinimiser, problem, z):
    """The solution and its processor time."""
    start = time.process_time()
    found = jax.block_until_ready(minimised(minimiser, problem, z))
    return found, time.process_time() - start


def in_time(make, problem, z, seconds: float):
    """What a method reaches in a time: a few steps tell how many it may take."""
    spent(make(jnp.asarray(1)), problem, z)
    found, took = spent(make(jnp.asarray(3)), problem, z)
    each = took / max(int(found.steps), 1)
    found, took = spent(make(jnp.asarray(int(seconds / each))), problem, z)
    return found, took


def ladder(make_action, pairs: int, seed: int, seconds: float) -> dict:
    """Action, steps and seconds of every method on every rung."""
    action, table = make_action(pairs, seed), {}
    z = action.start()
    for ratio in RATIOS:
        problem = action.at(ratio)
        ends = {name: in_time(make, problem, z, seconds) for name, make in METHODS.items()}
        z = min((found for found, _ in ends.values()), key=lambda found: float(found.cost)).z
        table[f"{ratio:g}"] = {
            name: {"action": float(found.cost), "steps": int(found.steps), "seconds": round(took, 2)}
            for name, (found, took) in ends.items()
        }
    return table


def ratios(tables: list[dict], rung: str, name: str) -> list[float]:
    """Action over the best, by seed."""
    lowest = [min(entry["action"] for entry in table[rung].values()) for table in tables]
    return [table[rung][name]["action"] / low for table, low in zip(tables, lowest, strict=True)]


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="for 100 pairs; the autoencoder has twice that")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    given = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    content = saved("minimisers").get("problems", {})
    for title in given.problems:
        make_action, pairs = PROBLEMS[title]
        seconds = given.seconds * pairs / 100.0 * (2.0 if make_action is autoencoder else 1.0)
        tables = [ladder(make_action, pairs, seed, seconds) for seed in range(given.seeds)]
        content[title] = {"seconds": seconds, "seeds": tables}
        print(f"\n{title}, {seconds:g} s\n{'R_f/R_m':>8}" + "".join(f"{name:>28}" for name in METHODS))
        for rung in tables[0]:
            rows = [ratios(tables, rung, name) for name in METHODS]
            cells = (f"{np.mean(row):.3f} ({min(row):.3f} … {max(row):.3f})" for row in rows)
            print(f"{rung:>8}" + "".join(f"{cell:>28}" for cell in cells), flush=True)
        print("saved", save("minimisers", {"decay": 0.3, "problems": content}), flush=True)


if __name__ == "__main__":
    main()
