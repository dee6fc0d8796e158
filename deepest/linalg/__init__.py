"""Bordered block-tridiagonal systems, and the staircases of boundary value problems: factor, solve, log-determinant.

A path problem has one symmetric matrix: blocks of one size along the nodes of a chain, each coupled to
its two neighbours, interior blocks that belong to one interval, and a border for unknowns
shared by all nodes,

    H = [[T, B], [Bᵀ, C]],   T block tridiagonal after the interior blocks are eliminated.

This room knows nothing of paths, models or data, and imports nothing of deepest.
"""

from deepest.linalg._bordered import BlockVector as BlockVector
from deepest.linalg._bordered import BorderedTridiagonal as BorderedTridiagonal
from deepest.linalg._bordered import dot as dot
from deepest.linalg._choose import choose_kernel as choose_kernel
from deepest.linalg._kernel import AbstractFactor as AbstractFactor
from deepest.linalg._kernel import AbstractKernel as AbstractKernel
from deepest.linalg._lanes import Lanes as Lanes
from deepest.linalg._layout import AbstractLayout as AbstractLayout
from deepest.linalg._layout import Leading as Leading
from deepest.linalg._layout import Trailing as Trailing
from deepest.linalg._root import inverse_root as inverse_root
from deepest.linalg._saddle import Equations as Equations
from deepest.linalg._saddle import Saddle as Saddle
from deepest.linalg._staircase import Rows as Rows
from deepest.linalg._staircase import Staircase as Staircase
from deepest.linalg._staircase import StaircaseFactor as StaircaseFactor
from deepest.linalg._sweep import Sweep as Sweep
