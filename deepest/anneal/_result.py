"""What an annealing run found."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from os import PathLike
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from deepest._program import program
from deepest.action import Action
from deepest.anneal import _archive
from deepest.anneal._identify import Identifiability, identified
from deepest.anneal._ladder import Ladder
from deepest.anneal._prune import Prune
from deepest.anneal._rung import finest
from deepest.linalg import BlockVector
from deepest.minimise import AbstractMinimiser, DampedNewton, PrimalDual, Solution, Status
from deepest.models import integrate
from deepest.transcription import AbstractTranscription

# More steps than this in a forecast are a slip of the pen.
_FURTHEST = 10_000_000


def expected(action: Action, deviations: float = 4.0) -> tuple[float, float]:
    """The lowest and the highest reduced level, two numbers, that χ² allows: within four standard deviations √(2/n) of
    1, or another number of them, below it further by the state and parameters that were fitted to the n measured
    values."""
    count = float(action.count)
    fitted = (len(action.pieces) * action.estimable.size + len(action.estimable.names)) / count
    width = deviations * np.sqrt(2.0 / count)
    return float(1.0 - width - fitted), float(1.0 + width)


def consistent(action: Action, level: float) -> bool:
    """Whether a reduced level is what χ² allows."""
    lowest, highest = expected(action)
    return bool(lowest <= level <= highest)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One member's estimate: `path` (N, D) on `times` (N,), `parameters` by name, and `model`, `args` with numbers
    in place of the unknowns; `varying` holds the paths (N,) of unknowns that vary."""

    member: int
    level: float
    times: Float[np.ndarray, " time"]
    path: Float[np.ndarray, "time state"]
    parameters: dict[str, float]
    varying: dict[str, Float[np.ndarray, " time"]]
    model: Callable
    args: Any


@dataclasses.dataclass(frozen=True)
class StrongConstraint:
    """An estimate whose path follows the model exactly, as its transcription has it.

    `momenta` (K, I, D) of the I defects of each interval are the constraints' multipliers, p = lim R_f c, in the
    inverse unit of the state; `status` and `steps` tell how the minimisation ended, and after how many factorisations.
    """

    estimate: Estimate
    momenta: Float[np.ndarray, "interval defect state"]
    status: Status
    steps: int


@dataclasses.dataclass(frozen=True)
class Forecast:
    """The model run on from the end of an estimate: `path` (T, D) on `times` (T,)."""

    times: Float[np.ndarray, " time"]
    path: Float[np.ndarray, "time state"]


@dataclasses.dataclass(frozen=True)
class Report:
    """What the levels say.

    `gap` = A₁ − A₀ is the action between the two lowest distinct levels at the top of the ladder, and
    `dominance` = e^(−gap) the paper's measure of what the second contributes to expectations; both None where only
    one level got there. `flat_from` is the first rung from which the lowest level changed by less than 1 % in all;
    where that is the last of several, it was still rising.
    """

    level: float
    consistent: bool
    rungs: int
    flat_from: int
    finished: int
    winners: int
    gap: float | None
    dominance: float | None

    @property
    def flatness(self) -> str:
        """From which rung the lowest level is flat, in words; rungs are counted from 1."""
        return "still rising at the top" if self.rising else f"flat from rung {self.flat_from + 1}"

    @property
    def rising(self) -> bool:
        """Whether the lowest level is not flat at the top."""
        return 1 < self.rungs == self.flat_from + 1

    @property
    def power(self) -> str:
        """The dominance e^(−gap) in print, as a power of ten, since usual gaps are beyond what a float can hold."""
        return "unknown" if self.gap is None else f"10^{-self.gap / np.log(10.0):.1f}"

    def __str__(self) -> str:
        verdict = "consistent" if self.consistent else "NOT consistent"
        gap = "no second level reached the top"
        if self.gap is not None:
            gap = f"gap to the second A₁ − A₀ = {self.gap:.4g}, e^(−gap) = {self.power}"
        return (
            f"Lowest level {self.level:.4f}, {verdict} with χ²; {self.rungs} rungs climbed, "
            f"{self.flatness}; {self.finished} members reached the top, {self.winners} of them the lowest level; "
            f"{gap}."
        )


