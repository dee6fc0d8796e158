"""`deepest twin perceptron`: a network is to be learned from pairs of its inputs and outputs."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import typer

from deepest import plot
from deepest.cli._files import Outputs
from deepest.cli._progress import climbing
from deepest.cli._refuse import Failure, asking
from deepest.cli._session import patiently
from deepest.cli._tables import learned, wrote
from deepest.twin import Learned, PerceptronSetting, learn, perceptron, preserving

_PANEL = "The perceptron twin"

Layers = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Layers of the network that learns. [default: 20; 5]", show_default=False,
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
Pairs = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Input/output pairs. [default: 10; 100]", show_default=False, rich_help_panel=_PANEL
    ),
]
Measured = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Measured neurons of 10, of input and output. [default: 10]", show_default=False,
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
Preserving = Annotated[
    bool,
    typer.Option("--preserving", help="Residual layers, which keep their input's information.", rich_help_panel=_PANEL),
]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line said of the experiment; None where it said nothing."""

    layers: int | None
    pairs: int | None
    measured: int | None
    preserving: bool
    noise: float | None
    members: int | None

    def setting(self) -> PerceptronSetting:
        """The experiment, or `ValueError` for numbers that cannot be."""
        make = preserving if self.preserving else perceptron
        numbers = {name: getattr(self, name) for name in ("layers", "pairs", "measured")}
        setting = make(**{name: value for name, value in numbers.items() if value is not None})
        changes = {name: getattr(self, name) for name in ("noise", "members")}
        return dataclasses.replace(setting, **{name: value for name, value in changes.items() if value is not None})


def run(asked: Asked, *, seed: int, output: Path, force: bool, plots: bool) -> None:
    """Simulate, learn, print and write."""
    began = time.perf_counter()
    with asking():
        setting = asked.setting()
    files = Outputs.of(output, ("levels",) if plots else ())
    rungs = setting.ladder.rungs
    files.check(force=force, numbers=4 * setting.members * rungs)
    with climbing() as climb:
        found = patiently(lambda: _learned(setting, seed))
        if not np.isfinite(found.climbed.levels[-1]).any():
            raise Failure("No start reached the top of the ladder: none of their actions is finite.")
        climb.say("writing")
        with asking():
            _write(found, files, force)
    learned(f"{setting.name}: {setting.about}", found)
    wrote([files.run, *files.pictures], time.perf_counter() - began)


def _learned(setting: PerceptronSetting, seed: int) -> Learned:
    truth, starts = jax.random.split(jax.random.key(seed))
    return learn(setting.simulate(truth), key=starts)


def _write(found: Learned, files: Outputs, force: bool) -> None:
    found.save(files.run, force=force)
    if files.pictures:
        b = found.baselines
        lines = {"mean training output": b.mean, "ridge regression": b.linear, "true network": b.truth}
        plot.save(plot.learning(found.climbed, lines, found.yardstick), files.pictures[0], force=force)
