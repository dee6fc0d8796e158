"""A result to and from one NetCDF file, in ArviZ's groups."""

import datetime
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from deepest.action import Action
from deepest.anneal._ladder import Ladder
from deepest.anneal._specification import UntrustedError, UnwritableError, describe, restore
from deepest.io import read_tree, write_tree
from deepest.minimise import Status
from deepest.paths import Grid, Observations

_FORMAT, _VERSION = "deepest result", 2
# What a reader can hand over in place of what a file does not hold.
_PIECES = ("model", "args", "operator", "transcription", "minimiser")
# The rules of an unfinished run, and what it holds of each member.
_RULES = ("prune", "stop", "minimiser", "stride", "shed")
_STANDING = ("damping", "cost", "steps", "status", "reached", "alive", "active")


def write(path: str | os.PathLike[str], result: Mapping[str, Any], *, force: bool) -> None:
    """Write the fields of a `Result`, by name, as one file."""
    action, pending = result["action"], result["pending"]
    specification, arrays = _specification(action, result["ladder"], pending)
    groups = {
        "posterior": _posterior(action, result),
        "sample_stats": _sample_stats(action, result),
        "observed_data": _observed(action.observations),
        "constant_data": _constants(action) | _named(specification, arrays),
    }
    if pending is not None:
        groups["pending"] = {name: (("member",), getattr(pending, name), {}) for name in _STANDING}
    write_tree(path, groups, _attributes(action), force=force)


def read(path: str | os.PathLike[str], given: Mapping[str, Any], *, trust: bool) -> dict[str, Any]:
    """The fields of a `Result`, by name; `given` holds the pieces that the caller hands over, or None."""
    groups, attributes = read_tree(path)
    _check_format(path, attributes)
    return _fields(_File(path, groups), given, trust)


# ---- From a result to groups ----


def _posterior(action: Action, result: Mapping[str, Any]) -> dict[str, tuple]:
    estimable, paths = action.estimable, result["paths"]
    size = estimable.dimension
    group = {
        "member": _index("member", paths.shape[0]),
        "time": (("time",), action.grid.times, {"long_name": "time, in the model's units"}),
        "state": _index("state", size),
        "path": (("member", "time", "state"), paths[:, :, :size], {"long_name": "path at each member's last rung"}),
        "parameter": _names("parameter", estimable.names),
        "parameters": (("member", "parameter"), result["parameters"], {"long_name": "parameters at the last rung"}),
    }
    if estimable.varying_names:
        group["varying"] = _names("varying", estimable.varying_names)
        moving = {"long_name": "paths of the unknowns that vary"}
        group["varying_path"] = (("member", "time", "varying"), paths[:, :, size:], moving)
    return group


def _sample_stats(action: Action, result: Mapping[str, Any]) -> dict[str, tuple]:
    rungs, members = result["levels"].shape
    counted = f"R_f/R_m, {action.convention}, ½-sum form"
    flags = {"flag_values": np.array([*Status], np.int32), "flag_meanings": " ".join(code.name for code in Status)}
    along = ("rung", "member")
    return {
        "rung": _index("rung", rungs),
        "member": _index("member", members),
        "parameter": _names("parameter", action.estimable.names),
        "ratio": (("rung",), result["ladder"].ratios[:rungs], {"long_name": counted}),
        "level": (along, result["levels"], {"long_name": "reduced action level 2A/n; NaN where a member did not go"}),
        "steps": (along, result["steps"], {"long_name": "factorisations"}),
        "estimate": ((*along, "parameter"), result["estimates"], {"long_name": "parameters along the ladder"}),
        "status": (("member",), result["status"], {"long_name": "how each member ended", **flags}),
    }


def _observed(observations: Observations) -> dict[str, tuple]:
    labels = observations.components or range(observations.values.shape[1])
    dims = ("time", "measured")
    weight = np.asarray(observations.weight)
    return {
        "time": (("time",), observations.times, {"long_name": "time, in the model's units"}),
        "measured": (("measured",), np.array(labels), {"long_name": "state component, or output of the operator"}),
        "value": (dims, observations.masked(), {"long_name": "measured value; NaN where missing"}),
        "present": (dims, np.asarray(observations.present), {}),
        "precision": ((*dims, "measured_2")[: weight.ndim], weight, {"long_name": "R_m; 0 where missing"}),
    }


