"""`deepest anneal CONFIG.toml`."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from deepest import plot
from deepest.action import Action
from deepest.anneal import Result
from deepest.anneal import anneal as run
from deepest.cli import _config
from deepest.cli._example import EXAMPLE
from deepest.cli._files import Outputs
from deepest.cli._options import Cache, Float32, Force
from deepest.cli._progress import Climb, climbing
from deepest.cli._refuse import Failure, Refusal, asking, tell
from deepest.cli._session import patiently, prepare
from deepest.cli._tables import estimates, facts, found, why, wrote
from deepest.io import clear, read_tree


def anneal(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.toml", help="What to do; --example shows one.", show_default=False)
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a configuration with explanations, and exit.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.nc", help="NetCDF file, instead of the one in [output].", show_default=False
        ),
    ] = None,
    force: Force = False,
    plots: Annotated[
        bool | None,
        typer.Option(
            "--plots/--no-plots", help="Whether to draw pictures, instead of what [output] says.", show_default=False
        ),
    ] = None,
    float32: Float32 = False,
    cache: Cache = True,
) -> None:
    """Find the path and the parameters of your own model from your own data.

    The configuration is a TOML file with these tables:

    - [model] name, of ours or "module:attribute" of yours, and its arguments, such as forcing = { unknown = [6, 10] }

    - [data] file, time, columns, components, noise

    - [state] spread, bounds

    - [transcription] name, steps, convention

    - [ladder] start, factor, rungs

    - [ensemble] members, seed, draws, or starts

    - [output] file, plots

    Only the model's name, the data's file and its noise must be there. Begin with
    **deepest anneal --example > config.toml**, in which every key is explained.

    Writes run.nc, run_levels.png, run_path.png and run_parameters.png beside the configuration. run.nc is there from
    the beginning, and **deepest resume run.nc** goes on with it after whatever ended the run.
    """
    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if config is None:
        raise Refusal("deepest anneal needs a configuration: deepest anneal CONFIG.toml; --example prints one.")
    began = time.perf_counter()
    prepare(float32=float32, cache=cache)
    plan = _config.read(config)
    drawn = plan.plots if plots is None else plots
    files = Outputs.of(output or plan.output, pictures(plan.action) if drawn else ())
    _refuse_unfinished(files.run, force)
    files.check(force=force, numbers=2 * plan.members * plan.action.grid.size * plan.action.estimable.size)
    with asking():
        starts = plan.begin()
    kept = {"checkpoint": files.run, "force": force}
    result = lasting(files.run, lambda climb: run(plan.action, plan.ladder, starts=starts, progress=climb, **kept))
    show(f"{config}", result, files, force=force, began=began)


def _refuse_unfinished(path: Path, force: bool) -> None:
    """Say so where the output file is a run that could be gone on with."""
    if force or not path.is_file():
        return
    with contextlib.suppress(ValueError):
        groups, _ = read_tree(path)
        if "pending" in groups:
            raise Refusal(
                f"{path} holds a run that is not finished: go on with it by deepest resume {path}, or begin anew with "
                "--force."
            )


def pictures(action: Action) -> tuple[str, ...]:
    """What is drawn of a run."""
    return ("levels", "path", "parameters") if action.estimable.names else ("levels", "path")


def lasting(path: Path, climb: Callable[[Climb], Result]) -> Result:
    """Run a climb that is kept in a file, and say how it is taken up again where it is interrupted."""
    try:
        with climbing() as bar, asking():
            return patiently(lambda: climb(bar))
    except KeyboardInterrupt:
        clear(path)
        if not path.exists():
            raise
        tell(f"deepest: interrupted; what was finished is in {path}, and deepest resume {path} goes on with it.")
        raise typer.Exit(130) from None


def show(name: str, result: Result, files: Outputs, *, force: bool, began: float) -> None:
    """Draw and tell what was found, or fail where nothing was."""
    if not result.order.size:
        raise Failure(f"{why(result)} What there is of the run is in {files.run}.")
    with asking():
        drawers = (plot.action_levels, plot.path, plot.parameters)
        for draw, path in zip(drawers, files.pictures, strict=False):
            plot.save(draw(result), path, force=force)
    facts(f"{name}: {result.action.observations.count} measured values", [*found(result), *estimates(result)])
    wrote([files.run, *files.pictures], time.perf_counter() - began)
