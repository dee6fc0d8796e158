"""Every method for boundary value problems, and which of them a quick test takes."""

import pytest

from deepest.boundary import Gauss, Lobatto, MultipleShooting, Obreshkov, SingleShooting

METHODS = {
    "gauss": Gauss(3),
    "lobatto": Lobatto(4),
    "obreshkov": Obreshkov(3),
    "multiple": MultipleShooting(),
    "single": SingleShooting(),
}
SLOW = [pytest.mark.slow]  # shooting takes its time to compile


def some(*quick):
    """Every method, slow but for these."""
    each = [pytest.param(m, id=name, marks=[] if name in quick else SLOW) for name, m in METHODS.items()]
    return pytest.mark.parametrize("method", each)
