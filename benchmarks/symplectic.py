"""Energy error against cost on long orbits: symplectic solvers, diffrax's Tsit5 and Dopri8, and scipy's DOP853.

Kepler's problem with eccentricities 0.6 and 0.2, and a bounded orbit of Hénon and Heiles. The cost is how often the
force is evaluated in a period, which is what counts where it is expensive; processor time is beside it. Splittings take
it by their step size, adaptive solvers by the tolerance (rtol = atol) at which they need as much over the first
periods, found by bisection. The error is the largest relative change of energy at any end of a step so far. An adaptive
solver's grows in proportion to time, a symplectic solver's is bounded where its steps are not too long, so that for
each cost there is a length from which on the latter is smaller; where it is longer than the run, it is extrapolated by
that growth, and marked so. The splitting compared is that of least error at the end.

    python benchmarks/symplectic.py [--periods 10 100 1000 10000]
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from _common import RESULTS, one_core, save
from matplotlib import pyplot as plt
from scipy import integrate

from deepest import mechanics
from deepest.symplectic import BlanesMoan4, BlanesMoan6, KahanLi8, StormerVerlet, Yoshida4

# Evaluations of the force in a period.
BUDGETS = (200, 400, 800)
# The cost of a tolerance is taken over so many periods.
TRIAL = 10


@dataclasses.dataclass(frozen=True)
class Orbit:
    """H = ½ p² + V(x) from (x, p) at time 0, with the force −∂V/∂x in numpy for scipy."""

    title: str
    potential: Callable
    force: Callable
    start: tuple[np.ndarray, np.ndarray]
    period: float = 2.0 * math.pi

    def energy(self, x, p):
        """H, a scalar."""
        return 0.5 * jnp.vdot(p, p) + self.potential(x)

    def changes(self, energies: np.ndarray) -> np.ndarray:
        """Relative changes of energy."""
        first = float(self.energy(*self.start))
        return np.abs(np.asarray(energies) - first) / abs(first)


@dataclasses.dataclass
class Run:
    """One solver at one setting: evaluations and processor seconds a period, and the largest error up to the end of
    every period, (periods,)."""

    evaluations: float
    seconds: float
    errors: np.ndarray


def kepler(eccentricity: float) -> Orbit:
    """From pericentre, with half axis and period of the unit problem."""
    e = eccentricity
    start = (np.array([1.0 - e, 0.0]), np.array([0.0, math.sqrt((1.0 + e) / (1.0 - e))]))
    potential = lambda x: -1.0 / jnp.sqrt(jnp.vdot(x, x))
    return Orbit(f"Kepler, e = {e:g}", potential, lambda x: -x / (x @ x) ** 1.5, start)


def henon_heiles() -> Orbit:
    """V = ½ x² + x_0² x_1 − x_1³/3, at an energy of 0.13; the period is that of small oscillations."""
    potential = lambda x: 0.5 * jnp.vdot(x, x) + x[0] ** 2 * x[1] - x[1] ** 3 / 3.0
    force = lambda x: -np.array([x[0] + 2.0 * x[0] * x[1], x[1] + x[0] ** 2 - x[1] ** 2])
    return Orbit("Hénon–Heiles", potential, force, (np.array([0.1, -0.2]), np.array([0.35, 0.25])))


ORBITS = {"kepler_0.6": kepler(0.6), "kepler_0.2": kepler(0.2), "henon_heiles": henon_heiles()}
# Evaluations of the force in a step.
SPLITTINGS = ((StormerVerlet(), 1), (Yoshida4(), 3), (BlanesMoan4(), 6), (BlanesMoan6(), 10), (KahanLi8(), 15))
ADAPTIVE = ((diffrax.Tsit5(), 6), (diffrax.Dopri8(), 13))


def largest(orbit: Orbit, periods: int, times, energies) -> np.ndarray:
    """The largest error at the ends of steps up to the end of every period, (periods,); infinite once it is lost."""
    changes = np.nan_to_num(orbit.changes(energies), nan=math.inf)
    ends = np.searchsorted(times, orbit.period * (np.arange(1, periods + 1) + 1e-9), side="right")
    return np.maximum.accumulate(changes)[ends - 1]


def compiled(orbit: Orbit, terms, solver, cost: int, periods: int, adapt: bool) -> Callable:
    """(until, setting) → times, energies and number of steps, compiled once; the setting is a step or a tolerance."""
    y0 = tuple(jnp.asarray(z) for z in orbit.start)
    saveat = diffrax.SaveAt(steps=True, fn=lambda t, y, args: orbit.energy(*y))
    most = 5 * max(BUDGETS) * periods // (4 * cost)

    @jax.jit
    def solve(until, setting):
        control = diffrax.PIDController(rtol=setting, atol=setting) if adapt else diffrax.ConstantStepSize()
        solution = diffrax.diffeqsolve(
            terms, solver, 0.0, until, 0.01 if adapt else setting, y0,
            saveat=saveat, stepsize_controller=control, max_steps=most, adjoint=diffrax.ForwardMode(), throw=False,
        )  # fmt: skip
        return solution.ts, solution.ys, solution.stats["num_steps"]

    def run(periods, setting):
        return jax.block_until_ready(solve(jnp.asarray(periods * orbit.period), jnp.asarray(setting)))

    run(1, 1e-2)
    return run


def fixed(orbit: Orbit, solver, cost: int, periods: int) -> list[Run]:
    """A splitting at every budget."""
    terms = mechanics.separable_terms(lambda t, p, args: 0.5 * jnp.vdot(p, p), lambda t, x, args: orbit.potential(x))
    solve, runs = compiled(orbit, terms, solver, cost, periods, False), []
    for budget in BUDGETS:
        steps, start = round(budget / cost), time.process_time()
        times, energies, _ = solve(periods, orbit.period / steps)
        seconds = (time.process_time() - start) / periods
        runs.append(Run(steps * cost, seconds, largest(orbit, periods, times, energies)))
    return runs


def tolerance(evaluations: Callable, budget: float) -> float:
    """The tolerance that costs the budget, by bisection of its logarithm."""
    fine, coarse = -13.5, -1.0
    for _ in range(10):
        middle = 0.5 * (fine + coarse)
        fine, coarse = (middle, coarse) if evaluations(10.0**middle) > budget else (fine, middle)
    return 10.0**coarse


def adaptive(orbit: Orbit, solver, cost: int, periods: int) -> list[Run]:
    """A solver of diffrax with step size control, at every budget."""
    force = jax.grad(orbit.potential)
    whole = diffrax.ODETerm(lambda t, y, args: (y[1], -force(y[0])))
    solve, runs = compiled(orbit, whole, solver, cost, periods, True), []
    spent = lambda setting: float(solve(TRIAL, setting)[2]) * cost / TRIAL
    for budget in BUDGETS:
        setting = tolerance(spent, budget)
        start = time.process_time()
        times, energies, steps = solve(periods, setting)
        seconds = (time.process_time() - start) / periods
        runs.append(Run(float(steps) * cost / periods, seconds, largest(orbit, periods, times, energies)))
    return runs


def dop853(orbit: Orbit, periods: int) -> list[Run]:
    """scipy's DOP853, with the force in numpy, at every budget."""
    size, runs = orbit.start[0].size, []
    field = lambda t, y: np.concatenate([y[size:], orbit.force(y[:size])])
    first = np.concatenate(orbit.start)
    solve = lambda count, setting: integrate.solve_ivp(
        field, (0.0, count * orbit.period), first, "DOP853", rtol=setting, atol=setting
    )
    spent = lambda setting: solve(TRIAL, setting).nfev / TRIAL
    energies = jax.jit(jax.vmap(orbit.energy))
    for budget in BUDGETS:
        setting = tolerance(spent, budget)
        start = time.process_time()
        found = solve(periods, setting)
        seconds = (time.process_time() - start) / periods
        errors = largest(orbit, periods, found.t, energies(found.y[:size].T, found.y[size:].T))
        runs.append(Run(found.nfev / periods, seconds, errors))
    return runs


