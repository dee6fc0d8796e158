"""A real neuron: a conductance model from two sweeps of current clamp, and how well it predicts the others.

The cell, its model and where the recordings come from stand in `examples/neuron`. Sweeps 182 and 184 are estimated
from: the end of the rest, the first 250 ms of the step and the relaxation after it. 181, 183 and 185 are predicted,
from their current alone. Beside it a leaky integrate-and-fire neuron with adaptation, fitted to spikes and voltage of
the same two sweeps in full, and the same conductance model by shooting: least squares of the voltage from the rest to
the end of the first 250 ms, by scipy's differential evolution for as many seconds. Seconds are processor time of one
core, compilation of the minimisation included for ours and not for shooting.

Annealing has one path for each of a few starts, which follow the measured voltage. Of the parameters on every rung
those are kept whose forward run has the number of spikes nearest to what was measured, in the two sweeps. One key, one
data set. While the channels, the ranges and the pieces were chosen, the figures of all five sweeps were looked at: the
three are held out from the estimate, not from its making.

    python benchmarks/neuron.py [--data] [--baseline] [--shooting] [--members 4]
"""

import argparse
import csv
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _common import RESULTS, one_core, save, saved
from _neuron_data import EXAMPLE, TRAIN, cell, joined
from _neuron_rivals import NAMES, fire, fitted, shoot
from jax import lax

import deepest as dp
from deepest.action import following_paths
from deepest.models import coincidence, spike_times

# mV. Halfway up the spikes, whose peaks lie between −7 and 9.
THRESHOLD = -30.0
ONSET = 250.0
DURATION = cell.STEP[1] - cell.STEP[0]
FINE = 0.025


def problem(held: cell.Sweeps) -> dp.Action:
    """The action of the two sweeps. The noise is what the model is not meant to explain: synaptic events and drift, 0.2
    to 1.5 mV at rest; the amplifier's is 0.04 mV."""
    times, values, stimulus, breaks = joined(held)
    observations = dp.Observations(times, values, components=[0], noise=1.0)
    return dp.Action(
        cell.Cell(stimulus),
        observations,
        dp.HermiteSimpson(),
        steps=2,
        breaks=breaks,
        bounds=(cell.LOWER, cell.UPPER),
        model_precision="range",
        convention="continuum",
    )


@eqx.filter_jit
def run(model: cell.Cell, currents: jax.Array, interval: float, cuts: int) -> jax.Array:
    """The soma's voltage (T,) for currents (T,), from the rest at the first; second order, a gate or a voltage at a
    time and exact in each, so that it stays stable where Runge–Kutta does not."""
    body = eqx.tree_at(lambda b: b.soma.current, model.body, jnp.zeros(()))
    h = interval / cuts
    size = body.dimension
    unit = jnp.eye(size)

    def alone(x, parts, i, step):
        rate = lambda y: body(0.0, y, None).at[0].add(i / body.soma.capacitance)
        here = rate(x)
        for k in parts:
            slope = jnp.minimum((rate(x + unit[k]) - here)[k], -1e-9)
            x = x.at[k].add(jnp.expm1(slope * step) / slope * here[k])
        return x

    others = tuple(range(1, size))

    def step(x, i):
        x = alone(x, others, i, 0.5 * h)
        x = alone(x, (0,), i, h)
        return alone(x, others, i, 0.5 * h)

    def leg(x, i):
        return lax.fori_loop(0, cuts, lambda _, y: step(y, i), x), x[0]

    start = lax.fori_loop(0, int(1000.0 / h), lambda _, y: step(y, currents[0]), body.settled(-84.0))
    return lax.scan(leg, start, currents)[1]


def flowing(held: cell.Sweeps) -> np.ndarray:
    """The current of every sweep (S, T)."""
    on = (held.times >= cell.STEP[0]) & (held.times < cell.STEP[1])
    return np.where(on, held.currents[:, 1:], held.currents[:, :1])


def forward(model: cell.Cell, held: cell.Sweeps, sweep: int) -> np.ndarray:
    """The predicted voltage of a sweep (T,)."""
    interval = held.times[1] - held.times[0]
    found = np.asarray(run(model, jnp.asarray(flowing(held)[sweep]), float(interval), round(interval / FINE)))
    return np.where(np.isfinite(found), found, -200.0)


def quiet(times: np.ndarray, *trains: np.ndarray) -> np.ndarray:
    """Where nobody fires: farther than 3 ms before and 8 ms after a spike, from 300 ms on."""
    kept = times > 300.0
    for spike in np.concatenate(trains):
        kept &= ~((times > spike - 3.0) & (times < spike + 8.0))
    return kept


