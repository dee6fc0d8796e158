"""What bad input is told, in one sentence, before anything compiles."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nets import KEYS, action, chain, field, flow, pairs

from deepest import Ladder
from deepest.minimise import LBFGS, Conjugate
from deepest.networks import (
    Annealed,
    ContinuousNetwork,
    CrossEntropy,
    Dense,
    DenseField,
    Descent,
    Elements,
    Generated,
    LayerMap,
    NetworkAction,
    Pairs,
    Piecewise,
    Recurrent,
    Strong,
    fit,
    perceptron,
)

ONES, LABELS = np.ones((4, 3)), np.zeros(4, int)
HOLES = np.where(np.eye(4, 3) > 0, np.nan, 1.0)


def dense(inputs, outputs):
    return Dense(inputs, outputs, key=KEYS[0])


def of_network(network, targets=None):
    return NetworkAction(network, Pairs(ONES, np.ones((4, 2)) if targets is None else targets))


def of_labels(labels):
    return NetworkAction(LayerMap([dense(3, 2)]), Pairs(ONES, labels), cost=CrossEntropy())


def noisy_labels():
    return NetworkAction(LayerMap([dense(3, 2)]), Pairs(ONES, LABELS, noise=0.1), cost=CrossEntropy())


def half(x):
    return x.astype(jnp.float16)


def twice(x):
    return x, x


def components(inputs, numbers, width=3):
    return Pairs.of_components(inputs, ONES, components=(numbers, [0, 1, 2]), widths=(width, 3))


BAD = {
    "counts": (lambda: Pairs(ONES, np.ones((5, 2))), "as many inputs as targets"),
    "none": (lambda: Pairs(ONES[:0], ONES[:0]), "as many inputs as targets"),
    "one axis": (lambda: Pairs(ONES[0], ONES[0]), "leading axis for the pairs"),
    "words": (lambda: Pairs(ONES, np.array(["a"] * 4)), "numbers or integer labels"),
    "infinity": (lambda: Pairs(ONES * np.inf, ONES), "inputs hold an infinity, first at pair 0"),
    "infinite target": (lambda: Pairs(ONES, ONES * np.inf), "targets hold an infinity"),
    "NaN": (lambda: Pairs(HOLES, ONES), "inputs hold NaN, first at pair 0: give input_prior"),
    "noise": (lambda: Pairs(ONES, ONES, noise=0.0), "noise is a standard deviation, positive"),
    "input noise": (lambda: Pairs(ONES, ONES, input_noise=-1.0), "input_noise is a standard deviation"),
    "prior": (lambda: Pairs(HOLES, ONES, input_prior=(0.0, 0.0)), "input_prior is a standard deviation"),
    "noise of another shape": (lambda: of_noise(np.ones(5)), "noise"),
    "input noise of another shape": (lambda: of_noise(1.0, input_noise=np.ones(4)), "input_noise"),
    "too many components": (lambda: components(np.ones((4, 4)), [0, 1, 2, 3]), "3 neurons cannot have 4 measured"),
    "components twice": (lambda: components(np.ones((4, 2)), [1, 1]), r"different numbers in 0 … 2; received \[1, 1\]"),
    "components beyond": (lambda: components(np.ones((4, 2)), [1, 3]), "different numbers in 0 … 2"),
    "columns": (lambda: components(np.ones((4, 3)), [0, 1]), r"shape \(M, 2\), a column each; received \(4, 3\)"),
    "no layers": (lambda: LayerMap([]), "at least one layer with weights; received 0"),
    "no weights": (lambda: LayerMap([jnp.tanh]), "at least one layer with weights"),
    "widths": (lambda: of_network(LayerMap([dense(3, 4), dense(5, 2)])), r"Layer 2 \(Dense\) does not take .* \(4,\)"),
    "inputs": (lambda: of_network(LayerMap([dense(5, 2)])), r"Layer 1 \(Dense\) does not take .* \(3,\)"),
    "dtype": (lambda: of_network(LayerMap([dense(3, 2), half])), "makes float16 of float.*keep the inputs' dtype"),
    "two arrays": (lambda: of_network(LayerMap([dense(3, 2), twice])), "must return one array; it returns tuple"),
    "one width": (lambda: perceptron([3], key=KEYS[0]), r"at least two widths of at least 1; received \[3\]"),
    "zero width": (lambda: perceptron([3, 0], key=KEYS[0]), "at least two widths"),
    "targets": (lambda: of_network(LayerMap([dense(3, 2)]), ONES), r"shape of the network's outputs, \(M, 2\)"),
    "targets unmeasured": (lambda: of_network(LayerMap([dense(3, 2)]), np.full((4, 2), np.nan)), "None of the targets"),
    "label too large": (lambda: of_labels(LABELS + 2), "Labels must be 0 … 1, one an output; received 2"),
    "label below zero": (lambda: of_labels(LABELS - 1), "received -1"),
    "labels with a fraction": (lambda: of_labels(LABELS + 0.5), "expects integer labels"),
    "labels with noise": (noisy_labels, "Labels have no noise"),
    "decay": (lambda: NetworkAction(chain(), pairs((3,)), decay=-1.0), "decay is an inverse variance"),
    "no decay": (lambda: NetworkAction(chain(), pairs((3,)), decay=np.nan), "decay is an inverse variance"),
    "depth": (lambda: ContinuousNetwork(field(KEYS[0]), 0.0, 4), "positive depth; received depth=0"),
    "no steps": (lambda: ContinuousNetwork(field(KEYS[0]), 1.0, 0), "at least one layer; received layers=0"),
    "augment": (lambda: ContinuousNetwork(field(KEYS[0]), 1.0, 4, augment=-1), "zero or more dimensions"),
    "field": (lambda: of_network(flow(eqx.nn.MLP(3, 3, 2, 1, key=KEYS[0]))), "Layer 1 .*takes"),
    "field that widens": (lambda: of_network(flow(lambda t, x, args: x[:2])), "Layer 1|keeps the shape"),
    "implicit": (lambda: of_network(flow(DenseField(3, 2, key=KEYS[0]), solver=diffrax.ImplicitEuler())), "explicit"),
    "pieces and layers": (lambda: flow(Piecewise.of(field, 3, 1.5, key=KEYS[0])), "multiple of 3 layers; .*layers=4"),
    "pieces and depth": (lambda: flow(Piecewise.of(field, 2, 2.0, key=KEYS[0])), "along the depth 2 .*depth=1.5"),
    "no pieces": (lambda: Piecewise([], 1.0), "Piecewise needs at least 1 fields; received 0"),
    "one node": (lambda: Elements.of(field, 1, 1.0, key=KEYS[0]), "at least 2 of them; received 1"),
    "depth of pieces": (lambda: Piecewise([field(KEYS[0])], -1.0), "positive depth; received depth=-1"),
    "unlike": (lambda: Piecewise([field(KEYS[0]), DenseField(2, 4, key=KEYS[0])], 1.0), "field 1 is not like field 0"),
    "generator": (lambda: Generated(field(KEYS[0]), lambda t: jnp.zeros(3)), r"template's \d+ weights of a scalar t"),
    "conjugate at infinity": (lambda: fit(action("chain"), Annealed(form=Conjugate())), "goes up to .*strong=False"),
    "lbfgs at infinity": (lambda: fit(action("chain"), Annealed(minimiser=LBFGS())), "goes up to .*strong=False"),
    "descent with noise": (lambda: fit(action("chain", inputs="noisy"), adam()), "Descent takes inputs as exact"),
    "descent with NaN": (lambda: fit(action("chain", inputs="partly"), adam()), "Descent takes inputs as exact"),
    "batch of a step": (lambda: fit(action("chain"), Strong(batch=0)), "A batch has 1 to 3 pairs; received batch=0"),
    "passes": (lambda: fit(action("chain"), Strong(batch=2, passes=-1)), "zero passes or more; received passes=-1"),
    "ratio": (lambda: action("chain").at(0.0), "R_f/R_m is positive; received 0.0"),
    "another start": (lambda: action("chain").start(LayerMap([dense(3, 2)])), "same layers and widths as the action's"),
    "batch": (lambda: fit(action("chain"), adam(batch=4)), "A batch has 1 to 3 pairs; received batch=4"),
    "held out": (lambda: fit(action("chain"), adam(), held_out=pairs((4,))), r"does not take .* \(4,\)"),
    "recurrent": (lambda: of_network(LayerMap([Recurrent(eqx.nn.GRUCell(3, 2, key=KEYS[0]), 2)])), "Layer 1"),
}  # fmt: skip


def of_noise(noise, **options):
    return NetworkAction(LayerMap([dense(3, 2)]), Pairs(ONES, np.ones((4, 2)), noise=noise, **options))


def adam(**options):
    return Descent(optax.adam(1e-2), stages=1, **options)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence(case):
    make, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_conjugate_at_infinity_is_no_result():
    """Whoever asks for it without a road gets a status, and no states that were moved."""
    of = action("chain")
    solve = eqx.filter_jit(lambda problem, z: Conjugate().start(problem, z)[1])
    assert jnp.isnan(solve(of.at(jnp.inf), of.start()))
    assert jnp.isfinite(solve(of.at(1.0), of.start()))
    assert Annealed(Ladder(1.0, 10.0, 3), strong=False, form=Conjugate()).begin(of).z.weights is not None
    assert jax.tree.leaves(of.start().weights)


@pytest.mark.parametrize("decay", [np.inf, np.nan, -1.0, np.ones(2)])
def test_decay_is_one_finite_number(decay):
    with pytest.raises(ValueError, match="decay is an inverse variance"):
        NetworkAction(LayerMap([dense(3, 2)]), Pairs(ONES, np.ones((4, 2))), decay=decay)


def test_the_prior_of_inputs_has_a_finite_mean():
    with pytest.raises(ValueError, match="The mean of input_prior is finite"):
        Pairs(HOLES, LABELS, input_prior=(np.nan, 1.0))


def test_the_strong_constraint_needs_a_form_that_goes_there():
    with pytest.raises(ValueError, match="Conjugate does not go to"):
        fit(of_network(LayerMap([dense(3, 2)])), Strong(form=Conjugate()))
