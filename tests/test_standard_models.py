"""Models of the field against their formulas, written out a second time, and against what is known of their motion."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from deepest.models import (
    SIR,
    Channel,
    Colpitts,
    Compartments,
    Estimable,
    FitzHughNagumo,
    Gate,
    KuramotoSivashinsky,
    LotkaVolterra,
    Neuron,
    ShallowWater,
    Stimulus,
    TwoScaleLorenz96,
    Unknown,
    integrate,
    nakl,
    nakl_a_ca_h,
    soma_and_dendrite,
)

NOW = jnp.zeros(())


def fitzhugh_nagumo(t, x):
    v, w = x
    return [v - v**3 / 3 - w + 0.5, (v + 0.7 - 0.8 * w) / 12.5]


def colpitts(t, x):
    a, b, c = x
    return [5 * b, -0.08 * (a + c) - 0.7 * b, 6.3 * (b + 1 - np.exp(-a))]


def lotka_volterra(t, x):
    return [x[0] * (0.55 - 0.028 * x[1]), x[1] * (0.024 * x[0] - 0.84)]


def sir(t, x):
    return [-0.4 * x[0] * x[1], 0.4 * x[0] * x[1] - 0.1 * x[1], 0.1 * x[1]]


def two_scales(t, x, sites=8, fast=8, forcing=10.0, h=1.0, c=10.0, b=10.0):
    slow, quick = x[:sites], x[sites:]
    rates = np.empty_like(x)
    for k in range(sites):
        here = quick[k * fast : (k + 1) * fast].sum()
        rates[k] = slow[k - 1] * (slow[(k + 1) % sites] - slow[k - 2]) - slow[k] + forcing - h * c / b * here
    for j in range(sites * fast):
        ahead, further = quick[(j + 1) % quick.size], quick[(j + 2) % quick.size]
        rates[sites + j] = c * b * ahead * (quick[j - 1] - further) - c * quick[j] + h * c / b * slow[j // fast]
    return rates


def settled(v, half, width):
    return 0.5 * (1 + np.tanh((v - half) / width))


def slowness(v, half, width, fastest, slower):
    return fastest + slower * (1 - np.tanh((v - half) / width) ** 2)


def hodgkin_huxley(t, x):
    v, m, h, n = x
    flow = 120 * m**3 * h * (50 - v) + 20 * n**4 * (-77 - v) + 0.3 * (-54 - v) + 10.0
    gates = [(m, -40, 15, 0.1, 0.4), (h, -60, -15, 1.0, 7.0), (n, -55, 30, 1.0, 5.0)]
    return [flow, *((settled(v, a, b) - s) / slowness(v, a, b, c, d) for s, a, b, c, d in gates)]


STARTS = np.random.default_rng(0)
REFERENCES = {
    "fitzhugh-nagumo": (FitzHughNagumo(), fitzhugh_nagumo, [-1.0, -0.5], 60.0),
    "colpitts": (Colpitts(), colpitts, [0.1, 0.2, 0.3], 30.0),
    "lotka-volterra": (LotkaVolterra(), lotka_volterra, [30.0, 4.0], 20.0),
    "sir": (SIR(), sir, [0.99, 0.01, 0.0], 80.0),
    "two-scale lorenz96": (TwoScaleLorenz96(), two_scales, STARTS.normal(size=72), 0.5),
    "nakl": (nakl(10.0), hodgkin_huxley, [-65.0, 0.05, 0.6, 0.3], 30.0),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_model_moves_as_a_reference_integration_does(name):
    model, formula, start, end = REFERENCES[name]
    times = np.linspace(0.0, end, 7)
    path = integrate(model, jnp.asarray(start, float), times)
    reference = solve_ivp(formula, (0.0, end), start, "DOP853", times, rtol=1e-11, atol=1e-11).y.T
    assert model.dimension == len(start)
    np.testing.assert_allclose(path, reference, rtol=1e-6, atol=1e-6)


def test_what_lotka_volterra_and_sir_conserve():
    x, y = np.asarray(integrate(LotkaVolterra(), jnp.array([30.0, 4.0]), np.linspace(0.0, 50.0, 20))).T
    kept = 0.024 * x - 0.84 * np.log(x) + 0.028 * y - 0.55 * np.log(y)
    np.testing.assert_allclose(kept, kept[0], rtol=1e-8)
    path = np.asarray(integrate(SIR(), jnp.array([0.999, 0.001, 0.0]), np.linspace(0.0, 2000.0, 3)))
    np.testing.assert_allclose(path.sum(axis=1), 1.0, rtol=1e-10)
    # The final size: ln(S_0/S_∞) = (contact/recovery) R_∞.
    np.testing.assert_allclose(np.log(0.999 / path[-1, 0]), 4.0 * path[-1, 2], rtol=1e-6)


def test_two_scales_exchange_energy_and_advection_makes_none():
    """d/dt ½(|X|² + |Y|²) = f ΣX − |X|² − c |Y|²."""
    model, x = TwoScaleLorenz96(sites=6, fast=4), jnp.asarray(np.random.default_rng(1).normal(size=30))
    slow, fast = x[:6], x[6:]
    expected = 10.0 * jnp.sum(slow) - jnp.sum(slow**2) - 10.0 * jnp.sum(fast**2)
    np.testing.assert_allclose(x @ model(NOW, x, None), expected, rtol=1e-12)


@pytest.mark.parametrize("places", [16, 17])
def test_kuramoto_sivashinsky_is_its_equation_for_long_waves(places):
    model, length = KuramotoSivashinsky(places, 22.0, 0.7), 22.0
    place = 2 * np.pi * np.arange(places) / places
    k = 2 * np.pi / length
    u = 0.5 + np.sin(place) - 0.3 * np.cos(2 * place)
    du = k * (np.cos(place) + 0.6 * np.sin(2 * place))
    two = k**2 * (-np.sin(place) + 1.2 * np.cos(2 * place))
    four = k**4 * (np.sin(place) - 4.8 * np.cos(2 * place))
    rate = model(NOW, jnp.asarray(u), None)
    np.testing.assert_allclose(rate, -u * du - two - 0.7 * four, atol=1e-12)
    assert abs(float(jnp.sum(rate))) < 1e-12


@pytest.mark.parametrize("shape", [(16,), (9,), (8, 6)])
def test_shallow_water_keeps_its_mass(shape):
    model = ShallowWater(shape)
    x = jnp.asarray(np.random.default_rng(2).normal(size=model.dimension))
    rate = model(NOW, x, None).reshape(1 + len(shape), *shape)
    assert model.dimension == rate.size
    assert abs(float(rate[0].sum())) < 1e-10 * float(jnp.abs(rate[0]).sum())


def test_a_small_wave_of_shallow_water_goes_round_at_its_speed():
    model = ShallowWater((16,), viscosity=0.0)
    place = 2 * np.pi * np.arange(16) / 16
    speed = np.sqrt(9.81 * 100.0)
    wave = 1e-3 * np.cos(place)
    start = jnp.asarray(np.concatenate([wave, wave * speed / 100.0]))
    end = integrate(model, start, np.array([0.0, 0.25 * 1e6 / speed]))[-1]
    np.testing.assert_allclose(end[:16], 1e-3 * np.cos(place - np.pi / 2), atol=2e-8)


def test_a_geostrophic_flow_stands_still():
    """f × u = −g ∇η, along the contours of a wave."""
    shape, k = (8, 8), 2 * np.pi / 1e6
    model = ShallowWater(shape, viscosity=0.0)
    x, _ = np.meshgrid(2 * np.pi * np.arange(8) / 8, np.arange(8), indexing="ij")
    surface = np.cos(x)
    flow = np.stack([np.zeros(shape), -9.81 * k * np.sin(x) / 1e-4])
    rate = model(NOW, jnp.asarray(np.concatenate([surface.ravel(), flow.ravel()])), None)
    np.testing.assert_allclose(rate, 0.0, atol=1e-15)


def test_a_neuron_knows_its_states_and_rests_where_its_gates_do():
    neuron = nakl_a_ca_h(0.0)
    assert neuron.states == ("V", "Na.m", "Na.h", "K.n", "A.a", "A.b", "Ca.s", "Ca.c", "h.q")
    rate = neuron(NOW, neuron.settled(-61.0), None)
    assert neuron.dimension == 9 and np.allclose(rate[1:], 0.0)


def spikes(model, current_end=400.0):
    times = np.linspace(0.0, current_end, 4001)
    v = np.asarray(integrate(model, model.settled(-65.0), times))[:, 0]
    return int(np.sum((v[:-1] < 0.0) & (v[1:] >= 0.0)))


@pytest.mark.parametrize("make", [nakl, nakl_a_ca_h, soma_and_dendrite])
def test_a_neuron_is_silent_without_current_and_fires_with_it(make):
    # A first spike may come from the start.
    assert spikes(make(0.0)) <= 1
    assert spikes(make(20.0)) >= 10


def test_compartments_joined_tightly_are_one_cell():
    """As G → ∞ both voltages are those of the mean currents."""
    one, other = nakl(12.0), nakl(4.0)
    whole = integrate(nakl(0.25 * 12.0 + 0.75 * 4.0), one.settled(-65.0), np.array([0.0, 5.0]))[-1]
    joined = Compartments(one, other, 300.0, 0.25)
    path = integrate(joined, joined.settled(-65.0), np.array([0.0, 5.0]))[-1]
    np.testing.assert_allclose(path[:4], whole, rtol=5e-3)


def test_an_unknown_neuron_has_the_parameters_of_the_tutorial():
    opened = Estimable(nakl(unknown=True))
    lower, upper = opened.bounds(varying=False)
    assert len(opened.names) == 18 and opened.names[0] == "channels.Na.conductance"
    ranges = dict(zip(opened.names, zip(lower, upper, strict=True), strict=True))
    assert ranges["channels.Na.conductance"] == (60.0, 180.0)
    np.testing.assert_allclose(ranges["channels.K.reversal"], (-80.85, -73.15))
    np.testing.assert_allclose(ranges["channels.Na.gates.h.width"], (-15.75, -14.25))


def test_a_channel_of_ones_own_takes_a_few_lines():
    persistent = Channel(Unknown(0.0, 1.0), 50.0, {"p": Gate(-48.0, 10.0, 0.3, 0.5)})
    neuron = Neuron({**nakl().channels, "NaP": persistent}, 5.0)
    model, _ = Estimable(neuron).fill(jnp.array([0.0]), jnp.zeros(0))
    x = nakl().settled(-60.0)
    with_it = model(NOW, jnp.append(x, 0.7), None)
    np.testing.assert_allclose(with_it[:4], nakl(5.0)(NOW, x, None), rtol=1e-12)


TIMES = [0.0, 1.0, 1.5, 3.0, 4.0]
VALUES = [1.0, -2.0, 0.5, 4.0, 4.5]


@pytest.mark.parametrize("kind", ["steps", "linear", "cubic"])
def test_a_stimulus_goes_through_its_values_and_keeps_its_ends(kind):
    stimulus = Stimulus(TIMES, VALUES, kind)
    at = jax.vmap(stimulus)(jnp.array([-1.0, *TIMES, 9.0]))
    np.testing.assert_allclose(at, [1.0, *VALUES, 4.5], atol=1e-12)


def test_a_step_has_two_limits_and_the_others_have_one():
    at = jnp.array(TIMES)
    np.testing.assert_allclose(jax.vmap(Stimulus(TIMES, VALUES, "steps").before)(at), [1.0, 1.0, -2.0, 0.5, 4.0])
    for kind in ("linear", "cubic"):
        stimulus = Stimulus(TIMES, VALUES, kind)
        np.testing.assert_allclose(jax.vmap(stimulus.before)(at), jax.vmap(stimulus)(at), atol=1e-12)


def test_a_cubic_stimulus_is_exact_for_cubics_and_a_vector_is_its_components():
    cubic = lambda t: 1.0 + t - 0.5 * t**2 + 0.1 * t**3
    places = jnp.linspace(0.0, 4.0, 23)
    values = np.stack([cubic(np.array(TIMES)), np.array(VALUES)], axis=1)
    both = jax.vmap(Stimulus(TIMES, values, "cubic"))(places)
    np.testing.assert_allclose(both[:, 0], cubic(places), atol=1e-12)
    np.testing.assert_allclose(both[:, 1], jax.vmap(Stimulus(TIMES, VALUES, "cubic"))(places), atol=1e-12)


def test_a_neuron_takes_a_stimulus_and_its_values_have_derivatives():
    def end(level):
        stimulus = eqx.tree_at(lambda s: s.pieces, Stimulus([0.0, 1.0], [0.0, 0.0]), level * jnp.ones((2, 2)))
        return nakl(stimulus)(jnp.asarray(0.5), nakl().settled(-60.0), None)[0]

    np.testing.assert_allclose(jax.grad(end)(1.0), 1.0 + 0.5, rtol=1e-12)


BAD = {
    "kind": (lambda: Stimulus(TIMES, VALUES, "smooth"), "as steps, linear, cubic; received continuity='smooth'"),
    "order": (lambda: Stimulus([0.0, 0.0], [1.0, 2.0]), "times that increase; received 0 followed by 0"),
    "few": (lambda: Stimulus(TIMES[:3], VALUES[:3], "cubic"), "at least 4 finite times"),
    "count": (lambda: Stimulus(TIMES, VALUES[:4]), r"at 5 times has as many values.*\(4,\)"),
    "NaN": (lambda: Stimulus(TIMES, [np.nan, *VALUES[1:]]), "has finite values; the one at .* is not"),
    "places": (lambda: KuramotoSivashinsky(4), r"at least 8 places a side, on one or two sides; received \(4,\)"),
    "sides": (lambda: ShallowWater((8, 8, 8)), "on one or two sides"),
    "length": (lambda: ShallowWater((8,), 0.0), "positive length; received length=0.0"),
    "sites": (lambda: TwoScaleLorenz96(sites=3), "at least four sites; received sites=3 and fast=8"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_said_in_a_sentence(case):
    make, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence):
        make()
