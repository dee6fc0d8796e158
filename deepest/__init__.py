"""deepest: machine learning and data assimilation as one variational problem."""

from typing import TYPE_CHECKING

from deepest import _lazy
from deepest import action as action
from deepest import io as io
from deepest import linalg as linalg
from deepest import minimise as minimise
from deepest import models as models
from deepest import networks as networks
from deepest import paths as paths
from deepest import transcription as transcription
from deepest import twin as twin
from deepest.action import Action as Action
from deepest.action import initial_paths as initial_paths
from deepest.anneal import Ladder as Ladder
from deepest.anneal import Prune as Prune
from deepest.anneal import Result as Result
from deepest.anneal import anneal as anneal
from deepest.anneal import climb as climb
from deepest.anneal import load as load
from deepest.anneal import resume as resume
from deepest.models import Normal as Normal
from deepest.models import Unknown as Unknown
from deepest.paths import Grid as Grid
from deepest.paths import Observations as Observations
from deepest.transcription import Euler as Euler
from deepest.transcription import HermiteSimpson as HermiteSimpson
from deepest.transcription import ImplicitMidpoint as ImplicitMidpoint
from deepest.transcription import OneStep as OneStep
from deepest.transcription import RungeKutta4 as RungeKutta4
from deepest.transcription import Trapezoid as Trapezoid

if TYPE_CHECKING:
    from deepest import plot as plot
else:
    plot = _lazy.lazy("deepest.plot", extra="plot")
