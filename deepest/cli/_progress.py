"""What is seen while a ladder is climbed or a network trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from deepest.anneal import Progress


class Climb:
    """A progress bar that takes what `anneal` reports after each rung, and counts runs where there are several."""

    def __init__(self, bar: Bar, runs: int):
        self.bar, self.runs, self.run = bar, runs, 0
        self.task = bar.add_task(self._named("compiling"), total=None, note="(half a minute, the first time)")

    def __call__(self, progress: Progress) -> None:
        """Show one rung."""
        levels = ", ".join(f"{level:.4g}" for level in progress.levels) or "none"
        failed = progress.members - progress.alive
        who = f"{progress.active} of {progress.members}" + (f" ({failed} failed)" if failed else "")
        left = "" if progress.left is None else f"  {_duration(progress.left)} left"
        note = f"R_f/R_m {progress.ratio:.0e}  {who}  levels {levels}{left}"
        rung = progress.rung + 1
        what = self._named(f"rung {rung}/{progress.rungs}")
        self.bar.update(self.task, completed=rung, total=progress.rungs, description=what, note=note)

    def say(self, what: str) -> None:
        """Show what is done now, outside the ladder."""
        self.bar.update(self.task, description=self._named(what), note="")

    def next(self) -> None:
        """One run is done."""
        self.run += 1
        self.bar.update(self.task, completed=0)

    def _named(self, what: str) -> str:
        return what if self.runs == 1 else f"{min(self.run + 1, self.runs)}/{self.runs} {what}"


class Lesson:
    """A progress bar that takes what `fit` reports after each stage."""

    def __init__(self, bar: Bar, baseline: float):
        self.bar, self.baseline = bar, baseline
        self.task = bar.add_task("compiling", total=None, note="(half a minute, the first time)")

    def __call__(self, row: dict[str, Any]) -> None:
        """Show one stage."""
        ratio = "" if np.isinf(row["ratio"]) else f"R_f/R_m {row['ratio']:.0e}  "
        note = f"{ratio}held-out error {row['held_out_error']:.2%}  (softmax regression {self.baseline:.2%})"
        stage = row["stage"] + 1
        what = f"stage {stage}/{row['stages']}"
        self.bar.update(self.task, completed=stage, total=row["stages"], description=what, note=note)

    def say(self, what: str) -> None:
        """Show what is done now, outside the training."""
        self.bar.update(self.task, description=what, note="")


def _duration(seconds: float) -> str:
    """A time as one would say it: 40 s, 12 min, 3 h."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


@contextmanager
def climbing(runs: int = 1) -> Iterator[Climb]:
    """A progress bar on stderr while the block lasts; nothing where stderr is no terminal."""
    with _bar() as bar:
        yield Climb(bar, runs)


@contextmanager
def learning(baseline: float) -> Iterator[Lesson]:
    """The same for a training, `baseline` the held-out error that it has to beat."""
    with _bar() as bar:
        yield Lesson(bar, baseline)


def _bar() -> Bar:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    return Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