def _constants(action: Action) -> dict[str, tuple]:
    size, shape = action.estimable.dimension, np.asarray(action.shape.value)
    lower, upper = np.asarray(action.limits[0])[:, :size]
    return {
        "grid": (("time",), action.grid.times, {"long_name": "times of the path"}),
        "reference": ((), np.asarray(action.reference), {"long_name": "R_m in which R_f/R_m is counted"}),
        "breaks": (("break",), action.breaks, {"long_name": "times at which the path begins anew"}),
        "model_precision": (("interval", "state", "state_2")[: shape.ndim], shape, {"long_name": "R_f, relative"}),
        "lower": (("state",), lower, {"long_name": "lower bound of the state"}),
        "upper": (("state",), upper, {"long_name": "upper bound of the state"}),
        "initial_mean": (("unknown",), np.asarray(action.initial.mean), {"long_name": "prior of the first state"}),
        "initial_precision": (("unknown",), np.asarray(action.initial.precision), {"long_name": "0: no prior"}),
    }


def _specification(action: Action, ladder: Ladder, pending: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Every piece of code and its constants; a piece that cannot be written down is absent, with the reason."""
    model, args = action.estimable.template
    observations = action.observations
    pieces = {"model": model, "args": args, "operator": observations.operator, "transcription": action.transcription}
    specification: dict[str, Any] = {"dimension": action.estimable.dimension, "convention": action.convention}
    arrays: dict[str, np.ndarray] = {}
    rules = {} if pending is None else {name: getattr(pending, name) for name in _RULES}
    for name, piece in {**pieces, "components": observations.components, "ladder": ladder, **rules}.items():
        own: dict[str, np.ndarray] = {}
        try:
            specification[name] = describe(piece, name, own)
            arrays |= own
        except UnwritableError as reason:
            specification[name] = {"absent": str(reason)}
    return specification, arrays


def _named(specification: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, tuple]:
    said = {"long_name": "what the run was made of, as JSON; names of arrays stand for the variables beside it"}
    variables: dict[str, tuple] = {"specification": ((), np.array(json.dumps(specification, allow_nan=False)), said)}
    for name, array in arrays.items():
        variables[name] = (tuple(f"{name}.axis_{k}" for k in range(array.ndim)), array, {})
    return variables


def _attributes(action: Action) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "format_version": _VERSION,
        "deepest_version": _version(),
        "jax_version": jax.__version__,
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dtype": str(jnp.result_type(float)),
        "transcription": type(action.transcription).__name__,
        "convention": action.convention,
    }


def _version() -> str:
    try:
        return importlib.metadata.version("deepest-learning")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _index(name: str, count: int) -> tuple:
    return (name,), np.arange(count), {}


def _names(name: str, names: tuple[str, ...]) -> tuple:
    return (name,), np.array(names, dtype=str), {}


# ---- From groups to a result ----


class _Parts(dict):
    """Named parts of a file, which says so where one is missing."""

    def __init__(self, path, parts: Mapping[str, Any]):
        dict.__init__(self, parts)
        self.path = path

    def __missing__(self, name: str):
        raise ValueError(f"{self.path} is damaged: it has no {name}.")


class _File:
    """The values of a file's variables, group by group, and what it says the run was made of."""

    def __init__(self, path, groups: Mapping[str, Mapping[str, tuple]]):
        arrays = lambda group: _Parts(path, {name: array for name, (_, array, _) in group.items()})
        self.path, self.groups = path, _Parts(path, {name: arrays(group) for name, group in groups.items()})
        self.constants = self.groups["constant_data"]
        self.specification = _Parts(path, json.loads(str(self.constants["specification"])))


def _check_format(path, attributes: Mapping[str, Any]) -> None:
    if attributes.get("format") != _FORMAT:
        raise ValueError(f"{path} is a NetCDF file, but not a result that deepest saved.")
    if attributes["format_version"] != _VERSION:
        raise ValueError(
            f"{path} was saved by another deepest ({attributes['deepest_version']}), in format "
            f"{attributes['format_version']}; this one reads format {_VERSION}."
        )
    dtype = str(jnp.result_type(float))
    if attributes["dtype"] != dtype:
        flag = attributes["dtype"] == "float64"
        raise ValueError(
            f"{path} was computed in {attributes['dtype']}, and this process computes in {dtype}: call "
            f"jax.config.update('jax_enable_x64', {flag}) before loading it."
        )


def _fields(file: _File, given: Mapping[str, Any], trust: bool) -> dict[str, Any]:
    posterior, stats = file.groups["posterior"], file.groups["sample_stats"]
    get = _reader(file, given, trust)
    paths = posterior["path"]
    if "varying_path" in posterior:
        paths = np.concatenate([paths, posterior["varying_path"]], axis=2)
    action = _action(get, file)
    names = action.estimable.names + action.estimable.varying_names
    stored = tuple(str(name) for key in ("parameter", "varying") for name in posterior.get(key, ()))
    if names != stored:
        raise ValueError(
            f"{file.path} holds estimates of the unknowns ({', '.join(stored)}); the model has ({', '.join(names)})."
        )
    return {
        "action": action,
        "ladder": get("ladder"),
        "levels": stats["level"],
        "steps": stats["steps"],
        "estimates": stats["estimate"],
        "status": stats["status"],
        "paths": paths,
        "parameters": posterior["parameters"],
        "pending": _pending(file, get),
    }


def _pending(file: _File, get: Callable[[str], Any]) -> dict[str, Any] | None:
    if "pending" not in file.groups:
        return None
    held = file.groups["pending"]
    return {**{name: get(name) for name in _RULES}, **{name: held[name] for name in _STANDING}}


def _reader(file: _File, given: Mapping[str, Any], trust: bool) -> Callable[[str], Any]:
    """A function from a piece's name to the piece: the one given, or the one in the file."""
    path = file.path

    def get(name: str) -> Any:
        if given.get(name) is not None:
            return given[name]
        node = file.specification[name]
        instead = f"pass load(path, {name}=…)" if name in _PIECES else "it cannot be loaded"
        if isinstance(node, dict) and "absent" in node:
            raise ValueError(f"{path} does not hold the {name}, because {node['absent']}: {instead}.")
        try:
            return restore(node, file.constants, trust)
        except UntrustedError as code:
            raise ValueError(
                f"{path} needs the code {code} for the {name}, which is not deepest's own: {instead}, or trust=True to "
                "import it."
            ) from None
        except ValueError as reason:
            raise ValueError(f"{path} holds a {name} that cannot be rebuilt, because {reason}: {instead}.") from reason

    return get


def _action(get: Callable[[str], Any], file: _File) -> Action:
    """The same action to the bit: what its constructor would only round again is put in as it was."""
    observed, constants, specification = file.groups["observed_data"], file.constants, file.specification
    observations = Observations(
        observed["time"],
        observed["value"],
        components=get("components"),
        operator=get("operator"),
        precision=1.0,
        mask=observed["present"],
    )
    observations = eqx.tree_at(lambda o: o.weight, observations, observed["precision"])
    action = Action(
        get("model"),
        observations,
        get("transcription"),
        args=get("args"),
        dimension=specification["dimension"],
        grid=Grid(constants["grid"]),
        breaks=constants["breaks"],
        convention=specification["convention"],
        bounds=(constants["lower"], constants["upper"]),
    )
    names = ("model_precision", "initial_mean", "initial_precision", "reference")
    exact = tuple(jnp.asarray(constants[name]) for name in names)
    where = lambda a: (a.shape.value, a.initial.mean, a.initial.precision, a.reference)
    return eqx.tree_at(where, action, exact)