def agreement(predicted: np.ndarray, measured: np.ndarray, window: float, duration: float) -> float | None:
    """Γ, or None where it fires so fast that chance explains all."""
    if 2.0 * window * predicted.size >= duration:
        return None
    return round(coincidence(predicted, measured, window=window, duration=duration), 3)


def scored(voltage: np.ndarray, fired: np.ndarray, held: cell.Sweeps, sweep: int) -> dict:
    """The figures of one prediction of one sweep."""
    times, true = held.times, held.voltages[sweep]
    spikes = spike_times(times, true, THRESHOLD)
    early, ahead = (train[train < cell.STEP[0] + ONSET] for train in (spikes, fired))
    still = quiet(times, spikes, fired)
    return {
        "sweep": held.numbers[sweep],
        "train": held.numbers[sweep] in TRAIN,
        "measured": spikes.size,
        "predicted": fired.size,
        "count_error": round((fired.size - spikes.size) / spikes.size, 3),
        "coincidence_2ms": agreement(fired, spikes, 2.0, DURATION),
        "coincidence_4ms": agreement(fired, spikes, 4.0, DURATION),
        "coincidence_4ms_onset": agreement(ahead, early, 4.0, ONSET),
        "first_spike_late_ms": round(float(fired[0] - spikes[0]), 2) if fired.size else None,
        "subthreshold_rms_mv": round(float(np.sqrt(np.mean((voltage - true)[still] ** 2))), 2),
    }


def table(name: str, model: cell.Cell, held: cell.Sweeps) -> list[dict]:
    """The figures of a conductance model, printed."""
    rows = []
    for sweep in range(len(held.numbers)):
        voltage = forward(model, held, sweep)
        rows.append(scored(voltage, spike_times(held.times, voltage, THRESHOLD), held, sweep))
    told(name, rows)
    return rows


def told(name: str, rows: list[dict]) -> None:
    """The figures, a line a sweep."""
    for row in rows:
        print(name, *row.values(), sep="  ", flush=True)


def miscounted(model: cell.Cell, held: cell.Sweeps) -> float:
    """The mean relative error of the number of spikes in the sweeps that are estimated from."""
    errors = []
    for number in TRAIN:
        sweep = held.numbers.index(number)
        measured = spike_times(held.times, held.voltages[sweep], THRESHOLD).size
        errors.append(abs(spike_times(held.times, forward(model, held, sweep), THRESHOLD).size - measured) / measured)
    return float(np.mean(errors))


def estimate(held: cell.Sweeps, members: int, draws: int) -> tuple[cell.Cell, dict]:
    """The kept parameters, and what it took."""
    action, begin = problem(held), time.process_time()
    starts, parameters = following_paths(action, members, jax.random.key(0), draws=draws)
    ladder, climbs, best = dp.Ladder(1.0, 5.0, 9), [], (np.inf, None)
    fill = lambda p: action.estimable.fill(jnp.asarray(p), jnp.zeros(0))[0]
    for member in range(members):
        one = slice(member, member + 1)
        found = dp.anneal(action, ladder, starts=(starts[one], parameters[one]), prune=None)
        errors = [miscounted(fill(p), held) for p in found.estimates[:, 0]]
        climbs.append({"levels": np.round(found.levels[:, 0], 3).tolist(), "miscounted": np.round(errors, 3).tolist()})
        print("member", member, climbs[-1], round(time.process_time() - begin, 1), flush=True)
        rung = int(np.argmin(errors))
        if errors[rung] < best[0]:
            best = errors[rung], (member, rung, found.estimates[rung, 0])
    member, rung, values = best[1]
    return fill(values), {
        "seconds": round(time.process_time() - begin, 1),
        "member": member,
        "rung": rung,
        "ratios": ladder.ratios.tolist(),
        "climbs": climbs,
        "parameters": dict(zip(action.estimable.names, [float(f"{v:.4g}") for v in values], strict=True)),
        "bounds": np.transpose(action.estimable.bounds(varying=False)).tolist(),
    }


def shooting(held: cell.Sweeps, seconds: float) -> tuple[cell.Cell, dict]:
    """The same model by least squares of the voltage, from the rest to the end of the onset."""
    estimable = problem(held).estimable
    window = (held.times >= 650.0) & (held.times < cell.STEP[0] + ONSET)
    sweeps = [held.numbers.index(number) for number in TRAIN]
    currents, voltages = jnp.asarray(flowing(held)[sweeps][:, window]), jnp.asarray(held.voltages[sweeps][:, window])
    fill = lambda p: estimable.fill(p, jnp.zeros(0))[0]

    def cost(p):
        return jnp.mean((jax.vmap(lambda i: run(fill(p), i, 0.25, 4))(currents) - voltages) ** 2)

    values, least, calls, spent = shoot(cost, np.transpose(estimable.bounds(varying=False)), seconds, seed=0)
    named = dict(zip(estimable.names, [float(f"{v:.4g}") for v in values], strict=True))
    return fill(jnp.asarray(values)), {
        "seconds": round(spent, 1),
        "evaluations": calls,
        "rms_mv": round(least**0.5, 2),
        "parameters": named,
    }


