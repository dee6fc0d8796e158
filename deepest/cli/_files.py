"""The files that a command writes: checked before anything is computed, and never half-written."""

import csv
import dataclasses
import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from deepest.cli._refuse import Refusal
from deepest.io import atomic

# A picture takes about this much; a run as much as its arrays, and a little.
_PICTURE, _SLACK = 300_000, 1_000_000


@dataclasses.dataclass(frozen=True)
class Outputs:
    """A run's NetCDF file and the pictures beside it, `run.nc` → `run_levels.png`."""

    run: Path
    pictures: tuple[Path, ...]

    @staticmethod
    def of(run: Path, pictures: Sequence[str]) -> "Outputs":
        """The file `run` and one picture for each name."""
        if run.suffix != ".nc":
            raise Refusal(f"The output is a NetCDF file, whose name ends in .nc; received {run}.")
        return Outputs(run, tuple(beside(run, name) for name in pictures))

    def check(self, *, force: bool, numbers: int) -> None:
        """Refuse unless all files can be written, the run holding about as many `numbers` of 8 bytes."""
        check((self.run, *self.pictures), force=force, size=8 * numbers + _SLACK)


def beside(run: Path, name: str, suffix: str = ".png") -> Path:
    """`run.nc` and "levels" → `run_levels.png`."""
    return run.with_name(f"{run.stem}_{name}{suffix}")


def check(paths: Sequence[Path], *, force: bool, size: int = _SLACK) -> None:
    """Refuse where a file exists (unless `force`), or its folder is missing, closed or too full for `size` bytes."""
    for library in ("matplotlib", "xarray", "h5netcdf"):
        if importlib.util.find_spec(library) is None:
            raise Refusal(f"This command needs {library}: pip install 'deepest-learning[cli]'")
    for path in paths:
        if path.is_dir():
            raise Refusal(f"{path} is a folder; give the name of a file.")
        if path.exists() and not force:
            raise Refusal(f"{path} exists already; choose another name with --output, or overwrite it with --force.")
    for folder in {path.parent for path in paths}:
        _check_folder(folder, size + _PICTURE * len(paths))


def _check_folder(folder: Path, size: int) -> None:
    if not folder.is_dir():
        raise Refusal(f"The folder {folder} does not exist; make it first, or choose another with --output.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise Refusal(f"Nothing can be written in the folder {folder}: {error.strerror}.") from error
    if free < size:
        raise Refusal(
            f"The disk is full: {folder} has {free / 1e6:.1f} MB left, and about {size / 1e6:.1f} MB are needed."
        )


def write_table(
    path: Path,
    times: Float[np.ndarray, " time"],
    columns: Float[np.ndarray, "time column"],
    components: Sequence[int],
    *,
    force: bool,
) -> None:
    """A CSV file with the columns time, x0, x1, …, named by their components; NaN is an empty cell."""
    with atomic(path, force=force) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time", *(f"x{k}" for k in components)])
        for row in np.column_stack([times, columns]).tolist():
            rows.writerow(["" if np.isnan(cell) else cell for cell in row])
