"""What lives on a time or layer axis: grids and observations.

A grid is t_0 < … < t_{N−1}; observations are y_k ≈ h(x(t_k)) with measurement precision R_m.

This room imports nothing of deepest.
"""

from deepest.paths._grid import Grid as Grid
from deepest.paths._observations import Joined as Joined
from deepest.paths._observations import Observations as Observations
