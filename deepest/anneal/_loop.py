"""The one annealing loop: rungs are compiled; between them the host prunes, reports, keeps what there is, and stops."""

import dataclasses
import time
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from deepest._program import program
from deepest.action import Action
from deepest.anneal._ladder import Ladder
from deepest.anneal._prune import Prune
from deepest.anneal._result import Pending, Result, consistent, expected
from deepest.anneal._rung import FINE, ROUGH, Members, advance, suited, yielding
from deepest.minimise import AbstractMinimiser, Status

# The lowest level is flat where it changes by less than this, relative, as R_f grows by this factor.
_FLAT, _SPAN = 3e-4, 5.0
# Levels that differ by less, relative, are one minimum's.
_SAME = 1e-3
# At the top a minimum may lie far down a narrow valley: members that can win get the limit of steps this often.
_ROUNDS = 5

_advance = program(advance)
_keep = program(Prune.keep)
_yielding = program(yielding)


@dataclasses.dataclass(frozen=True)
class Progress:
    """What the loop tells between rungs.

    Rung β of `rungs`, at R_f/R_m = `ratio`; how many members go on (`active`), have not failed (`alive`), and are there
    (`members`); the `levels` (L,) on this rung, the lowest up to three distinct ones; and `left`, the seconds that who
    goes on needs to the top, None after the first rung, which has compiled.
    """

    rung: int
    rungs: int
    ratio: float
    active: int
    alive: int
    members: int
    levels: Float[np.ndarray, " level"]
    left: float | None

    @property
    def lowest(self) -> float:
        """The lowest level on this rung; NaN where none is finite."""
        return float(self.levels[0]) if self.levels.size else float("nan")


@dataclasses.dataclass
class Standing:
    """Where a climb stands between two rungs: all that decides how it goes on.

    Of every member its unknowns, the rung it has `reached` (−1 before the first), and whether it is `alive` and on its
    way (`active`); `top` is the highest rung, `stride` the last number of rungs at once, and `shed` whether worse
    members wait.
    """

    members: Members
    levels: Float[np.ndarray, "rung member"]
    steps: Int[np.ndarray, "rung member"]
    estimates: Float[np.ndarray, "rung member parameter"]
    reached: Int[np.ndarray, " member"]
    alive: Bool[np.ndarray, " member"]
    active: Bool[np.ndarray, " member"]
    top: int
    stride: int = 1
    shed: bool = False

    @staticmethod
    def start(action: Action, ladder: Ladder, paths: Array, parameters: Array) -> "Standing":
        """Before the first rung, at starting paths (member, N, D) and parameters (member, P)."""
        rungs, count = ladder.rungs, paths.shape[0]
        return Standing(
            members=Members.start(action, paths, parameters),
            levels=np.full((rungs, count), np.nan),
            steps=np.zeros((rungs, count), int),
            estimates=np.full((rungs, *parameters.shape), np.nan),
            reached=np.full(count, -1),
            alive=np.ones(count, bool),
            active=np.zeros(count, bool),
            top=rungs - 1,
        )

    @staticmethod
    def again(result: Result) -> "Standing":
        """Where an unfinished result stands, to the bit."""
        pending, action = result.pending, result.action
        if pending is None:
            raise ValueError("This run is finished; there is nothing to go on with.")
        here, top = result.levels.shape[0], result.ladder.rungs
        raised = lambda along, fill: np.concatenate([along, np.full((top - here, *along.shape[1:]), fill, along.dtype)])
        z = eqx.filter_vmap(action.pack)(jnp.asarray(result.paths), jnp.asarray(result.parameters))
        last = (pending.damping, pending.cost, pending.steps, pending.status)
        return Standing(
            members=Members(z, *map(jnp.asarray, last)),
            levels=raised(result.levels, np.nan),
            steps=raised(result.steps, 0),
            estimates=raised(result.estimates, np.nan),
            reached=pending.reached.copy(),
            alive=pending.alive.copy(),
            active=pending.active.copy(),
            top=here - 1,
            stride=pending.stride,
            shed=pending.shed,
        )