@dataclasses.dataclass(frozen=True)
class Pending:
    """What an unfinished run needs to go on, beside what a `Result` holds: its rules `prune`, `stop` and `minimiser`;
    of each member (member,) its last `damping`, `cost`, `steps` and `status`, the rung it has `reached`, and whether it
    is `alive` and `active`; the `stride` of the next rung, and whether worse members are `shed`."""

    prune: Prune | None
    stop: bool
    minimiser: AbstractMinimiser | None
    damping: Float[np.ndarray, " member"]
    cost: Float[np.ndarray, " member"]
    steps: Int[np.ndarray, " member"]
    status: Int[np.ndarray, " member"]
    reached: Int[np.ndarray, " member"]
    alive: Bool[np.ndarray, " member"]
    active: Bool[np.ndarray, " member"]
    stride: int
    shed: bool


@dataclasses.dataclass(frozen=True)
class Result:
    """An annealed ensemble.

    - `levels`, `steps` (rung, member): reduced action levels 2A/n, NaN where a member did not go, and factorisations.
    - `estimates` (rung, member, P): parameters along the ladder, in the order of `parameter_names`.
    - `status` (member,): `Status` codes; `paths` (member, N, D) and `parameters` (member, P) at each member's
      last rung.
    - `pending`: None, but in a run that was loaded before it was finished, with which `resume` goes on.

    Rungs end where the climb stopped, which may be below the ladder's top.
    """

    action: Action
    ladder: Ladder
    levels: Float[np.ndarray, "rung member"]
    steps: Int[np.ndarray, "rung member"]
    estimates: Float[np.ndarray, "rung member parameter"]
    status: Int[np.ndarray, " member"]
    paths: Float[np.ndarray, "member time state"]
    parameters: Float[np.ndarray, "member parameter"]
    pending: Pending | None = None

    @property
    def ratios(self) -> Float[np.ndarray, " rung"]:
        """R_f/R_m on the rungs climbed, per interval in the ½-sum form."""
        return self.ladder.ratios[: self.levels.shape[0]]

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the estimated parameters, from where they stand in the model."""
        return self.action.estimable.names

    @property
    def order(self) -> Int[np.ndarray, " finished"]:
        """Members that reached the top, lowest level first; of those in one minimum, first who was in it longest."""
        top = np.where(self.status == Status.not_finite, np.nan, self.levels[-1])
        tied = np.where(top <= np.nanmin(top) * (1.0 + 1e-6), 0.0, top) if np.isfinite(top).any() else top
        return np.lexsort((np.nansum(self.levels, axis=0), tied))[: int(np.isfinite(top).sum())]

    @cached_property
    def best(self) -> Estimate:
        """The estimate at the lowest level. Raises `ValueError` where no member reached the top."""
        if self.order.size == 0:
            if self.pending is not None:
                raise ValueError("This run was interrupted before a member reached the top of the ladder: resume it.")
            sentences = {Status(code).sentence for code in self.status}
            raise ValueError("No member reached the top of the ladder. " + " ".join(sorted(sentences)))
        return self.estimate(int(self.order[0]))

    def estimate(self, member: int) -> Estimate:
        """The estimate of one member, at its last rung."""
        reached = self.levels[:, member][np.isfinite(self.levels[:, member])]
        level = float(reached[-1]) if reached.size else float("nan")
        return _estimate(self.action, member, level, self.paths[member], self.parameters[member])

    def strong_constraint(self) -> "StrongConstraint":
        """The best estimate with the model taken as exact: R_f = ∞, from where the ladder ended.

            min_X,θ  Σ ½ (h(x) − y)ᵀ R_m (h(x) − y) + priors   subject to   c_n(X, θ) = 0

        Raises `ValueError` where no member reached the top.
        """
        best = self.best
        z = self.action.pack(jnp.asarray(self.paths[best.member]), jnp.asarray(self.parameters[best.member]))
        end = _strong(self.action, z)
        path, parameters = (np.asarray(x) for x in self.action.unpack(end.z))
        estimate = _estimate(self.action, best.member, float(self.action.level(end.cost)), path, parameters)
        flat = np.asarray(end.momenta)
        momenta = flat.reshape(flat.shape[0], -1, path.shape[1])
        return StrongConstraint(estimate, momenta, Status(int(end.status)), int(end.steps))

    @cached_property
    def report(self) -> Report:
        """What the levels say: consistency, flatness, gap and dominance."""
        best, order = self.best, self.order
        final, along = self.levels[-1, order], self.levels[:, best.member]
        same = final <= best.level * (1.0 + 1e-3)
        others = final[~same]
        gap = 0.5 * float(self.action.count) * float(others[0] - best.level) if others.size else None
        flat = np.flatnonzero(np.abs(along - best.level) <= 0.01 * best.level)
        return Report(
            level=best.level,
            consistent=consistent(self.action, best.level),
            rungs=self.levels.shape[0],
            flat_from=int(flat[0]),
            finished=order.size,
            winners=int(same.sum()),
            gap=gap,
            dominance=None if gap is None else float(np.exp(-gap)),
        )

    def identify(self) -> Identifiability:
        """How well the best estimate's parameters are known: deviations, and which combinations are sloppy.

        Raises `ValueError` where no member reached the top, and where no parameter was estimated.
        """
        best = self.best
        if not self.parameter_names:
            raise ValueError("There are no parameters to identify: the model has no Unknown that does not vary.")
        where = self.paths[best.member], self.parameters[best.member]
        return identified(self.action, float(self.ratios[-1]), *where)

    def forecast(self, until: float, *, step: float | None = None) -> Forecast:
        """Run the best model on from the end of its path to time `until`, saved every `step` (default: the grid's).

        The last time is `until`, where the steps do not arrive there before it. Unknowns that vary keep their last
        value. Raises `ValueError` unless `until` lies beyond the data, and for more than 10⁷ steps.
        """
        best, end = self.best, float(self.action.grid.times[-1])
        if not until > end:
            raise ValueError(f"A forecast ends after the data, at {end:g}; received until={until:g}.")
        step = float(np.median(np.diff(best.times))) if step is None else step
        if not (step > 0 and (until - end) / step <= _FURTHEST):
            raise ValueError(f"A forecast takes up to {_FURTHEST:,} steps; from {end:g} to {until:g}, step={step:g}.")
        times = end + step * np.arange(int(np.floor((until - end) / step + 1e-6)) + 1)
        times = times if until - times[-1] <= 1e-6 * step else np.append(times, until)
        path = integrate(best.model, jnp.asarray(best.path[-1]), times, best.args)
        return Forecast(times, np.asarray(path))

    def save(self, path: str | PathLike[str], *, force: bool = False) -> None:
        """Write everything to one NetCDF-4 file, which `deepest.load` and `xarray.open_datatree` read.

        Groups `posterior`, `sample_stats`, `observed_data` and `constant_data`, as in ArviZ. Code is stored by name: a
        model, operator or transcription that cannot be imported by name (a lambda, something from a notebook) is left
        out, and handed to `load` again.

        Raises `FileExistsError` where `path` exists, unless `force`; `OSError` in one sentence where it cannot be
        written. The file is whole or absent.
        """
        _archive.write(path, {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, force=force)

    @staticmethod
    def load(path: str | PathLike[str], **pieces: Any) -> "Result":
        """The inverse of `save`; see `deepest.load`."""
        return load(path, **pieces)


@program
def _strong(action: Action, z: BlockVector) -> Solution:
    minimiser = DampedNewton(form=PrimalDual())
    return minimiser.minimise(
        action.at(jnp.inf), z, tolerance=finest(z.nodes.dtype), damping=1e-6, floor=1e-9, curvature=True
    )


def _estimate(action: Action, member: int, level: float, path: np.ndarray, parameters: np.ndarray) -> Estimate:
    estimable, size = action.estimable, action.estimable.dimension
    model, args = estimable.fill(jnp.asarray(parameters), jnp.asarray(path[-1, size:]))
    return Estimate(
        member=member,
        level=level,
        times=action.grid.times,
        path=path[:, :size],
        parameters=dict(zip(estimable.names, parameters.tolist(), strict=True)),
        varying=dict(zip(estimable.varying_names, path[:, size:].T, strict=True)),
        model=model,
        args=args,
    )


def load(
    path: str | PathLike[str],
    *,
    model: Callable | None = None,
    args: Any = None,
    operator: Callable | None = None,
    transcription: AbstractTranscription | None = None,
    minimiser: AbstractMinimiser | None = None,
    trust: bool = False,
) -> Result:
    """A result that was saved, equal to the bit: levels, paths, parameters, and the action that it came from.

    `model`, `args`, `operator` and `transcription` are those of the `Action` (and of its `Observations`), with their
    `Unknown`s, and `minimiser` that of an unfinished run; each is needed only where the file cannot name it, and takes
    the place of what the file holds. Code that a file names is imported from deepest only, unless `trust`: importing a
    module runs it.

    Raises `ValueError` that names the file: missing, foreign, damaged, computed in another precision than this process,
    or with a piece missing, not deepest's own, or one that does not fit the estimates.
    """
    given = {"model": model, "args": args, "operator": operator, "transcription": transcription}
    fields = _archive.read(path, {**given, "minimiser": minimiser}, trust=trust)
    pending = fields.pop("pending")
    return Result(**fields, pending=None if pending is None else Pending(**pending))
