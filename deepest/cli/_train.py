"""`deepest train NAME`."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepest import networks, plot
from deepest.cli._files import Outputs
from deepest.cli._options import SEEDS, Cache, Float32, Force, Plots
from deepest.cli._progress import Lesson, learning
from deepest.cli._refuse import Failure, Refusal, asking, nearest, sentence, tell
from deepest.cli._session import patiently, prepare
from deepest.cli._tables import trained as tabulated
from deepest.cli._tables import wrote

EXAMPLES: dict[str, Callable[..., networks.Example]] = {
    "digits": networks.digits,
    "bars": networks.bars,
    "bars-anywhere": partial(networks.bars, anywhere=True),
}
ROADS = ("strong", "annealed", "descent")


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which example: digits, bars or bars-anywhere.")],
    road: Annotated[
        str | None,
        typer.Option(
            metavar="ROAD", help="strong, annealed or descent. [default: descent, of bars strong]", show_default=False
        ),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(metavar="M", help="Training pairs. [default: all, 1437 or 200]", show_default=False),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Steps of depth, or of bars the hidden layers. [default: 8, 1]", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=SEEDS, metavar="N", help="Seed of the weights to begin with.")] = 0,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "--checkpoint", "-o", metavar="FILE.nc", help="The training, rewritten after every stage."
        ),
    ] = Path("training.nc"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that the file holds.")] = False,
    force: Force = False,
    plots: Plots = True,
    float32: Float32 = False,
    cache: Cache = True,
) -> None:
    """Train a network as a dynamical system, the layer number as time, and compare it with plain classifiers.

    The split is the same for everyone; the weights of the last stage are what counts, as none is chosen by the
    held-out pairs. Three roads lead there:

    - strong: Gauss–Newton through costates, the network exact

    - annealed: layers may err, and do so less and less, along a ladder in R_f/R_m; at the end they are exact

    - descent: Adam on small batches, with costates as gradients

    Writes training.nc, with which --resume goes on, and training_curve.png, the held-out error stage by stage.
    """
    began = time.perf_counter()
    prepare(float32=float32, cache=cache)
    if name not in EXAMPLES:
        raise Refusal(nearest("example", name, EXAMPLES))
    if road is not None and road not in ROADS:
        raise Refusal(nearest("road", road, ROADS))
    files = _files(output, plots, resume, force)
    with asking():
        example = EXAMPLES[name](pairs=pairs, layers=layers, seed=seed)
    road = next(iter(example.roads)) if road is None else road
    scores = patiently(lambda: networks.plain_classifiers(example.action.pairs, example.held_out))
    with learning(scores[-1].error) as lesson:
        trained = patiently(lambda: _fitted(example, road, files.run, resume, force, lesson))
        if plots:
            lesson.say("drawing")
            with asking():
                plot.save(plot.training(trained, scores), files.pictures[0], force=force or resume)
    tabulated(f"{example.name}: {example.about}", trained, scores, example.action.pairs.count, example.held_out.count)
    wrote([files.run, *files.pictures], time.perf_counter() - began)
    if trained.ending is networks.Ending.diverged:
        raise Failure(trained.ending.value)


def _files(output: Path, plots: bool, resume: bool, force: bool) -> Outputs:
    """The files to write, checked."""
    files = Outputs.of(output, ("curve",) if plots else ())
    if resume and not output.is_file():
        raise Refusal(f"{output} does not exist, so that there is nothing to resume; leave out --resume.")
    files.check(force=force or resume, numbers=100_000)
    return files


def _fitted(
    example: networks.Example, road: str, path: Path, resume: bool, force: bool, lesson: Lesson
) -> networks.Trained:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            trained = networks.fit(
                example.action,
                example.roads[road],
                held_out=example.held_out,
                progress=lesson,
                checkpoint=path,
                resume=resume,
                force=force,
            )
        except (ValueError, OSError) as error:
            # What is about the file is the user's, all else a mistake of ours.
            if str(path) not in str(error):
                raise
            raise Refusal(sentence(error)) from error
    for warning in said:
        tell(f"deepest: {warning.message}")
    return trained
