"""Boundary value problems against scipy's `solve_bvp` at equal accuracy, one at a time and a thousand at once.

The standard test set [ascher1995], each problem with one parameter that varies over the batch. scipy refines its own
mesh from ten intervals, at every call. Ours is collocation on a fixed one, inside `jit`: even, or spaced as `Refine`
spaces it for the middle of the range, once, which is not timed; by derivatives at the nodes, where Newton's method
finds its way so, and begun on a quarter of the intervals where that pays. Errors are those of the whole interpolant,
each component relative to its largest magnitude, the worst of five problems over the range, against far finer
collocation at Gauss points. Ours has the fewest intervals with which it is no less exact than scipy. The batch goes in
groups of 32 that fit a core's cache; scipy's time for it is that of one call, the median over 20 parameters, as often
as there are problems. Compilation is not counted; neither side is given Jacobians by hand.

    python benchmarks/boundary.py [--tolerance 1e-6] [--batch 1000] [--only measles]
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from _common import interleaved, one_core, save
from jax import lax
from scipy import integrate

from deepest import boundary
from deepest.boundary import Gauss, Guess, Obreshkov, Refine, Status

# Problems side by side in one step of the batch: as many as fit in a core's cache.
SIDE = 32
REFERENCE, FINE = Gauss(5), 128
INTERVALS = (4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """dy/dt = field(xp, t, y, a), ends(ya, yb) = 0 over 0 ≤ t ≤ until, for a parameter a in `values`; xp is np or jnp.

    `guess`(t) is a list of the components, `graded` whether our mesh is refined once, `intervals` how many of them the
    search for equal accuracy begins with, `coarse` whether a quarter of them is solved on first.
    """

    field: Callable
    ends: Callable
    guess: Callable
    values: tuple[float, float]
    method: boundary.AbstractCollocation
    intervals: int
    until: float = 1.0
    graded: bool = False
    coarse: bool = False

    @property
    def middle(self) -> float:
        """The parameter in the middle."""
        return 0.5 * sum(self.values)

    def path(self, times) -> np.ndarray:
        """The guess (N, M)."""
        return np.stack([x + 0.0 * times for x in self.guess(times)], axis=1)


def layer(xp, t, y, a):
    """a² y″ = y."""
    return [y[1], y[0] / a**2]


def bratu(xp, t, y, a):
    """y″ + a e^y = 0."""
    return [y[1], -a * xp.exp(y[0])]


def troesch(xp, t, y, a):
    """y″ = a sinh a y."""
    return [y[1], a * xp.sinh(a * y[0])]


def falkner_skan(xp, t, y, a):
    """f‴ + f f″ + a (1 − f′²) = 0."""
    return [y[1], y[2], -y[0] * y[2] - a * (1.0 - y[1] ** 2)]


def measles(xp, t, y, a):
    """Susceptible, latent and infective, with a contact rate of mean a that has a season."""
    infected = a * (1.0 + xp.cos(2.0 * np.pi * t)) * y[0] * y[2]
    return [0.02 - infected, infected - y[1] / 0.0279, y[1] / 0.0279 - y[2] / 0.01]


def swirl(xp, t, y, a):
    """a f⁗ + f f‴ + g g′ = 0, a g″ + f g′ − f′ g = 0: flow between disks that turn against each other."""
    f, f1, f2, f3, g, g1 = (y[i] for i in range(6))
    return [f1, f2, f3, -(f * f3 + g * g1) / a, g1, -(f * g1 - f1 * g) / a]


def hump(height):
    """y and y′ of a half sine."""
    return lambda t: [height * np.sin(np.pi * t), height * np.pi * np.cos(np.pi * t)]


def held(*values):
    """y_0 given at both ends."""
    return lambda ya, yb: [ya[0] - values[0], yb[0] - values[1]]


PROBLEMS = {
    "layer": Problem(layer, held(1.0, 0.0), lambda t: [1.0 - t, -1.0], (0.01, 0.03), Obreshkov(5), 48, graded=True),
    "Bratu, lower": Problem(bratu, held(0.0, 0.0), hump(0.1), (0.5, 3.0), Obreshkov(5), 4),
    "Bratu, upper": Problem(bratu, held(0.0, 0.0), hump(4.0), (0.5, 3.0), Obreshkov(5), 8),
    "Troesch": Problem(
        troesch, held(0.0, 1.0), lambda t: [t, 1.0], (2.0, 6.0), Obreshkov(5), 20, graded=True, coarse=True
    ),
    "Falkner-Skan": Problem(
        falkner_skan,
        lambda ya, yb: [ya[0], ya[1], yb[1] - 1.0],
        lambda t: [t - 1.0 + np.exp(-t), 1.0 - np.exp(-t), np.exp(-t)],
        (0.0, 1.0),
        Obreshkov(5),
        6,
        until=8.0,
    ),
    "measles": Problem(
        measles,
        lambda ya, yb: [yb[i] - ya[i] for i in range(3)],
        lambda t: [0.1, 0.005, 0.001],
        (1400.0, 1700.0),
        Gauss(3),
        16,
    ),
    "swirling flow": Problem(
        swirl,
        lambda ya, yb: [ya[0], ya[1], ya[4] + 1.0, yb[0], yb[1], yb[4] - 1.0],
        lambda t: [0.0, 0.0, 0.0, 0.0, 2.0 * t - 1.0, 2.0],
        (0.005, 0.02),
        Obreshkov(4),
        16,
        coarse=True,
    ),
}


def solved(problem: Problem, method, times, a, **options) -> boundary.Solution:
    """Ours, from the common guess."""
    system = boundary.System(lambda t, y, q: jnp.stack(problem.field(jnp, t, y, a)))
    conditions = boundary.Conditions(lambda ya, yb, q: jnp.stack(problem.ends(ya, yb)))
    return boundary.solve(system, conditions, method, Guess(times, problem.path(times)), **options)


def scipys(problem: Problem, a: float, tolerance: float):
    """scipy's, from the common guess at eleven nodes."""
    times = np.linspace(0.0, problem.until, 11)
    field = lambda t, y: np.vstack(problem.field(np, t, y, a))
    ends = lambda ya, yb: np.array(problem.ends(ya, yb))
    return integrate.solve_bvp(field, ends, times, problem.path(times).T, tol=tolerance, max_nodes=20000)


