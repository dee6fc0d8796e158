"""Solvers for diffrax that keep the symplectic form of Hamilton's equations, Jᵀ Ω J = Ω for every step's Jacobian J.

Separable H = T(p) + V(x): `SymplecticEuler` … `BlanesMoan6`, explicit. Any H: `ImplicitMidpoint`, `GaussLegendre`,
`LobattoIIIAB`, implicit, and `Tao`, explicit in two copies of phase space. From a Lagrangian: `Galerkin`.

Uses `mechanics`, `transcription`.
"""

from deepest.symplectic._extended import Tao as Tao
from deepest.symplectic._splitting import AbstractSeparable as AbstractSeparable
from deepest.symplectic._splitting import AbstractSplitting as AbstractSplitting
from deepest.symplectic._splitting import BlanesMoan4 as BlanesMoan4
from deepest.symplectic._splitting import BlanesMoan6 as BlanesMoan6
from deepest.symplectic._splitting import KahanLi8 as KahanLi8
from deepest.symplectic._splitting import SplittingTableau as SplittingTableau
from deepest.symplectic._splitting import StormerVerlet as StormerVerlet
from deepest.symplectic._splitting import SymplecticEuler as SymplecticEuler
from deepest.symplectic._splitting import Yoshida4 as Yoshida4
from deepest.symplectic._splitting import Yoshida6 as Yoshida6
from deepest.symplectic._stages import AbstractStages as AbstractStages
from deepest.symplectic._stages import GaussLegendre as GaussLegendre
from deepest.symplectic._stages import ImplicitMidpoint as ImplicitMidpoint
from deepest.symplectic._stages import LobattoIIIAB as LobattoIIIAB
from deepest.symplectic._variational import Galerkin as Galerkin
from deepest.transcription import PartitionedTableau as PartitionedTableau
