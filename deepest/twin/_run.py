"""Running an experiment, once or many times."""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray

from deepest.anneal import Ladder, Progress, Prune, Result, anneal
from deepest.twin._follow import follow
from deepest.twin._outcome import Outcome, Skill
from deepest.twin._settings import Setting
from deepest.twin._simulate import Twin

# The yardstick climbs this many of the last rungs: enough for the truth to settle at the top's minimum.
_RUNGS = 4


def run(
    twin: Twin,
    ladder: Ladder | None = None,
    *,
    members: int = 64,
    key: PRNGKeyArray,
    spread: tuple[ArrayLike, ArrayLike] | None = None,
    prune: Prune | None = Prune(),
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Anneal a twin's action from random starts, and score what comes out against the truth.

    `ladder`, `members`, `key`, `spread` (two scalars or (D,) each), `prune` and `progress` are `anneal`'s.
    Raises `ValueError` as `anneal` does; a run in which no member reaches the top is an outcome like any other.
    """
    began = time.perf_counter()
    result = anneal(twin.action, ladder, members=members, key=key, spread=spread, prune=prune, progress=progress)
    level = yardstick(twin, result)
    skill = _skill(twin, result) if result.order.size and twin.beyond_times.size > 1 else None
    return Outcome(twin, result, level, skill, time.perf_counter() - began)


def repeat(
    setting: Setting,
    realisations: int,
    *,
    members: int | None = None,
    ladder: Ladder | None = None,
    key: PRNGKeyArray,
    prune: Prune | None = Prune(),
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[Outcome]:
    """Outcomes of a setting, one after the other, with a new truth, new noise and new starts each.

    Realisation k depends on `key` and k alone. `members` and `ladder` default to the setting's. All have the same
    shapes, so that they compile once. Raises `ValueError` for fewer than one realisation.
    """
    members, ladder = members or setting.members, ladder or setting.ladder
    for twin, starts in draws(setting, realisations, key):
        yield run(twin, ladder, members=members, key=starts, spread=setting.spread, prune=prune, progress=progress)


def draws(setting: Setting, realisations: int, key: PRNGKeyArray) -> Iterator[tuple[Twin, PRNGKeyArray]]:
    """Twins of a setting, and the key of each one's starts; what `repeat` runs. Raises `ValueError` as it does."""
    if realisations < 1:
        raise ValueError(f"An experiment is repeated at least once; received realisations={realisations}.")
    for k in range(realisations):
        truth, starts = jax.random.split(jax.random.fold_in(key, k))
        yield setting.simulate(truth), starts


def yardstick(twin: Twin, result: Result) -> float:
    """The reduced level of the path started at the truth, at the R_f/R_m where `result` ended; NaN without a truth.

    The truth takes the last rungs of the same ladder. It is member 0 of an ensemble as large as the result's, whose
    other members are empty and end at once, so that the compiled rung serves again.
    """
    estimable = twin.action.estimable
    if not (np.all(np.isfinite(twin.parameters)) and np.all(np.isfinite(twin.varying))):
        return float("nan")
    members, rungs = result.status.size, min(_RUNGS, result.levels.shape[0])
    paths = np.full((members, twin.times.size, estimable.size), np.nan)
    parameters = np.full((members, twin.parameters.size), np.nan)
    constant = np.broadcast_to(twin.varying, (twin.times.size, twin.varying.size))
    paths[0], parameters[0] = np.concatenate([twin.truth, constant], axis=1), twin.parameters
    last = Ladder(start=float(result.ratios[-rungs]), factor=result.ladder.factor, rungs=rungs)
    climbed = anneal(twin.action, last, starts=(paths, parameters), prune=None, stop=False)
    return float(climbed.levels[-1, 0])


def _skill(twin: Twin, result: Result) -> Skill:
    best = result.best
    return Skill.of(twin, follow(best.model, jnp.asarray(best.path[-1]), twin.beyond_times, best.args))