def integrate_and_fire(held: cell.Sweeps) -> tuple[list[dict], dict]:
    """Fitted to the two sweeps in full, and what it says of all."""
    interval = float(held.times[1] - held.times[0])
    sweeps, currents = [held.numbers.index(number) for number in TRAIN], flowing(held)
    trains = [spike_times(held.times, held.voltages[s], THRESHOLD) for s in sweeps]
    counted = np.stack([np.searchsorted(train, held.times, side="right") for train in trains]).astype(float)
    still = np.stack([quiet(held.times, train) for train in trains])
    theta, seconds = fitted(*map(jnp.asarray, (currents[sweeps], held.voltages[sweeps], counted, still)), interval)
    rows = []
    for sweep in range(len(held.numbers)):
        voltage, fires = map(np.asarray, fire(jnp.asarray(theta), jnp.asarray(currents[sweep]), interval))
        rows.append(scored(voltage, held.times[fires], held, sweep))
    told("integrate-and-fire", rows)
    return rows, {
        "seconds": round(seconds, 1),
        "parameters": dict(zip(NAMES, np.round(theta, 3).tolist(), strict=True)),
    }


def picture(models: dict[str, cell.Cell], held: cell.Sweeps) -> None:
    """Measured and predicted voltages of all sweeps: the onset, and the end."""
    figure, axes = plt.subplots(len(held.numbers), 2, figsize=(11, 10), sharex="col", sharey=True, layout="constrained")
    for sweep, (number, row) in enumerate(zip(held.numbers, axes, strict=True)):
        predicted = {name: forward(model, held, sweep) for name, model in models.items()}
        for axis, limits in zip(row, ((680.0, 950.0), (2450.0, 2800.0)), strict=True):
            shown = (held.times >= limits[0]) & (held.times < limits[1])
            axis.plot(held.times[shown], held.voltages[sweep, shown], color="0.5", lw=1.6, label="measured")
            for colour, (name, voltage) in zip(("C0", "C1"), predicted.items(), strict=False):
                axis.plot(held.times[shown], voltage[shown], color=colour, lw=0.8, label=name)
            axis.set_xlim(*limits)
        role = "estimated from" if number in TRAIN else "predicted"
        row[0].set_title(f"sweep {number}, {held.currents[sweep, 1]:.0f} pA, {role}", loc="left", fontsize=9)
        row[0].set_ylabel("V (mV)")
    for axis in axes[-1]:
        axis.set_xlabel("time (ms)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    figure.savefig(RESULTS / "neuron.png", dpi=110)


def write_data(held: cell.Sweeps) -> None:
    """`voltage.csv` and `current.csv`, for `deepest anneal examples/neuron.toml`."""
    times, values, stimulus, breaks = joined(held)
    columns = {"voltage": (times, values[:, 0], "V"), "current": (stimulus.times, stimulus.pieces[:, 0], "I")}
    for name, (at, what, title) in columns.items():
        with open(EXAMPLE / "neuron" / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["time", title])
            rows.writerows([f"{t:.10g}", f"{x:.6g}"] for t, x in zip(np.asarray(at), np.asarray(what), strict=True))
    print("breaks =", [float(b) for b in breaks])


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="store_true", help="only write the CSV files of examples/neuron")
    parser.add_argument("--baseline", action="store_true", help="only fit the integrate-and-fire neuron again")
    parser.add_argument("--shooting", action="store_true", help="only shoot again, for as many seconds as before")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--draws", type=int, default=4000)
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    held = cell.sweeps()
    if options.data:
        write_data(held)
        return
    content = saved("neuron")
    if not options.shooting:
        fire_rows, fire_fit = integrate_and_fire(held)
        content["integrate_and_fire"] = {**fire_fit, "sweeps": fire_rows}
        save("neuron", content)
    if options.baseline:
        return
    if options.shooting:
        estimable, kept = problem(held).estimable, content["annealing"]
        model = estimable.fill(jnp.asarray(list(kept["parameters"].values())), jnp.zeros(0))[0]
    else:
        model, kept = estimate(held, options.members, options.draws)
        content["annealing"] = {**kept, "sweeps": table("annealing", model, held)}
        save("neuron", content)
    shot, shot_how = shooting(held, kept["seconds"])
    content["shooting"] = {**shot_how, "sweeps": table("shooting", shot, held)}
    save("neuron", content)
    picture({"annealing": model, "shooting": shot}, held)


if __name__ == "__main__":
    main()
