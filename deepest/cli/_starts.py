"""Starting paths and parameters in a file."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from deepest.action import Action
from deepest.cli._refuse import Refusal
from deepest.io import read_tree, write_tree

Starts = tuple[Float[np.ndarray, "member time state"], Float[np.ndarray, "member parameter"]]


def write(
    file: Path,
    times: Float[np.ndarray, " time"],
    paths: Float[np.ndarray, "member time state"],
    parameters: Mapping[str, Float[np.ndarray, " member"]],
    *,
    force: bool,
) -> None:
    """A NetCDF file of paths at their times, and of parameters by name."""
    groups = {
        "paths": {"time": (("time",), times, {}), "path": (("member", "time", "component"), paths, {})},
        "parameters": {name: (("member",), values, {}) for name, values in parameters.items()},
    }
    write_tree(file, groups, {"kind": "starts"}, force=force)


def read(file: Path, action: Action) -> Starts:
    """The paths (M, N, D) and parameters (M, P) of such a file, for that action.

    Parameters are found by name; where the file calls them p0, p1, …, as varanneal has no names, by order.
    """
    groups, attributes = read_tree(file)
    if attributes.get("kind") != "starts" or "path" not in groups.get("paths", {}):
        raise Refusal(f"{file} does not hold starts; deepest convert writes such files.")
    paths = np.asarray(groups["paths"]["path"][1], float)
    if action.estimable.varying_names:
        raise Refusal("Starts in a file have no paths of parameters that vary.")
    held = groups.get("parameters", {})
    names, sought = list(held), list(action.estimable.names)
    if set(names) != set(sought) and len(names) == len(sought) and all(re.fullmatch(r"p\d+", name) for name in names):
        sought = sorted(names, key=lambda name: int(name[1:]))
    if missing := [name for name in sought if name not in held]:
        raise Refusal(f"{file} has no start of {', '.join(missing)}; it has {', '.join(names) or 'no parameters'}.")
    size = (action.grid.size, action.estimable.dimension)
    if paths.ndim != 3 or paths.shape[1:] != size or not np.all(np.isfinite(paths)):
        raise Refusal(
            f"{file}: starts are finite paths of shape (members, {size[0]}, {size[1]}); received {paths.shape}."
        )
    values = [np.asarray(held[name][1], float) for name in sought]
    return paths, np.stack(values, axis=1) if values else np.zeros((len(paths), 0))
