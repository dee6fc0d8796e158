"""What scikit-learn does for this room; loaded on first use, because it is optional and slow to import."""

import numpy as np
from sklearn import datasets


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 64) with pixels 0 … 16, and labels (1797,)."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    return np.asarray(pixels), np.asarray(labels)
