"""Accuracy against wall time: the same continuous network trained by diffrax and optax, and by deepest."""

import time
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _common import RESULTS, one_core, save
from matplotlib import pyplot as plt

from deepest import networks
from deepest.networks import CrossEntropy, Descent, NetworkAction, Strong

DECAY = 0.3
LAYERS, DEPTH = 8, 4.0
# The same passes through all pairs for every learning rate; rates and batches are tried on validation pairs.
EPOCHS, RATES, BATCHES = 60, (1e-3, 3e-3, 1e-2), (32, 128)


class Neural(eqx.Module):
    """The network of `networks.digits_network`, solved by diffrax as its documentation solves a neural ODE."""

    entry: eqx.Module
    field: eqx.Module
    readout: eqx.Module
    adaptive: bool = eqx.field(static=True)

    def __call__(self, x):
        solver, steps = diffrax.Heun(), diffrax.ConstantStepSize()
        if self.adaptive:
            solver, steps = diffrax.Tsit5(), diffrax.PIDController(rtol=1e-3, atol=1e-6)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(self.field), solver, t0=0.0, t1=DEPTH, dt0=DEPTH / LAYERS, y0=self.entry(x),
            stepsize_controller=steps, adjoint=diffrax.RecursiveCheckpointAdjoint(),
        )  # fmt: skip
        return self.readout(solution.ys[-1])


