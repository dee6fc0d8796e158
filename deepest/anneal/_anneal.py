"""Annealing: from an action and a ladder to a result, kept on the way and taken up again."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from deepest.action import Action, initial_paths
from deepest.anneal._ladder import Ladder
from deepest.anneal._loop import Loop, Progress, Standing
from deepest.anneal._prune import Prune
from deepest.anneal._result import Result, load
from deepest.anneal._rung import highest
from deepest.io import writing
from deepest.minimise import AbstractMinimiser

# Keeping what there is may take this part of the time; where rungs are too short for that, not every one is kept.
_SHARE = 0.1


def anneal(
    action: Action,
    ladder: Ladder | None = None,
    *,
    members: int = 64,
    key: PRNGKeyArray | None = None,
    starts: tuple[Float[ArrayLike, "member time state"], Float[ArrayLike, "member parameter"]] | None = None,
    spread: tuple[ArrayLike | Sequence, ArrayLike | Sequence] | None = None,
    prune: Prune | None = Prune(),
    stop: bool = True,
    minimiser: AbstractMinimiser | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Result:
    """Climb the ladder with an ensemble of paths, and return every level and the lowest path.

        X_β = argmin A(X; R_f = R_f0 α^β), started at X_{β−1}, for each member

    - `members` and `key`: random starts from `initial_paths`, in `spread` where given, scalars or (D,); or
      `starts`: paths (member, N, D) and parameters (member, P) of your own.
    - `prune`: which members go on (`Prune`), or None to take all of them all the way.
    - `stop`: end the climb at the rung where the lowest level, after it had risen, is flat (changes by less than 3e-4
      while R_f grows fivefold) and consistent with χ²; not with so few data that χ² allows any low level.
    - `minimiser`: by default `DampedNewton`, in its primal–dual form on rungs that the dtype's precision asks it for.
    - `progress`: called on the host after every rung.
    - `checkpoint`: a NetCDF file that holds the run as far as it has come, and in the end the result as `Result.save`
      writes it: from it `resume` goes on after whatever ended the process, and arrives at the same bits. It is written
      after every rung, or where rungs are short as often as takes a tenth of the time. `force` overwrites a file.

    Each rung is one compiled call; a problem of the same shapes compiles once, whatever its data. Raises `ValueError`
    for starts that do not fit, no key, or a ladder that a given minimiser cannot carry in the dtype. A member that
    fails is left out with its status; the others go on. A `checkpoint` raises what `Result.save` raises, and
    `BlockingIOError` where another process is writing that file. Source: [ye2015].
    """
    ladder = Ladder() if ladder is None else ladder
    dtype = jnp.result_type(float)
    ladder.check(dtype, np.inf if minimiser is None else highest(action, minimiser, dtype))
    standing = Standing.start(action, ladder, *_starts(action, members, key, starts, spread))
    loop = Loop(action, ladder, prune, stop, minimiser, standing, progress)
    return loop.run() if checkpoint is None else _kept(loop, checkpoint, force)


def resume(
    path: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], None] | None = None,
    **pieces: Any,
) -> Result:
    """Go on with a run that `anneal(checkpoint=path)` left unfinished, to the bit as if it had never been interrupted.

    `pieces` are `load`'s: what of model, args, operator, transcription and minimiser the file cannot name, and `trust`.
    The file holds the run all the while, and in the end the result. A run that is finished is returned as it is.

    Raises what `load` and `Result.save` raise, and `BlockingIOError` where another process is writing the file.
    """
    result = load(path, **pieces)
    pending = result.pending
    if pending is None:
        return result
    standing = Standing.again(result)
    rules = (pending.prune, pending.stop, pending.minimiser)
    return _kept(Loop(result.action, result.ladder, *rules, standing, progress), path, force=True)


def _kept(loop: Loop, path: str | os.PathLike[str], force: bool) -> Result:
    """Run a loop whose standing is kept in a file."""
    with writing(path):
        loop.result(finished=False).save(path, force=force)
        spent, last = 0.0, time.perf_counter()

        def keep(loop: Loop) -> None:
            nonlocal spent, last
            began = time.perf_counter()
            if _SHARE * (began - last) < spent:
                return
            loop.result(finished=False).save(path, force=True)
            last = time.perf_counter()
            spent = last - began

        loop.keep = keep
        result = loop.run()
        result.save(path, force=True)
    return result


def _starts(action: Action, members: int, key, starts, spread) -> tuple[Array, Array]:
    if starts is None:
        if key is None or isinstance(key, int):
            raise ValueError("Random starts need key=jax.random.key(seed); or pass starts=(paths, parameters).")
        if members < 1:
            raise ValueError(f"An ensemble needs at least one member; received members={members}.")
        return initial_paths(action, members, key, spread=spread)
    dtype = jnp.result_type(float)
    paths, parameters = (jnp.asarray(x, dtype) for x in starts)
    shape, count = (action.grid.size, action.estimable.size), len(action.estimable.names)
    if paths.ndim != 3 or paths.shape[1:] != shape or parameters.shape != (paths.shape[0], count):
        raise ValueError(
            f"Starts must be paths (members, {shape[0]}, {shape[1]}) and parameters (members, {count}); received "
            f"{paths.shape} and {parameters.shape}."
        )
    return paths, parameters