@dataclasses.dataclass
class Loop:
    """One climb on the host: what is climbed by which rules, and where it stands."""

    action: Action
    ladder: Ladder
    prune: Prune | None
    stop: bool
    minimiser: AbstractMinimiser | None
    standing: Standing
    progress: Callable[[Progress], None] | None = None
    keep: Callable[["Loop"], None] | None = None

    def __post_init__(self):
        self.ratios = self.ladder.ratios
        self.share = float(self.action.level(jnp.ones(())))  # a level is this times the cost
        self.pace: list[float] = []  # seconds a member and rung

    def run(self) -> Result:
        """Climb until nothing is left to do."""
        while self._under_way():
            self._step()
            if self.keep is not None:
                self.keep(self)
        return self.result(finished=True)

    def _under_way(self) -> bool:
        """Whether members are on their way to the top: those that are, or the next ones that begin or are resumed."""
        s = self.standing
        if s.active.any():
            return True
        fresh = s.reached < 0
        if self.prune is not None:
            if self._settled():
                return False
            fresh = self.prune.begin(s.reached)
        s.shed, s.stride = self.prune is not None and bool(fresh.any()), 1
        s.active = fresh if fresh.any() or self.prune is None else self._resumed(self.prune)
        return bool(s.active.any())

    def _resumed(self, prune: Prune) -> Bool[np.ndarray, " member"]:
        s = self.standing
        waiting = s.alive & (s.reached < s.top)
        latest = s.levels[np.maximum(s.reached, 0), np.arange(waiting.size)]
        return prune.resume(latest, s.reached, waiting, self._lowest())

    def _step(self) -> None:
        """Take the active members to the next rung, and shed the worse of them where `shed`."""
        s = self.standing
        # Levels do not fall: what exceeds the highest that χ² allows waits, in case nothing better is found.
        bound = expected(self.action)[1] if s.shed else np.inf
        before = int(s.reached[s.active].min())
        rung = min(before + s.stride, s.top)
        here, last = s.active & (s.reached < rung), rung == s.top
        self._polish(rung, here) if last else self._climb(rung, here, ROUGH)
        s.active = s.active & s.alive & (~here | (s.levels[rung] <= min(self._lowest(), bound)))
        if not last and self.stop and self._flat(rung, here & s.active):
            self._polish(rung, here & s.active)
            s.top, last = rung, True
        if last:
            s.active = np.zeros_like(s.active)
            return
        if s.shed and self.prune is not None and s.active.sum() > self.prune.width:
            s.active = np.asarray(_keep(self.prune, jnp.asarray(s.levels[rung]), jnp.asarray(s.active)))
        s.stride = self._stride(rung)

    def _stride(self, rung: int) -> int:
        """How many rungs to climb next: what half of the active members bear, as the worst of them cannot win."""
        s = self.standing
        if self.ladder.most == 1 or not s.active.any():
            return 1
        ratio = s.members.cost.dtype.type(self.ratios[rung])
        moves = np.asarray(_yielding(self.action, s.members, ratio, jnp.asarray(s.active)))
        return self.ladder.stride(float(np.median(moves[s.active])))

    def _polish(self, rung: int, here: Bool[np.ndarray, " member"]) -> None:
        """Take members to the top rung, and those that can win all the way to their minimum."""
        s = self.standing
        for _ in range(_ROUNDS):
            self._climb(rung, here, FINE)
            highest = max(expected(self.action)[1], np.nanmin(s.levels[rung, here], initial=np.inf))
            crawling = np.asarray(s.members.status) == Status.step_limit
            here = here & s.alive & crawling & (s.levels[rung] <= highest)
            if not here.any():
                return

    def _climb(self, rung: int, here: Bool[np.ndarray, " member"], tolerance: float) -> None:
        """Take members to a rung."""
        began, s = time.perf_counter(), self.standing
        dtype = s.members.cost.dtype
        tolerance = max(tolerance, 10.0 * float(jnp.finfo(dtype).eps))
        scalars = (dtype.type(self.ratios[rung]), jnp.asarray(here), dtype.type(tolerance))
        minimiser = suited(self.action, self.ratios[rung], dtype) if self.minimiser is None else self.minimiser
        s.members = _advance(self.action, minimiser, s.members, *scalars)
        cost, status = np.asarray(s.members.cost), np.asarray(s.members.status)
        s.levels[rung, here] = self.share * cost[here]
        s.steps[rung, here] += np.asarray(s.members.steps)[here]
        s.estimates[rung, here] = np.asarray(s.members.z.shared)[here]
        s.reached[here] = rung
        s.alive &= ~here | (np.isfinite(cost) & (status != Status.not_finite))
        self.pace.append((time.perf_counter() - began) / max(int(here.sum()), 1))
        if self.progress is not None:
            self.progress(self._report(rung, here))

    def _report(self, rung: int, here: Bool[np.ndarray, " member"]) -> Progress:
        s = self.standing
        found = np.sort(s.levels[rung][np.isfinite(s.levels[rung])])
        distinct = found[np.append(True, np.diff(found) > _SAME * np.abs(found[:-1]))] if found.size else found
        going = int((here & s.alive).sum())
        left = float(np.median(self.pace[1:])) * going * (s.top - rung) if len(self.pace) > 1 else None
        alive = int(s.alive.sum())
        return Progress(rung, self.ratios.size, self.ratios[rung], going, alive, here.size, distinct[:3], left)

    def _flat(self, rung: int, active: Bool[np.ndarray, " member"]) -> bool:
        """Whether the lowest level has changed by next to nothing since R_f was a fifth of what it is, after it had
        risen, and χ² allows it: where it allows any low level, flatness says nothing."""
        if not active.any() or expected(self.action)[0] <= 0.0:
            return False
        levels = self.standing.levels
        lowest = np.flatnonzero(active)[np.argmin(levels[rung, active])]
        # Over less than that, levels of rungs that are minimised roughly say little.
        far = self.ratios <= self.ratios[rung] / _SPAN * (1.0 + 1e-9)
        below = np.flatnonzero(far & np.isfinite(levels[:, lowest])[: far.size])
        if below.size == 0:
            return False
        now, then, first = levels[rung, lowest], levels[below[-1], lowest], np.nanmin(levels[: rung + 1, lowest])
        spans = np.log(self.ratios[rung] / self.ratios[below[-1]]) / np.log(_SPAN)
        settled = abs(now - then) <= _FLAT * spans * now < now - first
        return bool(settled) and consistent(self.action, now)

    def _lowest(self) -> float:
        """The lowest level at the top; nothing can win that is above it. A margin lets equals finish."""
        s = self.standing
        finished = s.levels[s.top][s.alive & (s.reached >= s.top)]
        return float(finished.min() * (1.0 + _SAME)) if finished.size else np.inf

    def _settled(self) -> bool:
        """Whether the search may end; at levels that χ² allows but rarely, it is worth looking for a lower one."""
        return self._lowest() <= expected(self.action, 2.0)[1]

    def result(self, *, finished: bool) -> Result:
        """What there is; with all that it takes to go on, unless `finished`."""
        s, members = self.standing, self.standing.members
        status = np.asarray(members.status).copy()
        status[s.alive & (s.reached < s.top)] = Status.pruned
        shown = s.top + 1
        paths, _ = eqx.filter_vmap(self.action.unpack)(members.z)
        return Result(
            action=self.action,
            ladder=self.ladder,
            levels=s.levels[:shown],
            steps=s.steps[:shown],
            estimates=s.estimates[:shown],
            status=status,
            paths=np.asarray(paths),
            parameters=np.asarray(members.z.shared),
            pending=None if finished else self._pending(),
        )

    def _pending(self) -> Pending:
        s = self.standing
        return Pending(
            prune=self.prune,
            stop=self.stop,
            minimiser=self.minimiser,
            damping=np.asarray(s.members.damping),
            cost=np.asarray(s.members.cost),
            steps=np.asarray(s.members.steps),
            status=np.asarray(s.members.status),
            reached=s.reached,
            alive=s.alive,
            active=s.active,
            stride=s.stride,
            shed=s.shed,
        )
