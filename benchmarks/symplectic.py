"""Energy error against cost on long orbits: symplectic solvers, diffrax's Tsit5 and Dopri8, and scipy's DOP853.

Kepler's problem with eccentricity 0.6 and a bounded orbit of Hénon and Heiles, over longer and longer times. The cost
is how often the force is evaluated, which is what counts where it is expensive; processor time is beside it. For each
solver a row of step sizes or tolerances, and for each length of time a table of the energy errors at equal cost.

    python benchmarks/symplectic.py [--periods 10 100 1000]
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import one_core, save
from scipy import integrate

from deepest import mechanics
from deepest.symplectic import BlanesMoan4, BlanesMoan6, KahanLi8, StormerVerlet, Yoshida4

# Evaluations of the force in a period; every solver is brought near these, and compared by interpolation between.
BUDGETS = np.array([100, 200, 400, 800])


@dataclasses.dataclass(frozen=True)
class Orbit:
    """H = ½ p² + V(x) from (x, p) at time 0."""

    potential: Callable
    start: tuple[np.ndarray, np.ndarray]
    period: float

    def energy(self, x, p):
        """H, (…,)."""
        return 0.5 * np.sum(p**2, axis=-1) + np.asarray(jax.vmap(self.potential)(x))


def henon_heiles(x):
    """½ x² + x_0² x_1 − x_1³/3."""
    return 0.5 * jnp.vdot(x, x) + x[0] ** 2 * x[1] - x[1] ** 3 / 3.0


ORBITS = {
    "kepler": Orbit(
        lambda x: -1.0 / jnp.sqrt(jnp.vdot(x, x)), (np.array([0.4, 0.0]), np.array([0.0, 2.0])), 2.0 * math.pi
    ),
    "henon_heiles": Orbit(henon_heiles, (np.array([0.1, -0.2]), np.array([0.35, 0.25])), 2.0 * math.pi),
}
# Evaluations of the force in a step.
SPLITTINGS = {StormerVerlet(): 1, Yoshida4(): 3, BlanesMoan4(): 6, BlanesMoan6(): 10, KahanLi8(): 17}
ADAPTIVE = {diffrax.Tsit5(): 6, diffrax.Dopri8(): 13}
TOLERANCES = 10.0 ** -np.arange(3.0, 12.5)


@dataclasses.dataclass
class Run:
    """One solver at one setting: evaluations of the force a period, processor seconds, and the largest energy error."""

    evaluations: float
    seconds: float
    error: float


def kick(orbit: Orbit):
    """The two halves of H."""
    return mechanics.separable_terms(lambda t, p, args: 0.5 * jnp.vdot(p, p), lambda t, x, args: orbit.potential(x))


def whole(orbit: Orbit) -> diffrax.ODETerm:
    """Hamilton's equations as one term."""
    force = jax.grad(orbit.potential)
    return diffrax.ODETerm(lambda t, y, args: (y[1], -force(y[0])))


def observed(orbit: Orbit, x, p, evaluations: float, seconds: float) -> Run:
    """The largest relative energy error on the saved path."""
    energy = orbit.energy(np.asarray(x), np.asarray(p))
    first = orbit.energy(*(np.asarray(z)[None] for z in orbit.start))[0]
    error = np.max(np.abs(energy - first)) / abs(first)
    return Run(evaluations, seconds, float(error) if np.isfinite(error) else math.inf)


def timed(function) -> tuple[float, object]:
    """Processor seconds of the second call, and what it returned."""
    jax.block_until_ready(function())
    start = time.process_time()
    result = jax.block_until_ready(function())
    return time.process_time() - start, result


