"""Two models of measured series: the sunspot cycle, and carbon dioxide on Mauna Loa."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from deepest.models import Unknown

Parameter = Any


class SunspotCycle(eqx.Module):
    """An oscillator of van der Pol's kind about `centre`, which rises faster than it falls.

        dx/dt = y,   dy/dt = μ (1 − (u/a)²) y − ω² u (1 + κ u),   u = x − c

    State: x, the root of the yearly number, and its rate a year. Parameters are numbers or `Unknown`s.
    """

    centre: Parameter
    width: Parameter
    growth: Parameter
    frequency: Parameter
    skew: Parameter
    dimension: int = eqx.field(static=True, default=2, init=False)

    def __call__(self, t, x, args):
        u = x[0] - self.centre
        push = self.growth * (1.0 - (u / self.width) ** 2) * x[1]
        return jnp.stack([x[1], push - self.frequency**2 * u * (1.0 + self.skew * u)])


class CarbonDioxide(eqx.Module):
    """A level that rises at a rate which itself grows, and a season of two harmonics; linear.

        dC/dt = r + p₁ + p₂,   dr/dt = a,   dp_k/dt = −2πk q_k,   dq_k/dt = 2πk p_k

    State: C in ppm, r in ppm a year, and p₁, q₁, p₂, q₂ likewise; time in years.
    """

    acceleration: Parameter = Unknown(-0.2, 0.2)
    dimension: int = eqx.field(static=True, default=6, init=False)

    def __call__(self, t, x, args):
        w = 2.0 * jnp.pi
        level = x[1] + x[2] + x[4]
        return jnp.stack([level, self.acceleration, -w * x[3], w * x[2], -2.0 * w * x[5], 2.0 * w * x[4]])
