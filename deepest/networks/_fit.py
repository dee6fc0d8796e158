"""Training, whatever the road."""

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from deepest.networks._action import NetworkAction, NetworkProblem
from deepest.networks._checkpoint import Checkpoint
from deepest.networks._pairs import Pairs
from deepest.networks._roads import AbstractRoad, Annealed, forward
from deepest.networks._trained import Ending, History, Trained

# A road without limit has arrived when the action changed by less than this in each of its last two stages.
_STILL = 1e-7


def fit(
    action: NetworkAction,
    road: AbstractRoad | None = None,
    *,
    held_out: Pairs | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
) -> Trained:
    """Train the network of an action on its pairs, from the weights that it has.

    - `road`: `Annealed()` by default, the weak constraint; `Strong()`, Gauss–Newton through costates; `Descent(…)`,
      an optax optimiser with costates.
    - `held_out`: pairs on which every stage is judged, by a forward pass; training does not see them.
    - `progress`: is given every stage's row of the history, and the number of `stages`.
    - `checkpoint`: a NetCDF file, rewritten after every stage, from which `resume=True` goes on with the same action
      and road, to the same result bit for bit. With `force` a file that exists is replaced after the first stage, and
      not before. It needs the extra `io`.

    A stage that gives weights that are not finite ends the training with those before it. Warns where the forward pass
    ends hardly better than a constant. Raises `ValueError` for held-out pairs that do not fit the network, and for a
    checkpoint of another training; `FileExistsError` for one that exists, unless `resume` or
    `force`, and `FileNotFoundError` where its folder does not.
    """
    road = Annealed() if road is None else road
    ratios, began = road.ratios(), time.perf_counter()
    if not ratios.size:
        raise ValueError(f"{type(road).__name__} has no stages: a training has at least one.")
    held = None if held_out is None else _held(action, held_out)
    state = road.begin(action)
    kept = None if checkpoint is None else Checkpoint(checkpoint, action, held, road, state, force)
    best, rows = road.weights(state), []
    if kept is not None:
        state, best, rows = kept.start(state, best, resume=resume)
    past, ending = (rows[-1]["seconds"] if rows else 0.0), Ending.finished
    for stage in range(len(rows), ratios.size):
        if _still(rows):
            ending = Ending.settled
            break
        after, cost, steps = road.advance(action, state, stage)
        weights = road.weights(after)
        if not _finite(weights, cost):
            ending = Ending.diverged
            break
        state = after
        row = {"ratio": ratios[stage], "action": float(cost), "level": float(action.level(cost)), "steps": int(steps)}
        row |= _judged(action, held, weights) | {"seconds": past + time.perf_counter() - began}
        rows.append(row)
        best = weights if _best(rows) == stage else best
        if kept is not None:
            kept.write(state, best, rows)
        if progress is not None:
            progress(row | {"stage": stage, "stages": ratios.size})
    if not rows:
        raise ValueError("The first stage gave weights that are not finite: the action is not finite where it begins.")
    trained = Trained(
        network=action.trained(road.weights(state)),
        best=action.trained(best),
        best_stage=_best(rows),
        history=History.of(rows),
        baseline=_baseline(action, held),
        ending=ending,
    )
    if trained.collapsed:
        warnings.warn(_collapse(trained), stacklevel=2)
    return trained


def _held(action: NetworkAction, pairs: Pairs) -> NetworkAction:
    held = NetworkAction(action.network, pairs, cost=action.cost)
    if held.shape != action.shape:
        raise ValueError(
            f"Of held-out pairs the network must make outputs as of the training pairs, {action.shape}; it makes "
            f"{held.shape} of inputs {pairs.inputs.shape[1:]}."
        )
    return held


def _best(rows: list[dict]) -> int:
    errors = np.array([row["held_out_error"] for row in rows])
    # Of equals the last; the loss decides between equal shares of wrong labels.
    losses = np.array([row["held_out_loss"] for row in rows])
    return len(rows) - 1 if np.isnan(errors).all() else int(np.lexsort((-np.arange(len(rows)), losses, errors))[0])


def _still(rows: list[dict]) -> bool:
    last = rows[-3:]
    if len(last) < 3 or not all(np.isinf(row["ratio"]) for row in last):
        return False
    costs = np.array([row["action"] for row in last])
    return bool((np.abs(np.diff(costs)) <= _STILL * np.abs(costs[-1])).all())


def _finite(weights, cost: Array) -> bool:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(weights)]
    return bool(jnp.isfinite(cost) & jnp.all(jnp.stack(leaves)))


def _judged(action: NetworkAction, held: NetworkAction | None, weights) -> dict[str, float]:
    error, loss = map(float, _judge(action.at(jnp.inf), weights))
    other = (np.nan, np.nan) if held is None else map(float, _judge(held.at(jnp.inf), weights))
    return dict(zip(("error", "loss", "held_out_error", "held_out_loss"), (error, loss, *other), strict=True))


@eqx.filter_jit
def _judge(problem: NetworkProblem, weights) -> tuple[Array, Array]:
    """The error and the mean end cost of a forward pass."""
    return _scored(problem, forward(problem, weights))


def _scored(problem: NetworkProblem, outputs: Array) -> tuple[Array, Array]:
    data = problem.data
    losses = jax.vmap(problem.end)(outputs, data.target, data.weight)
    return problem.end.error(outputs, data.target, data.weight), jnp.mean(losses)


def _baseline(action: NetworkAction, held: NetworkAction | None) -> tuple[float, float]:
    size = int(np.prod(action.shape))
    constant = action.cost.ignorant(action.data.target, action.data.weight, size)

    def score(judged: NetworkAction) -> float:
        outputs = jnp.broadcast_to(constant, (judged.pairs.count, size))
        return float(_scored(judged.at(jnp.inf), outputs)[0])

    return score(action), np.nan if held is None else score(held)


def _collapse(trained: Trained) -> str:
    error, constant = trained.history.error[-1], trained.baseline[0]
    advice = "begin the ladder higher (at 10 or more for plain chains), or use less decay"
    if not np.isfinite(trained.history.ratio[0]):
        advice = "start from smaller or larger weights, use less decay, or residual layers"
    return (
        f"The forward pass predicts hardly better than a constant output: error {error:.3g}, the constant's "
        f"{constant:.3g}. A small action alone does not show that anything was learned; {advice}."
    )
