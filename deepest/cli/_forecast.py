"""`deepest forecast RUN.nc --until T`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from deepest import plot
from deepest.anneal import Result
from deepest.cli import _models
from deepest.cli._files import beside, check, write_table
from deepest.cli._load import load
from deepest.cli._options import Cache, Force, Plots, Run, Trust
from deepest.cli._refuse import Failure, Refusal, asking
from deepest.cli._session import patiently
from deepest.cli._tables import wrote
from deepest.twin import Truth


def forecast(
    run: Run,
    until: Annotated[
        float, typer.Option(metavar="T", help="Time at which the forecast ends, on the clock of the data.")
    ],
    step: Annotated[
        float | None,
        typer.Option(metavar="DT", help="Time between two rows. [default: the run's own]", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.csv",
            help="CSV file. [default: RUN_forecast.csv beside the run]",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    plots: Plots = True,
    trust: Trust = False,
    cache: Cache = True,
) -> None:
    """Run the best model on beyond the data.

    It starts from the end of the best path, with the parameters that were found. Writes a CSV file with the columns
    time, x0, x1, …, and a picture of it beside the path and the data. A run of deepest twin is drawn with its truth as
    far as that goes.
    """
    if step is not None and not 0 < step < float("inf"):
        raise Refusal(f"The step is a positive time; received {step:g}.")
    table = beside(run, "forecast", ".csv") if output is None else output
    picture = table.with_suffix(".png")
    if picture == table:
        raise Refusal(f"The output is a CSV file, and its picture has the same name with .png; received {table}.")
    result, truth = load(run, trust=trust, cache=cache)
    paths = [table, picture] if plots else [table]
    check(paths, force=force)
    end = float(result.action.grid.times[-1])
    if not end < until < float("inf"):
        raise Refusal(f"A forecast ends after the data, which end at {end:g}; received --until {until:g}.")
    best = result.best
    _models.check_cover((best.model, best.args), np.array([end, until]), "forecast")
    ahead = patiently(lambda: result.forecast(until, step=step))
    if not np.all(np.isfinite(ahead.path)):
        last = ahead.times[int(np.argmin(np.all(np.isfinite(ahead.path), axis=1)))]
        raise Failure(
            f"The model does not stay finite: the forecast breaks down before time {last:g}; nothing was written."
        )
    with asking():
        write_table(table, ahead.times, ahead.path, range(ahead.path.shape[1]), force=force)
        if plots:
            plot.save(_drawn(result, ahead, truth), picture, force=force)
    wrote(paths)


def _drawn(result: Result, ahead, truth: Truth | None):
    if truth is None:
        return plot.path(result, forecast=ahead)
    count = ahead.times.size
    known = count <= truth.beyond_times.size and np.allclose(ahead.times, truth.beyond_times[:count], rtol=1e-9)
    return plot.path(result, truth=truth.path, forecast=ahead, forecast_truth=truth.beyond[:count] if known else None)
