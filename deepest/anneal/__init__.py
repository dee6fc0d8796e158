"""The ladder R_f = R_f0 α^β, climbed by an ensemble of paths: one loop, its pruning rule and its result.

At small R_f the action is nearly quadratic in what is measured; raising R_f while following each minimum, over many
starting paths, finds the global minimum of the action at large R_f.

Uses `action`, `transcription`, `minimise`, `linalg`, `models`, `paths`, `ensemble`, `io`.
"""

from deepest.anneal._anneal import anneal as anneal
from deepest.anneal._anneal import resume as resume
from deepest.anneal._identify import Identifiability as Identifiability
from deepest.anneal._ladder import Ladder as Ladder
from deepest.anneal._loop import Progress as Progress
from deepest.anneal._prune import Prune as Prune
from deepest.anneal._result import Estimate as Estimate
from deepest.anneal._result import Result as Result
from deepest.anneal._result import StrongConstraint as StrongConstraint
from deepest.anneal._result import expected as expected
from deepest.anneal._result import load as load
from deepest.anneal._rung import Members as Members
from deepest.anneal._rung import climb as climb
