"""A minAone project as a model, tables and a configuration of ours."""

import keyword
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deepest.cli._expressions import translate, used
from deepest.cli._minaone import Equations, Series, Specs
from deepest.cli._refuse import Refusal

# What a line of the generated function means already.
_TAKEN = {"t", "args", "jnp", "field"}


def module(model: Equations) -> str:
    """A name for the model's module, another for every project, so that several can be loaded side by side."""
    words = re.findall("[a-z0-9]+", model.problem.lower()[:40])
    return "_".join([*words, "model"]).lstrip("_0123456789")


def model_text(model: Equations) -> str:
    """The model's module: a function `field(t, x, args)` with the project's own names."""
    local = {
        name: f"{name}_" if name in _TAKEN or keyword.issoftkeyword(name) else name
        for name in (*model.states, *model.parameters, *model.stimuli)
    }
    for name, other in local.items():
        if name != other and other in local:
            raise Refusal(f'{model.rates[0].file}: "{name}" has a meaning in Python; give it another name.')
    lines = [f'"""{_words(model.problem)}, from minAone\'s equations.txt."""', "", "import jax.numpy as jnp", ""]
    if model.functions:
        lines[-1:] = [f"from myfunctions import {', '.join(model.functions)}", ""]
    states = [local[name] for name in model.states]
    lines += ["", "def field(t, x, args):", f'    """dx/dt of {", ".join(model.states)}."""']
    lines += [f"    {', '.join(states)}{',' * (len(states) == 1)} = x"]
    lines += [f'    {local[name]} = args["{name}"]' for name in model.parameters]
    lines += [f'    {local[name]} = args["{name}"](t)' for name in model.stimuli]
    lines += ["    return jnp.stack(", "        [", *_rates(model, local), "        ]", "    )", ""]
    return "\n".join(lines)


def _rates(model: Equations, local: dict[str, str]) -> Iterator[str]:
    for name, line, tree in zip(model.states, model.rates, model.trees, strict=True):
        try:
            text = translate(tree, local, model.functions)
        except ValueError as error:
            raise line.refuse(f"d{name}/dt: {error}.") from error
        # A rate without a state or a stimulus in it has no shape or dtype of its own.
        if not used(tree) & {*model.states, *model.stimuli}:
            text = f"jnp.full_like({local[model.states[0]]}, {text})"
        yield f"            {text},  # d{name}/dt"


def configuration(model: Equations, run: Specs, *, noise: float | None, guessed: bool) -> str:
    """`config.toml`, with R_f/R_m the same as the project's."""
    mean = float(np.mean([weight for *_, weight in model.terms]))
    first = run.scales[0]
    # Printed actions have no R_m, so that a weight w counts as R_m = w where no error is given.
    spreads = [(1.0 if noise is None else noise * mean**0.5) / weight**0.5 for *_, weight in model.terms]
    bounds = [[limit[end] for limit in run.ranges] for end in (0, 1)]
    tables = {
        "model": _model(model, run),
        "data": {
            "file": '"data.csv"',
            "columns": _texts([y for y, *_ in model.terms]),
            "components": _numbers([model.states.index(x) for _, x, _ in model.terms]),
            "noise": _one_or_many(spreads),
        },
        "state": {"bounds": f"[{_one_or_many(bounds[0])}, {_one_or_many(bounds[1])}]"},
        "transcription": {"name": '"HermiteSimpson"'},
        "ladder": {
            "start": _number(first / mean),
            "factor": _number(run.growth**run.stride),
            "rungs": str(run.rungs),
        },
        "ensemble": {"starts": '"starts.nc"'} if guessed else {"members": "64", "seed": "0"},
    }
    if len(set(run.scales)) > 1:
        tables["state"]["precision"] = _numbers([scale / first for scale in run.scales])
    head = f"# {_words(model.problem)}, from minAone's equations.txt and specs.txt; every key is explained by\n"
    body = [
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for name, table in tables.items()
    ]
    return "\n".join([f"{head}#     deepest anneal --example\n", *body])


def _model(model: Equations, run: Specs) -> dict[str, str]:
    entries = {"name": f'"{module(model)}:field"', "dimension": str(len(model.states))}
    for name, (lower, upper) in zip(model.parameters, run.limits, strict=True):
        known = lower == upper
        entries[name] = _number(lower) if known else f"{{ unknown = [{_number(lower)}, {_number(upper)}] }}"
    for name in model.stimuli:
        entries[name] = f'{{ stimulus = "stimulus.csv", columns = ["{name}"], continuity = "linear" }}'
    return entries


def said(model: Equations, run: Specs, *, noise: float | None) -> Iterator[str]:
    """One sentence for everything that the project says and we do not do, or that we do otherwise."""
    seen = {y for y, *_ in model.terms}
    if noise is None:
        yield (
            "minAone does not know the error of the measurements, so that noise in [data] is that of R_m = 1; write "
            "its standard deviation there, or convert with --noise, so that a level of 1 is what χ² expects."
        )
    if run.start is None:
        yield (
            "minAone starts all components anywhere within their bounds; measured ones start at the data here, and "
            "64 members take the place of 64 tasks."
        )
    elif run.sets:
        yield f"Each run has a guess of its own; the one taken is that of run 0, {run.start.text}0.{run.suffix}."
    if left := [name for name in model.data if name not in seen]:
        yield f"The measurement term does not use {', '.join(left)}, so that the data leave it out."
    if run.unread:
        where = ", ".join(map(str, run.unread))
        yield f"Neither minAone nor deepest reads what stands behind the numbers in specs.txt, line {where}."
    if run.format is not None:
        yield (
            f"The output format {run.format.text} in line {run.format.number} of specs.txt has no counterpart: a run "
            "is one NetCDF file with all members and rungs."
        )
    fixed = [name for name, (lower, upper) in zip(model.parameters, run.limits, strict=True) if lower == upper]
    if fixed:
        yield f"Equal bounds make {', '.join(fixed)} known."


def table(path: Path, times: np.ndarray, columns: np.ndarray, names: Sequence[str]) -> None:
    """A CSV file with a time column; NaN is an empty cell."""
    rows = np.column_stack([times, columns])
    cell = lambda x: "" if np.isnan(x) else repr(x)
    lines = [",".join(["time", *names]), *(",".join([f"{row[0]:.12g}", *map(cell, row[1:])]) for row in rows.tolist())]
    path.write_text("\n".join([*lines, ""]), "utf-8")


def measured(model: Equations, numbers: Series) -> tuple[np.ndarray, list[str]]:
    """The columns (N, L) of the data that the measurement term uses, and their names."""
    names = [y for y, *_ in model.terms]
    return numbers.data[:, [model.data.index(name) for name in names]], names


def _words(text: str) -> str:
    """A name that cannot end a comment or a docstring."""
    return "".join(letter for letter in text if letter.isalnum() or letter in " _-.,+")[:80] or "a model"


def _number(value: float) -> str:
    return repr(float(value))


def _numbers(values: Sequence[int] | Sequence[float]) -> str:
    return f"[{', '.join(repr(value) for value in values)}]"


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(f'{chr(34)}{value}{chr(34)}' for value in values)}]"


def _one_or_many(values: Sequence[float]) -> str:
    return _number(values[0]) if len(set(values)) == 1 else _numbers(values)
