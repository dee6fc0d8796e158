"""From a configuration file to everything that `anneal` needs."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepest.action import Action, following_paths, initial_paths
from deepest.anneal import Ladder
from deepest.cli import _models, _schema, _starts
from deepest.cli._options import SEEDS
from deepest.cli._refuse import Refusal, asking, nearest
from deepest.io import read_table
from deepest.paths import Observations
from deepest.transcription import (
    AbstractTranscription,
    Euler,
    HermiteSimpson,
    ImplicitMidpoint,
    RungeKutta4,
    Trapezoid,
)

TRANSCRIPTIONS: dict[str, Callable[[], AbstractTranscription]] = {
    kind.__name__: kind for kind in (Euler, Trapezoid, ImplicitMidpoint, HermiteSimpson, RungeKutta4)
}

CONVENTIONS = ("interval", "continuum")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a configuration asks for; `spread` is a pair of scalars or (D,) arrays.

    `starts` are paths (M, N, D) and parameters (M, P), None where they are random; `draws` is how many random
    parameters are tried for those that follow the data, None where they need not.
    """

    action: Action
    ladder: Ladder
    members: int
    seed: int
    spread: tuple[Any, Any] | None
    starts: tuple[Any, Any] | None
    draws: int | None
    output: Path
    plots: bool

    def begin(self) -> tuple[Any, Any]:
        """Where the members begin: paths (members, N, D) and parameters (members, P)."""
        if self.starts is not None:
            return self.starts
        key = jax.random.key(self.seed)
        if self.draws is None:
            return initial_paths(self.action, self.members, key, spread=self.spread)
        return following_paths(self.action, self.members, key, draws=self.draws)


def read(path: Path) -> Plan:
    """The plan in a configuration file; refuses whatever in it does not fit."""
    held = _schema.read(path)
    ensemble, output = held["ensemble"], held["output"]
    members, seed = ensemble.get("members", 64), ensemble.get("seed", 0)
    if members < 1 or not 0 <= seed <= SEEDS:
        raise Refusal(
            f"{path}: [ensemble] needs members of at least 1 and a seed between 0 and {SEEDS}; received {ensemble}."
        )
    if "draws" in ensemble and "spread" in held["state"]:
        raise Refusal(f"{path}: give draws in [ensemble], for starts that follow the data, or spread in [state].")
    with asking():
        action = _action(held, path.parent)
        starts = _given(path, held, action)
        return Plan(
            action=action,
            ladder=_ladder(held["ladder"]),
            members=members if starts is None else len(starts[0]),
            starts=starts,
            seed=seed,
            spread=_spread(held["state"].get("spread"), action.estimable.dimension),
            draws=ensemble.get("draws"),
            output=path.parent / output.get("file", "run.nc"),
            plots=output.get("plots", True),
        )


def _given(path: Path, held: dict[str, dict[str, Any]], action: Action) -> tuple[Any, Any] | None:
    """The paths and parameters in the file that [ensemble] names, in place of random ones."""
    ensemble = held["ensemble"]
    if "starts" not in ensemble:
        return None
    for table, key in (("ensemble", "members"), ("ensemble", "seed"), ("ensemble", "draws"), ("state", "spread")):
        if key in held[table]:
            raise Refusal(f"{path}: with starts in [ensemble] nothing is random; leave {key} in [{table}] out.")
    return _starts.read(path.parent / ensemble["starts"], action)


def _ladder(table: dict[str, Any]) -> Ladder:
    default = Ladder()
    start, factor, largest = (float(table.get(key, getattr(default, key))) for key in ("start", "factor", "largest"))
    return Ladder(start, factor, table.get("rungs", default.rungs), largest)


def _action(held: dict[str, dict[str, Any]], folder: Path) -> Action:
    arguments = {key: value for key, value in held["model"].items() if key != "name"}
    name, transcription = held["model"]["name"], held["transcription"]
    model, beside = _models.build(name, arguments, folder)
    chosen = transcription.get("name", "HermiteSimpson")
    if chosen not in TRANSCRIPTIONS:
        raise Refusal(nearest("transcription", chosen, TRANSCRIPTIONS))
    convention = transcription.get("convention", CONVENTIONS[0])
    if convention not in CONVENTIONS:
        raise Refusal(nearest("convention", convention, CONVENTIONS))
    observations = _observations(held["data"], folder)
    options = _schema.fields(transcription, "steps", "step", "convention")
    if "bounds" in held["state"]:
        options["bounds"] = tuple(np.asarray(bound, float) for bound in held["state"]["bounds"])
    if "breaks" in held["data"]:
        options["breaks"] = np.atleast_1d(np.asarray(held["data"]["breaks"], float))
    if "precision" in held["state"]:
        precision = held["state"]["precision"]
        options["model_precision"] = precision if isinstance(precision, str) else np.asarray(precision, float)
    _models.check_cover((model, beside.get("args")), observations.times, "data")
    try:
        return Action(model, observations, TRANSCRIPTIONS[chosen](), **beside, **options)
    except Exception as error:
        blamed = _models.blame(name, error)
        if blamed is None:
            raise
        raise blamed from error


def _spread(given: list | None, dimension: int) -> tuple[Any, Any] | None:
    """The range in which unmeasured components start, each end as a scalar or (D,)."""
    if given is None:
        return None
    for end in given:
        if isinstance(end, list) and len(end) != dimension:
            raise Refusal(f"spread in [state] has one number, or {dimension}, one a component; received {len(end)}.")
    return np.asarray(given[0], float), np.asarray(given[1], float)


def _observations(data: dict[str, Any], folder: Path) -> Observations:
    table = read_table(folder / data["file"], **_schema.fields(data, "time", "columns"))
    noise = np.asarray(data["noise"], float)
    try:
        return Observations(table.times, table.values, noise=noise, **_schema.fields(data, "components"))
    except ValueError as error:
        raise Refusal(f"{data['file']}: {error}") from error
