"""What is printed at the end."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepest.anneal import Result, expected
from deepest.minimise import Status
from deepest.networks import Score, Trained
from deepest.twin import Learned, Measurements, Outcome, Skill, success

# An interval so many times as long as the others is a gap.
_COARSE = 5.0

Rows = Iterable[tuple[str, str]]


def facts(title: str, rows: Rows) -> None:
    """A table of names and what they are."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    Console().print(table)


def found(result: Result) -> Rows:
    """What the levels say."""
    report = result.report
    low, high = expected(result.action)
    verdict = "consistent" if report.consistent else "NOT consistent"
    yield "lowest level", f"{report.level:.4f}, {verdict} with χ² ({max(low, 0.0):.2f} to {high:.2f})"
    if not report.consistent:
        yield "advice", _advice(result, missed=report.level > high)
    if report.gap is None:
        shared = (
            "one member reached the top"
            if report.finished == 1
            else f"all {report.finished} at the top share the lowest"
        )
        yield "second level", f"none: {shared}"
    else:
        yield "second level", f"A₁ − A₀ = {report.gap:.3g}, e^(−gap) = {report.power}"
    yield "members", f"{report.finished} of {result.status.size} reached the top, {report.winners} the lowest level"
    yield "ladder", f"{report.rungs} rungs to R_f/R_m = {result.ratios[-1]:.1e}, {report.flatness}"


def _advice(result: Result, *, missed: bool) -> str:
    """What to try where χ² does not allow the lowest level."""
    if not missed:
        why = "has the ladder more rungs to climb" if result.report.rising else "is the noise smaller than given"
        return f"the path is closer to the data than the noise allows: {why}?"
    action = result.action
    steps = np.delete(np.diff(action.grid.times[:: action.transcription.stride]), action.unlinked)
    coarse = steps.max() > _COARSE * np.median(steps)
    gaps = f"a shorter step across gaps (step=; the longest is {steps.max():g}), " if coarse else ""
    return f"the path misses the data by more than the noise: {gaps}more members, another spread, another model?"


def estimates(result: Result) -> Rows:
    """The parameters with their deviations, and whether one stands at its bound or is hardly known."""
    if result.parameter_names:
        known, bounds = result.identify(), np.asarray(result.action.limits[1]).T
        rows = zip(known.names, known.estimates, known.deviations, known.at_bound, bounds, strict=True)
        for name, value, deviation, bound, (low, high) in rows:
            where = " (at its bound: widen the range)" if bound else ""
            where = " (hardly known from these data)" if name in known.loose else where
            yield name, f"{value:.6g} ± {deviation:.2g}, sought between {low:g} and {high:g}{where}"
    for name, path in result.best.varying.items():
        yield name, f"varies between {path.min():.6g} and {path.max():.6g}"


def compared(outcome: Outcome) -> Rows:
    """An experiment's scores against the truth."""
    reached = "the global minimum was found" if outcome.reached else "the global minimum was NOT found"
    yield "level from the truth", f"{outcome.yardstick:.4f}: {reached}"
    for name, (value, true, error) in outcome.parameters.items():
        beside = f"true {true:g}, error {100 * error:.2g} %" if np.isfinite(true) else "no true value"
        yield name, f"{value:.5g}, {beside}"
    measured, others = outcome.measured_error, outcome.unmeasured_error
    noise = outcome.twin.action.observations.weight.max() ** -0.5
    yield "path error", f"rms {measured:.2g} where measured (noise {noise:g}), {others:.2g} where not"
    if outcome.skill is not None:
        yield from _forecast(outcome.skill)


def _forecast(skill: Skill) -> Rows:
    length = skill.times[-1] - skill.times[0]
    until = f"for all of {length:.3g}" if skill.outlasted else f"for {skill.horizon:.3g} of {length:.3g}"
    yield "forecast", f"good {until} time units (error below half of climatology)"
    baselines = f"climatology {skill.climatology:.3g}, persistence {skill.persistence:.3g}"
    yield "forecast error", f"rms {skill.rmse:.3g}; {baselines}"


