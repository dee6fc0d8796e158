"""`deepest twin NAME`."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import typer

from deepest import plot
from deepest import twin as experiments
from deepest.cli._files import Outputs, check, write_table
from deepest.cli._options import SEEDS, Cache, Float32, Force, Plots
from deepest.cli._perceptron import Asked, Layers, Measured, Pairs, Preserving
from deepest.cli._perceptron import run as learn
from deepest.cli._progress import Climb, climbing
from deepest.cli._refuse import Failure, Refusal, asking, nearest
from deepest.cli._session import patiently, prepare
from deepest.cli._tables import compared, facts, found, repeated, why, wrote

SETTINGS: dict[str, Callable[..., experiments.Setting]] = {
    "lorenz96": experiments.lorenz96,
    "lorenz63": experiments.lorenz63,
    "fitzhugh-nagumo": experiments.fitzhugh_nagumo,
    "colpitts": experiments.colpitts,
    "lotka-volterra": experiments.lotka_volterra,
    "two-scale-lorenz96": experiments.two_scale_lorenz96,
    "kuramoto-sivashinsky": experiments.kuramoto_sivashinsky,
    "nakl": experiments.neuron,
    "nakl-a-ca-h": experiments.rich_neuron,
    "soma-and-dendrite": experiments.two_compartments,
    "sir": experiments.sir,
    "shallow-water": experiments.shallow_water,
}


def twin(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"Which experiment: {', '.join([*SETTINGS, 'perceptron'])}.")
    ],
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS, metavar="N", help="Seed of the truth, the noise and the starts.")
    ] = 0,
    members: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Random starts. [default: 16 to 64, or 5]", show_default=False),
    ] = None,
    realisations: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Repeat with new truth, noise and starts; files are those of the first."),
    ] = 1,
    noise: Annotated[
        float | None,
        typer.Option(metavar="SD", help="Standard deviation of the noise. [default: its own]", show_default=False),
    ] = None,
    layers: Layers = None,
    pairs: Pairs = None,
    measured: Measured = None,
    preserving: Preserving = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.nc", help="NetCDF file; pictures beside it.")
    ] = Path("run.nc"),
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="Also write the measurements, to try deepest anneal on.", show_default=False
        ),
    ] = None,
    force: Force = False,
    plots: Plots = True,
    float32: Float32 = False,
    cache: Cache = True,
) -> None:
    """Try it out: a synthetic experiment whose truth is known.

    A model is run forward, a few of its variables are measured with noise, and an ensemble of random paths is annealed
    until one explains the measurements. What was found is then compared with the truth, and the forecast with what the
    truth did next.

    - lorenz96: 20 sites, 8 measured, forcing unknown (under a minute the first time, less than half of it after)

    - lorenz63: 3 variables, x measured, all three parameters unknown (faster)

    - fitzhugh-nagumo, colpitts, lotka-volterra, two-scale-lorenz96, kuramoto-sivashinsky: a cell, a chaotic circuit,
    prey and predators, waves on two scales, a field on a circle; some variables measured, parameters unknown

    - nakl, nakl-a-ca-h, soma-and-dendrite: neurons under a known current, one voltage measured, conductances unknown

    - sir, shallow-water: an epidemic of which the infected are counted, a channel of which the height is measured

    - perceptron: the weights of a network unknown, its inputs and outputs measured; held-out errors stand beside those
    of the mean output and of a ridge regression. 100 logistic layers forget their input, --preserving ones do not

    Writes run.nc, run_levels.png (action levels along the ladder) and run_path.png (path, data, truth, forecast).
    """
    began = time.perf_counter()
    prepare(float32=float32, cache=cache)
    layered = {"--layers": layers, "--pairs": pairs, "--measured": measured, "--preserving": preserving or None}
    if name == "perceptron":
        _foreign(name, {"--realisations": None if realisations == 1 else realisations, "--data": data})
        asked = Asked(layers, pairs, measured, preserving, noise, members)
        learn(asked, seed=seed, output=output, force=force, plots=plots)
        return
    setting = named(name, [*SETTINGS, "perceptron"], noise=noise, members=members)
    _foreign(name, layered)
    files = _files(setting, output, data, force=force, plots=plots)
    with climbing(realisations) as climb:
        outcomes = patiently(lambda: _run(setting, realisations, jax.random.key(seed), climb))
        first = outcomes[0]
        if first.finished:
            climb.say("writing")
            with asking():
                _write(first, files, force)
                if data is not None:
                    _write_data(first, data, force)
    _print(f"{setting.name}: {setting.about}", outcomes)
    wrote([files.run, *files.pictures, *([data] if data else [])], time.perf_counter() - began)


def _print(title: str, outcomes: list[experiments.Outcome]) -> None:
    first, several = outcomes[0], len(outcomes) > 1
    if several:
        repeated(title, outcomes)
    if not first.finished:
        raise Failure(why(first.result))
    if not several:
        facts(title, [*found(first.result), *compared(first)])


def _foreign(name: str, options: dict[str, Any]) -> None:
    """Refuse an option that an experiment has no use for."""
    for option, value in options.items():
        if value is not None:
            raise Refusal(f"{option} does not belong to the experiment {name}; leave it out.")


def named(
    name: str, known: Sequence[str], *, noise: float | None = None, members: int | None = None
) -> experiments.Setting:
    """The setting called `name`, or a refusal that says what is known."""
    if name not in SETTINGS:
        raise Refusal(nearest("experiment", name, known))
    if noise is not None and not 0 < noise < float("inf"):
        raise Refusal(f"The noise is a positive standard deviation; received {noise:g}.")
    changes: dict[str, Any] = {} if noise is None else {"noise": noise}
    setting = SETTINGS[name](**changes)
    if members is not None:
        setting = dataclasses.replace(setting, members=members)
    return setting


def _files(setting: experiments.Setting, output: Path, data: Path | None, *, force: bool, plots: bool) -> Outputs:
    files = Outputs.of(output, ("levels", "path") if plots else ())
    files.check(force=force, numbers=2 * setting.members * setting.times.size * _size(setting))
    if data is not None:
        check([data], force=force)
    return files


def _size(setting: experiments.Setting) -> int:
    return getattr(setting.model, "dimension", 1)


def _run(setting: experiments.Setting, realisations: int, key: Any, climb: Climb) -> list[experiments.Outcome]:
    outcomes = []
    for outcome in experiments.repeat(setting, realisations, key=key, progress=climb):
        outcomes.append(outcome)
        climb.next()
    return outcomes


def _write(outcome: experiments.Outcome, files: Outputs, force: bool) -> None:
    outcome.save(files.run, force=force)
    if files.pictures:
        levels, path = files.pictures
        plot.save(plot.action_levels(outcome.result), levels, force=force)
        drawn = plot.path(
            outcome.result, truth=outcome.twin.truth, forecast=outcome.skill, forecast_truth=outcome.twin.beyond
        )
        plot.save(drawn, path, force=force)


def _write_data(outcome: experiments.Outcome, path: Path, force: bool) -> None:
    observations = outcome.twin.action.observations
    write_table(path, observations.times, observations.masked(), outcome.twin.measured, force=force)