def overtaking(ours: np.ndarray, peer: np.ndarray) -> tuple[float, bool]:
    """The period from which on the first error is smaller, and whether that is extrapolated in proportion to time."""
    behind = np.flatnonzero(ours >= peer)
    if behind.size and behind[-1] == ours.size - 1:
        return float(ours.size * ours[-1] / peer[-1]), True
    return float(behind[-1] + 2 if behind.size else 1), False


def compare(runs: dict[str, list[Run]], lengths: list[int]) -> list[dict]:
    """For every budget the splitting of least error at the end, and from when on it is ahead of its peers."""
    name = lambda solver: type(solver).__name__
    splittings, peers = [name(s) for s, _ in SPLITTINGS], [*(name(s) for s, _ in ADAPTIVE), "DOP853"]
    rows = []
    for k, budget in enumerate(BUDGETS):
        best = min(splittings, key=lambda s: runs[s][k].errors[-1])
        ours = runs[best][k].errors
        ahead = {peer: overtaking(ours, runs[peer][k].errors) for peer in peers}
        errors = {s: [float(f"{runs[s][k].errors[n - 1]:.3g}") for n in lengths] for s in runs}
        cost = {s: (round(runs[s][k].evaluations, 1), float(f"{1e3 * runs[s][k].seconds:.3g}")) for s in runs}
        rows.append({"budget": budget, "best": best, "ahead": ahead, "errors": errors, "evaluations_and_ms": cost})
    return rows