def repeated(title: str, outcomes: Sequence[Outcome]) -> None:
    """One row an experiment, the yardstick beside each level, and the success rate below."""
    reached, low, high = success(outcomes)
    caption = f"global minimum found in {reached} of {len(outcomes)} (95 % Wilson interval {low:.0%} to {high:.0%})"
    table = Table(title=title, caption=caption, title_style="bold", title_justify="left", caption_justify="left")
    table.box, table.pad_edge = box.SIMPLE_HEAD, False
    for head in ("", "level", "truth's", "found", "largest error", "path rms", "forecast", "s"):
        table.add_column(head, justify="right", no_wrap=True)
    for k, outcome in enumerate(outcomes):
        table.add_row(*_row(k, outcome), style=None if outcome.reached else "red")
    Console().print(table)
    Console().print(
        Text(
            "level and truth's: lowest reduced level, and that of the path started at the truth; path rms: where "
            "measured and where not; forecast: time until its error exceeds half of climatology.",
            style="dim",
        )
    )


def _row(k: int, outcome: Outcome) -> list[str]:
    skill = outcome.skill
    horizon = "–" if skill is None else f"{'≥ ' if skill.outlasted else ''}{skill.horizon:.2f}"
    return [
        str(k),
        f"{outcome.level:.4f}",
        f"{outcome.yardstick:.4f}",
        "yes" if outcome.reached else "NO",
        _largest(outcome),
        f"{outcome.measured_error:.2g} {outcome.unmeasured_error:.2g}",
        horizon,
        f"{outcome.seconds:.1f}",
    ]


def _largest(outcome: Outcome) -> str:
    """The parameter that is furthest off, relative to its true value."""
    errors = {name: error for name, (_, _, error) in outcome.parameters.items() if np.isfinite(error)}
    if not errors:
        return "–"
    name = max(errors, key=errors.__getitem__)
    return f"{name} {100 * errors[name]:.2g} %"


def needed(title: str, tried: Measurements) -> None:
    """One row a set of measured components, and the smallest that is enough below."""
    enough = "none of these" if tried.enough is None else " ".join(map(str, tried.enough))
    caption = f"the fewest that were enough in most experiments: {enough}"
    table = Table(title=title, caption=caption, title_style="bold", title_justify="left", caption_justify="left")
    table.box, table.pad_edge, table.padding = box.SIMPLE_HEAD, False, (0, 1)
    table.add_column("L", justify="right", no_wrap=True)
    table.add_column("measured", min_width=8)
    for head in ("found", "95 %", "forecast", "95 %", "gap", "error %", "λ"):
        table.add_column(head, justify="right", no_wrap=True)
    for components, added, row in zip(tried.sets, _added(tried.sets), tried.rows(), strict=True):
        table.add_row(str(len(components)), added, *_numbers(row), style=None if row["found"] else "red")
    Console().print(table)
    Console().print(
        Text(
            f"{tried.realisations} experiments a set, {tried.members} starts each; … stands for the components of the "
            "row above. found: the global minimum, and Wilson's interval in %; forecast: median time until its error "
            "exceeds half of climatology; gap: median A₁ − A₀ to the second level, where there is one; error: median "
            "of the largest parameter error; λ: largest Lyapunov exponent of the model driven by what is measured, "
            f"{tried.free:.2f} with nothing. Enough: the intervals lie above 50 % and above 0.",
            style="dim",
        )
    )


def _added(sets: Sequence[Sequence[int]]) -> Iterator[str]:
    """Each set; of nested ones "…" and what it adds to that of the row above."""
    before: Sequence[int] = ()
    nested = all(set(small) < set(large) for small, large in itertools.pairwise(sets))
    for components in sets:
        new = [c for c in components if c not in before]
        yield " ".join(map(str, ["…", *new] if nested and len(before) > 1 else components))
        before = components


