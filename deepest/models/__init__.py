"""Vector fields to estimate, and `Unknown` for what is not known in them.

A model is any callable `dx/dt = F(t, x, args)`, diffrax's order: an Equinox module or a plain function.
Write what you know as numbers and put `Unknown(lower, upper)` where you do not.

This room imports nothing of deepest.
"""

from deepest.models._integrate import integrate as integrate
from deepest.models._lorenz import Lorenz63 as Lorenz63
from deepest.models._lorenz import Lorenz96 as Lorenz96
from deepest.models._unknown import Estimable as Estimable
from deepest.models._unknown import Normal as Normal
from deepest.models._unknown import Unknown as Unknown
from deepest.models._unknown import unknown_weights as unknown_weights
