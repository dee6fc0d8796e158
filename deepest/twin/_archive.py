"""An experiment in one file: the result as annealing saves it, and the truth beside it."""

import dataclasses
import os

import numpy as np
from jaxtyping import Float

from deepest.anneal import Result
from deepest.io import atomic, read_tree, write_tree

_GROUP = "truth"


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a run's file knows of the truth: `path` (N, D) on the run's grid, `parameters` by name, and what the system
    did after the data, `beyond` (T, D) on `beyond_times` (T,), in the model's units."""

    path: Float[np.ndarray, "time state"]
    parameters: dict[str, float]
    beyond_times: Float[np.ndarray, " forecast"]
    beyond: Float[np.ndarray, "forecast state"]
    yardstick: float


def write(path: str | os.PathLike[str], result: Result, truth: Truth, *, force: bool) -> None:
    """One file with the result's groups and the group `truth`; whole or absent."""
    names, values = np.array([*truth.parameters], dtype=str), np.array([*truth.parameters.values()], float)
    group = {
        "path": (("time", "state"), truth.path, {"long_name": "true path"}),
        "parameter": (("parameter",), names, {}),
        "parameters": (("parameter",), values, {"long_name": "true parameters; NaN where there is none"}),
        "beyond_time": (("beyond_time",), truth.beyond_times, {"long_name": "time after the data"}),
        "beyond": (("beyond_time", "state"), truth.beyond, {"long_name": "true path after the data"}),
        "yardstick": ((), np.asarray(truth.yardstick), {"long_name": "reduced level of the path started at the truth"}),
    }
    with atomic(path, force=force) as temporary:
        result.save(temporary)
        groups, attributes = read_tree(temporary)
        write_tree(temporary, {**groups, _GROUP: group}, attributes, force=True)


def load_truth(path: str | os.PathLike[str]) -> Truth | None:
    """The truth in a run's file, or None where it holds none, as of real data. Arrays as in `Truth`, (N, D) and (T, D).

    Raises `ValueError` that names the file where it is missing, foreign or damaged.
    """
    groups, _ = read_tree(path)
    if _GROUP not in groups:
        return None
    try:
        held = {name: array for name, (_, array, _) in groups[_GROUP].items()}
        parameters = dict(zip(map(str, held["parameter"]), map(float, held["parameters"]), strict=True))
        return Truth(held["path"], parameters, held["beyond_time"], held["beyond"], float(held["yardstick"]))
    except KeyError as error:
        raise ValueError(f"{path} is damaged: its truth has no {error.args[0]}.") from None
