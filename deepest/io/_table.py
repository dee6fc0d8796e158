"""Observations from files that people have."""

import csv
import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from deepest import _lazy
from deepest.io._files import readable

if TYPE_CHECKING:
    from deepest.io import _netcdf
else:
    _netcdf = _lazy.lazy("deepest.io._netcdf", extra="io")

_MISSING = {"", "nan", "na", "n/a", "null", "none"}
_NETCDF = {".nc", ".nc4", ".netcdf", ".cdf", ".h5", ".hdf5"}
# "time" in any writing, or "t", with or without a unit: "Time (s)", "t [ms]", "time/s". "T" is a temperature.
_TIME = re.compile(r"(?:(?i:time)|t)\s*([\[(/].*)?")

# A column is read only when it is wanted, so that text in another does not matter.
_Columns = dict[str, Callable[[], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Table:
    """Measured series: `values` (K, L) at `times` (K,), NaN where missing, and the L `names` of the columns.

    Times and values are in the file's own units.
    """

    times: Float[np.ndarray, " observation"]
    values: Float[np.ndarray, "observation measured"]
    names: tuple[str, ...]


def read_table(path: str | os.PathLike[str], *, time: str | None = None, columns: Sequence[str] | None = None) -> Table:
    """Times (K,) and values (K, L) from a CSV, NumPy or NetCDF-4 file.

    - Text: one row a time, separated by commas, semicolons, tabs or spaces; a header row if the first row is not all
      numbers, else the columns are called t, y1, …, yL; lines that begin with # are comments; blank, NaN and NA are
      missing.
    - `.npy`: an array (K, 1 + L) with columns t, y1, …, yL, which is varanneal's.
    - NetCDF: a time coordinate, and variables (time,) or (time, component), the columns of which are `name[label]`.

    `time` names the time column; without it that is the one called time or t, else the first. `columns` names those
    to read, in that order; without it all others. A name such as `v` stands for all its columns `v[0]`, `v[1]`, ….

    Raises `ValueError` that names the file: missing, unreadable, of another format or damaged, no time column, an
    unknown column, text where a number should be (with line and column), a time that is missing.
    """
    time, found = _reader(path)(path, time)
    names = [name for name in found if name != time] if columns is None else _chosen(path, found, columns)
    if not names:
        raise ValueError(f'{path} has no column beside the time "{time}".')
    times, values = found[time](), np.stack([found[name]() for name in names], axis=1)
    if times.size == 0:
        raise ValueError(f"{path} holds no rows of numbers.")
    if np.any(np.isnan(times)):
        row = int(np.argmax(np.isnan(times))) + 1
        raise ValueError(f'{path}: the time "{time}" is missing in row {row} of the data.')
    return Table(times, values, tuple(names))


def _reader(path) -> Callable[..., tuple[str, _Columns]]:
    """By suffix where it says something, else by the first bytes."""
    magic, suffix = readable(path), Path(path).suffix.lower()
    if suffix == ".npy" or magic.startswith(b"\x93NUMPY"):
        return _array
    if suffix in _NETCDF or magic.startswith((b"\x89HDF", b"CDF")):
        return _netcdf.columns
    return _text


def _chosen(path, found: _Columns, columns: Sequence[str]) -> list[str]:
    names: list[str] = []
    for column in columns:
        family = [name for name in found if name.startswith(f"{column}[")]
        names += [column] if column in found else family or [_known(path, found, column)]
    repeated = [name for k, name in enumerate(names) if name in names[:k]]
    if repeated:
        raise ValueError(f'{path}: the column "{repeated[0]}" was asked for twice.')
    return names


def _known(path, names: Iterable[str], name: str) -> str:
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'; did you mean "{near[0]}"?' if near else "."
    raise ValueError(f'{path} has no column "{name}"{hint} It has {", ".join(names)}.')


def _time(path, names: Sequence[str], time: str | None) -> str:
    if time is not None:
        return _known(path, names, time)
    return next((name for name in names if _TIME.fullmatch(name)), names[0])


def _generic(width: int) -> list[str]:
    return ["t", *(f"y{k}" for k in range(1, width))]


def _array(path, time: str | None) -> tuple[str, _Columns]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a NumPy array file, or is damaged.") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "biuf":
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "an archive of arrays"
        raise ValueError(f"{path}: expected numbers of shape (K, 1 + L), columns t, y1, …, yL; received {got}.")
    names = _generic(array.shape[1])
    if not names[1:]:
        raise ValueError(f"{path}: expected a time column and at least one more; received shape {array.shape}.")
    found = {name: partial(np.asarray, array[:, k], float) for k, name in enumerate(names)}
    return _time(path, names, time), found


def _text(path, time: str | None) -> tuple[str, _Columns]:
    rows = _rows(path)
    first = [cell.strip() for cell in rows[0][1]]
    if all(_is_number(cell) for cell in first):
        names = _generic(len(first))
    else:
        names, rows = [name or f"column {k + 1}" for k, name in enumerate(first)], rows[1:]
    repeated = [name for k, name in enumerate(names) if name in names[:k]]
    if repeated:
        raise ValueError(f'{path} has two columns called "{repeated[0]}".')
    found = {name: partial(_numbers, path, rows, k, name) for k, name in enumerate(names)}
    return _time(path, names, time), found


def _rows(path) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row."""
    content = Path(path).read_bytes()
    if re.search(rb"[\x00-\x08\x0e-\x1a]", content):
        raise ValueError(f"{path} is of a format that is not read here; expected text such as CSV, .npy or NetCDF-4.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # spreadsheets on Windows
        text = content.decode("cp1252", errors="replace")
    lines = [(n, line.strip(" \r")) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError(f"{path} holds no rows of numbers.")
    separator = max(",;\t", key=lines[0][1].count)
    if separator in lines[0][1]:
        rows = [(n, next(csv.reader([line], delimiter=separator, skipinitialspace=True))) for n, line in lines]
    else:
        rows = [(n, line.split()) for n, line in lines]
    width = len(rows[0][1])
    for n, cells in rows:
        if len(cells) != width:
            raise ValueError(f"{path}, line {n}: expected {width} columns as in the first row; received {len(cells)}.")
    return rows


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    cell = cell.strip()
    if "_" in cell:  # which Python would leave out
        raise ValueError(f"{cell} is no number")
    return float("nan") if cell.lower() in _MISSING else float(cell)


def _numbers(path, rows: list[tuple[int, list[str]]], k: int, name: str) -> np.ndarray:
    column = np.empty(len(rows))
    for row, (n, cells) in enumerate(rows):
        try:
            column[row] = _number(cells[k])
        except ValueError:
            raise ValueError(
                f'{path}, line {n}, column "{name}": expected a number, or nothing where it is missing; received '
                f'"{cells[k].strip()}".'
            ) from None
    return column
