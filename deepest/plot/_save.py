"""Pictures into files."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepest.io import atomic


def save(
    figure: Figure | Axes | np.ndarray, path: str | os.PathLike[str], *, force: bool = False, dots: float = 150.0
) -> None:
    """Write a figure to a file whose suffix says the format (.png, .pdf, .svg), `dots` per inch where that is pixels.

    `figure` may also be what a picture returned, an Axes or an array of Axes (P,). The file is whole or absent. Raises
    `FileExistsError` where `path` exists, unless `force`; `ValueError` for a format that matplotlib does not know;
    `OSError` in one sentence where it cannot be written.
    """
    drawn = np.atleast_1d(np.asarray(figure, dtype=object)).ravel()[0]
    drawn = drawn if isinstance(drawn, Figure) else drawn.figure
    with atomic(path, force=force) as temporary:
        drawn.savefig(temporary, dpi=dots)
