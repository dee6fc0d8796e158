"""Backpropagation as mechanics: the costate p = −∂C/∂x of a layer, a step, a solve, and adjoints for diffrax from it.

    p_n = Df(x_n)ᵀ p_{n+1},   ∂C/∂W_n = −p_{n+1} · ∂f/∂W;   continuous layers: dp/dt = −DFᵀ p

Uses `symplectic`.
"""

from deepest.costate._adjoint import AbstractGridAdjoint as AbstractGridAdjoint
from deepest.costate._reversible import ReversibleAdjoint as ReversibleAdjoint
from deepest.costate._sweep import Sweep as Sweep
from deepest.costate._sweep import explicit_step as explicit_step
from deepest.costate._sweep import sweep as sweep
from deepest.costate._sweep import sweep_flow as sweep_flow
from deepest.costate._symplectic import SymplecticAdjoint as SymplecticAdjoint