def _numbers(row: Mapping[str, Any]) -> list[str]:
    known = lambda value, form: "–" if np.isnan(value) else format(value, form)
    span = lambda low, high, form: "–" if np.isnan(low) else f"{low:{form}}–{high:{form}}"
    return [
        f"{row['found']}/{row['realisations']}",
        span(100 * row["rate_low"], 100 * row["rate_high"], ".0f"),
        known(row["horizon"], ".3g"),
        span(row["horizon_low"], row["horizon_high"], ".3g"),
        known(row["gap"], ".0f" if row["gap"] < 1e4 else ".0e"),
        known(100 * row["parameter_error"], ".2g" if row["parameter_error"] < 1.0 else ".0f"),
        known(row["conditional_exponent"], ".2f").replace("-inf", "−∞"),
    ]


def trained(title: str, trained: Trained, scores: Sequence[Score], pairs: int, held_out: int) -> None:
    """One row a method, the network's below the plain ones."""
    h = trained.history
    caption = f"trained on {pairs} pairs, {held_out} held out; {int(h.steps.sum())} steps. {trained.ending.value}"
    table = Table(title=title, caption=caption, title_style="bold", title_justify="left", caption_justify="left")
    table.box, table.pad_edge = box.SIMPLE_HEAD, False
    table.add_column("", no_wrap=True)
    for head in ("training error", "held-out error", "held-out loss"):
        table.add_column(head, justify="right", no_wrap=True)
    for score in scores:
        table.add_row(score.name, "", f"{score.error:.2%}", "–" if np.isnan(score.loss) else f"{score.loss:.4f}")
    last = (h.error[-1], h.held_out_error[-1], h.held_out_loss[-1])
    table.add_row("this network", f"{last[0]:.2%}", f"{last[1]:.2%}", f"{last[2]:.4f}", style="bold")
    Console().print(table)


def learned(title: str, found: Learned) -> None:
    """One row a rung, what needs no network below."""
    climbed, baselines = found.climbed, found.baselines
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("R_f/R_m", "lowest level", "highest", "levels", "training", "held out", "the mean's"):
        table.add_column(head, justify="right", no_wrap=True)
    levels, errors = np.asarray(climbed.levels), np.asarray(climbed.errors)
    for k, ratio in enumerate(climbed.ratios):
        best = int(np.nanargmin(levels[k]))
        numbers = (levels[k, best], np.nanmax(levels[k]), errors[k, best], found.held_out[k])
        low, high, error, held_out = (f"{number:.5g}" for number in numbers)
        count = str(len(climbed.distinct()[k]))
        table.add_row(f"{ratio:.0e}", low, high, count, error, held_out, f"{baselines.mean:.5g}")
    Console().print(table)
    rows = [("mean training output", f"{baselines.mean:.5g}"), ("ridge regression", f"{baselines.linear:.5g}")]
    rows.append(("the input itself", f"{baselines.identity:.5g}"))
    rows.append(("true network", f"{baselines.truth:.5g}"))
    if np.isfinite(found.yardstick):
        rows.append(("level from the truth", f"{found.yardstick:.5g}"))
    facts("held-out errors without a search", rows)
    Console().print(
        Text(
            f"{levels.shape[1]} starts. Levels: how many are 1 % apart. Training, held out: mean square error of the "
            "forward pass of the start with the lowest level, in units of the noise's variance.",
            style="dim",
        )
    )


def why(result: Result) -> str:
    """What became of an ensemble of which no member reached the top."""
    sentences = sorted({Status(int(code)).sentence for code in result.status})
    return "No member reached the top of the ladder. " + " ".join(sentences)


def wrote(paths: Sequence[Path], seconds: float | None = None) -> None:
    """Which files there are now, and how long it took."""
    console = Console()
    console.print(Text("Wrote " + ", ".join(str(path) for path in paths)), soft_wrap=True)
    if seconds is not None:
        console.print(f"{seconds:.1f} s, compilation included", highlight=False)
