"""How a Gauss–Newton step grows with the points N, the state D and the members of an ensemble, on one core.

Lorenz96 with half of its components measured at every point and its forcing unknown, Hermite–Simpson. Each point of
the table is a process of its own, so that its peak memory is its own. For N and D the time is that of one whole step
(linearise, assemble, factor, solve), of five in one compiled loop, as in a minimisation; for members it is that of
five damped steps with all they need on the way, for each member, from random starts by `deepest.anneal`. The exponents
are least squares of log time on log size over the upper half of the sizes.

Memory is the process's peak above what it has after the imports, the compiler's included, which is most of it for
small problems; `planned` is what XLA sets aside beside its inputs.

    python benchmarks/scaling.py
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import steps
from _common import RESULTS, interleaved, one_core, save
from matplotlib import pyplot as plt

import deepest as dp
from deepest.minimise import DampedNewton

POINTS = (161, 1001, 5001, 20001, 100001)
CURVES = {
    "points": [{"dimension": d, "points": n} for d in (4, 10) for n in POINTS]
    + [{"dimension": 20, "points": n} for n in POINTS[:-1]],
    "dimension": [{"dimension": d, "points": 161} for d in (5, 8, 10, 20, 30, 50, 70, 100)],
    "members": [{"dimension": 10, "points": 81, "members": m} for m in (1, 3, 10, 30, 100, 300, 1000)],
}
STEPS = 5
# Processor seconds given to the timing of one point.
PATIENCE = 1.0


def action(dimension: int, points: int) -> tuple[dp.Action, np.ndarray]:
    """A problem of this size and a smooth path; a time does not ask whether it is a solution."""
    rng, times = np.random.default_rng(0), 0.025 * np.arange(points)
    phase = 2.0 * np.pi * rng.uniform(size=dimension)
    path = 2.3 + 3.5 * np.sin((1.0 + rng.uniform(size=dimension)) * times[:, None] + phase)
    seen = tuple(range(0, dimension, 2))
    observations = dp.Observations(times, path[:, seen], components=seen, noise=0.5)
    return dp.Action(dp.models.Lorenz96(dimension, dp.Unknown(6.0, 10.0)), observations, dp.HermiteSimpson()), path


def timed(function) -> dict[str, float]:
    """Milliseconds of a call, with as many rounds as `PATIENCE` allows and at least three."""
    start = time.process_time()
    jax.block_until_ready(function())
    seconds = max(time.process_time() - start, 1e-6)
    inner = int(np.clip(0.02 / seconds, 1, 20))
    return interleaved({"step": function}, int(np.clip(PATIENCE / (inner * seconds), 3, 25)), inner)["step"]


def one_step(dimension: int, points: int) -> dict:
    """One whole step, of several in one compiled loop."""
    setting, path = action(dimension, points)
    problem, z = setting.at(1e4), setting.pack(jnp.asarray(path), jnp.asarray([8.0]))
    function, seconds, planned = steps.compiled(steps.row, problem, z)
    times = {k: v / steps.ROW for k, v in timed(function).items()}
    return {"kernel": type(problem.kernel).__name__, "compile_seconds": seconds, "planned": planned, **times}


def ensemble(dimension: int, points: int, members: int) -> dict:
    """`STEPS` damped steps of every member; milliseconds a member."""
    setting, _ = action(dimension, points)
    begin = dp.initial_paths(setting, members, jax.random.key(0), spread=(-10.0, 10.0))
    rule = {"ladder": dp.Ladder(start=1.0, rungs=1), "prune": None, "stop": False, "minimiser": DampedNewton(STEPS)}
    climb = lambda: dp.anneal(setting, starts=begin, **rule).steps
    start = time.process_time()
    taken = climb()
    seconds, times = time.process_time() - start, timed(climb)
    return {"steps": float(taken.mean()), "first_call_seconds": seconds, **{k: v / members for k, v in times.items()}}


def measure(point: dict) -> dict:
    """One point of the table, in this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = lambda: unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = peak()
    result = ensemble(**point) if "members" in point else one_step(**point)
    return {**point, **result, "peak": peak() - before}


