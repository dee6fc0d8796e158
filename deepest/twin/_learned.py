"""What a network learned, beside what needs no network."""

import dataclasses
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from deepest.anneal import Ladder
from deepest.io import write_tree
from deepest.minimise import AbstractMinimiser
from deepest.networks import Climbed, LayerMap, Pairs, climb
from deepest.twin._perceptron import PerceptronTwin, outputs


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Mean square errors on the held-out pairs, over what is measured of the outputs, in units of σ², the variance of
    the measurement error, below which no prediction can come but by chance.

    - `mean`: of the training pairs' mean output; `linear`: of a linear map fitted to them with a ridge that they choose
      by generalised cross-validation; `identity`: of the inputs themselves, at which a residual network without weights
      begins, NaN where there are not as many outputs. None of them needs a network.
    - `truth`: of the network that made the data, fed with the inputs as measured, unmeasured ones at zero.
    """

    mean: float
    linear: float
    identity: float
    truth: float

    @staticmethod
    def of(truth: LayerMap, training: Pairs, held_out: Pairs) -> "Baselines":
        """Those of one data network and its pairs, of which some components may be NaN."""
        seen, columns = np.isfinite(training.inputs[0]), np.isfinite(training.targets[0])
        x, y = training.inputs[:, seen], training.targets[:, columns]
        error = lambda found: float(np.mean(((found - held_out.targets[:, columns]) / held_out.noise) ** 2))
        given, as_wide = np.nan_to_num(held_out.inputs), held_out.inputs.shape == held_out.targets.shape
        made = outputs(truth, given)
        return Baselines(
            mean=error(y.mean(axis=0)),
            linear=error(_ridge(x, y, held_out.inputs[:, seen])),
            identity=error(given[:, columns]) if as_wide else float("nan"),
            truth=error(made[:, columns]),
        )


@dataclasses.dataclass(frozen=True)
class Learned:
    """One experiment, climbed to its end.

    `climbed` has levels and errors of all starts on all rungs, `baselines` what to hold the errors against, and
    `yardstick` the level: that at the top of a start at the truth, NaN where the networks have different layers.
    """

    twin: PerceptronTwin
    climbed: Climbed
    baselines: Baselines
    yardstick: float
    seconds: float

    @property
    def lowest(self) -> Float[np.ndarray, " rung"]:
        """The lowest level on each rung."""
        return np.nanmin(np.asarray(self.climbed.levels), axis=1)

    @property
    def held_out(self) -> Float[np.ndarray, " rung"]:
        """The held-out error of the start whose level is the lowest, rung by rung."""
        levels = np.asarray(self.climbed.levels)
        best = np.argmin(np.where(np.isfinite(levels), levels, np.inf), axis=1)
        return np.asarray(self.climbed.held_out)[np.arange(levels.shape[0]), best]

    @property
    def gap(self) -> float:
        """A₁ − A₀ between the two lowest levels at the top that differ, infinite where there is one."""
        levels = self.climbed.distinct()[-1]
        return 0.5 * self.twin.action.measured * float(levels[1] - levels[0]) if levels.size > 1 else float("inf")

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write levels, errors and baselines to one NetCDF-4 file.

        Raises `FileExistsError` where it exists, unless `force`. The file is whole or absent.
        """
        both, c, setting = ("rung", "member"), self.climbed, self.twin.setting
        arrays = {
            "ratios": (("rung",), np.asarray(c.ratios), {"long_name": "R_f/R_m"}),
            "levels": (both, np.asarray(c.levels), {"long_name": "reduced level 2A/measured"}),
            "errors": (both, np.asarray(c.errors), {"long_name": "mean square error on training pairs / noise²"}),
            "held_out": (both, np.asarray(c.held_out), {"long_name": "mean square error on held-out pairs / noise²"}),
            "steps": (both, np.asarray(c.steps), {"long_name": "Gauss–Newton steps"}),
        }
        numbers = ("data_layers", "layers", "width", "pairs", "measured", "noise", "decay")
        attributes = {"format": "deepest perceptron twin", "experiment": setting.name}
        attributes |= {name: getattr(setting, name) for name in numbers}
        attributes |= {f"baseline_{name}": value for name, value in dataclasses.asdict(self.baselines).items()}
        write_tree(path, {"climbed": arrays}, attributes, force=force)


def learn(
    twin: PerceptronTwin,
    ladder: Ladder | None = None,
    *,
    members: int | None = None,
    minimiser: AbstractMinimiser | None = None,
    key: PRNGKeyArray,
) -> Learned:
    """Climb a ladder from random starts, drawn with `key`, and judge every rung on the held-out pairs.

    `ladder` and `members`, a number, are the setting's by default, and `minimiser` is that of `networks.climb`.
    """
    began, setting = time.perf_counter(), twin.setting
    ladder = setting.ladder if ladder is None else ladder
    starts = twin.starts(setting.members if members is None else members, key)
    options: dict[str, Any] = {} if minimiser is None else {"minimiser": minimiser}
    climbed = jax.block_until_ready(climb(twin.action, starts, ladder.ratios, held_out=twin.held_out, **options))
    baselines = Baselines.of(twin.truth, twin.training, twin.held_out)
    level = _yardstick(twin, climbed, options)
    return Learned(twin, climbed, baselines, level, time.perf_counter() - began)


def _yardstick(twin: PerceptronTwin, climbed: Climbed, options: dict[str, Any]) -> float:
    """The level at the top from the true weights, or NaN where the network that learns is not of the true one's shape.

    The truth takes as many rungs as were climbed, all in the last decade. It is one of as many members, the others
    empty, so that what was compiled serves again.
    """
    if twin.setting.layers != twin.setting.data_layers:
        return float("nan")
    start, members = twin.action.start(twin.truth), climbed.levels.shape[1]
    empty = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), start)
    ratios = climbed.ratios[-1] * np.logspace(0.0, -1.0, climbed.ratios.size)[::-1]
    found = climb(twin.action, [start] + [empty] * (members - 1), ratios, held_out=twin.held_out, **options)
    return float(found.levels[-1, 0])


def _ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Predictions (K, L) of a ridge regression with intercept, its λ the one of least generalised cross-validation."""
    middle, level = x.mean(axis=0), y.mean(axis=0)
    u, s, vt = np.linalg.svd(x - middle, full_matrices=False)
    if not s.max() > 0:
        return np.broadcast_to(level, (len(new), y.shape[1]))
    inside, best = u.T @ (y - level), (np.inf, np.zeros_like(s))
    for penalty in s.max() ** 2 * np.logspace(-10, 4, 57):
        kept = s**2 / (s**2 + penalty)
        left = np.sum((y - level - u @ (kept[:, None] * inside)) ** 2)
        # The intercept takes a degree of freedom too.
        score = left / max(len(x) - 1.0 - kept.sum(), 1e-9) ** 2
        best = min(best, (score, s / (s**2 + penalty)), key=lambda pair: pair[0])
    return level + (new - middle) @ (vt.T @ (best[1][:, None] * inside))
