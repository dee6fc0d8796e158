"""Vector fields to estimate, and `Unknown` for what is not known in them.

A model is any callable `dx/dt = F(t, x, args)`, diffrax's order: an Equinox module or a plain function.
Write what you know as numbers and put `Unknown(lower, upper)` where you do not. `integrate` runs a model forward;
`lyapunov_exponents` and `conditional_exponents` say how fast it forgets its start, alone and driven by measurements.

This room imports nothing of deepest.
"""

from deepest.models._estimable import Estimable as Estimable
from deepest.models._fields import KuramotoSivashinsky as KuramotoSivashinsky
from deepest.models._fields import ShallowWater as ShallowWater
from deepest.models._fields import TwoScaleLorenz96 as TwoScaleLorenz96
from deepest.models._integrate import integrate as integrate
from deepest.models._lorenz import Lorenz63 as Lorenz63
from deepest.models._lorenz import Lorenz96 as Lorenz96
from deepest.models._lyapunov import conditional_exponents as conditional_exponents
from deepest.models._lyapunov import lyapunov_exponents as lyapunov_exponents
from deepest.models._neuron import Channel as Channel
from deepest.models._neuron import Compartments as Compartments
from deepest.models._neuron import Gate as Gate
from deepest.models._neuron import Neuron as Neuron
from deepest.models._neuron import nakl as nakl
from deepest.models._neuron import nakl_a_ca_h as nakl_a_ca_h
from deepest.models._neuron import soma_and_dendrite as soma_and_dendrite
from deepest.models._oscillators import SIR as SIR
from deepest.models._oscillators import Colpitts as Colpitts
from deepest.models._oscillators import FitzHughNagumo as FitzHughNagumo
from deepest.models._oscillators import LotkaVolterra as LotkaVolterra
from deepest.models._spikes import coincidence as coincidence
from deepest.models._spikes import spike_times as spike_times
from deepest.models._stimulus import Stimulus as Stimulus
from deepest.models._unknown import Normal as Normal
from deepest.models._unknown import Unknown as Unknown
from deepest.models._unknown import unknown_weights as unknown_weights
