"""`deepest convert OLD... --output NEW`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from deepest.cli import _minaone, _rewritten, _starts
from deepest.cli._files import check
from deepest.cli._options import Force
from deepest.cli._refuse import Refusal, asking, tell
from deepest.cli._tables import facts, wrote
from deepest.io import Annealed, atomic, read_varanneal

_ARRAYS = ("paths.npy", "params.npy", "action_errors.npy")

Writers = Mapping[str, Callable[[Path], None]]


def convert(
    old: Annotated[
        list[Path],
        typer.Argument(metavar="OLD", help="The folder of a project, or varanneal's arrays.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="NEW", help="The folder to write into, made where missing.")
    ],
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the measurement error, which minAone is not told.", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        int | None,
        typer.Option(metavar="K", help="Which data set, where a minAone project has several.", show_default=False),
    ] = None,
    force: Force = False,
) -> None:
    """Take over a project of minAone, or what varanneal has saved.

    - A folder with **equations.txt** and **specs.txt** becomes **NAME_model.py**, **data.csv**, **stimulus.csv** and
      **config.toml**, with the same R_f/R_m on the same ladder: deepest anneal NEW/config.toml runs it.

    - A folder with varanneal's **paths.npy**, or its arrays by name, paths first, becomes **levels.csv**, one row a
      rung, **path.csv** and **starts.nc**, the path of the last rung, where starts = "starts.nc" in [ensemble] begins.

    Equations are read as arithmetic and never run. What has no counterpart is said, and what cannot be is refused.
    """
    if noise is not None and not 0 < noise < float("inf"):
        raise Refusal(f"--noise is a standard deviation, a positive number; received {noise:g}.")
    folder = old[0] if len(old) == 1 and old[0].is_dir() else None
    if folder is not None and (folder / "equations.txt").exists():
        writers, remarks, summary = _from_minaone(folder, noise, dataset)
    else:
        for option, given in (("--noise", noise), ("--dataset", dataset)):
            if given is not None:
                raise Refusal(f"{option} is for projects of minAone; this is not one.")
        with asking():
            writers, remarks, summary = _from_varanneal(_arrays(old, folder))
    with asking():
        written = _write(writers, output, force)
    for remark in remarks:
        tell(f"deepest: {remark}")
    facts(f"{old[0]}: {summary[0]}", summary[1])
    wrote(written)


def _from_minaone(folder: Path, noise: float | None, dataset: int | None):
    model = _minaone.equations(folder / "equations.txt")
    run = _minaone.specs(folder / "specs.txt", model)
    numbers = _minaone.series(folder, model, run, chosen=dataset)
    text = _rewritten.model_text(model)
    config = _rewritten.configuration(model, run, noise=noise, guessed=numbers.start is not None)
    data, names = _rewritten.measured(model, numbers)
    writers: dict[str, Callable[[Path], None]] = {
        f"{_rewritten.module(model)}.py": lambda path: _text(path, text),
        "data.csv": lambda path: _rewritten.table(path, numbers.times, data, names),
        "config.toml": lambda path: _text(path, config),
    }
    if model.stimuli:
        writers["stimulus.csv"] = lambda path: _rewritten.table(path, numbers.times, numbers.stimuli, model.stimuli)
    if model.functions:
        functions = (folder / "myfunctions.py").read_text("utf-8")
        writers["myfunctions.py"] = lambda path: _text(path, functions)
    if numbers.start is not None:
        states, values = numbers.start
        free = [lower < upper for lower, upper in run.limits]
        parameters = {
            name: np.array([value]) for name, value, kept in zip(model.parameters, values, free, strict=True) if kept
        }
        writers["starts.nc"] = lambda path: _starts.write(path, numbers.times, states[None], parameters, force=True)
    rows = [
        ("states", ", ".join(model.states)),
        ("measured", ", ".join(f"{y} is {x}" for y, x, _ in model.terms)),
        ("parameters", ", ".join(model.parameters) or "none"),
        ("stimuli", ", ".join(model.stimuli) or "none"),
        ("points", f"{numbers.times.size}, from {numbers.times[0]:g} to {numbers.times[-1]:g}"),
        ("ladder", f"{run.rungs} rungs by a factor of {run.growth**run.stride:g}"),
    ]
    return writers, list(_rewritten.said(model, run, noise=noise)), ("a project of minAone", rows)


def _arrays(old: list[Path], folder: Path | None) -> list[Path]:
    if folder is None:
        return old
    if not (folder / _ARRAYS[0]).exists():
        raise Refusal(f"{folder} holds neither minAone's equations.txt nor varanneal's paths.npy.")
    return [folder / name for name in _ARRAYS if (folder / name).exists()]


def _from_varanneal(files: list[Path]):
    params, errors = _told_apart(files[1:])
    old = read_varanneal(files[0], params, errors)
    if old.parameters.ndim == 3:
        raise Refusal(f"{params} holds parameters that vary in time; read it with deepest.io.read_varanneal.")
    values = {f"p{k}": column for k, column in enumerate(old.parameters.T)}
    columns = {"action": old.action, "measurement": old.measurement, "model": old.model, "R_f": old.precision}
    rungs = old.beta if errors else np.arange(len(old.paths), dtype=float)
    writers: dict[str, Callable[[Path], None]] = {
        "levels.csv": lambda path: _levels(path, rungs, {**columns, **values}),
        "path.csv": lambda path: _rewritten.table(
            path, old.times, old.paths[-1], [f"x{k}" for k in range(old.paths.shape[2])]
        ),
        "starts.nc": lambda path: _starts.write(
            path, old.times, old.paths[-1:], {name: column[-1:] for name, column in values.items()}, force=True
        ),
    }
    return writers, list(_missing(old, params, errors)), ("what varanneal saved", list(_found(old)))


def _told_apart(files: list[Path]) -> tuple[Path | None, Path | None]:
    """The parameters and the action errors; these are five columns, of which the second is the next two's sum."""
    params, errors = [], []
    for file in files:
        try:
            with open(file, "rb") as content:
                array = np.lib.format.read_array(content, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise Refusal(f"{file} cannot be read, or is not a NumPy array file.") from error
        five = array.ndim == 2 and array.shape[1] == 5 and array.dtype.kind == "f"
        (errors if five and np.allclose(array[:, 1], array[:, 2] + array[:, 3]) else params).append(file)
    if len(params) > 1 or len(errors) > 1:
        raise Refusal(
            "Of varanneal's arrays, expected the paths first, then at most one of parameters and one of action errors; "
            f"received {len(files) + 1} files."
        )
    return next(iter(params), None), next(iter(errors), None)


def _missing(old: Annealed, params: Path | None, errors: Path | None):
    if params is None:
        yield "There are no parameters (save_params), so that starts.nc fits only models without unknown ones."
    if errors is None:
        yield "There are no action errors (save_action_errors), so that levels.csv has empty columns."
    elif not np.all(np.isfinite(old.precision)):
        yield "On rungs whose model error is zero, R_f cannot be told and is left empty."


def _found(old: Annealed):
    yield "rungs reached", f"{len(old.paths)}"
    yield "path", f"{old.times.size} points from {old.times[0]:g} to {old.times[-1]:g}, {old.paths.shape[2]} components"
    if np.isfinite(old.action[-1]):
        yield "last action", f"{old.action[-1]:.6g}, as varanneal prints it, which is our level"
    for k, value in enumerate(old.parameters[-1]):
        yield f"p{k}", f"{value:.6g}"


def _levels(path: Path, rungs: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    """One row a rung, with NaN as an empty cell."""
    rows = np.column_stack([rungs, *columns.values()]).tolist()
    cell = lambda x: "" if np.isnan(x) else repr(x)
    lines = [",".join(["beta", *columns]), *(",".join([f"{row[0]:g}", *map(cell, row[1:])]) for row in rows)]
    path.write_text("\n".join([*lines, ""]), "utf-8")


def _write(writers: Writers, output: Path, force: bool) -> list[Path]:
    """All files, or none where one of them is in the way."""
    if not output.is_dir():
        output.mkdir(parents=True)
    paths = [output / name for name in writers]
    check(paths, force=force)
    for path, writer in zip(paths, writers.values(), strict=True):
        with atomic(path, force=force) as temporary:
            writer(temporary)
    return paths


def _text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
