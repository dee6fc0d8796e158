"""Networks as dynamical systems, the layer number as time: layers, pairs, their action, and training.

    x(l + 1) = f_l(x(l); W) + e(l + 1),   dx/dt = F(t, x; W) + e(t);   the first and the last layer are measured

Uses `minimise`, `costate`, `anneal`, `boundary`, `mechanics`, `models`, `ensemble`, `io`.
"""

from deepest.networks._action import NetworkAction as NetworkAction
from deepest.networks._boundary import BoundaryValue as BoundaryValue
from deepest.networks._climb import Climbed as Climbed
from deepest.networks._climb import climb as climb
from deepest.networks._continuous import ContinuousNetwork as ContinuousNetwork
from deepest.networks._depth import AbstractDepthField as AbstractDepthField
from deepest.networks._depth import DenseField as DenseField
from deepest.networks._depth import Elements as Elements
from deepest.networks._depth import Generated as Generated
from deepest.networks._depth import Piecewise as Piecewise
from deepest.networks._end_cost import AbstractEndCost as AbstractEndCost
from deepest.networks._end_cost import CrossEntropy as CrossEntropy
from deepest.networks._end_cost import SquaredError as SquaredError
from deepest.networks._examples import Example as Example
from deepest.networks._examples import bars as bars
from deepest.networks._examples import digits as digits
from deepest.networks._examples import digits_network as digits_network
from deepest.networks._fit import fit as fit
from deepest.networks._layers import AbstractLayer as AbstractLayer
from deepest.networks._layers import Dense as Dense
from deepest.networks._layers import Elman as Elman
from deepest.networks._layers import Recurrent as Recurrent
from deepest.networks._layers import Residual as Residual
from deepest.networks._momenta import Momenta as Momenta
from deepest.networks._momenta import momenta as momenta
from deepest.networks._network import AbstractNetwork as AbstractNetwork
from deepest.networks._network import LayerMap as LayerMap
from deepest.networks._network import perceptron as perceptron
from deepest.networks._pairs import Pairs as Pairs
from deepest.networks._plain import Score as Score
from deepest.networks._plain import plain_classifiers as plain_classifiers
from deepest.networks._roads import AbstractRoad as AbstractRoad
from deepest.networks._roads import Annealed as Annealed
from deepest.networks._roads import Descent as Descent
from deepest.networks._roads import Strong as Strong
from deepest.networks._trained import Ending as Ending
from deepest.networks._trained import History as History
from deepest.networks._trained import Trained as Trained
