"""The one annealing loop: rungs are compiled, the host prunes, reports and stops between them."""

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from deepest._program import program
from deepest.action import Action, initial_paths
from deepest.anneal._ladder import Ladder
from deepest.anneal._prune import Prune
from deepest.anneal._result import Result, consistent, expected
from deepest.anneal._rung import FINE, ROUGH, Members, advance, suited
from deepest.minimise import AbstractMinimiser, Status

# The lowest level is flat where one rung changes it by less than this, relative.
_FLAT = 3e-4

_advance = program(advance)
_keep = program(Prune.keep)


@dataclasses.dataclass(frozen=True)
class Progress:
    """What the loop tells between rungs: rung β of `rungs`, R_f/R_m, how many members go on, the lowest level."""

    rung: int
    rungs: int
    ratio: float
    active: int
    members: int
    lowest: float


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
) -> Result:
    """Climb the ladder with an ensemble of paths, and return every level and the lowest path.

        X_β = argmin A(X; R_f = R_f0 α^β), started at X_{β−1}, for each member

    - `members` and `key`: random starts from `initial_paths`, in `spread` where given, scalars or (D,); or
      `starts`: paths (member, N, D) and parameters (member, P) of your own.
    - `prune`: which members go on (`Prune`), or None to take all of them all the way.
    - `stop`: end the climb at the rung where the lowest level is flat (changes by less than 3e-4 a rung) and
      consistent with χ².
    - `minimiser`: by default `DampedNewton`, in its primal–dual form on rungs that the dtype's precision asks it for.
    - `progress`: called on the host after every rung.

    Each rung is one compiled call; a problem of the same shapes compiles once, whatever its data. Raises `ValueError`
    for starts that do not fit, no key, or a ladder that a given minimiser cannot carry in the dtype. A member that
    fails is left out with its status; the others go on. Source: [ye2015].
    """
    ladder = Ladder() if ladder is None else ladder
    if minimiser is not None:
        ladder.check(jnp.result_type(float), minimiser)
    loop = _Loop(action, ladder, prune, stop, minimiser, progress)
    return loop.run(*_starts(action, members, key, starts, spread))


def _starts(action: Action, members: int, key, starts, spread) -> tuple[Array, Array]:
    if starts is None:
        if key is None:
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


class _Loop:
    """The state of one climb on the host."""

    def __init__(self, action, ladder, prune, stop, minimiser, progress):
        self.action, self.ladder, self.prune, self.stop = action, ladder, prune, stop
        self.minimiser, self.progress = minimiser, progress
        self.ratios = ladder.ratios
        self.share = float(action.level(jnp.ones(())))  # a level is this times the cost

    def run(self, paths: Array, parameters: Array) -> Result:
        count, rungs = paths.shape[0], self.ratios.size
        self.members = Members.start(self.action, paths, parameters)
        self.levels = np.full((rungs, count), np.nan)
        self.steps = np.zeros((rungs, count), int)
        self.estimates = np.full((rungs, *parameters.shape), np.nan)
        self.reached = np.full(count, -1)
        self.alive = np.ones(count, bool)
        self.top = rungs - 1
        if self.prune is None:
            self._wave(self.alive.copy(), shed=False)
            return self._result()
        while not self._settled():
            active = self.prune.begin(self.reached)
            fresh = bool(active.any())
            active = active if fresh else self._resumed()
            if not active.any():
                break
            self._wave(active, shed=fresh)
        return self._result()

    def _resumed(self) -> Bool[np.ndarray, " member"]:
        waiting = self.alive & (self.reached < self.top)
        latest = self.levels[np.maximum(self.reached, 0), np.arange(waiting.size)]
        return self.prune.resume(latest, self.reached, waiting, self._lowest())

    def _wave(self, active: Bool[np.ndarray, " member"], shed: bool) -> None:
        """Take the active members to the top, shedding the worse of them on the way where `shed`."""
        # Levels do not fall: what exceeds the highest that χ² allows waits, in case nothing better is found.
        bound = expected(self.action)[1] if shed else np.inf
        stride = 1
        while active.any():
            before = int(self.reached[active].min())
            rung = min(before + stride, self.top)
            here, last = active & (self.reached < rung), rung == self.top
            steps = self._climb(rung, here, FINE if last else ROUGH)
            active = active & self.alive & (~here | (self.levels[rung] <= min(self._lowest(), bound)))
            if last:
                return
            if self.stop and self._flat(before, rung, here & active):
                self._climb(rung, here & active, FINE)
                self.top = rung
                return
            if shed and active.sum() > self.prune.width:
                active = np.asarray(_keep(self.prune, jnp.asarray(self.levels[rung]), jnp.asarray(active)))
            stride = self.ladder.stride(stride, easy=steps == 1)

    def _climb(self, rung: int, here: Bool[np.ndarray, " member"], tolerance: float) -> int:
        """Take members to a rung; the most steps that one of them took."""
        dtype = self.members.cost.dtype
        tolerance = max(tolerance, 10.0 * float(jnp.finfo(dtype).eps))
        scalars = (dtype.type(self.ratios[rung]), jnp.asarray(here), dtype.type(tolerance))
        minimiser = suited(self.ratios[rung], dtype) if self.minimiser is None else self.minimiser
        self.members = _advance(self.action, minimiser, self.members, *scalars)
        cost, status = np.asarray(self.members.cost), np.asarray(self.members.status)
        self.levels[rung, here] = self.share * cost[here]
        steps = np.asarray(self.members.steps)[here]
        self.steps[rung, here] += steps
        self.estimates[rung, here] = np.asarray(self.members.z.shared)[here]
        self.reached[here] = rung
        self.alive &= ~here | (np.isfinite(cost) & (status != Status.not_finite))
        if self.progress is not None:
            level = np.nanmin(self.levels[rung]) if np.isfinite(self.levels[rung]).any() else np.nan
            report = Progress(rung, self.ratios.size, self.ratios[rung], int(here.sum()), here.size, float(level))
            self.progress(report)
        return int(steps.max())

    def _flat(self, before: int, rung: int, active: Bool[np.ndarray, " member"]) -> bool:
        """Whether the lowest level has changed by next to nothing a rung since the one before, and χ² allows it."""
        if before < 0 or not active.any():
            return False
        lowest = np.flatnonzero(active)[np.argmin(self.levels[rung, active])]
        now, then = self.levels[rung, lowest], self.levels[before, lowest]
        return bool(abs(now - then) <= _FLAT * (rung - before) * now) and consistent(self.action, now)

    def _lowest(self) -> float:
        """The lowest level at the top; nothing can win that is above it. A margin lets equals finish."""
        finished = self.levels[self.top][self.alive & (self.reached >= self.top)]
        return float(finished.min() * (1.0 + 1e-3)) if finished.size else np.inf

    def _settled(self) -> bool:
        """Whether the search may end; at levels that χ² allows but rarely, it is worth looking for a lower one."""
        return self._lowest() <= expected(self.action, 2.0)[1]

    def _result(self) -> Result:
        status = np.asarray(self.members.status).copy()
        status[self.alive & (self.reached < self.top)] = Status.pruned
        shown = self.top + 1
        paths, _ = eqx.filter_vmap(self.action.unpack)(self.members.z)
        return Result(
            action=self.action,
            ladder=self.ladder,
            levels=self.levels[:shown],
            steps=self.steps[:shown],
            estimates=self.estimates[:shown],
            status=status,
            paths=np.asarray(paths),
            parameters=np.asarray(self.members.z.shared),
        )