def apart(point: dict) -> dict:
    """One point of the table, in a process of its own."""
    command = [sys.executable, __file__, "--point", json.dumps(point)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    sizes = "  ".join(f"{k} {v:>6}" for k, v in point.items())
    planned = f", planned {result['planned'] / 2**20:7.1f} MiB" if "planned" in result else ""
    print(f"{sizes}  {result['minimum']:10.3f} ({result['median']:10.3f}) ms, "
          f"peak {result['peak'] / 2**20:7.1f} MiB{planned}", flush=True)  # fmt: skip
    return result


def exponent(rows: list[dict], size: str, value: str = "minimum") -> float:
    """The slope of log value on log size over the upper half of the sizes."""
    upper = sorted(rows, key=lambda row: row[size])[len(rows) // 2 :]
    return float(np.polyfit(np.log([r[size] for r in upper]), np.log([r[value] for r in upper]), 1)[0])


def families(rows: dict[str, list[dict]]) -> dict[str, tuple[str, list[dict]]]:
    """The curves to fit, by name: what they run over, and their rows."""
    of = {f"points, D = {d}": ("points", [r for r in rows["points"] if r["dimension"] == d]) for d in (4, 10, 20)}
    return {**of, "dimension, N = 161": ("dimension", rows["dimension"]), "members": ("members", rows["members"])}


def plot(curves: dict[str, tuple[str, list[dict]]], fits: dict[str, float]) -> Path:
    """Three panels: time against N, D and members, with the fitted lines."""
    figure, axes = plt.subplots(1, 3, figsize=(11.0, 3.6), layout="constrained")
    panels = dict(zip(("points", "dimension", "members"), axes, strict=True))
    for name, (size, rows) in curves.items():
        x, y = (np.array([r[k] for r in rows]) for k in (size, "minimum"))
        curve = name.split(", ")[1] if size == "points" else "measured"
        letter = {"points": "N", "dimension": "D", "members": "M"}[size]
        label = f"{curve}, upper half ∝ ${letter}^{{{fits[name]:.2f}}}$"
        line = panels[size].loglog(x, y, "o-", ms=4, lw=1, label=label)[0]
        half = x[len(x) // 2 :]
        scale = np.exp(np.mean(np.log(y[len(x) // 2 :])) - fits[name] * np.mean(np.log(half)))
        panels[size].loglog(half, scale * half ** fits[name], "--", color=line.get_color(), lw=2, alpha=0.5)
    panels["points"].set(xlabel="points N, midpoints included", ylabel="time per Gauss–Newton step, ms")
    panels["dimension"].set(xlabel="state dimension D (N = 161)", ylabel="time per Gauss–Newton step, ms")
    panels["members"].set(xlabel="members M (D = 10, N = 81)", ylabel=f"time a member for {STEPS} steps, ms")
    middle = np.median([r["minimum"] for r in curves["members"][1]])
    panels["members"].set_ylim(middle / 5.0, middle * 5.0)
    for ax in axes:
        ax.legend(fontsize="small", frameon=False, loc="upper right" if ax is axes[2] else "lower right")
        ax.grid(alpha=0.25)
    path = RESULTS / "scaling.png"
    figure.savefig(path, dpi=150)
    return path


def main() -> None:
    """Parse, run, print, plot, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", type=json.loads, help="measure this point only, in this process")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    if options.point:
        print(json.dumps(measure(options.point)))
        return
    rows = {name: [apart(point) for point in curve] for name, curve in CURVES.items()}
    curves = families(rows)
    fits = {name: exponent(found, size) for name, (size, found) in curves.items()}
    planned = {name: exponent(found, size, "planned") for name, (size, found) in curves.items() if size != "members"}
    for name, slope in fits.items():
        print(f"{name}: exponent {slope:.2f}" + (f", planned memory {planned[name]:.2f}" if name in planned else ""))
    saved = save("scaling", {"steps": STEPS, "curves": rows, "exponents": fits, "memory_exponents": planned})
    print("saved", saved, plot(curves, fits))


if __name__ == "__main__":
    main()
