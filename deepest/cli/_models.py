"""A model from its name and arguments in a configuration."""

import importlib
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepest import models
from deepest.cli._refuse import Refusal, nearest, tell
from deepest.cli._schema import TEXT, TEXTS
from deepest.io import read_table
from deepest.models import Normal, Stimulus, Unknown

MODELS: dict[str, Callable] = {
    model.__name__: model
    for model in (
        models.Colpitts,
        models.FitzHughNagumo,
        models.KuramotoSivashinsky,
        models.Lorenz63,
        models.Lorenz96,
        models.LotkaVolterra,
        models.SIR,
        models.ShallowWater,
        models.TwoScaleLorenz96,
        models.nakl,
        models.nakl_a_ca_h,
        models.soma_and_dendrite,
    )
}


def find(name: str, folder: Path) -> Any:
    """The model called `name`: one of ours, or "module:attribute" with the module in `folder` or on the Python path."""
    if ":" not in name:
        if name not in MODELS:
            raise Refusal(nearest("model", name, MODELS) + ' Your own is "module:attribute".')
        return MODELS[name]
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise Refusal(f'A model of your own is "module:attribute"; received "{name}".')
    module = _imported(module_name, folder)
    held = module
    for part in attribute.split("."):
        if not hasattr(held, part):
            public = [word for word, thing in vars(module).items() if word[0] != "_" and callable(thing)]
            raise Refusal(nearest(f"attribute in {module_name} called", attribute, public))
        held = getattr(held, part)
    if not callable(held):
        raise Refusal(f"{name} is a {type(held).__name__}; a model is called as field(t, x, args) and returns dx/dt.")
    return held


def _imported(name: str, folder: Path) -> types.ModuleType:
    if str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise Refusal(f"The module {name} needs {error.name}, which is not installed.") from error
        raise Refusal(
            f"There is no module {name}: expected {name}.py in {folder.resolve()}, or one installed."
        ) from error
    except Exception as error:
        raise Refusal(f"The module {name} cannot be imported: {type(error).__name__}: {error}.") from error


def build(name: str, arguments: Mapping[str, Any], folder: Path) -> tuple[Callable, dict[str, Any]]:
    """The model, and beside it what an `Action` wants to know of it: `args` and `dimension` of a plain function."""
    model = find(name, folder)
    given = {key: value(key, entry, folder) for key, entry in arguments.items()}
    if isinstance(model, type) or model in MODELS.values():
        return _constructed(name, model, given), {}
    if inspect.isfunction(model) and len(inspect.signature(model).parameters) != 3:
        raise Refusal(f"{name} must take three arguments, field(t, x, args); it takes {inspect.signature(model)}.")
    beside = {"dimension": given.pop("dimension")} if "dimension" in given else {}
    if beside and not (type(beside["dimension"]) is int and beside["dimension"] > 0):
        raise Refusal(
            f"dimension in [model] is a whole number, the size of the state; received {beside['dimension']!r}."
        )
    return model, {**beside, "args": given}


def _constructed(name: str, model: Callable, given: dict[str, Any]) -> Callable:
    known = inspect.signature(model).parameters
    for key, entry in given.items():
        if key not in known:
            raise Refusal(nearest(f"argument of {name} called", key, known))
        if known[key].annotation is int and type(entry) is not int:
            raise Refusal(f"{key} in [model] is a whole number; received {entry!r}.")
        plain = isinstance(entry, str) or (isinstance(entry, bool) and known[key].annotation is not bool)
        if model in MODELS.values() and plain:
            raise Refusal(f"{key} in [model] is a number, or {{ unknown = [lower, upper] }}; received {entry!r}.")
    try:
        return model(**given)
    except (TypeError, OverflowError) as error:
        raise Refusal(f"{name} cannot be made from the arguments in [model]: {error}.") from error


