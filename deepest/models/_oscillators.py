"""Small models of oscillations: excitable cells, circuits, populations, epidemics."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepest.models._stimulus import as_drive, given
from deepest.models._unknown import as_parameter

Parameter = Any


class FitzHughNagumo(eqx.Module):
    """An excitable cell.

        dv/dt = v − v³/3 − w + I(t),   dw/dt = (v + a − b w)/τ

    State (v, w), dimensionless, as is time. `a`, `b`, `tau` are numbers or `Unknown`s; `current` I may also be a
    function of t, such as a `Stimulus`. Source: [fitzhugh1961].
    """

    a: Parameter = eqx.field(converter=as_parameter, default=0.7)
    b: Parameter = eqx.field(converter=as_parameter, default=0.8)
    tau: Parameter = eqx.field(converter=as_parameter, default=12.5)
    current: Any = eqx.field(converter=as_drive, default=0.5)
    dimension: int = eqx.field(static=True, default=2, init=False)

    def __call__(self, t: Float[Array, ""], x: Float[Array, "2"], args: Any) -> Float[Array, "2"]:
        del args
        v, w = x[0], x[1]
        return jnp.stack([v - v**3 / 3.0 - w + given(self.current, t), (v + self.a - self.b * w) / self.tau])


class Colpitts(eqx.Module):
    """A transistor oscillator, chaotic at its default values, which are a usual choice.

        dx/dt = α y,   dy/dt = −γ (x + z) − q y,   dz/dt = η (y + 1 − e^{−x})

    State (x, y, z), dimensionless, as are time and the parameters, numbers or `Unknown`s. Source: [quinn2009].
    """

    alpha: Parameter = eqx.field(converter=as_parameter, default=5.0)
    gamma: Parameter = eqx.field(converter=as_parameter, default=0.08)
    q: Parameter = eqx.field(converter=as_parameter, default=0.7)
    eta: Parameter = eqx.field(converter=as_parameter, default=6.3)
    dimension: int = eqx.field(static=True, default=3, init=False)

    def __call__(self, t: Float[Array, ""], x: Float[Array, "3"], args: Any) -> Float[Array, "3"]:
        del t, args
        a, b, c = x[0], x[1], x[2]
        return jnp.stack([self.alpha * b, -self.gamma * (a + c) - self.q * b, self.eta * (b + 1.0 - jnp.exp(-a))])


class LotkaVolterra(eqx.Module):
    """Prey x and predators y.

        dx/dt = x (growth − predation · y),   dy/dt = y (gain · x − death)

    State (x, y) in animals (or thousands of them) and time in years; `growth` and `death` per year, `predation` and
    `gain` per year and animal; numbers or `Unknown`s. Source: [murray2002], section 3.1.
    """

    growth: Parameter = eqx.field(converter=as_parameter, default=0.55)
    predation: Parameter = eqx.field(converter=as_parameter, default=0.028)
    gain: Parameter = eqx.field(converter=as_parameter, default=0.024)
    death: Parameter = eqx.field(converter=as_parameter, default=0.84)
    dimension: int = eqx.field(static=True, default=2, init=False)

    def __call__(self, t: Float[Array, ""], x: Float[Array, "2"], args: Any) -> Float[Array, "2"]:
        del t, args
        prey, predators = x[0], x[1]
        rate = self.growth - self.predation * predators
        return jnp.stack([prey * rate, predators * (self.gain * prey - self.death)])


class SIR(eqx.Module):
    """An epidemic: parts of a population that are susceptible, infected, removed.

        dS/dt = −contact · S I,   dI/dt = contact · S I − recovery · I,   dR/dt = recovery · I

    State (S, I, R) with S + I + R = 1, time in days, both rates per day; numbers or `Unknown`s.
    Source: [murray2002], section 10.2.
    """

    contact: Parameter = eqx.field(converter=as_parameter, default=0.4)
    recovery: Parameter = eqx.field(converter=as_parameter, default=0.1)
    dimension: int = eqx.field(static=True, default=3, init=False)

    def __call__(self, t: Float[Array, ""], x: Float[Array, "3"], args: Any) -> Float[Array, "3"]:
        del t, args
        infected, removed = self.contact * x[0] * x[1], self.recovery * x[1]
        return jnp.stack([-infected, infected - removed, removed])
