"""Neurons by Hodgkin and Huxley, put together from channels."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from deepest.models._stimulus import as_drive, given
from deepest.models._unknown import Unknown, as_parameter

Parameter = Any


class Gate(eqx.Module):
    """A gate x that opens with the voltage: dx/dt = (x∞(V) − x)/τ(V), dimensionless.

        x∞ = ½ (1 + tanh u),   τ = τ_0 + τ_1 (1 − tanh² u),   u = (V − half)/width

    `half` and `width` in mV; a negative width makes a gate that closes. `fastest` τ_0 and `slower` τ_1 in ms. x^power
    enters the conductance. All but the power are numbers or `Unknown`s. Source: [toth2011].
    """

    half: Parameter = eqx.field(converter=as_parameter)
    width: Parameter = eqx.field(converter=as_parameter)
    fastest: Parameter = eqx.field(converter=as_parameter)
    slower: Parameter = eqx.field(converter=as_parameter)
    power: int = eqx.field(static=True, default=1)

    def settled(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """x∞ at voltages V in mV."""
        return 0.5 * (1.0 + jnp.tanh((v - self.half) / self.width))

    def rate(self, v: Float[Array, ""], x: Float[Array, ""]) -> Float[Array, ""]:
        """dx/dt per ms."""
        away = 1.0 - jnp.tanh((v - self.half) / self.width) ** 2
        return (self.settled(v) - x) / (self.fastest + self.slower * away)


class Channel(eqx.Module):
    """A current g · Π x^power · (E − V) into the cell, in µA/cm².

    `conductance` g in mS/cm² and `reversal` E in mV, numbers or `Unknown`s; `gates` by name, in the order of their
    states; none for a leak.
    """

    conductance: Parameter = eqx.field(converter=as_parameter)
    reversal: Parameter = eqx.field(converter=as_parameter)
    gates: Mapping[str, Gate] = eqx.field(converter=OrderedDict, default_factory=OrderedDict)

    def current(self, v: Float[Array, ""], x: Float[Array, " gate"]) -> Float[Array, ""]:
        """µA/cm² at the voltage V and the gates' states x."""
        flow = self.conductance * (self.reversal - v)
        for state, gate in zip(x, self.gates.values(), strict=True):
            flow = flow * state**gate.power
        return flow


class Neuron(eqx.Module):
    """C dV/dt = I(t) + Σ currents of the channels, and the equations of their gates.

    State (1 + gates,): the voltage V in mV, then the gates of every channel in the order given; `states` has their
    names. Time in ms. `channels` by name; `current` I in µA/cm²: a number, an `Unknown`, or a function of t such as a
    `Stimulus`; `capacitance` C in µF/cm². Of several compartments see `Compartments`.

    A channel of one's own is a `Channel` with other gates. Anything with `gates` and `current(v, x)` serves.
    """

    channels: Mapping[str, Channel]
    current: Any
    capacitance: Parameter
    dimension: int = eqx.field(static=True)

    def __init__(
        self,
        channels: Mapping[str, Channel],
        current: ArrayLike | Unknown | Callable = 0.0,
        *,
        capacitance: ArrayLike | Unknown = 1.0,
    ):
        # An OrderedDict is a tree in the order given; a dict would be one in the order of its keys.
        self.channels = OrderedDict(channels)
        self.current = as_drive(current)
        self.capacitance = as_parameter(capacitance)
        self.dimension = 1 + sum(len(channel.gates) for channel in self.channels.values())

    @property
    def states(self) -> tuple[str, ...]:
        """V, and the names of the gates, as `Na.m`."""
        return "V", *(f"{name}.{gate}" for name, channel in self.channels.items() for gate in channel.gates)

    def settled(self, v: Float[ArrayLike, ""]) -> Float[Array, " state"]:
        """The state at a voltage that was held for long."""
        v = jnp.asarray(v, jnp.result_type(float))
        gates = [gate.settled(v) for channel in self.channels.values() for gate in channel.gates.values()]
        return jnp.stack([v, *gates])

    def __call__(self, t: Float[Array, ""], x: Float[Array, " state"], args: Any) -> Float[Array, " state"]:
        del args
        v, gates, flow, rates = x[0], x[1:], given(self.current, t), []
        for channel in self.channels.values():
            own, gates = gates[: len(channel.gates)], gates[len(channel.gates) :]
            flow = flow + channel.current(v, own)
            rates += [gate.rate(v, state) for gate, state in zip(channel.gates.values(), own, strict=True)]
        return jnp.stack([flow / self.capacitance, *rates])


