"""Minimisers of a cost whose Hessian has structure: bordered block tridiagonal, or weights shared by many samples.

    z ← z + d,   (H + λ S) d = −g,   lower ≤ z ≤ upper

with H Gauss–Newton's or the exact Hessian. A minimiser sees blocks and maps, never data.

Uses `linalg`.
"""

from deepest.minimise._box import Box as Box
from deepest.minimise._conjugate import Conjugate as Conjugate
from deepest.minimise._damped import DampedNewton as DampedNewton
from deepest.minimise._first_order import LBFGS as LBFGS
from deepest.minimise._first_order import scipy_lbfgsb as scipy_lbfgsb
from deepest.minimise._forced import AbstractForcedProblem as AbstractForcedProblem
from deepest.minimise._forced import EndCost as EndCost
from deepest.minimise._forced import Joint as Joint
from deepest.minimise._forced import Samples as Samples
from deepest.minimise._forced import stiffness as stiffness
from deepest.minimise._form import AbstractForm as AbstractForm
from deepest.minimise._form import Penalty as Penalty
from deepest.minimise._form import PrimalDual as PrimalDual
from deepest.minimise._implicit import implicit as implicit
from deepest.minimise._implicit import precision as precision
from deepest.minimise._problem import AbstractBlockProblem as AbstractBlockProblem
from deepest.minimise._problem import AbstractConstrainedProblem as AbstractConstrainedProblem
from deepest.minimise._problem import AbstractMinimiser as AbstractMinimiser
from deepest.minimise._problem import AbstractProblem as AbstractProblem
from deepest.minimise._problem import Constrained as Constrained
from deepest.minimise._problem import Quadratic as Quadratic
from deepest.minimise._problem import Solution as Solution
from deepest.minimise._representers import Representers as Representers
from deepest.minimise._status import Status as Status
