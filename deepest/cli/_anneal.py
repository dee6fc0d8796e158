"""`deepest anneal CONFIG.toml`."""

import time
from pathlib import Path
from typing import Annotated

import jax
import typer

from deepest import plot
from deepest.action import initial_paths
from deepest.anneal import Result
from deepest.anneal import anneal as run
from deepest.cli import _config
from deepest.cli._example import EXAMPLE
from deepest.cli._files import Outputs
from deepest.cli._options import Cache, Float32, Force
from deepest.cli._progress import climbing
from deepest.cli._refuse import Failure, Refusal, asking
from deepest.cli._session import patiently, prepare
from deepest.cli._tables import estimates, facts, found, why, wrote


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

    - [ensemble] members, seed

    - [output] file, plots

    Only the model's name, the data's file and its noise must be there. Begin with
    **deepest anneal --example > config.toml**, in which every key is explained.

    Writes run.nc, run_levels.png, run_path.png and run_parameters.png beside the configuration.
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
    files = Outputs.of(output or plan.output, _pictures(plan) if drawn else ())
    files.check(force=force, numbers=2 * plan.members * plan.action.grid.size * plan.action.estimable.size)
    result = _climbed(plan)
    with asking():
        result.save(files.run, force=force)
    if not result.order.size:
        raise Failure(f"{why(result)} What there is of the run is in {files.run}.")
    with asking():
        _draw(result, files, force)
    facts(f"{config}: {result.action.count} measured values", [*found(result), *estimates(result)])
    wrote([files.run, *files.pictures], time.perf_counter() - began)


def _pictures(plan: _config.Plan) -> tuple[str, ...]:
    return ("levels", "path", "parameters") if plan.action.estimable.names else ("levels", "path")


def _climbed(plan: _config.Plan) -> Result:
    with asking():
        starts = initial_paths(plan.action, plan.members, jax.random.key(plan.seed), spread=plan.spread)
    with climbing() as climb:
        return patiently(lambda: run(plan.action, plan.ladder, starts=starts, progress=climb))


def _draw(result: Result, files: Outputs, force: bool) -> None:
    drawers = (plot.action_levels, plot.path, plot.parameters)
    for draw, path in zip(drawers, files.pictures, strict=False):
        plot.save(draw(result), path, force=force)
