"""Minimisers of a cost whose Hessian is bordered block tridiagonal.

    z ← z + d,   (H + λ S) d = −g,   lower ≤ z ≤ upper

with H Gauss–Newton's or the exact Hessian. A minimiser sees blocks, never data.

Uses `linalg`.
"""

from deepest.minimise._box import Box as Box
from deepest.minimise._damped import DampedNewton as DampedNewton
from deepest.minimise._first_order import LBFGS as LBFGS
from deepest.minimise._first_order import scipy_lbfgsb as scipy_lbfgsb
from deepest.minimise._form import AbstractForm as AbstractForm
from deepest.minimise._form import Penalty as Penalty
from deepest.minimise._form import PrimalDual as PrimalDual
from deepest.minimise._implicit import implicit as implicit
from deepest.minimise._problem import AbstractBlockProblem as AbstractBlockProblem
from deepest.minimise._problem import AbstractConstrainedProblem as AbstractConstrainedProblem
from deepest.minimise._problem import AbstractMinimiser as AbstractMinimiser
from deepest.minimise._problem import Constrained as Constrained
from deepest.minimise._problem import Quadratic as Quadratic
from deepest.minimise._problem import Solution as Solution
from deepest.minimise._status import Status as Status
