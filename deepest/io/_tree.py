"""Groups of named arrays to and from one NetCDF-4 file."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deepest import _lazy
from deepest.io._files import atomic, readable

if TYPE_CHECKING:
    from deepest.io import _netcdf
else:
    _netcdf = _lazy.lazy("deepest.io._netcdf", extra="io")

Variable = tuple[tuple[str, ...], np.ndarray, dict[str, Any]]
Groups = dict[str, dict[str, Variable]]


def write_tree(
    path: str | os.PathLike[str],
    groups: Mapping[str, Mapping[str, tuple]],
    attributes: Mapping[str, Any],
    *,
    force: bool = False,
) -> None:
    """Write groups of arrays as one NetCDF-4 file that `xarray.open_datatree` reads.

    `groups` is {group: {variable: (dims, array, attributes)}} with one name in `dims` an axis of the array, of any
    shape: (), (N,), (N, D), …. A one-dimensional variable named like its dimension is that dimension's coordinate.
    `attributes` are those of the file. The file is composed in memory and appears under `path` only when it is whole.

    Raises `FileExistsError` where `path` exists, unless `force`; `OSError` in one sentence where the disk is full or
    the folder is missing or closed; `ImportError` without the extra `io`.
    """
    with atomic(path, force=force) as temporary:
        # Composed in memory: HDF5 writing to a disk that fills up has been seen to crash the process.
        content = _netcdf.encode(groups, attributes)
        with open(temporary, "wb") as file:
            file.write(content)


def read_tree(path: str | os.PathLike[str]) -> tuple[Groups, dict[str, Any]]:
    """Groups {group: {variable: (dims, array, attributes)}} and attributes of a NetCDF-4 file, all of it in memory.

    The inverse of `write_tree`; arrays are the same to the bit, of any shape: (), (N,), (N, D), ….
    Raises `ValueError` that names the file where it is missing, not NetCDF-4, or damaged.
    """
    readable(path)
    return _netcdf.decode(path)
