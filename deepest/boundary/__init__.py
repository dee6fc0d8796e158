"""Two-point boundary value problems: the path of least action between conditions at both ends, and first-order systems.

    dy/dt = f(t, y, q),   g(y(t_0), y(t_1), q) = 0;   for a Lagrangian y = (x, p), dx/dt = ∂H/∂p, dp/dt = −∂H/∂x

`solve(problem, boundary, method, guess)`: a problem is `Variational` or a `System`; a boundary `natural`, `fixed`,
`end_costs`, `mixed`, `Periodic` or `Conditions`; a method `Gauss`, `Lobatto`, `Obreshkov`, `MultipleShooting`,
`SingleShooting`, or `Annealed` around one of them.

Uses `mechanics`, `models`, `linalg`, `transcription`.
"""

from deepest.boundary._collocation import AbstractCollocation as AbstractCollocation
from deepest.boundary._conditions import AbstractBoundary as AbstractBoundary
from deepest.boundary._conditions import Conditions as Conditions
from deepest.boundary._conditions import Ends as Ends
from deepest.boundary._conditions import Periodic as Periodic
from deepest.boundary._conditions import end_costs as end_costs
from deepest.boundary._conditions import fixed as fixed
from deepest.boundary._conditions import mixed as mixed
from deepest.boundary._conditions import natural as natural
from deepest.boundary._method import AbstractMethod as AbstractMethod
from deepest.boundary._method import Annealed as Annealed
from deepest.boundary._obreshkov import Obreshkov as Obreshkov
from deepest.boundary._problem import AbstractProblem as AbstractProblem
from deepest.boundary._problem import System as System
from deepest.boundary._problem import Variational as Variational
from deepest.boundary._refine import Refine as Refine
from deepest.boundary._shooting import AbstractShooting as AbstractShooting
from deepest.boundary._shooting import MultipleShooting as MultipleShooting
from deepest.boundary._shooting import SingleShooting as SingleShooting
from deepest.boundary._solution import Guess as Guess
from deepest.boundary._solution import Solution as Solution
from deepest.boundary._solve import solve as solve
from deepest.boundary._staged import Gauss as Gauss
from deepest.boundary._staged import Lobatto as Lobatto
from deepest.boundary._status import Status as Status
