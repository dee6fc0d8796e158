"""How dx/dt = F becomes a defect c_n = 0 on each interval of a grid.

Every transcription gives the defects of a path, their weighted sum of squares ½ Σ c_nᵀ R_f c_n, and its gradient
and Gauss–Newton or exact second-order blocks, which couple the two ends and the interior of one interval only.

Uses `linalg`.
"""

from deepest.transcription._assemble import add_points as add_points
from deepest.transcription._base import AbstractTranscription as AbstractTranscription
from deepest.transcription._base import PathProblem as PathProblem
from deepest.transcription._base import Weight as Weight
from deepest.transcription._base import energy as energy
from deepest.transcription._base import points as points
from deepest.transcription._base import unpoints as unpoints
from deepest.transcription._collocation import AbstractCollocation as AbstractCollocation
from deepest.transcription._collocation import CollocationTableau as CollocationTableau
from deepest.transcription._collocation import Euler as Euler
from deepest.transcription._collocation import HermiteSimpson as HermiteSimpson
from deepest.transcription._collocation import Trapezoid as Trapezoid
from deepest.transcription._interval import ImplicitMidpoint as ImplicitMidpoint
from deepest.transcription._interval import OneStep as OneStep
from deepest.transcription._interval import RungeKutta4 as RungeKutta4
from deepest.transcription._stages import PartitionedTableau as PartitionedTableau
from deepest.transcription._stages import gauss_nodes as gauss_nodes
from deepest.transcription._stages import lagrange as lagrange
from deepest.transcription._stages import lobatto_nodes as lobatto_nodes
