"""Pictures: action levels along the ladder, estimated paths with their data, parameters, what networks learned, and
how many measurements are needed.

    2A/n against R_f/R_m;   x(t) beside y;   θ against R_f/R_m;   errors against stages;   success against L

Every function takes `ax` and returns it, or makes a figure of its own; colours are those of the style in force.

Uses `anneal`, `networks`, `minimise`, `paths`, `io`; needs the extra `plot`.
"""

from deepest.plot._ladder import action_levels as action_levels
from deepest.plot._ladder import parameters as parameters
from deepest.plot._learning import learning as learning
from deepest.plot._measurements import measurements as measurements
from deepest.plot._path import path as path
from deepest.plot._save import save as save
from deepest.plot._sloppy import identifiability as identifiability
from deepest.plot._training import training as training
