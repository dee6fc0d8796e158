"""The action: −log posterior of a path and parameters given data.

    A(X, θ) = Σ_k ½ (h(x(t_k)) − y_k)ᵀ R_m (h(x(t_k)) − y_k) + Σ_n ½ c_nᵀ R_f c_n + prior terms

Uses `transcription`, `minimise`, `models`, `paths`, `linalg`.
"""

from deepest.action._action import Action as Action
from deepest.action._conventions import Axes as Axes
from deepest.action._conventions import minaone as minaone
from deepest.action._conventions import varanneal as varanneal
from deepest.action._following import following_paths as following_paths
from deepest.action._problem import PathAction as PathAction
from deepest.action._starts import initial_paths as initial_paths