class Compartments(eqx.Module):
    """A soma and a dendrite, two `Neuron`s that a conductance G joins: G (V_d − V_s)/share flows into the soma, and
    G (V_s − V_d)/(1 − share) into the dendrite, per area of each.

    `coupling` G in mS/cm² of the whole cell and `share`, the soma's part of its area, are numbers or `Unknown`s.
    State: the soma's, then the dendrite's.
    """

    soma: Neuron
    dendrite: Neuron
    coupling: Parameter = eqx.field(converter=as_parameter)
    share: Parameter = eqx.field(converter=as_parameter, default=0.5)

    @property
    def dimension(self) -> int:
        """Of both together."""
        return self.soma.dimension + self.dendrite.dimension

    @property
    def states(self) -> tuple[str, ...]:
        """Names, as `soma.V` and `dendrite.Ca.s`."""
        parts = {"soma": self.soma, "dendrite": self.dendrite}
        return tuple(f"{name}.{state}" for name, part in parts.items() for state in part.states)

    def settled(self, v: Float[ArrayLike, ""]) -> Float[Array, " state"]:
        """The state at a voltage that was held for long."""
        return jnp.concatenate([self.soma.settled(v), self.dendrite.settled(v)])

    def __call__(self, t: Float[Array, ""], x: Float[Array, " state"], args: Any) -> Float[Array, " state"]:
        size = self.soma.dimension
        soma, dendrite = self.soma(t, x[:size], args), self.dendrite(t, x[size:], args)
        across = self.coupling * (x[size] - x[0])
        soma = soma.at[0].add(across / (self.share * self.soma.capacitance))
        dendrite = dendrite.at[0].add(-across / ((1.0 - self.share) * self.dendrite.capacitance))
        return jnp.concatenate([soma, dendrite])


def nakl(current: ArrayLike | Callable = 10.0, *, unknown: bool = False) -> Neuron:
    """Sodium, potassium and leak: V, m, h and n, with 18 parameters.

    `current` is a scalar in µA/cm², or a function of t; at 10 it fires steadily. `unknown` makes all 18 parameters ones
    to be estimated: conductances within ±50 % of their value, the others within ±5 %.
    Source: [toth2011]; values and ranges are those of varanneal's tutorial.
    """
    far, near = (_around(0.5), _around(0.05)) if unknown else (float, float)
    gate = lambda *values, power: Gate(*map(near, values), power=power)
    channels = {
        "Na": Channel(
            far(120.0),
            near(50.0),
            {"m": gate(-40.0, 15.0, 0.1, 0.4, power=3), "h": gate(-60.0, -15.0, 1.0, 7.0, power=1)},
        ),
        "K": Channel(far(20.0), near(-77.0), {"n": gate(-55.0, 30.0, 1.0, 5.0, power=4)}),
        "leak": Channel(far(0.3), near(-54.0)),
    }
    return Neuron(channels, current)


def nakl_a_ca_h(current: ArrayLike | Callable = 20.0) -> Neuron:
    """`nakl` with three currents more: A (potassium that inactivates), Ca (L-type calcium), and h (mixed, opened by
    hyperpolarisation), nine states in all. Their values are our choice, in the range of what is found in cells.
    `current` is a scalar in µA/cm², or a function of t."""
    more = {
        "A": Channel(10.0, -77.0, {"a": Gate(-50.0, 20.0, 0.5, 1.0, 3), "b": Gate(-70.0, -12.0, 5.0, 20.0)}),
        "Ca": Channel(0.5, 120.0, {"s": Gate(-20.0, 12.0, 0.5, 2.0, 2), "c": Gate(-45.0, -14.0, 30.0, 60.0)}),
        "h": Channel(0.1, -30.0, {"q": Gate(-80.0, -14.0, 20.0, 200.0)}),
    }
    return Neuron({**nakl().channels, **more}, current)


def soma_and_dendrite(current: ArrayLike | Callable = 20.0) -> Compartments:
    """A `nakl` soma that takes the current, and a dendrite with leak, calcium and A currents; nine states.

    The dendrite's values are our choice. `current` is a scalar in µA/cm², or a function of t."""
    full = nakl_a_ca_h().channels
    dendrite = Neuron({name: full[name] for name in ("leak", "Ca", "A")}, 0.0)
    return Compartments(nakl(current), dendrite, 0.2, 0.3)


def _around(part: float) -> Callable[[float], Unknown]:
    """Ranges that reach so far to either side."""
    return lambda value: Unknown(value - part * abs(value), value + part * abs(value))