def peer(network, train, test, *, rate, batch, adaptive, epochs, seed, scanned=False):
    """Rows (seconds, held-out error), and the seconds that the first step took; judging is outside the clock."""
    model = Neural(network.entry, network.field, network.readout, adaptive)
    optimiser, count = optax.adam(rate), len(train[0])

    def loss(model, x, y):
        ends = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y)
        prior = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
        return jnp.mean(ends) + 0.5 * DECAY * prior / count

    @eqx.filter_jit
    def make_step(model, state, x, y):
        gradient = eqx.filter_grad(loss)(model, x, y)
        change, state = optimiser.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, change), state

    @eqx.filter_jit
    def scan_steps(model, state, indices):
        """What diffrax's documentation does not do: all steps of an epoch in one program."""
        arrays, static = eqx.partition(model, eqx.is_array)

        def body(carry, index):
            model, state = make_step(eqx.combine(carry[0], static), carry[1], train[0][index], train[1][index])
            return (eqx.filter(model, eqx.is_array), state), None

        (arrays, state), _ = jax.lax.scan(body, (arrays, state), indices)
        return eqx.combine(arrays, static), state

    @eqx.filter_jit
    def judge(model):
        return jnp.mean(jnp.argmax(jax.vmap(model)(test[0]), axis=1) != test[1])

    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    generator, rows, spent = np.random.default_rng(seed), [], 0.0
    began = time.perf_counter()
    if scanned:
        scan_steps(model, state, jnp.zeros((count // batch, batch), int))
    else:
        make_step(model, state, train[0][:batch], train[1][:batch])
    compiled = time.perf_counter() - began
    judge(model)
    for _ in range(epochs):
        began = time.perf_counter()
        order = generator.permutation(count)[: count // batch * batch].reshape(-1, batch)
        if scanned:
            model, state = scan_steps(model, state, jnp.asarray(order))
        else:
            for index in order:
                model, state = make_step(model, state, train[0][index], train[1][index])
        jax.block_until_ready(jax.tree.leaves(eqx.filter(model, eqx.is_array)))
        spent += time.perf_counter() - began
        rows.append((spent, float(judge(model))))
    return rows, compiled


def ours(network, train, test, road):
    """The same of a road of deepest: first and last stage, which may be other programs, are run before the clock."""
    action = NetworkAction(network, networks.Pairs(*train), cost=CrossEntropy(), decay=DECAY)
    judge = eqx.filter_jit(lambda model: jnp.mean(jnp.argmax(jax.vmap(model)(test[0]), axis=1) != test[1]))
    state, rows, spent, last = road.begin(action), [], 0.0, road.ratios().size - 1
    began = time.perf_counter()
    for stage in (0, last):
        jax.block_until_ready(jax.tree.leaves(road.advance(action, state, stage)))
    compiled = time.perf_counter() - began
    for stage in range(last + 1):
        began = time.perf_counter()
        state, cost, _ = road.advance(action, state, stage)
        jax.block_until_ready(cost)
        spent += time.perf_counter() - began
        rows.append((spent, float(judge(action.trained(road.weights(state))))))
    return rows, compiled


def data():
    """Training and test pairs of `networks.digits`, as arrays."""
    example = networks.digits()
    arrays = lambda pairs: (jnp.asarray(pairs.inputs), jnp.asarray(pairs.targets))
    return arrays(example.action.pairs), arrays(example.held_out)


def chosen(train) -> dict:
    """Rate and batch of least error at the end on the last fifth of the training pairs, for each way of descent."""
    cut = 4 * len(train[0]) // 5
    inner, outer = tuple(a[:cut] for a in train), tuple(a[cut:] for a in train)
    tail = lambda rows: float(np.mean([error for _, error in rows[-5:]]))
    network, found = networks.digits_network(layers=LAYERS, key=jax.random.key(100)), {}
    for name in ("diffrax, Heun", "deepest, Descent"):
        grid = {}
        for rate in RATES:
            for batch in BATCHES:
                if name.startswith("diffrax"):
                    rows = peer(network, inner, outer, rate=rate, batch=batch, adaptive=False, epochs=EPOCHS, seed=0)[0]
                else:
                    road = Descent(optax.adam(rate), stages=EPOCHS, batch=batch)
                    rows = ours(network, inner, outer, road)[0]
                grid[f"{rate:g}, {batch}"] = tail(rows)
        best = min(grid, key=grid.get).split(", ")
        found[name] = {"grid": grid, "rate": float(best[0]), "batch": int(best[1])}
        print(name, found[name], flush=True)
    return found


def ways(train, test, tuned: dict, seed: int) -> dict:
    """What runs from the weights of one seed."""
    network = networks.digits_network(layers=LAYERS, key=jax.random.key(seed))
    its, own = tuned["diffrax, Heun"], tuned["deepest, Descent"]
    theirs = partial(peer, network, train, test, rate=its["rate"], batch=its["batch"], seed=seed)
    descent = Descent(optax.adam(own["rate"]), stages=EPOCHS, batch=own["batch"], seed=seed)
    strong = eqx.tree_at(lambda road: road.stages, networks.digits(seed=seed).roads["strong"], 6)
    return {
        "diffrax, Heun": partial(theirs, adaptive=False, epochs=EPOCHS),
        "diffrax, Heun, scanned": partial(theirs, adaptive=False, epochs=EPOCHS, scanned=True),
        "diffrax, Tsit5": partial(theirs, adaptive=True, epochs=EPOCHS // 3),
        "deepest, Descent": partial(ours, network, train, test, descent),
        "deepest, Strong": partial(ours, network, train, test, strong),
        "deepest, Strong, without batches": partial(ours, network, train, test, Strong(stages=12, steps=2)),
    }


def race(seeds: int) -> None:
    """All ways from the same weights, and the time each takes to the target errors."""
    one_core()
    train, test = data()
    tuned = chosen(train)
    runs: dict[str, list] = {}
    for seed in range(seeds):
        for name, way in ways(train, test, tuned, seed).items():
            rows, compiled = way()
            runs.setdefault(name, []).append({"compile": compiled, "rows": rows})
            print(seed, name, f"compile {compiled:.1f} s, run {rows[-1][0]:.1f} s", rows[-1][1], flush=True)
    summary = {name: _summary(each) for name, each in runs.items()}
    for name, row in summary.items():
        print(name, row)
    save("networks_race", {"decay": DECAY, "tuned": tuned, "summary": summary, "runs": runs})
    _draw(runs)


def _summary(runs: list) -> dict:
    """The longest compilation, as later seeds may find theirs done, and the median run; the time to an error is that of
    the first judgement at or below it, None if never."""
    found = {"compile": max(run["compile"] for run in runs)}
    found["run"] = float(np.median([run["rows"][-1][0] for run in runs]))
    found["last error"] = [run["rows"][-1][1] for run in runs]
    for target in (0.05, 0.04, 0.035, 0.03):
        times = [next((s for s, error in run["rows"] if error <= target), None) for run in runs]
        found[f"to {100 * target:g} %"] = times
    return found


def _draw(runs: dict) -> None:
    _, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for k, (name, each) in enumerate(runs.items()):
        for n, run in enumerate(each):
            seconds, errors = np.array(run["rows"]).T
            axes.plot(seconds, 100 * errors, color=f"C{k}", alpha=0.7, linewidth=1.0, label=None if n else name)
    axes.set(xscale="log", yscale="log", xlabel="seconds on one core, without compilation", ylabel="test error, %")
    axes.legend(fontsize="small")
    axes.figure.savefig(RESULTS / "networks_race.png", dpi=150)