def fixed(orbit: Orbit, solver, cost: float, periods: int) -> list[Run]:
    """A splitting at every budget; `cost` is evaluations a step."""
    y0 = tuple(jnp.asarray(z) for z in orbit.start)

    @eqx.filter_jit
    def solve(times, dt):
        saveat = diffrax.SaveAt(ts=times)
        return diffrax.diffeqsolve(kick(orbit), solver, 0.0, times[-1], dt, y0, saveat=saveat, max_steps=None)

    runs = []
    for budget in BUDGETS:
        steps = round(budget / cost)
        dt, total = orbit.period / steps, steps * periods
        # Ends of steps only: between them dense output is of third order, which would be all that one sees.
        times = dt * np.arange(0, total + 1, max(1, total // 5000))
        seconds, solution = timed(lambda times=times, dt=dt: solve(jnp.asarray(times), jnp.asarray(dt)))
        runs.append(observed(orbit, *solution.ys, float(steps * cost), seconds))
    return runs


def adaptive(orbit: Orbit, solver, cost: float, periods: int) -> list[Run]:
    """A solver of diffrax with step size control, at every tolerance."""
    y0 = tuple(jnp.asarray(z) for z in orbit.start)
    until = periods * orbit.period
    saveat = diffrax.SaveAt(ts=np.linspace(0.0, until, 40 * min(periods, 250) + 1))

    @eqx.filter_jit
    def solve(tolerance):
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        return diffrax.diffeqsolve(
            whole(orbit), solver, 0.0, until, 0.01, y0, saveat=saveat, stepsize_controller=controller, max_steps=None
        )

    runs = []
    for tolerance in TOLERANCES:
        seconds, solution = timed(lambda tolerance=tolerance: solve(jnp.asarray(tolerance)))
        evaluations = float(solution.stats["num_steps"]) * cost / periods
        runs.append(observed(orbit, *solution.ys, evaluations, seconds))
    return runs


def dop853(orbit: Orbit, periods: int) -> list[Run]:
    """scipy's DOP853, with the force in numpy."""
    force = jax.jit(jax.grad(orbit.potential))
    size = orbit.start[0].size
    field = lambda t, y: np.concatenate([y[size:], -np.asarray(force(y[:size]))])
    until = periods * orbit.period
    times = np.linspace(0.0, until, 40 * min(periods, 250) + 1)
    runs = []
    for tolerance in TOLERANCES:
        start = time.process_time()
        found = integrate.solve_ivp(
            field,
            (0.0, until),
            np.concatenate(orbit.start),
            "DOP853",
            times,
            rtol=max(tolerance, 3e-14),
            atol=tolerance,
        )
        seconds = time.process_time() - start
        runs.append(observed(orbit, found.y[:size].T, found.y[size:].T, found.nfev / periods, seconds))
    return runs


def at_budgets(runs: list[Run]) -> list[float]:
    """Energy errors at the budgets, by interpolation in logarithms; NaN where no run is near."""
    known = sorted((r for r in runs if math.isfinite(r.error)), key=lambda r: r.evaluations)
    if len(known) < 2:
        return [math.nan] * len(BUDGETS)
    x, y = (np.log([getattr(r, name) for r in known]) for name in ("evaluations", "error"))
    return [float(v) for v in np.exp(np.interp(np.log(BUDGETS), x, y, left=np.nan, right=np.nan))]


def measure(orbit: Orbit, periods: int, peers: bool) -> dict[str, list[Run]]:
    """Every solver over this many periods."""
    name = lambda solver: type(solver).__name__
    runs = {name(s): fixed(orbit, s, cost, periods) for s, cost in SPLITTINGS.items()}
    runs |= {name(s): adaptive(orbit, s, cost, periods) for s, cost in ADAPTIVE.items()}
    return runs | ({"DOP853": dop853(orbit, periods)} if peers else {})


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--periods", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--scipy", type=int, default=100, help="the most periods for scipy, whose steps are slow")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    results = {}
    for name, orbit in ORBITS.items():
        results[name] = {}
        for periods in options.periods:
            runs = measure(orbit, periods, periods <= options.scipy)
            errors = {solver: at_budgets(row) for solver, row in runs.items()}
            results[name][periods] = {
                "errors": errors,
                "runs": {solver: [dataclasses.asdict(r) for r in row] for solver, row in runs.items()},
            }
            print(f"\n{name}, {periods} periods: energy error at evaluations a period")
            print(f"{'':>14}" + "".join(f"{b:>10}" for b in BUDGETS))
            for solver, row in errors.items():
                print(f"{solver:>14}" + "".join(f"{e:>10.1e}" for e in row), flush=True)
    print("saved", save("symplectic", {"budgets": BUDGETS.tolist(), "orbits": results}))


if __name__ == "__main__":
    main()
