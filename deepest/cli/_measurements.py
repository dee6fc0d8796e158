"""`deepest measurements NAME`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import typer

from deepest import plot
from deepest import twin as experiments
from deepest.cli._files import check
from deepest.cli._options import SEEDS, Cache, Float32, Force, Plots
from deepest.cli._progress import climbing
from deepest.cli._refuse import Refusal, asking
from deepest.cli._session import patiently, prepare
from deepest.cli._tables import needed, wrote
from deepest.cli._twin import SETTINGS, named
from deepest.models import Estimable


def measurements(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Which experiment: {', '.join(SETTINGS)}.")],
    realisations: Annotated[
        int, typer.Option(min=1, metavar="N", help="Experiments a set, each with a new truth, noise and starts.")
    ] = 10,
    members: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Random starts a run. [default: 16 to 64]", show_default=False),
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(metavar="L,L,…", help="How many to measure. [default: 1 to all]", show_default=False),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(min=1, metavar="L", help="Measure no more. [default: all]", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="K,K,…",
            help="Components of your own choice; once for each set.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS, metavar="N", help="Seed of the truths, the noise and the starts.")
    ] = 0,
    noise: Annotated[
        float | None,
        typer.Option(metavar="SD", help="Standard deviation of the noise. [default: its own]", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.csv", help="CSV file; a picture beside it.")
    ] = Path("measurements.csv"),
    force: Force = False,
    plots: Plots = True,
    float32: Float32 = False,
    cache: Cache = True,
) -> None:
    """How many measurements are needed, and of which components?

    The experiment is repeated with 1, 2, … of its variables measured, spread as evenly as can be, or with all subsets
    where there are up to four variables. For each set: how often the global minimum was found, for how long the
    forecast held, and the largest Lyapunov exponent of the model driven by what is measured, which is negative where
    the measurements alone make the model forget its start.

    Sets that are not enough take longest, as all their starts are tried: for lorenz96 with all 64 starts, half a minute
    a run. --members 16 is a quick look.

    Writes measurements.csv and measurements.png.
    """
    began = time.perf_counter()
    prepare(float32=float32, cache=cache)
    setting = named(name, [*SETTINGS], noise=noise, members=members)
    chosen = _sets(Estimable(setting.estimated).dimension, counts, most, sets or [])
    files = _files(output, force=force, plots=plots)
    with climbing(realisations * len(chosen)) as climb:
        options = {"key": jax.random.key(seed), "progress": climb, "each": lambda *_: climb.next()}
        tried = patiently(lambda: experiments.measurements(setting, chosen, realisations=realisations, **options))
        climb.say("writing")
        with asking():
            tried.save(files[0], force=force)
            if plots:
                plot.save(plot.measurements(tried), files[1], force=force)
    needed(f"{setting.name}: {setting.about.split(',')[0]}", tried)
    wrote(files, time.perf_counter() - began)


def _sets(size: int, counts: str | None, most: int | None, own: Sequence[str]) -> Sequence[Sequence[int]]:
    """The sets that were asked for in one way of the three."""
    given = {"--counts": counts, "--most": most, "--set": own or None}
    asked = [option for option, value in given.items() if value is not None]
    if len(asked) > 1:
        raise Refusal(f"{asked[0]} and {asked[1]} both say what to measure; give one of them.")
    own_sets = [_numbers("--set", one) for one in own]
    numbers = None if counts is None else _numbers("--counts", counts)
    with asking():
        if own_sets:
            return experiments.check_sets(size, own_sets)
        return experiments.component_sets(size, numbers if most is None else range(1, most + 1))


def _numbers(option: str, given: str) -> list[int]:
    try:
        return [int(part) for part in given.split(",")]
    except ValueError:
        raise Refusal(
            f'{option} takes whole numbers, separated by commas, such as 0,2,4; received "{given}".'
        ) from None


def _files(output: Path, *, force: bool, plots: bool) -> list[Path]:
    if output.suffix != ".csv":
        raise Refusal(f"The output is a CSV file, whose name ends in .csv; received {output}.")
    files = [output, output.with_suffix(".png")] if plots else [output]
    check(files, force=force)
    return files
