"""What xarray and h5netcdf do for this room; loaded on first use, because they are optional and slow to import."""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import h5netcdf  # noqa: F401  (xarray's engine: missed here, where the sentence about it is made)
import numpy as np
import xarray as xr

from deepest.io._files import readable

_ENGINE = "h5netcdf"
# Times stay the numbers that they are: deepest's time has the model's units.
_PLAIN = {"engine": _ENGINE, "decode_times": False, "decode_timedelta": False}


def encode(groups: Mapping[str, Mapping[str, tuple]], attributes: Mapping[str, Any]) -> memoryview:
    """A NetCDF-4 file of groups of arrays, in memory."""
    tree = xr.DataTree.from_dict({name: _dataset(variables) for name, variables in groups.items()})
    tree.attrs = dict(attributes)
    return cast(memoryview, tree.to_netcdf(engine=_ENGINE))


def _dataset(variables: Mapping[str, tuple]) -> xr.Dataset:
    return xr.Dataset({name: _variable(*variable) for name, variable in variables.items()})


def _variable(dims: tuple[str, ...], array: np.ndarray, attributes: Mapping[str, Any]) -> xr.Variable:
    array = np.asarray(array)
    # Without a fill value NaN is a number like others, and what is read is what was written.
    return xr.Variable(dims, array, attributes, encoding={"_FillValue": None} if array.dtype.kind == "f" else {})


def decode(path: str | os.PathLike[str]) -> tuple[dict[str, dict[str, tuple]], dict[str, Any]]:
    """The inverse of `encode`, from a file."""
    tree = _whole(path, lambda: _loaded(xr.open_datatree(path, **_PLAIN)))
    groups = {
        node.path.strip("/"): {
            str(name): (variable.dims, variable.values, dict(variable.attrs))
            for name, variable in node.to_dataset(inherit=False).variables.items()
        }
        for node in tree.subtree
    }
    groups = {name: variables for name, variables in groups.items() if name or variables}
    return groups, dict(tree.attrs)


def _loaded(opened):
    with opened:
        return opened.load()


def _whole(path, read: Callable[[], Any]) -> Any:
    if readable(path).startswith(b"CDF"):
        raise ValueError(f"{path} is a NetCDF-3 file; convert it to NetCDF-4 with nccopy -k netCDF-4.")
    try:
        return read()
    except MemoryError:
        raise
    except Exception as error:  # HDF5 and what stands on it raise almost anything on a damaged file
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a NetCDF-4 file, or is damaged: {reason}.") from error


def columns(path: str | os.PathLike[str], time: str | None) -> tuple[str, dict[str, Callable[[], np.ndarray]]]:
    """Name of the time coordinate, and every column along it: variables (time,), and (time, component) cut into its
    columns `name[label]`."""
    data = _whole(path, lambda: _loaded(xr.open_dataset(path, **_PLAIN)))
    time = _time(path, data, time)
    axis = data[time].dims[0]
    found = {time: partial(_numbers, path, time, data[time].variable)}
    for name, variable in data.variables.items():
        if name != time and axis in variable.dims:
            found |= {column: partial(_numbers, path, name, part) for column, part in _cut(data, str(name), axis)}
    return time, found


def _cut(data: xr.Dataset, name: str, axis: Hashable) -> Iterator[tuple[str, xr.Variable]]:
    """The columns of one variable; none of a variable with more than two axes."""
    variable = data[name].variable
    if variable.ndim == 1:
        yield name, variable
    if variable.ndim == 2:
        across = next(dim for dim in variable.dims if dim != axis)
        labels = data[across].values.tolist() if across in data.coords else range(variable.sizes[across])
        for k, label in enumerate(labels):
            yield f"{name}[{label}]", variable.isel({across: k})


def _time(path, data: xr.Dataset, time: str | None) -> str:
    vectors = [str(name) for name, variable in data.variables.items() if variable.ndim == 1]
    coordinates = [name for name in vectors if data[name].dims == (name,)]
    named = [name for name in (*coordinates, *vectors) if name == time or (not time and name.lower() in ("time", "t"))]
    if named:
        return named[0]
    if time is None and len(coordinates) == 1:
        return coordinates[0]
    listed = ", ".join(vectors) or "none"
    wanted = f'called "{time}"' if time else "called time or t; name it with time="
    raise ValueError(f"{path} has no time column: none of its one-dimensional variables ({listed}) is {wanted}.")


def _numbers(path, name: Hashable, variable: xr.Variable) -> np.ndarray:
    if variable.dtype.kind not in "biuf":
        raise ValueError(f'{path}, variable "{name}": expected numbers, received {variable.dtype}.')
    return np.asarray(variable.values, float)
