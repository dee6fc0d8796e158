"""The neuron of varanneal's tutorial, made anew: 18 unknown parameters and three gates from one noisy voltage.

6001 voltages 0.02 ms apart with 1 mV noise, a known chaotic current, conductances within ±50 %, all else within ±5 %,
gates in [0, 1] (`deepest.twin.neuron`). Beside us, on the same data, from the same start and on the same core:

- scipy's L-BFGS-B with a jitted gradient and the bounds, up the same ladder, which is varanneal's way;
- CasADi + IPOPT (exact Hessian, MUMPS) on the same collocation with the model as a constraint, c = 0, from the same
  start: the measured voltage, gates at ½ and parameters at random in their ranges.

Each peer may use `--limit` seconds. Times are of the processor, on one core, compilation included. All are scored
alike: level against that of the path started at the truth, errors of the gates and parameters, and the spikes of the
estimated model under another current over 500 ms. Needs casadi.

    python benchmarks/nakl.py [--realisations 3] [--limit 400] [--peers lbfgsb,ipopt]
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from _common import one_core, save

import deepest as dp
from deepest import twin
from deepest.minimise import scipy_lbfgsb
from deepest.models import Neuron, integrate, nakl, spike_times

# The current under which the estimated model has to spike as the true one does: another orbit of the chaos.
_OTHER = {"until": 500.0, "start": np.array([1.0, -1.0, 25.0])}
_STEP = 0.05


def spikes(model: Neuron, current) -> np.ndarray:
    """When the voltage rises through 0 mV in 500 ms from rest, in ms."""
    driven = Neuron(model.channels, current, capacitance=model.capacitance)
    times = _STEP * np.arange(int(500.0 / _STEP) + 1)
    voltage = np.asarray(integrate(driven, driven.settled(-70.0), times))[:, 0]
    return spike_times(times, voltage, 0.0)


def scored(experiment: twin.Twin, path: np.ndarray, parameters: np.ndarray, seconds: float, steps: int) -> dict:
    """How good an estimate is."""
    action = experiment.action
    model, _ = action.estimable.fill(jnp.asarray(parameters), jnp.zeros(0))
    measured = action.at(1.0).measurement
    other = twin.chaotic_current(**_OTHER)
    true, found = spikes(nakl(), other), spikes(model, other)
    paired = true.size == found.size
    late = float(np.max(np.abs(true - found), initial=0.0)) if paired else None
    low, high = (np.asarray(bound) for bound in action.limits[1])
    return {
        "seconds": seconds,
        "steps": steps,
        "misfit": float(2.0 * measured.cost(jnp.asarray(path)) / action.count),
        "gates_rms": np.sqrt(np.mean((path - experiment.truth) ** 2, axis=0))[1:].tolist(),
        "parameters_off": np.abs(parameters / experiment.parameters - 1.0).tolist(),
        "at_bound": int(np.sum((parameters <= low * (1 + 1e-9)) | (parameters >= high * (1 - 1e-9)))),
        "spikes": [int(true.size), int(found.size)],
        "latest_spike_off_ms": late,
    }


def ours(experiment: twin.Twin, setting: twin.Setting, starts) -> dict:
    """The ladder, then the model as exact, with the data's level and the truth's."""
    began = time.process_time()
    result = dp.anneal(experiment.action, setting.ladder, starts=starts)
    seconds = time.process_time() - began
    best = result.best
    score = scored(experiment, best.path, np.array([*best.parameters.values()]), seconds, int(result.steps.sum()))
    known = result.identify()
    return {
        **score,
        "level": best.level,
        "truth_level": twin.yardstick(experiment, result),
        "hardly_known": list(known.loose),
        "deviations": (known.deviations / np.abs(known.estimates)).tolist(),
    }


def lbfgsb(experiment: twin.Twin, setting: twin.Setting, starts, limit: float) -> dict:
    """varanneal's way: every rung by L-BFGS-B from the last one's minimum, until the time is over."""
    action = experiment.action
    z = action.pack(*(jnp.asarray(part[0]) for part in starts))
    began, gradients, reached = time.process_time(), 0, 0
    for ratio in setting.ladder.ratios:
        z, cost, count = scipy_lbfgsb(action.at(ratio), z, limit=100_000)
        gradients, reached = gradients + int(count), reached + 1
        if time.process_time() - began > limit:
            break
    path, parameters = (np.asarray(part) for part in action.unpack(z))
    score = scored(experiment, path, parameters, time.process_time() - began, gradients)
    return {**score, "level": float(action.level(cost)), "rungs": [reached, setting.ladder.rungs]}


def ipopt(experiment: twin.Twin, starts, limit: float) -> dict:
    """The same collocation as a nonlinear program with the model exact, by interior points."""
    import casadi as ca

    action = experiment.action
    times, count = action.grid.times, action.grid.size
    current = np.asarray(jax.vmap(action.estimable.template[0].current)(jnp.asarray(times)))
    states, parameters = ca.MX.sym("x", 4, count), ca.MX.sym("p", 18)
    x, i, p = ca.SX.sym("x", 4), ca.SX.sym("i"), ca.SX.sym("p", 18)
    field = ca.Function("field", [x, i, p], [_neuron(ca, x, i, p)]).map(count)
    rates = field(states, ca.DM(current).T, ca.repmat(parameters, 1, count))
    a, m, b = slice(0, -2, 2), slice(1, None, 2), slice(2, None, 2)
    h = ca.repmat(ca.DM(times[2::2] - times[:-2:2]).T, 4, 1)
    ends = states[:, b] - states[:, a] - h / 6 * (rates[:, a] + 4 * rates[:, m] + rates[:, b])
    middle = states[:, m] - (states[:, a] + states[:, b]) / 2 - h / 8 * (rates[:, a] - rates[:, b])
    data = ca.DM(action.observations.values[:, 0]).T
    misfit = 0.5 * ca.sumsqr(states[0, :] - data)
    unknowns = ca.vertcat(ca.vec(states), parameters)
    program = {"x": unknowns, "f": misfit, "g": ca.vertcat(ca.vec(ends), ca.vec(middle))}
    options = {"ipopt": {"max_cpu_time": limit, "print_level": 0, "tol": 1e-8}, "print_time": False}
    solver = ca.nlpsol("solver", "ipopt", program, options)
    flat = lambda path, own: np.concatenate([np.asarray(path).ravel(), np.asarray(own)])
    low, high = (flat(np.broadcast_to(state, (count, 4)), own) for state, own in zip(*action.limits, strict=True))
    began = time.process_time()
    end = solver(x0=flat(starts[0][0], starts[1][0]), lbx=low, ubx=high, lbg=0, ubg=0)
    seconds = time.process_time() - began
    found = np.asarray(end["x"]).ravel()
    score = scored(experiment, found[:-18].reshape(count, 4), found[-18:], seconds, solver.stats()["iter_count"])
    return {**score, "level": score["misfit"], "status": solver.stats()["return_status"]}


def _neuron(ca, x, current, p):
    """`models.nakl` in CasADi's symbols, its parameters in the order in which the action has them."""
    settled = lambda u: 0.5 * (1 + ca.tanh(u))
    gate = lambda k, half, width, fast, slow: (
        (settled((x[0] - half) / width) - x[k]) / (fast + slow * (1 - ca.tanh((x[0] - half) / width) ** 2))
    )
    sodium = p[0] * x[1] ** 3 * x[2] * (p[1] - x[0])
    potassium = p[10] * x[3] ** 4 * (p[11] - x[0])
    leak = p[16] * (p[17] - x[0])
    gates = [gate(1, *(p[k] for k in range(2, 6))), gate(2, *(p[k] for k in range(6, 10)))]
    gates.append(gate(3, *(p[k] for k in range(12, 16))))
    return ca.vertcat(current + sodium + potassium + leak, *gates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--realisations", type=int, default=3)
    parser.add_argument("--limit", type=float, default=400.0, help="seconds that a peer may take")
    parser.add_argument("--peers", default="lbfgsb,ipopt")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    setting, rows = twin.neuron(), []
    for k in range(options.realisations):
        truth, start = jax.random.split(jax.random.fold_in(jax.random.key(0), k))
        experiment = setting.simulate(truth)
        starts = tuple(map(np.asarray, dp.initial_paths(experiment.action, 1, start, spread=setting.spread)))
        row = {"deepest": ours(experiment, setting, starts)}
        if k == 0 and "lbfgsb" in options.peers:
            row["L-BFGS-B"] = lbfgsb(experiment, setting, starts, options.limit)
        if "ipopt" in options.peers:
            row["IPOPT"] = ipopt(experiment, starts, options.limit)
        rows.append(row)
        for name, score in row.items():
            gates = ", ".join(f"{gate:.4f}" for gate in score["gates_rms"])
            late = score["latest_spike_off_ms"]
            spiked = "{1} of {0} spikes".format(*score["spikes"])
            when = "" if late is None else f", at most {late:.2f} ms off"
            print(f"{k} {name:9} {score['seconds']:6.1f} s  level {score['level']:.4f}  gates {gates}  {spiked}{when}")
    names = experiment.action.estimable.names
    print(save("nakl", {"parameters": names, "limit": options.limit, "realisations": rows}))


if __name__ == "__main__":
    main()
