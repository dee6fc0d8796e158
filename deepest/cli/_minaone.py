"""minAone's projects, as its program reads them: `equations.txt`, `specs.txt` and the files that these name.

The order of the lines, what is skipped and what is not read are those of its scripts, where its guide says otherwise.
"""

import ast
import dataclasses
import keyword
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from deepest.cli._expressions import FUNCTIONS, parse, squares, used
from deepest.cli._lines import Line, Lines
from deepest.cli._refuse import Refusal

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOME = "myfunctions.py"
# The program makes at most so many rungs.
_MOST = 100


@dataclasses.dataclass(frozen=True)
class Equations:
    """What `equations.txt` says; `terms` are (data, state, weight) of the measurement term Σ weight (data − state)²."""

    problem: str
    rates: list[Line]
    trees: list[ast.expr]
    terms: list[tuple[str, str, float]]
    states: list[str]
    parameters: list[str]
    data: list[str]
    stimuli: list[str]
    functions: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Specs:
    """What `specs.txt` says; `ranges` and `limits` are (lower, upper) of the states and parameters, `scales` R_f0,
    `unread` the numbers of the lines that say more than is read."""

    count: int
    skipped: int
    step: float
    files: list[Line]
    combined: bool
    start: Line | None
    sets: int
    suffix: str
    ranges: list[tuple[float, float]]
    scales: list[float]
    limits: list[tuple[float, float]]
    growth: float
    stride: int
    end: int
    unread: list[int]
    format: Line | None

    @property
    def rungs(self) -> int:
        """How many β there are: 0, stride, 2 stride, … below `end`, the first always."""
        return min(_MOST, max(0, self.end - 1) // self.stride + 1)


def equations(file: Path) -> Equations:
    """The model in `equations.txt`; refuses what has no counterpart here."""
    lines = Lines(file, ("#", "\\"))
    problem = lines.take("the problem's name").text
    sizes = _sizes(lines.take("the numbers nY, nP, nU, nI, nF, nM"))
    count = dict(zip(("states", "parameters", "controls", "stimuli", "functions", "data"), sizes, strict=True))
    rates = lines.several(count["states"], "equation")
    cost = lines.take("the measurement term")
    names: dict[str, list[str]] = {}
    for kind in ("states", "parameters", "data", "stimuli"):
        names[kind] = [_name(line) for line in lines.several(count[kind], f"name of {kind},")]
    functions = dict(_function(line) for line in lines.several(count["functions"], "external function"))
    _distinct(file, [*names["states"], *names["parameters"], *names["data"], *names["stimuli"], *functions])
    for line in lines.rest():
        raise line.refuse(f'expected the end of the file after all that line 2 announces; received "{line.text}".')
    trees = [_tree(line) for line in rates]
    for line, tree in zip(rates, trees, strict=True):
        for name in sorted(used(tree) & set(names["data"])):
            raise line.refuse(
                f"the measured {name} drives the model, which deepest does not let data do; leave the coupling out: "
                "a small R_f does its work."
            )
    return Equations(problem, rates, trees, _terms(cost, names["data"], names["states"]), functions=functions, **names)


def _sizes(line: Line) -> tuple[int, int, int, int, int, int]:
    """nY, nP, nU, nI, nF and nM, of which the last two may be missing."""
    long = line.text.count(",") >= 5
    values, _ = line.numbers(6 if long else 4, "whole numbers nY, nP, nU, nI, nF, nM with commas between")
    if any(value != int(value) or value < 0 for value in values):
        raise line.refuse(f'expected whole numbers nY, nP, nU, nI, nF, nM; received "{line.text}".')
    y, p, u, i, *more = map(int, values)
    f, m = more or (0, u)
    if u > 0:
        raise line.refuse(
            f"there {'is a control variable' if u == 1 else f'are {u} control variables'}, which deepest does not "
            "have; leave the coupling to the data out, as a small R_f does its work, and write nU = 0."
        )
    if y < 1 or m < 1:
        raise line.refuse(f"expected at least one state and one measured variable; received nY = {y} and nM = {m}.")
    return y, p, u, i, f, m


def _name(line: Line) -> str:
    if not _NAME.fullmatch(line.text) or line.text in FUNCTIONS or keyword.iskeyword(line.text):
        raise line.refuse(f'expected a name of letters, digits and _ that has no meaning yet; received "{line.text}".')
    if line.text in ("name", "dimension", "time"):
        raise line.refuse(f'"{line.text}" means something else in a configuration; give it another name.')
    return line.text


def _function(line: Line) -> tuple[str, int]:
    name, _, arguments = (part.strip() for part in line.text.partition(","))
    if not _NAME.fullmatch(name) or name in FUNCTIONS or not arguments.isdecimal():
        raise line.refuse(f'expected the name of a function and how many arguments it has; received "{line.text}".')
    written = line.file.with_name(_HOME)
    try:
        tree = ast.parse(written.read_text("utf-8")) if written.exists() else ast.Module([], [])
    except (SyntaxError, ValueError) as error:
        raise Refusal(f"{written} is not Python: {error}.") from error
    if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
        raise line.refuse(
            f"the function {name} is C++, which is not translated; write def {name}(…) with jax.numpy, without its "
            f"derivatives, into {written}."
        )
    return name, int(arguments)


def _distinct(file: Path, names: list[str]) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise Refusal(f'{file} gives the name "{name}" twice.')


def _tree(line: Line) -> ast.expr:
    try:
        return parse(line.text)
    except ValueError as error:
        raise line.refuse(f"{error}.") from error


def _terms(line: Line, data: list[str], states: list[str]) -> list[tuple[str, str, float]]:
    """One (data, state, weight) for each data name, in the order of `data`."""
    try:
        found = list(squares(_tree(line), data, states))
    except ValueError as error:
        raise line.refuse(f"the measurement term is a sum of w*(data - state)**2; {error}.") from error
    weights: dict[tuple[str, str], float] = {}
    for y, x, weight in found:
        weights[y, x] = weights.get((y, x), 0.0) + weight
    terms = sorted(((y, x, weight) for (y, x), weight in weights.items()), key=lambda term: data.index(term[0]))
    for k, (y, x, weight) in enumerate(terms):
        if not weight > 0:
            raise line.refuse(f"({y} - {x})**2 must have a positive weight; received {weight:g}.")
        if y in (term[0] for term in terms[:k]):
            raise line.refuse(f"{y} is compared with two states; expected one.")
    return terms


def specs(file: Path, model: Equations) -> Specs:
    """The run in `specs.txt` of that model."""
    lines = Lines(file, ("#",))
    count = lines.take("half the number of time steps").whole("half the number of time steps", 1)
    skipped = lines.take("how many points to skip").whole("how many points to skip", 0)
    line = lines.take("twice the time step of the data")
    (step,), _ = line.numbers(1, "twice the time step of the data")
    if not step > 0:
        raise line.refuse(f"expected a positive time step; received {step:g}.")
    form = lines.take("the format of the files")
    kind = form.whole("the format of the files, 0 to 3,", 0)
    if kind > 3:
        raise form.refuse(f"expected the format of the files, 0 to 3; received {kind}.")
    combined = kind >= 2
    sets = lines.take("how many runs each data set has").whole("how many runs each data set has", 0) if combined else 0
    suffix = lines.take("the ending of the files' names").text if combined else ""
    start = lines.take("the file of initial guesses") if kind % 2 else None
    wanted = 1 + (len(model.stimuli) > 0) if combined else len(model.data) + len(model.stimuli)
    files = lines.several(wanted, "file")
    unread: list[int] = []
    ranges = [_range(name, lines, 3, unread) for name in model.states]
    limits = [_range(name, lines, 2, unread) for name in model.parameters]
    growth, stride, end = _ladder(lines, unread)
    output = next(iter(rest := lines.rest()), None)
    for more in rest[1:]:
        raise more.refuse(f'expected the end of the file; received "{more.text}".')
    return Specs(
        count=count,
        skipped=skipped,
        step=step,
        files=files,
        combined=combined,
        start=start,
        sets=sets,
        suffix=suffix,
        ranges=[(lower, upper) for lower, upper, _ in ranges],
        scales=[scale for *_, scale in ranges],
        limits=[(lower, upper) for lower, upper, *_ in limits],
        growth=growth,
        stride=stride,
        end=end,
        unread=unread,
        format=output,
    )


def _range(name: str, lines: Lines, count: int, unread: list[int]) -> list[float]:
    """The numbers for one state (lower, upper, R_f0) or parameter (lower, upper)."""
    what = f"{'lower, upper, R_f0' if count == 3 else 'lower, upper'} of {name}"
    line = lines.take(what)
    values, behind = line.numbers(count, what)
    if not values[0] <= values[1]:
        raise line.refuse(f"expected lower ≤ upper for {name}; received {values[0]:g} and {values[1]:g}.")
    if count == 3 and not values[2] > 0:
        raise line.refuse(f"expected a positive R_f0 of {name}; received {values[2]:g}.")
    unread += [line.number] if behind else []
    return values


def _ladder(lines: Lines, unread: list[int]) -> tuple[float, int, int]:
    what = "alpha, the step of beta, the largest beta"
    line = lines.take(what)
    (growth, stride, end), behind = line.numbers(3, what)
    if not (growth > 1 and stride >= 1):
        raise line.refuse(
            f"expected alpha above 1 and steps of beta of at least 1; received {growth:g} and {stride:g}."
        )
    unread += [line.number] if behind else []
    return growth, int(stride), int(end)


@dataclasses.dataclass(frozen=True)
class Series:
    """The numbers in a project's files: measured values, stimuli, and a guess (path, parameters) if there is one."""

    times: Float[np.ndarray, " time"]
    data: Float[np.ndarray, "time measured"]
    stimuli: Float[np.ndarray, "time stimulus"]
    start: tuple[Float[np.ndarray, "time state"], Float[np.ndarray, " parameter"]] | None


def series(folder: Path, model: Equations, run: Specs, *, chosen: int | None) -> Series:
    """Every file that the project names, from the point where it starts; times count from the files' first point.

    `chosen` is the number of the data set, where the project has several.
    """
    length, ending = 2 * run.count + 1, _ending(run, chosen)
    window = lambda line, width, name: _window(_path(folder, line, name), run.skipped, length, width)
    if run.combined:
        data = window(run.files[0], len(model.states), ending)[:, : len(model.data)]
        found = [window(line, len(model.stimuli), ending) for line in run.files[1:]]
    else:
        columns = [window(line, 1, "") for line in run.files]
        data, found = np.concatenate(columns[: len(model.data)], axis=1), columns[len(model.data) :]
    stimuli = np.concatenate(found, axis=1) if found else np.zeros((length, 0))
    if not np.all(np.isfinite(stimuli)):
        raise Refusal(f"{run.files[-1].text}: a stimulus has a finite value at every time.")
    start = None
    if run.start is not None:
        # Each run of a set has a guess of its own; the first is taken.
        guess = ("0" if run.sets else "") + f".{run.suffix}" if run.combined else ""
        start = _guess(_path(folder, run.start, guess), model, run)
    times = 0.5 * run.step * (run.skipped + np.arange(length))
    return Series(times, data, stimuli, start)


def _ending(run: Specs, chosen: int | None) -> str:
    if not run.combined or run.sets == 0:
        if chosen is not None:
            raise Refusal("--dataset is for projects with several data sets; this one has one.")
        return f".{run.suffix}" if run.combined else ""
    if chosen is None:
        files = f"{run.files[0].text}K.{run.suffix}"
        raise run.files[0].refuse(f"there are several data sets, {files}; say with --dataset K which.")
    return f"{chosen}.{run.suffix}"


def _path(folder: Path, line: Line, ending: str) -> Path:
    path = folder / f"{line.text}{ending}"
    if not path.is_file():
        raise line.refuse(f"there is no file {path}.")
    return path


def _window(path: Path, skipped: int, length: int, width: int) -> np.ndarray:
    """(length, width) numbers of a file, behind `skipped` rows of as many."""
    values = _numbers(path)
    needed = (skipped + length) * width
    if values.size < needed:
        raise Refusal(
            f"{path} holds {values.size} numbers; {needed} are needed for {length} points after {skipped} skipped, "
            f"{width} at each."
        )
    return values[skipped * width : needed].reshape(length, width)


def _guess(path: Path, model: Equations, run: Specs) -> tuple[np.ndarray, np.ndarray]:
    """The path (N, D), and behind it, as the program reads on, the parameters (P,)."""
    length, size, count = 2 * run.count + 1, len(model.states), len(model.parameters)
    states = _window(path, run.skipped, length, size)
    values = _numbers(path)[(run.skipped + length) * size :]
    if values.size < count or not np.all(np.isfinite(states)) or not np.all(np.isfinite(values[:count])):
        raise Refusal(f"{path}: a guess is {length} finite states and behind them {count} parameters.")
    return states, values[:count]


def _numbers(path: Path) -> np.ndarray:
    """All numbers in a text file, however they are broken into lines."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is no text of numbers.") from error
    try:
        return np.array(text.split(), float)
    except ValueError:
        for place, word in _words(text):
            try:
                float(word)
            except ValueError:
                raise Refusal(f'{path}, line {place}: expected numbers; received "{word[:40]}".') from None
        raise


def _words(text: str) -> Iterator[tuple[int, str]]:
    for place, line in enumerate(text.splitlines(), 1):
        for word in line.split():
            yield place, word
