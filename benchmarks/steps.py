"""One Gauss–Newton step against LAPACK's banded Cholesky of the same system, on one core.

Our side linearises the model, assembles, factors and solves: in a call of its own, and as one of five steps in a row in
one compiled loop, as a minimisation takes them, where memory is asked for once. LAPACK's side is given the finished
matrix: the same damped Gauss–Newton matrix of all points, midpoints included, in path order, bandwidth 3D − 1, and the
border's columns beside the gradient as right sides; it factors and solves and does no more. "Lean" is the least that
LAPACK can do for a step: it goes forward with all columns, closes the border, and goes back with one. Both are checked
to give our step through the border's Schur complement

    (C − Bᵀ T⁻¹ B) d_θ = −g_θ + Bᵀ T⁻¹ g_x,   d_x = −T⁻¹ (g_x + B d_θ).

OpenBLAS skips zeros inside the band, and three quarters of Lorenz96's band are zeros; `network` is a model of the same
size in which every component drives every other.

    python benchmarks/steps.py [--case lorenz96] [--case network] [--case nakl] [--repeats 15]
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import annealing
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import interleaved, one_core, save
from jax import lax
from scipy import linalg
from scipy.linalg import lapack

import deepest as dp
from deepest import twin
from deepest.action import PathAction
from deepest.linalg import BlockVector, BorderedTridiagonal
from deepest.minimise import Quadratic

# The damping a minimisation starts with, in units of the local model's scale.
DAMPING = 1e-3
# Steps in a row, in one compiled call.
ROW = 5


class Network(eqx.Module):
    """Every component drives every other: dx/dt = −x + W tanh(x) + f.

    State (D,), dimensionless as time is; `weights` W (D, D), `forcing` f a scalar.
    """

    weights: object
    forcing: object
    dimension: int = eqx.field(static=True, default=20)

    def __call__(self, t, x, args):
        del t, args
        return self.weights @ jnp.tanh(x) - x + self.forcing


def lorenz96() -> tuple[PathAction, BlockVector]:
    """The problem of `annealing.py`, D = 20 at 161 points, high on the ladder, near the truth."""
    action, truth = annealing.problem(**annealing.SETTINGS["lorenz96_20"], seed=1)
    noise = np.random.default_rng(0).normal(size=truth.shape)
    return action.at(1e4), action.pack(jnp.asarray(truth + 0.1 * noise), jnp.asarray([8.0]))


def network() -> tuple[PathAction, BlockVector]:
    """A chaotic network of the same size, D = 20 at 161 points, 8 measured, forcing unknown, near the truth."""
    rng, times, measured = np.random.default_rng(0), 0.1 * np.arange(161), (0, 2, 4, 6, 8, 10, 14, 16)
    weights = jnp.asarray(rng.normal(size=(20, 20)) * 2.0 / np.sqrt(20))
    truth = np.asarray(dp.models.integrate(Network(weights, 0.5), jnp.asarray(rng.normal(size=20)), times))
    values = truth[:, measured] + 0.1 * rng.normal(size=(161, 8))
    observations = dp.Observations(times, values, components=measured, noise=0.1)
    action = dp.Action(Network(weights, dp.Unknown(0.0, 1.0)), observations, dp.HermiteSimpson())
    path = truth + 0.02 * rng.normal(size=truth.shape)
    return action.at(1e4), action.pack(jnp.asarray(path), jnp.asarray([0.45]))


def nakl() -> tuple[PathAction, BlockVector]:
    """The problem of `nakl.py`, a neuron's measured voltage, D = 4 at 6001 points, 18 parameters, near the truth."""
    experiment = twin.neuron().simulate(jax.random.key(0))
    noise = np.random.default_rng(0).normal(size=experiment.truth.shape) * np.array([0.5, 5e-3, 5e-3, 5e-3])
    path, parameters = jnp.asarray(experiment.truth + noise), jnp.asarray(1.02 * experiment.parameters)
    return experiment.action.at(1e2), experiment.action.pack(path, parameters)


CASES = {"lorenz96": lorenz96, "network": network, "nakl": nakl}


