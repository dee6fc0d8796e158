"""The two forms of a step: normal equations, and the momenta beside the path, on one core.

Twins of Lorenz96 (D = 20, 8 components measured, 161 points) from several data sets, a ladder to R_f/R_m = 1.2e10 and
then R_f = ∞. Every member climbs three times with Gauss–Newton's steps: with `Penalty`, with `PrimalDual`, and with
`PrimalDual` from the state in which `Penalty` left each rung. The last compares rung by rung from the same state, path
and damping: two climbs may part into different basins, after which their counts say nothing of the form. A fourth
climb, `curved`, goes on from where R_f passes R_m with Σ p·∇²c in the Hessian. Members that end within 1 % of the
level of the path started at the truth are in the global minimum, the others are not. Steps are factorisations, those
of rejected steps included.

In float32 the members that found the global minimum climb again from the same starts and data. Their errors are those
of the path's norm against float64 at the same R_f.

    python benchmarks/forms.py [--seeds 1 2 3] [--starts 12]
"""

import argparse
import json
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # its threads would wait for one another on the one core

import annealing
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import interleaved, one_core, save, wilson

import deepest as dp
from deepest.anneal._rung import ROUGH, Members, advance, finest
from deepest.minimise import AbstractMinimiser, DampedNewton, Penalty, PrimalDual

LADDER = dp.Ladder(rungs=24)
FORMS = {"penalty": DampedNewton(form=Penalty()), "primal_dual": DampedNewton(form=PrimalDual())}
# From this R_f/R_m on `curved` takes second derivatives, which lead to worse minima before levels have separated.
CURVED = 1.0
# Steps in one timed call.
ROW = 20


class Curved(AbstractMinimiser):
    """The primal–dual form with second derivatives."""

    inner: DampedNewton = FORMS["primal_dual"]

    def highest(self, dtype):
        return self.inner.highest(dtype)

    def minimise(self, problem, z, *, tolerance, damping=1e-3, floor=0.0, curvature=True):
        del curvature
        return self.inner.minimise(problem, z, tolerance=tolerance, damping=damping, floor=floor, curvature=True)


_advance = eqx.filter_jit(advance)


@eqx.filter_jit
def exact(action: dp.Action, z):
    """The model taken as exact, from z on."""
    tolerance = finest(z.nodes.dtype)
    return Curved().minimise(action.at(jnp.inf), z, tolerance=tolerance, damping=1e-6, floor=1e-9)


def rung(action: dp.Action, minimiser: AbstractMinimiser, members: Members, ratio: float, active) -> Members:
    """One rung, as `anneal` climbs it."""
    dtype = members.cost.dtype
    tolerance = finest(dtype) if ratio == LADDER.ratios[-1] else ROUGH
    return _advance(action, minimiser, members, dtype.type(ratio), jnp.asarray(active), dtype.type(tolerance))


def climb(action: dp.Action, minimiser: AbstractMinimiser, members: Members, active, above: float = 0.0):
    """The states before every rung and after the last, and the steps (rung, member), from R_f/R_m `above` on."""
    states, steps = [members], []
    for ratio in LADDER.ratios[LADDER.ratios >= above]:
        states.append(rung(action, minimiser, states[-1], ratio, active))
        steps.append(np.where(active, np.asarray(states[-1].steps), 0))
    return states, np.array(steps)


def single(action: dp.Action) -> dp.Action:
    """The same data in float32; x64 is off."""
    given = action.observations
    values = np.asarray(given.values, np.float32)
    observations = dp.Observations(given.times, values, components=given.components, noise=annealing.NOISE)
    return dp.Action(dp.models.Lorenz96(20, dp.Unknown(6.0, 10.0)), observations, dp.HermiteSimpson())


def paths(members: Members) -> np.ndarray:
    """Nodes and midpoints of every member."""
    parts = members.z.nodes, members.z.interior
    return np.concatenate([np.asarray(x, float).reshape(x.shape[0], -1) for x in parts], axis=1)


def endless(action: dp.Action, members: Members, good: np.ndarray) -> np.ndarray:
    """The paths of the good members at R_f = ∞."""
    each = [exact(action, jax.tree.map(lambda x, k=k: x[k], members.z)) for k in np.flatnonzero(good)]
    return np.array([paths(jax.tree.map(lambda x: x[None], end))[0] for end in each])


def float32(action: dp.Action, begin, top: Members, good: np.ndarray) -> dict:
    """Errors of float32 against `top` and against R_f = ∞, for members that were good in float64."""
    size = np.linalg.norm(paths(top)[good], axis=1)
    error = lambda ours, theirs: (np.linalg.norm(ours - theirs, axis=1) / size).tolist()
    limit, found = endless(action, top, good), {}
    with jax.enable_x64(False):
        coarse = single(action)
        start = Members.start(coarse, *(jnp.asarray(np.asarray(x, np.float32)) for x in begin))
        for name, minimiser in FORMS.items():
            states, steps = climb(coarse, minimiser, start, good)
            end = states[-1]
            found[name] = {"top": error(paths(end)[good], paths(top)[good]), "steps": steps.sum(0)[good].tolist()}
            if name == "primal_dual":
                found[name]["infinite"] = error(endless(coarse, end, good), limit)
    return found