@functools.cache
def refined(problem: Problem) -> np.ndarray:
    """The nodes that `Refine` finds for the middle parameter; two, where an even mesh will do."""
    if not problem.graded:
        return np.array([0.0, problem.until])
    start = np.linspace(0.0, problem.until, 33)
    fine = solved(problem, Gauss(4), start, jnp.asarray(problem.middle), refine=Refine(1e-5))
    assert int(fine.status) == Status.converged, fine.sentence
    return np.asarray(fine.times)


def mesh(problem: Problem, intervals: int) -> np.ndarray:
    """As many intervals, spaced as those of the refined mesh are."""
    nodes = refined(problem)
    return np.interp(np.linspace(0.0, 1.0, intervals + 1), np.linspace(0.0, 1.0, nodes.size), nodes)


def errors(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest over problems, times and components: (problem, time, component)."""
    return float(np.max(np.abs(found - exact) / np.max(np.abs(exact), axis=1, keepdims=True)))


def on(problem: Problem, intervals: int, tolerance: float) -> Callable:
    """From the parameter to ours, with the problem's own method on so many intervals."""
    times, coarse = mesh(problem, intervals), max(2, intervals // 4) if problem.coarse else None
    return lambda a: solved(problem, problem.method, times, a, tolerance=tolerance, coarse=coarse)


def every(find: Callable) -> Callable:
    """From values of the parameter and times to y at them, (problem, time, component), and how many are not solved."""

    def one(a, at):
        solution = find(a)
        return solution(at), solution.status != Status.converged

    @jax.jit
    def found(values, at):
        y, missed = lax.map(lambda a: one(a, at), values)
        return y, jnp.sum(missed)

    return found


def as_exact(problem: Problem, values, at, exact, goal: float) -> tuple[int, float]:
    """The fewest intervals with which ours is as exact as the goal, and its error."""
    for intervals in (n for n in INTERVALS if n >= problem.intervals):
        y, missed = every(on(problem, intervals, 0.1 * goal))(values, at)
        if int(missed) == 0 and (error := errors(np.asarray(y), exact)) <= goal:
            return intervals, error
    raise RuntimeError(f"Nothing up to {INTERVALS[-1]} intervals is as exact as {goal:.1e}.")


def compare(problem: Problem, tolerance: float, batch: int, repeats: int) -> dict[str, float]:
    """Errors and times of both."""
    few, at = np.linspace(*problem.values, 5), np.linspace(0.0, problem.until, 301)
    fine = mesh(problem, FINE)
    reference = lambda a: solved(problem, REFERENCE, fine, a, tolerance=1e-12, coarse=FINE // 4)
    exact, missed = every(reference)(jnp.asarray(few), jnp.asarray(at))
    assert int(missed) == 0
    exact = np.asarray(exact)
    theirs = [scipys(problem, a, tolerance) for a in few]
    assert all(r.status == 0 for r in theirs)
    goal = errors(np.stack([r.sol(at).T for r in theirs]), exact)
    intervals, error = as_exact(problem, jnp.asarray(few), jnp.asarray(at), exact, goal)
    find = on(problem, intervals, 0.1 * goal)

    def run(a):
        solution = find(a)
        return solution.y, solution.status

    single = jax.jit(run)
    many = jax.jit(lambda values: lax.map(run, values, batch_size=SIDE))
    middle, values = jnp.asarray(problem.middle), jnp.linspace(*problem.values, batch)
    both = interleaved(
        {"ours": lambda: single(middle), "scipy": lambda: scipys(problem, problem.middle, tolerance)}, repeats
    )
    assert int(jnp.sum(jnp.asarray(many(values)[1]) != Status.converged)) == 0
    all_of_them = interleaved({"ours": lambda: many(values)}, 5, inner=1)["ours"]["median"]
    each = []
    for a in np.linspace(*problem.values, 20):
        start = time.process_time()
        scipys(problem, a, tolerance)
        each.append(1e3 * (time.process_time() - start))
    one, peer = both["ours"]["median"], both["scipy"]["median"]
    return {
        "intervals": intervals,
        "scipy_nodes": int(np.median([r.x.size for r in theirs])),
        "error": error,
        "scipy_error": goal,
        "ms": one,
        "scipy_ms": peer,
        "ratio": peer / one,
        "batch_ms": all_of_them,
        "batch_ratio": batch * float(np.median(each)) / all_of_them,
    }


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tolerance", type=float, default=1e-6, help="scipy's")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", choices=list(PROBLEMS), nargs="+", default=list(PROBLEMS))
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    print(f"Ours against solve_bvp(tol={options.tolerance:g}); batch of {options.batch}")
    heads = ("intervals", "its nodes", "error", "its error", "ms", "its ms", "ratio", "batch ms", "ratio")
    print(f"{'':>14}" + "".join(f"{head:>11}" for head in heads))
    rows = {}
    for name in options.only:
        row = rows[name] = compare(PROBLEMS[name], options.tolerance, options.batch, options.repeats)
        shown = [f"{x:.1e}" if "error" in key else f"{x:.3g}" for key, x in row.items()]
        print(f"{name:>14}" + "".join(f"{x:>11}" for x in shown), flush=True)
    if options.only == list(PROBLEMS):
        print("saved", save("boundary", {"tolerance": options.tolerance, "batch": options.batch, "problems": rows}))


if __name__ == "__main__":
    main()
