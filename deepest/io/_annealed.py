"""What varanneal and minAone leave behind: levels, paths and parameters along their ladders."""

import dataclasses
import os

import numpy as np
from jaxtyping import Float

from deepest.io._files import readable


@dataclasses.dataclass(frozen=True)
class Annealed:
    """One path followed up a ladder by another code, one entry a rung, in that code's own units and axes.

    - `beta` (R,): R_f = R_f0 α^β; `action` (R,) as printed, and its parts `measurement` and `model` (R,).
    - `precision` (R,): R_f.
    - `times` (N,), `paths` (R, N, D), `parameters` (R, P), or (R, N or N − 1, P) where they vary in time.

    What the files do not say is NaN; without parameters P = 0.
    """

    beta: Float[np.ndarray, " rung"]
    action: Float[np.ndarray, " rung"]
    measurement: Float[np.ndarray, " rung"]
    model: Float[np.ndarray, " rung"]
    precision: Float[np.ndarray, " rung"]
    times: Float[np.ndarray, " time"]
    paths: Float[np.ndarray, "rung time state"]
    parameters: Float[np.ndarray, "rung parameter"] | Float[np.ndarray, "rung inner parameter"]


def read_varanneal(
    paths: str | os.PathLike[str],
    params: str | os.PathLike[str] | None = None,
    action_errors: str | os.PathLike[str] | None = None,
) -> Annealed:
    """The files that varanneal's `save_paths`, `save_params` and `save_action_errors` write, as `.npy`.

        paths (R, N, 1 + D), columns t, x_1, …, x_D;   params (R, P) or (R, N, P);
        action errors (R, 5), columns β, A, R_m Σ d²/(L N), R_f Σ c²/(D (N − 1)), the last without R_f

    Rungs that a run never reached, which it leaves as zeros, are left out. `dp.action.varanneal` converts the axes.
    Raises `ValueError` that names the file where one is missing, damaged, of another shape, or of another run.
    """
    held = _array(paths, (3,), "paths of shape (R, N, 1 + D)")
    if held.shape[2] < 2 or not np.all(np.diff(held[0, :, 0]) > 0) or not np.all(held[..., 0] == held[0, :, 0]):
        raise ValueError(f"{paths}: the first column of varanneal's paths is the time, the same on every rung.")
    reached = _reached(held[..., 1:])
    none = np.full((len(held), 5), np.nan)
    found = np.zeros((len(held), 0)) if params is None else _array(params, (2, 3), "parameters of shape (R, P)")
    errors = none if action_errors is None else _array(action_errors, (2,), "action errors of shape (R, 5)")
    for name, array in ((params, found), (action_errors, errors)):
        if len(array) != len(held):
            raise ValueError(f"{name} has {len(array)} rungs, and {paths} has {len(held)}: they are of different runs.")
    if errors.shape[1] != 5:
        raise ValueError(f"{action_errors}: expected action errors of shape (R, 5); received {errors.shape}.")
    if found.ndim == 3 and found.shape[1] not in (held.shape[1], held.shape[1] - 1):
        raise ValueError(
            f"{params}: expected parameters at the {held.shape[1]} times of {paths}; received {found.shape}."
        )
    beta, action, measurement, model, bare = errors[:reached].T
    precision = np.divide(model, bare, out=np.full(reached, np.nan), where=bare > 0)
    return Annealed(beta, action, measurement, model, precision, held[0, :, 0], held[:reached, :, 1:], found[:reached])


def read_minaone(path: str | os.PathLike[str], dimension: int, *, step: float, parameters: int = 0) -> Annealed:
    """A file `D…_M…_IC….dat` of minAone, or of varanneal's `save_as_minAone`, with `parameters` at the end of a row.

        (R, 3 + N D + P), columns β, exit flag, A, x_1(t_1), …, x_D(t_1), x_1(t_2), …, θ_1, …, θ_P

    `step` is the time between two points, and the first time 0. The exit flag is left out: whether its minimiser
    thought it was done. `dp.action.minaone` converts the axes; varanneal's file holds varanneal's action.
    Raises `ValueError` that names the file where it is missing, holds text, or does not have such rows.
    """
    readable(path)
    try:
        rows = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} does not hold rows of numbers, all of one length: {error}.") from error
    width = rows.shape[1] - 3 - parameters
    if dimension < 1 or parameters < 0 or width < dimension or width % dimension:
        raise ValueError(
            f"{path} has rows of {rows.shape[1]} numbers, which is not 3 + N · {dimension} + {parameters} for any N; "
            "minAone's output formats 1 and ±2 are not read."
        )
    series = rows[:, 3 : 3 + width].reshape(len(rows), -1, dimension)
    unknown = np.full(len(rows), np.nan)
    times = step * np.arange(series.shape[1])
    return Annealed(rows[:, 0], rows[:, 2], unknown, unknown, unknown, times, series, rows[:, 3 + width :])


def _array(path, dimensions: tuple[int, ...], what: str) -> np.ndarray:
    readable(path)
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a NumPy array file, or is damaged.") from error
    if array.ndim not in dimensions or array.size == 0 or array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: expected varanneal's {what}; received {array.dtype} of shape {array.shape}.")
    return array.astype(float)


def _reached(states: np.ndarray) -> int:
    """How many rungs a run reached: all but the zeros at the end, and at least the first."""
    visited = np.flatnonzero(np.any(states != 0.0, axis=(1, 2)))
    return int(visited[-1]) + 1 if visited.size else 1
