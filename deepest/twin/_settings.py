"""Experiments by name, each a setting that is known to work."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from deepest.anneal import Ladder
from deepest.models import (
    Colpitts,
    FitzHughNagumo,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    LotkaVolterra,
    TwoScaleLorenz96,
    Unknown,
)
from deepest.transcription import AbstractTranscription, HermiteSimpson
from deepest.twin._simulate import Twin, simulate


@dataclasses.dataclass(frozen=True)
class Setting:
    """All the numbers of an experiment but its random ones.

    `times` (K,) in the model's units; `noise` is a standard deviation in the state's units, a scalar; `beyond` the time
    forecast after the data; `spread` the range (two scalars or (D,) each) in which unmeasured components start.
    `start` (D,) is where the truth comes from, if not from a random state, and where it is at the first time if
    `transient`; `bounds` (two scalars or (D,) each) hold the path, and `model_precision` weighs the equations, both as
    `Action` takes them.
    """

    name: str
    about: str
    model: Callable
    estimated: Callable
    times: Float[np.ndarray, " observation"]
    components: tuple[int, ...]
    noise: float
    beyond: float
    transcription: AbstractTranscription
    ladder: Ladder = dataclasses.field(default_factory=Ladder)
    members: int = 64
    spread: tuple[ArrayLike, ArrayLike] | None = None
    start: ArrayLike | None = None
    transient: bool = False
    bounds: tuple[ArrayLike, ArrayLike] | None = None
    model_precision: ArrayLike = 1.0

    def simulate(self, key: PRNGKeyArray) -> Twin:
        """A truth, on the attractor unless `transient`, and its noisy observations, both drawn with `key`."""
        return simulate(
            self.model,
            self.estimated,
            self.transcription,
            times=self.times,
            components=self.components,
            noise=self.noise,
            beyond=self.beyond,
            start=self.start,
            spin_up=0.0 if self.transient else None,
            bounds=self.bounds,
            model_precision=self.model_precision,
            key=key,
        )


def lorenz96(
    *, noise: float = 0.5, points: int = 161, step: float = 0.025, beyond: float = 2.0, forcing: float = 8.17
) -> Setting:
    """Lorenz96 with 20 sites, of which 8 are measured: 0, 2, 4, 6, 8, 10, 14 and 16.

    161 points 0.025 apart (4 time units), noise 0.5 (a seventh of the climate's standard deviation), true forcing 8.17
    to be found between 6 and 10, Hermite–Simpson, forecast for 2 time units. All arguments are numbers. With 64 members
    and the default ladder, 73 of 75 realisations reached the global minimum, with the forcing within 0.9 %.
    """
    return Setting(
        name="lorenz96",
        about="20 sites on a circle, 8 measured, forcing unknown",
        model=Lorenz96(20, forcing),
        estimated=Lorenz96(20, Unknown(6.0, 10.0)),
        times=step * np.arange(points),
        components=(0, 2, 4, 6, 8, 10, 14, 16),
        noise=noise,
        beyond=beyond,
        transcription=HermiteSimpson(),
    )


def lorenz63(*, noise: float = 0.5, points: int = 201, step: float = 0.02, beyond: float = 4.0) -> Setting:
    """Lorenz63 at σ = 10, ρ = 28, β = 8/3, of which x alone is measured, and all three parameters are unknown.

    201 points 0.02 apart (4 time units), noise 0.5 (a sixteenth of the climate's standard deviation of x), σ between 5
    and 20, ρ between 15 and 45, β between 1 and 5, y and z starting within ±25 and 0 … 50, Hermite–Simpson, forecast
    for 4 time units. All arguments are numbers. With 64 members and the default ladder, 25 of 25 realisations reached
    the global minimum; σ is then found to about 2 % (5 % at worst), ρ and β to about 1 % (β 4 % at worst).
    """
    return Setting(
        name="lorenz63",
        about="three variables, x measured, σ, ρ and β unknown",
        model=Lorenz63(),
        estimated=Lorenz63(Unknown(5.0, 20.0), Unknown(15.0, 45.0), Unknown(1.0, 5.0)),
        times=step * np.arange(points),
        components=(0,),
        noise=noise,
        beyond=beyond,
        transcription=HermiteSimpson(),
        spread=(np.array([-20.0, -25.0, 0.0]), np.array([20.0, 25.0, 50.0])),
    )


def fitzhugh_nagumo(*, noise: float = 0.1) -> Setting:
    """An excitable cell, v measured, a, b and τ unknown.

    201 points 0.5 apart (about three spikes), noise 0.1, a scalar (v goes from −2 to 2), a and b between 0 and 2, τ
    between 3 and 30, forecast for 50 time units. With 16 members 25 of 25 realisations
    reached the global minimum; a and τ are then found to about 0.5 % (1.5 % at worst), b to 2 % (6 %).
    """
    return Setting(
        name="fitzhugh-nagumo",
        about="an excitable cell, its voltage measured, a, b and τ unknown",
        model=FitzHughNagumo(),
        estimated=FitzHughNagumo(Unknown(0.0, 2.0), Unknown(0.0, 2.0), Unknown(3.0, 30.0)),
        times=0.5 * np.arange(201),
        components=(0,),
        noise=noise,
        beyond=50.0,
        transcription=HermiteSimpson(),
        members=16,
        spread=(-2.0, 2.0),
    )


def colpitts(*, noise: float = 0.2) -> Setting:
    """A chaotic circuit of which x is measured, γ, q and η unknown, α known, as x alone does not fix its scale.

    401 points 0.2 apart (80 time units), noise 0.2, a scalar, γ between 0.01 and 0.2, q between 0.1 and 2, η between 1
    and 12, forecast for 40 time units. With 32 members 25 of 25 realisations reached
    the global minimum, with all three found to 0.2 % (0.7 % at worst).
    """
    return Setting(
        name="colpitts",
        about="a chaotic circuit, one voltage measured, γ, q and η unknown",
        model=Colpitts(),
        estimated=Colpitts(5.0, Unknown(0.01, 0.2), Unknown(0.1, 2.0), Unknown(1.0, 12.0)),
        times=0.2 * np.arange(401),
        components=(0,),
        noise=noise,
        beyond=40.0,
        transcription=HermiteSimpson(),
        members=32,
        spread=(np.array([-2.0, -2.0, -10.0]), np.array([10.0, 2.0, 10.0])),
    )


def lotka_volterra(*, noise: float = 3.0) -> Setting:
    """Prey and predators, both counted, all four rates unknown.

    81 points a quarter of a year apart, noise of 3 animals, a scalar, growth and death between 0.1 and 2 a year, the
    other two between 0.005 and 0.1, forecast for 20 years. With 16 members 25 of 25 realisations
    reached the global minimum, with the rates found to about 2 % (5 % at worst).
    """
    return Setting(
        name="lotka-volterra",
        about="prey and predators, both counted, four rates unknown",
        model=LotkaVolterra(),
        estimated=LotkaVolterra(Unknown(0.1, 2.0), Unknown(0.005, 0.1), Unknown(0.005, 0.1), Unknown(0.1, 2.0)),
        times=0.25 * np.arange(81),
        components=(0, 1),
        noise=noise,
        beyond=20.0,
        transcription=HermiteSimpson(),
        members=16,
        spread=(1.0, 100.0),
        start=np.array([30.0, 4.0]),
        bounds=(0.0, 1e3),
    )


def two_scale_lorenz96(*, noise: float = 0.1) -> Setting:
    """Six slow waves and 24 fast ones; the slow and every second fast one are measured, the forcing unknown.

    201 points 0.01 apart, noise 0.1, a scalar, the forcing between 5 and 15, forecast for one time unit. With 32
    members 14 of 19 realisations reached the global minimum, with the forcing within 0.2 %.
    """
    return Setting(
        name="two-scale-lorenz96",
        about="6 slow waves and 24 fast ones, 18 measured, forcing unknown",
        model=TwoScaleLorenz96(6, 4),
        estimated=TwoScaleLorenz96(6, 4, Unknown(5.0, 15.0)),
        times=0.01 * np.arange(201),
        components=(*range(6), *range(6, 30, 2)),
        noise=noise,
        beyond=1.0,
        transcription=HermiteSimpson(),
        members=32,
        spread=(-5.0, 10.0),
    )


def kuramoto_sivashinsky(*, noise: float = 0.2) -> Setting:
    """Flame fronts on a circle of length 22, 16 places of which every fourth is measured, the viscosity unknown.

    161 points 0.25 apart, noise 0.2, a scalar (u goes from −3 to 3), the viscosity between 0.5 and 2, forecast for 20
    time units. With 16 members 23 of 25 realisations reached the global minimum, with the viscosity within 0.2 %.
    With twice the places the highest waves would decay by e⁻²⁰⁰ within an interval; Hermite–Simpson, which is not
    L-stable, keeps such waves where nothing measures them.
    """
    return Setting(
        name="kuramoto-sivashinsky",
        about="a field on a circle, 16 places, 4 measured, viscosity unknown",
        model=KuramotoSivashinsky(16, 22.0),
        estimated=KuramotoSivashinsky(16, 22.0, Unknown(0.5, 2.0)),
        times=0.25 * np.arange(161),
        components=tuple(range(0, 16, 4)),
        noise=noise,
        beyond=20.0,
        transcription=HermiteSimpson(),
        members=16,
        spread=(-3.0, 3.0),
    )
