"""Which kernel for which block size."""

from deepest.linalg._kernel import AbstractKernel
from deepest.linalg._lanes import Lanes
from deepest.linalg._sweep import Sweep

# Blocks up to this size are faster in vector lanes, larger ones in one LAPACK call each.
_SMALL = 8


def choose_kernel(size: int) -> AbstractKernel:
    """The faster kernel for a state of `size` components on a CPU: `Lanes` up to 8, `Sweep` beyond."""
    return Lanes() if size <= _SMALL else Sweep()