def data_set(seed: int, count: int) -> dict:
    """All climbs on one data set."""
    action, truth = annealing.problem(**annealing.SETTINGS["lorenz96_20"], seed=seed)
    goal = 1.01 * annealing.yardstick(action, truth, LADDER)
    begin = annealing.starts(action, count, 1000 * seed, "own")
    start, every = Members.start(action, *begin), np.ones(count, bool)
    runs = {name: climb(action, minimiser, start, every) for name, minimiser in FORMS.items()}
    level = lambda states: np.asarray(action.level(states[-1].cost))
    same = [
        np.asarray(rung(action, FORMS["primal_dual"], before, ratio, every).steps)
        for before, ratio in zip(runs["penalty"][0], LADDER.ratios, strict=False)
    ]
    first = int(np.sum(LADDER.ratios < CURVED))
    curved, steps = climb(action, Curved(), runs["penalty"][0][first], every, CURVED)
    levels = {name: level(states).tolist() for name, (states, _) in runs.items()}
    found = {
        "goal": goal,
        "levels": {**levels, "curved": level(curved).tolist()},
        "steps": {name: taken.tolist() for name, (_, taken) in runs.items()},
        "same_state": np.array(same).tolist(),
        "curved": {"from": first, "steps": steps.tolist()},
    }
    good = np.array(levels["primal_dual"]) <= goal
    return {**found, "float32": float32(action, begin, runs["primal_dual"][0][-1], good)} if good.any() else found


def rate(found: np.ndarray) -> dict:
    """How many of the members are in the global minimum."""
    return {"found": int(found.sum()), "tries": found.size, "wilson": wilson(int(found.sum()), found.size)}


def pooled(sets: list[dict]) -> dict:
    """The figures of all data sets together."""
    goals = np.concatenate([np.full(len(s["levels"]["penalty"]), s["goal"]) for s in sets])
    join = lambda f: np.concatenate([np.asarray(f(s)) for s in sets], axis=-1)
    good = {name: join(lambda s, n=name: s["levels"][n]) <= goals for name in (*FORMS, "curved")}
    steps = {name: join(lambda s, n=name: s["steps"][n]) for name in FORMS}
    same, curved = join(lambda s: s["same_state"]), join(lambda s: s["curved"]["steps"])
    first = sets[0]["curved"]["from"]
    normal, keep = steps["penalty"], good["penalty"]
    mean = lambda taken, which: float(taken.sum(0)[which].mean()) if which.any() else None
    both = lambda taken, which: {"good": mean(taken, which), "others": mean(taken, ~which)}
    more = same[:, keep] - normal[:, keep]
    single = {name: [s["float32"][name] for s in sets if "float32" in s] for name in FORMS}
    errors = lambda name, where: [error for found in single[name] for error in found[where]]
    return {
        "success": {name: rate(found) for name, found in good.items()},
        "parted": int(np.sum(good["penalty"] != good["primal_dual"])),
        "steps": {name: both(steps[name], good[name]) for name in FORMS},
        "same_state": both(same, keep),
        "rungs_of_good": int(more.size),
        "rungs_with_more": int(np.sum(more > 0)),
        "rungs_with_fewer": int(np.sum(more < 0)),
        "most_more": int(more.max(initial=0)),
        "above_curved": {
            "penalty": both(normal[first:], keep),
            "same_state": both(same[first:], keep),
            "curved": both(curved, good["curved"]),
        },
        "float32": {
            "penalty_top": errors("penalty", "top"),
            "primal_dual_top": errors("primal_dual", "top"),
            "primal_dual_infinite": errors("primal_dual", "infinite"),
        },
    }


def milliseconds(repeats: int = 7) -> dict:
    """Of a step, in a compiled row of them from the same state at R_f/R_m = 100."""
    action, truth = annealing.problem(**annealing.SETTINGS["lorenz96_20"], seed=1)
    noise = np.random.default_rng(0).normal(size=truth.shape)
    z = action.pack(jnp.asarray(truth + noise), jnp.full(1, annealing.FORCING))

    def row(form):
        minimise = DampedNewton(ROW, form).minimise
        run = jax.jit(lambda z: minimise(action.at(100.0), z, tolerance=0.0, damping=1.0, floor=1e-2))
        return lambda: run(z)

    rows = {name: row(minimiser.form) for name, minimiser in FORMS.items()}
    taken = {name: int(run().steps) for name, run in rows.items()}
    times = interleaved(rows, repeats, inner=1)
    return {name: {k: v / taken[name] for k, v in times[name].items()} for name in rows}


def main() -> None:
    """Parse, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the data sets")
    parser.add_argument("--starts", type=int, default=12, help="on each data set")
    options = parser.parse_args()
    one_core()
    jax.config.update("jax_enable_x64", True)
    step, sets = milliseconds(), []
    print("milliseconds a step:", step, flush=True)
    for seed in options.seeds:
        sets.append(data_set(seed, options.starts))
        print(f"data {seed}: goal {sets[-1]['goal']:.4f}, levels", sets[-1]["levels"], flush=True)
        print("  float32:", sets[-1].get("float32"), flush=True)
    total = pooled(sets)
    print(json.dumps(total, indent=1))
    content = {"ladder": vars(LADDER), "seeds": options.seeds, "milliseconds": step, "pooled": total, "data": sets}
    print("saved", save("forms", content))


if __name__ == "__main__":
    main()
