"""Memory and time of a gradient through many steps: SymplecticAdjoint, and diffrax's adjoints.

Tsit5 at constant steps on a field that is a small network, dx/dt = −x + 4 W_3 tanh(W_2 tanh(W_1 x)) of width 32 and
32 states, over ten units of time, and the gradient of ½ |x(10)|² by the initial state and all weights. Memory is what
the compiled gradient needs beside what it is given and gives. Time is processor time of a call after the first, least
of some; compile time is apart. The error is the relative difference to the gradient of RecursiveCheckpointAdjoint:
rounding for all that differentiate the steps; BacksolveAdjoint solves another equation backward.

    python benchmarks/adjoints.py [--steps 100 1000 10000]
"""

import argparse
import time

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import one_core, save

from deepest.costate import SymplecticAdjoint

WIDTH, UNTIL = 32, 10.0
PEER = "RecursiveCheckpointAdjoint"


def adjoints(steps: int) -> dict[str, diffrax.AbstractAdjoint]:
    """By name, the reference first."""
    return {
        PEER: diffrax.RecursiveCheckpointAdjoint(),
        "SymplecticAdjoint()": SymplecticAdjoint(),
        "SymplecticAdjoint(every step)": SymplecticAdjoint(steps),
        "BacksolveAdjoint": diffrax.BacksolveAdjoint(),
        "DirectAdjoint": diffrax.DirectAdjoint(),
    }


class Field(eqx.Module):
    """The damped network, called as diffrax does."""

    network: eqx.nn.MLP

    def __call__(self, t, x, args):
        """dx/dt (WIDTH,)."""
        return 4.0 * self.network(x) - x


def measure(adjoint: diffrax.AbstractAdjoint, steps: int, repeats: int) -> tuple[dict, np.ndarray]:
    """Seconds to compile, bytes, milliseconds a call; and the gradient as one vector."""
    field = Field(eqx.nn.MLP(WIDTH, WIDTH, WIDTH, 2, activation=jnp.tanh, key=jax.random.key(0)))
    weights, fixed = eqx.partition(field, eqx.is_array)

    def cost(varying):
        weights, x = varying
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(eqx.combine(weights, fixed)), diffrax.Tsit5(), 0.0, UNTIL, UNTIL / steps, x,
            adjoint=adjoint, max_steps=steps,
        )  # fmt: skip
        return 0.5 * jnp.sum(solution.ys[-1] ** 2)

    given = weights, jnp.linspace(-1.0, 1.0, WIDTH)
    start = time.perf_counter()
    gradient = jax.jit(jax.grad(cost)).lower(given).compile()
    compiling, spent = time.perf_counter() - start, []
    found = jax.block_until_ready(gradient(given))
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(gradient(given))
        spent.append(1e3 * (time.process_time() - start))
    figures = {
        "compile_s": round(compiling, 2),
        "bytes": gradient.memory_analysis().temp_size_in_bytes,
        "ms": round(min(spent), 3),
    }
    return figures, np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000, 10000])
    one_core()
    jax.config.update("jax_enable_x64", True)
    table = {}
    print(f"{'steps':>6} {'adjoint':<30}{'KiB':>10}{'ms':>10}{'compile s':>11}{'error':>10}")
    for steps in parser.parse_args().steps:
        exact = None
        for name, adjoint in adjoints(steps).items():
            figures, found = measure(adjoint, steps, repeats=3 if steps > 1000 else 7)
            exact = found if exact is None else exact
            figures["error"] = float(f"{np.linalg.norm(found - exact) / np.linalg.norm(exact):.2g}")
            table.setdefault(str(steps), {})[name] = figures
            print(
                f"{steps:>6} {name:<30}{figures['bytes'] / 1024:>10.0f}{figures['ms']:>10.2f}"
                f"{figures['compile_s']:>11.2f}{figures['error']:>10.1e}",
                flush=True,
            )
    print("saved", save("adjoints", {"width": WIDTH, "steps": table}))


if __name__ == "__main__":
    main()
