"""Synthetic experiments: simulate a truth, observe part of it, estimate it back, and score what was found.

    truth → observations → action → annealing → path, parameters and forecast beside the truth

The yardstick is the level of the path that starts at the truth: who reaches it has found the global minimum.

`measurements` asks how many components have to be measured, and which, for that.

For networks the truth is a network, and what is predicted stands beside what a constant and a linear map predict.

Uses `anneal`, `networks`, `minimise`, `action`, `transcription`, `models`, `paths`, `io`.
"""

from deepest.twin._archive import Truth as Truth
from deepest.twin._archive import load_truth as load_truth
from deepest.twin._driven import chaotic_current as chaotic_current
from deepest.twin._driven import neuron as neuron
from deepest.twin._driven import rich_neuron as rich_neuron
from deepest.twin._driven import shallow_water as shallow_water
from deepest.twin._driven import sir as sir
from deepest.twin._driven import two_compartments as two_compartments
from deepest.twin._finer import Finer as Finer
from deepest.twin._finer import TanhField as TanhField
from deepest.twin._finer import finer as finer
from deepest.twin._learned import Baselines as Baselines
from deepest.twin._learned import Learned as Learned
from deepest.twin._learned import learn as learn
from deepest.twin._measurements import Measurements as Measurements
from deepest.twin._measurements import check_sets as check_sets
from deepest.twin._measurements import component_sets as component_sets
from deepest.twin._measurements import measurements as measurements
from deepest.twin._outcome import Outcome as Outcome
from deepest.twin._outcome import Skill as Skill
from deepest.twin._outcome import median_interval as median_interval
from deepest.twin._outcome import success as success
from deepest.twin._outcome import wilson as wilson
from deepest.twin._perceptron import PerceptronSetting as PerceptronSetting
from deepest.twin._perceptron import PerceptronTwin as PerceptronTwin
from deepest.twin._perceptron import perceptron as perceptron
from deepest.twin._perceptron import preserving as preserving
from deepest.twin._run import repeat as repeat
from deepest.twin._run import run as run
from deepest.twin._run import yardstick as yardstick
from deepest.twin._settings import Setting as Setting
from deepest.twin._settings import colpitts as colpitts
from deepest.twin._settings import fitzhugh_nagumo as fitzhugh_nagumo
from deepest.twin._settings import kuramoto_sivashinsky as kuramoto_sivashinsky
from deepest.twin._settings import lorenz63 as lorenz63
from deepest.twin._settings import lorenz96 as lorenz96
from deepest.twin._settings import lotka_volterra as lotka_volterra
from deepest.twin._settings import two_scale_lorenz96 as two_scale_lorenz96
from deepest.twin._simulate import Climate as Climate
from deepest.twin._simulate import Twin as Twin
from deepest.twin._simulate import simulate as simulate