def show(title: str, rows: list[dict], lengths: list[int]) -> None:
    """One orbit's tables, and its sentences."""
    for row in rows:
        print(f"\n{title}, {row['budget']} evaluations a period: energy error after so many periods")
        heads = [*(str(n) for n in lengths), "evaluations", "ms a period"]
        print(f"{'':>14}" + "".join(f"{h:>13}" for h in heads))
        for solver, errors in row["errors"].items():
            evaluations, milliseconds = row["evaluations_and_ms"][solver]
            cells = [*(f"{e:.1e}" for e in errors), f"{evaluations:.0f}", f"{milliseconds:.2f}"]
            print(f"{solver:>14}" + "".join(f"{c:>13}" for c in cells))
        for peer, (period, extrapolated) in row["ahead"].items():
            within = f"not within {lengths[-1]} periods; extrapolated: " if extrapolated else ""
            print(f"    {row['best']} overtakes {peer}: {within}period {period:.0f}", flush=True)


def plot(runs: dict[str, dict[str, list[Run]]]) -> Path:
    """Error against time at the largest budget, a panel for each orbit."""
    figure, axes = plt.subplots(1, len(runs), figsize=(11.0, 4.2), sharey=True, layout="constrained")
    for ax, (name, rows) in zip(axes, runs.items(), strict=True):
        for k, (solver, of) in enumerate(rows.items()):
            errors = of[-1].errors
            periods = np.unique(np.geomspace(1, errors.size, 60).round().astype(int))
            style = "-" if k < len(SPLITTINGS) else "--"
            ax.loglog(periods, errors[periods - 1], style, color=f"C{k}", lw=1.5, label=solver)
        ax.set(title=ORBITS[name].title, xlabel="periods")
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("largest relative energy error so far")
    lines, labels = axes[0].get_legend_handles_labels()
    title = f"constant steps (solid) and adaptive ones (dashed), {BUDGETS[-1]} evaluations of the force a period"
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), title=title, frameon=False)
    path = RESULTS / "symplectic.png"
    figure.savefig(path, dpi=100)
    return path


def main() -> None:
    """Parse, run, print, plot, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--periods", type=int, nargs="+", default=[10, 100, 1000, 10000])
    lengths = sorted(parser.parse_args().periods)
    one_core()
    jax.config.update("jax_enable_x64", True)
    runs, tables, until = {}, {}, lengths[-1]
    for name, orbit in ORBITS.items():
        runs[name] = {type(s).__name__: fixed(orbit, s, cost, until) for s, cost in SPLITTINGS}
        runs[name] |= {type(s).__name__: adaptive(orbit, s, cost, until) for s, cost in ADAPTIVE}
        runs[name] |= {"DOP853": dop853(orbit, until)}
        tables[name] = compare(runs[name], lengths)
        show(orbit.title, tables[name], lengths)
    print("saved", save("symplectic", {"periods": lengths, "orbits": tables}), plot(runs))


if __name__ == "__main__":
    main()
