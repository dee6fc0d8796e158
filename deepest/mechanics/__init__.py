"""The action as mechanics: momentum, energy, Legendre's transform, symmetries. No solver, no grid.

    p = ∂𝓛/∂v,   d/dt ∂𝓛/∂v = ∂𝓛/∂x,   H = p · v − 𝓛,   dx/dt = ∂H/∂p,   dp/dt = −∂H/∂x

Uses `paths`.
"""

from deepest.mechanics._hamiltonian import Hamiltonian as Hamiltonian
from deepest.mechanics._hamiltonian import InverseLegendre as InverseLegendre
from deepest.mechanics._hamiltonian import Legendre as Legendre
from deepest.mechanics._hamiltonian import hamilton as hamilton
from deepest.mechanics._hamiltonian import poisson_bracket as poisson_bracket
from deepest.mechanics._hamiltonian import symplectic_defect as symplectic_defect
from deepest.mechanics._hamiltonian import symplectic_form as symplectic_form
from deepest.mechanics._hamiltonian import velocity as velocity
from deepest.mechanics._lagrangian import AbstractLagrangian as AbstractLagrangian
from deepest.mechanics._lagrangian import Lagrangian as Lagrangian
from deepest.mechanics._lagrangian import Quadratic as Quadratic
from deepest.mechanics._lagrangian import acceleration as acceleration
from deepest.mechanics._lagrangian import energy as energy
from deepest.mechanics._lagrangian import mass as mass
from deepest.mechanics._lagrangian import momentum as momentum
from deepest.mechanics._lagrangian import residual as residual
from deepest.mechanics._model_error import ModelError as ModelError
from deepest.mechanics._model_error import Tracking as Tracking
from deepest.mechanics._noether import Symmetry as Symmetry
from deepest.mechanics._noether import noether as noether
from deepest.mechanics._noether import variation as variation
from deepest.mechanics._terms import euler_lagrange_term as euler_lagrange_term
from deepest.mechanics._terms import hamilton_term as hamilton_term
from deepest.mechanics._terms import separable_terms as separable_terms