def value(key: str, entry: Any, folder: Path) -> Any:
    """A number as it is, a list as an array, `{ unknown = [lower, upper] }` as an `Unknown`, and
    `{ stimulus = "FILE" }` as a `Stimulus` read from a file in `folder`."""
    if isinstance(entry, list):
        return _array(key, entry)
    if not isinstance(entry, dict):
        if entry != entry or (isinstance(entry, int) and abs(entry) > sys.float_info.max):
            raise Refusal(f"{key} in [model] is a number; received {entry}.")
        return entry
    if "stimulus" in entry:
        return _stimulus(key, entry, folder)
    known = ("unknown", "prior", "varies")
    for word in entry:
        if word not in known:
            raise Refusal(nearest(f"word in {key} of [model] called", word, known))
    limits, prior = entry.get("unknown"), entry.get("prior")
    if not (isinstance(limits, list) and len(limits) == 2):
        raise Refusal(f"{key} in [model] needs a range, {key} = {{ unknown = [lower, upper] }}; received {entry}.")
    lower, upper = (_array(key, limit) for limit in limits)
    varies = entry.get("varies", False)
    if not isinstance(varies, (bool, int, float)):
        raise Refusal(f"varies of {key} in [model] is true, false or a volatility; received {varies!r}.")
    varies = varies if isinstance(varies, bool) else float(varies)
    return Unknown(lower, upper, prior=None if prior is None else _prior(key, prior), varies=varies)


def _stimulus(key: str, entry: dict[str, Any], folder: Path) -> Stimulus:
    words = {"stimulus": TEXT, "time": TEXT, "columns": TEXTS, "continuity": TEXT}
    for word, given in entry.items():
        if word not in words:
            raise Refusal(nearest(f"word in {key} of [model] called", word, words))
        wanted, fits = words[word]
        if not fits(given):
            raise Refusal(f"{word} of {key} in [model] is {wanted}; received {given!r}.")
    table = read_table(folder / entry["stimulus"], time=entry.get("time"), columns=entry.get("columns"))
    values = table.values[:, 0] if table.values.shape[1] == 1 else table.values
    try:
        return Stimulus(table.times, values, entry.get("continuity", "linear"))
    except ValueError as error:
        raise Refusal(f"{entry['stimulus']}: {error}") from error


def check_cover(model: Any, times: np.ndarray, what: str) -> None:
    """Refuse a stimulus in the model or its args that tells nothing of the times of the data or the forecast, and say
    so where it tells of some of them alone."""
    is_stimulus = lambda x: isinstance(x, Stimulus)
    for stimulus in filter(is_stimulus, jax.tree.leaves(model, is_leaf=is_stimulus)):
        begin, end = float(stimulus.times[0]), float(stimulus.times[-1])
        if end < times[0] or begin > times[-1]:
            raise Refusal(
                f"A stimulus is given from {begin:g} to {end:g}, and the {what} from {times[0]:g} to {times[-1]:g}: "
                "they have no time in common."
            )
        near = 1e-6 * (times[-1] - times[0])
        if begin > times[0] + near or end < times[-1] - near:
            tell(
                f"Note: a stimulus is given from {begin:g} to {end:g}, and the {what} from {times[0]:g} to "
                f"{times[-1]:g}; outside of its times it keeps its first and last value."
            )


def _prior(key: str, prior: Any) -> Normal:
    if not (isinstance(prior, dict) and prior.keys() == {"mean", "deviation"}):
        raise Refusal(f"The prior of {key} is {{ mean = …, deviation = … }}; received {prior!r}.")
    return Normal(_array(key, prior["mean"]), _array(key, prior["deviation"]))


def _array(key: str, entry: Any) -> np.ndarray:
    try:
        return np.asarray(entry, float)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(f"{key} in [model] holds numbers; received {entry!r}.") from None


def blame(name: str, error: Exception) -> Refusal | None:
    """The sentence for an exception that comes from inside a model; None where it does not."""
    own, at = ":" in name, error.__cause__ or error
    module = sys.modules.get(name.partition(":")[0] if own else MODELS[name].__module__)
    file = getattr(module, "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(at.__traceback__) if frame.filename == file]
    if file is None or not lines:
        return None
    where = f"in line {lines[-1]} of {Path(file).name}" if own else "with what stands in [model]"
    what = str(error).strip().partition("\n")[0]
    return Refusal(f"The model {name} fails {where}: {what if error.__cause__ else f'{type(error).__name__}: {what}'}")