def assemble(problem: PathAction, z: BlockVector) -> Quadratic:
    """The local model at z."""
    return problem.quadratic(z, False)


def damp(quadratic: Quadratic) -> BorderedTridiagonal:
    """H + λS."""
    return quadratic.hessian.shift(jax.tree.map(lambda s: DAMPING * s, quadratic.scale))


def solve(problem: PathAction, quadratic: Quadratic) -> BlockVector:
    """Factor and solve (H + λS) d = −g."""
    return problem.kernel.solve(damp(quadratic), jax.tree.map(jnp.negative, quadratic.gradient))


def step(problem: PathAction, z: BlockVector) -> BlockVector:
    """One Gauss–Newton step from z: everything."""
    return solve(problem, assemble(problem, z))


def row(problem: PathAction, z: BlockVector) -> BlockVector:
    """`ROW` steps in one compiled loop, as in a minimisation; each moves a little only, to stay at the same place."""
    move = lambda _, z: jax.tree.map(lambda a, d: a + 1e-9 * d, z, step(problem, z))
    return lax.fori_loop(0, ROW, move, z)


def compiled(function: Callable, *args: object) -> tuple[Callable, float, int]:
    """A call without arguments, the processor seconds of its compilation, and the bytes it takes beside its inputs."""
    arrays, static = eqx.partition(args, eqx.is_array)
    start = time.process_time()
    ready = jax.jit(lambda arrays: function(*eqx.combine(arrays, static))).lower(arrays).compile()
    seconds, plan = time.process_time() - start, ready.memory_analysis()
    return lambda: ready(arrays), seconds, plan.temp_size_in_bytes + plan.output_size_in_bytes


class Banded:
    """The same system for LAPACK: T in upper banded form, and [B, −g_x] as right sides, all in Fortran's order."""

    def __init__(self, system: BorderedTridiagonal, gradient: BlockVector):
        get = lambda blocks: np.asarray(system.layout.restore(blocks))
        diagonal, inside = get(system.diagonal), get(system.interior)
        self.size, count = diagonal.shape[1], inside.shape[0]
        self.ab = np.zeros((3 * self.size, (2 * count + 1) * self.size), order="F")
        node, middle = 2 * np.arange(count + 1), 2 * np.arange(count) + 1
        self._place(node, node, diagonal)
        self._place(middle, middle, inside)
        self._place(node[:-1], middle, get(system.left))
        self._place(middle, node[1:], np.swapaxes(get(system.right), 1, 2))
        self._place(node[:-1], node[1:], get(system.upper))
        border, columns = get(system.border), [get(system.inner), -np.asarray(gradient.interior)[:, :, None]]
        rights = np.concatenate([border, -np.asarray(gradient.nodes)[:, :, None]], axis=2)
        path = np.zeros((2 * count + 1, self.size, border.shape[2] + 1))
        path[::2], path[1::2] = rights, np.concatenate(columns, axis=2)
        self.rights = np.asfortranarray(path.reshape(-1, path.shape[2]))
        self.corner, self.shared = np.asarray(system.corner), -np.asarray(gradient.shared)

    def _place(self, rows, columns, blocks):
        """Blocks of T at these places, each with the upper triangle of T that it holds."""
        along = np.arange(self.size)
        i, j = np.broadcast_arrays(
            (self.size * rows[:, None] + along)[:, :, None], (self.size * columns[:, None] + along)[:, None, :]
        )
        upper = i <= j
        self.ab[(3 * self.size - 1 + i - j)[upper], j[upper]] = blocks[upper]

    def solve(self) -> np.ndarray:
        """T⁻¹ [B, −g_x]: LAPACK's factor and solve, which is what we are measured against."""
        factor = linalg.cholesky_banded(self.ab, check_finite=False)
        return linalg.cho_solve_banded((factor, False), self.rights, check_finite=False)

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """The step (d_x, d_θ) by `solve` and the border's Schur complement."""
        solved, border = self.solve(), self.rights[:, :-1]
        schur = self.corner - border.T @ solved[:, :-1]
        shared = linalg.solve(schur, self.shared - border.T @ solved[:, -1], assume_a="pos")
        return solved[:, -1] - solved[:, :-1] @ shared, shared

    def lean(self) -> tuple[np.ndarray, np.ndarray]:
        """The step with half the substitutions: Y = U⁻ᵀ [B, −g_x] for T = UᵀU, then one column back."""
        factor = linalg.cholesky_banded(self.ab, check_finite=False)
        forward, _ = lapack.dtbtrs(factor, self.rights, uplo="U", trans="T")
        border, own = forward[:, :-1], forward[:, -1]
        shared = linalg.solve(self.corner - border.T @ border, self.shared - border.T @ own, assume_a="pos")
        return lapack.dtbtrs(factor, own - border @ shared, uplo="U")[0].reshape(-1), shared


