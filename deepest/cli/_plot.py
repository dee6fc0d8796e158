"""`deepest plot RUN.nc`."""

from pathlib import Path
from typing import Annotated

import typer

from deepest import plot as pictures
from deepest.anneal import Result
from deepest.cli._files import beside, check
from deepest.cli._load import load
from deepest.cli._options import Force, Run, Trust
from deepest.cli._refuse import Refusal, asking
from deepest.cli._tables import wrote
from deepest.twin import Truth

_FORMATS = ("png", "pdf", "svg")


def plot(
    run: Run,
    components: Annotated[
        str | None,
        typer.Option(
            metavar="0,2,5", help="State components to draw. [default: two measured, two not]", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the pictures. [default: beside the run]",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[str, typer.Option("--format", metavar="FORMAT", help="png, pdf or svg.")] = "png",
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Draw a run: action levels, path with data, parameters along the ladder.

    Writes RUN_levels.png, RUN_path.png and, where the model has unknown parameters, RUN_parameters.png. A run of
    deepest twin knows its truth and is drawn with it.
    """
    if kind not in _FORMATS:
        raise Refusal(f'Pictures are in the format {", ".join(_FORMATS)}; received "{kind}".')
    chosen = None if components is None else _numbers(components)
    result, truth = load(run, trust=trust, cache=True)
    names = ("levels", "path", "parameters") if result.parameter_names else ("levels", "path")
    base = run if output is None else output / run.name
    paths = [beside(base, name, f".{kind}") for name in names]
    check(paths, force=force)
    with asking():
        drawn = [pictures.action_levels(result), _path(result, chosen, truth)]
        if result.parameter_names:
            drawn.append(pictures.parameters(result, truth=None if truth is None else truth.parameters))
        for picture, path in zip(drawn, paths, strict=True):
            pictures.save(picture, path, force=force)
    wrote(paths)


def _path(result: Result, components: list[int] | None, truth: Truth | None):
    return pictures.path(result, components, truth=None if truth is None else truth.path)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise Refusal(
            f'Components are whole numbers with commas between them, such as 0,2,5; received "{text}".'
        ) from None
