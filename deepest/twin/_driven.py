"""Experiments by name with driven and transient models: neurons under a current, an epidemic, a basin of water.

Their truth begins with the data, at a state that is given, so that realisations differ by their noise and starts.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from deepest.anneal import Ladder
from deepest.models import (
    SIR,
    Channel,
    Compartments,
    Lorenz63,
    Neuron,
    ShallowWater,
    Stimulus,
    Unknown,
    integrate,
    nakl,
    nakl_a_ca_h,
    soma_and_dendrite,
)
from deepest.transcription import HermiteSimpson
from deepest.twin._settings import Setting


def chaotic_current(
    until: float,
    mean: float = 3.0,
    deviation: float = 6.7,
    slow: float = 25.0,
    start: Float[np.ndarray, " state"] = np.array([5.0, 5.0, 20.0]),
) -> Stimulus:
    """An injected current in µA/cm² that explores a neuron: x of Lorenz63, scaled, cubic between knots 0.5 ms apart.

    From 0 to `until` ms; `mean` and `deviation` in µA/cm²; one time unit of Lorenz63 is `slow` ms; `start` (3,) is
    where Lorenz63 begins, another one for another stimulus. All but that are numbers.
    """
    knots = np.arange(0.0, until + 1.0, 0.5)
    x = np.asarray(integrate(Lorenz63(), jnp.asarray(start), knots / slow))[:, 0]
    # 7.9 is the deviation of x on the attractor.
    return Stimulus(knots, mean + deviation / 7.9 * x, "cubic")


def neuron(*, noise: float = 1.0, points: int = 6001, step: float = 0.02) -> Setting:
    """A neuron with sodium, potassium and leak under a known chaotic current, its voltage measured, 18 unknowns.

    6001 points 0.02 ms apart, noise 1 mV, all numbers; conductances within ±50 %, the others within ±5 %, gates in
    [0, 1]; forecast for 50 ms. The size of varanneal's tutorial. From a single start 10 of 10 realisations reached the
    global minimum, with root mean square errors of m, h and n up to 0.003, 0.023 and 0.01 and conductances within 9 %;
    how well each parameter is known `Result.identify` says.
    """
    current = chaotic_current(step * points + 100.0)
    model = nakl(current)
    about = "a neuron, its voltage measured, 18 parameters unknown"
    return _neuron("nakl", about, model, nakl(current, unknown=True), noise, points, step)


def rich_neuron(*, noise: float = 0.5, points: int = 2001, step: float = 0.05) -> Setting:
    """The same with A, calcium and h currents, nine states; the six conductances unknown within ±50 %.

    2001 points 0.05 ms apart, noise 0.5 mV, all numbers; forecast for 50 ms. From a single start 5 of 5 realisations
    reached the global minimum; sodium, potassium and leak are then found to 3 %, A and calcium to 14 %, and of h the
    data say little.
    """
    model = nakl_a_ca_h(chaotic_current(step * points + 100.0))
    about = "a neuron with six currents, its voltage measured, conductances unknown"
    return _neuron("nakl-a-ca-h", about, model, _with_unknown_conductances(model), noise, points, step)


def two_compartments(*, noise: float = 0.5, points: int = 2001, step: float = 0.05) -> Setting:
    """A soma under a current and its dendrite, nine states, the soma's voltage measured; all conductances unknown.

    2001 points 0.05 ms apart, noise 0.5 mV, all numbers; the six conductances and the coupling within ±50 %; forecast
    for 50 ms. With 4 members 4 of 5 realisations reached the global minimum; the dendrite's calcium is hardly known.
    """
    model = soma_and_dendrite(chaotic_current(step * points + 100.0))
    soma, dendrite = (_with_unknown_conductances(part) for part in (model.soma, model.dendrite))
    estimated = Compartments(soma, dendrite, _around(float(model.coupling)), model.share)
    about = "a soma and a dendrite, the soma's voltage measured, conductances unknown"
    return _neuron("soma-and-dendrite", about, model, estimated, noise, points, step, members=4)


def sir(*, noise: float = 0.005) -> Setting:
    """An epidemic of which the infected part is counted, contact and recovery rates unknown.

    81 daily counts, noise half a percent of the population, a number; rates within a factor of three; forecast for 40
    days. One in a hundred is infected at first. With 16 members 25 of 25 realisations reached the global minimum, with
    both rates found to about 1 % (4 % at worst).
    """
    model = SIR()
    return Setting(
        name="sir",
        about="an epidemic, the infected counted, both rates unknown",
        model=model,
        estimated=SIR(*(Unknown(rate / 3.0, 3.0 * rate) for rate in map(float, (model.contact, model.recovery)))),
        times=np.arange(81.0),
        components=(1,),
        noise=noise,
        beyond=40.0,
        transcription=HermiteSimpson(),
        members=16,
        start=np.array([0.99, 0.01, 0.0]),
        transient=True,
        bounds=(0.0, 1.0),
    )


def shallow_water(*, noise: float = 0.02, places: int = 16) -> Setting:
    """Waves round a periodic channel, the height measured everywhere and the current nowhere, depth and drag unknown.

    129 heights 500 s apart (two rounds of a wave), noise 2 cm, both numbers; depth between 50 m and 200 m, drag between
    0 and 1e-4 per second; errors of height and velocity weighed as their energies; forecast for 16 000 s.
    With 16 members 25 of 25 realisations reached the global minimum, depth found to 0.1 %, drag to 2 %.
    """
    water = lambda depth, drag: ShallowWater((places,), depth=depth, drag=drag)
    model = water(100.0, 1e-5)
    round_it = 2.0 * np.pi * np.arange(places) / places
    height = np.cos(round_it) + 0.5 * np.sin(2.0 * round_it) + 0.2 * np.cos(3.0 * round_it + 1.0)
    flow = 0.3 * np.sin(round_it + 0.5)
    return Setting(
        name="shallow-water",
        about="waves in a channel, the height measured, the current not, depth and drag unknown",
        model=model,
        estimated=water(Unknown(50.0, 200.0), Unknown(0.0, 1e-4)),
        times=500.0 * np.arange(129),
        components=tuple(range(places)),
        noise=noise,
        beyond=16000.0,
        transcription=HermiteSimpson(),
        members=16,
        spread=(-2.0, 2.0),
        start=np.concatenate([height, flow]),
        transient=True,
        model_precision=np.repeat([1.0, float(model.depth / model.gravity)], places),
    )


def _neuron(
    name: str, about: str, model, estimated, noise: float, points: int, step: float, members: int = 1
) -> Setting:
    voltage = np.array([state.split(".")[-1] == "V" for state in model.states])
    return Setting(
        name=name,
        about=about,
        model=model,
        estimated=estimated,
        times=step * np.arange(points),
        components=(0,),
        noise=noise,
        beyond=50.0,
        transcription=HermiteSimpson(),
        ladder=Ladder(1e-4, 3.0, 18),
        members=members,
        spread=(np.where(voltage, -80.0, 0.0), np.where(voltage, -50.0, 1.0)),
        start=np.asarray(model.settled(-70.0)),
        transient=True,
        bounds=(np.where(voltage, -100.0, 0.0), np.where(voltage, 100.0, 1.0)),
        model_precision=np.where(voltage, 1.0, 1e4),
    )


def _with_unknown_conductances(neuron: Neuron) -> Neuron:
    channels = {
        name: Channel(_around(float(channel.conductance)), channel.reversal, channel.gates)
        for name, channel in neuron.channels.items()
    }
    return Neuron(channels, neuron.current, capacitance=neuron.capacitance)


def _around(value: float) -> Unknown:
    """Within half of its value to either side."""
    return Unknown(0.5 * value, 1.5 * value)
