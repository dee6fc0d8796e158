"""Images that other libraries bring."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from deepest import _lazy

if TYPE_CHECKING:
    from deepest.io import _scikit
else:
    _scikit = _lazy.lazy("deepest.io._scikit", extra="data")


def read_digits() -> tuple[Float[np.ndarray, "image pixel"], Int[np.ndarray, " image"]]:
    """Scikit-learn's 1797 images of handwritten digits (1797, 64), 8 × 8 pixels from 0 to 1, and their labels (1797,).

    They come with scikit-learn, the extra `data`; nothing is downloaded. `ImportError` says what to install where it
    is missing. Source: [alpaydin1998].
    """
    pixels, labels = _scikit.digits()
    return np.asarray(pixels, float) / 16.0, np.asarray(labels, int)