def disagreement(ours: BlockVector, theirs: tuple[np.ndarray, np.ndarray]) -> float:
    """The largest relative difference of two steps, in the path and in the parameters."""
    nodes, inside = np.asarray(ours.nodes), np.asarray(ours.interior)
    path = np.zeros((nodes.shape[0] + inside.shape[0], nodes.shape[1]))
    path[::2], path[1::2] = nodes, inside
    pairs = [(path.ravel(), theirs[0]), (np.asarray(ours.shared), theirs[1])]
    return max(float(np.max(abs(a - b)) / np.max(abs(b))) for a, b in pairs)


def measure(name: str, repeats: int) -> dict:
    """One case."""
    problem, z = CASES[name]()
    whole, seconds, _ = compiled(step, problem, z)
    linear, *_ = compiled(assemble, problem, z)
    quadratic = linear()
    factored, *_ = compiled(solve, problem, quadratic)
    inside, *_ = compiled(row, problem, z)
    banded = Banded(damp(quadratic), quadratic.gradient)
    apart = {"lapack": disagreement(whole(), banded.step()), "lean": disagreement(whole(), banded.lean())}
    ours = {"step": whole, "in a row": inside, "assembly": linear, "solve": factored}
    times = interleaved({**ours, "lapack": banded.solve, "lean": banded.lean}, repeats)
    times["in a row"] = {of: t / ROW for of, t in times["in a row"].items()}
    over = lambda a, b: {of: times[a][of] / times[b][of] for of in ("minimum", "median")}
    ratio = {f"{a} / {b}": over(a, b) for a in ("step", "in a row") for b in ("lapack", "lean")}
    return {
        "dimension": banded.size,
        "points": banded.rights.shape[0] // banded.size,
        "parameters": banded.shared.size,
        "kernel": type(problem.kernel).__name__,
        "milliseconds": times,
        "ratio": ratio,
        "zeros_in_band": float(np.mean(banded.ab == 0.0)),
        "compile_seconds": seconds,
        "relative_difference": apart,
    }


def show(results: dict[str, dict]) -> None:
    """The table, in milliseconds: minimum (median)."""
    shown = ("step", "in a row", "assembly", "solve", "lapack", "lean")
    print("ms, min (median)".ljust(30) + "".join(f"{k:>16}" for k in shown))
    for name, r in results.items():
        label = f"{name} D={r['dimension']} N={r['points']} P={r['parameters']}"
        cells = (f"{r['milliseconds'][k]['minimum']:.2f} ({r['milliseconds'][k]['median']:.2f})" for k in shown)
        print(label.ljust(30) + "".join(f"{c:>16}" for c in cells))
    for name, r in results.items():
        ratio = ", ".join(f"{k} {v['minimum']:.2f} ({v['median']:.2f})" for k, v in r["ratio"].items())
        apart = f"{max(r['relative_difference'].values()):.1e} from LAPACK's step"
        print(f"{name}: {ratio}; {apart}; {r['kernel']}, compiled in {r['compile_seconds']:.1f} s")


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--repeats", type=int, default=15, help="rounds of three calls of each")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    results = {name: measure(name, options.repeats) for name in options.case or CASES}
    show(results)
    print("saved", save("steps", {"damping": DAMPING, "cases": results}))


if __name__ == "__main__":
    main()
