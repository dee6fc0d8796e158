from deepest import action, linalg, minimise, models, paths, transcription
from deepest.action import Action
from deepest.models import Unknown
from deepest.paths import Observations, Grid
from deepest.transcription import *
