"""Training: every road goes down, files go on bit for bit, and what went wrong is said."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nets import KEYS, KINDS
from test_networks import leaves

from deepest import Ladder
from deepest.minimise import LBFGS, Conjugate
from deepest.networks import (
    Annealed,
    Descent,
    Elman,
    Ending,
    LayerMap,
    NetworkAction,
    Pairs,
    Recurrent,
    Strong,
    fit,
    perceptron,
)

ROADS = {
    "annealed": Annealed(Ladder(0.1, 10.0, 3), steps=6),
    "conjugate": Annealed(Ladder(0.1, 10.0, 4), steps=6, form=Conjugate(), strong=False),
    "lbfgs": Annealed(Ladder(0.1, 10.0, 4), minimiser=LBFGS(limit=100), strong=False),
    "strong": Strong(stages=4, steps=4),
    "strong in batches": Strong(stages=3, steps=4, batch=10, passes=3),
    "descent": Descent(optax.adam(2e-2), stages=3, epochs=60, batch=10),
}
SLOW = ("annealed", "conjugate", "lbfgs", "strong", "strong in batches")


def learnable(count=30, seed=0):
    """y = (sin x_1, x_0 x_1) with a little noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.5, 1.5, size=(count, 2))
    y = np.stack([np.sin(x[:, 1]), x[:, 0] * x[:, 1]], axis=1)
    return Pairs(x, y + 0.03 * rng.normal(size=y.shape), noise=0.1)


def task(**options):
    network = perceptron([2, 6, 6, 2], residual=0.5, key=KEYS[0])
    return NetworkAction(network, learnable(), decay=0.1, **options)


@pytest.mark.parametrize("road", [pytest.param(r, marks=pytest.mark.slow if r in SLOW else ()) for r in ROADS])
def test_every_road_goes_down_and_beats_the_best_constant(road):
    of = task()
    rows = []
    found = fit(of, ROADS[road], held_out=learnable(60, seed=1), progress=rows.append)
    strong = float(of.at(jnp.inf).cost(of.start()))
    end = float(of.at(jnp.inf).cost(of.start(found.network)))
    assert end < 0.3 * strong and not found.collapsed
    assert found.history.error[-1] < 0.5 * found.baseline[0]
    assert found.history.held_out_error[found.best_stage] < 0.6 * found.baseline[1]
    assert np.isclose(found.baseline[0], 1.0)
    assert len(rows) == found.history.ratio.size and rows[-1]["stages"] == ROADS[road].ratios().size
    assert len(found.report.splitlines()) == len(rows) + 3


@pytest.mark.slow
def test_strong_stages_never_go_up():
    of, road = task(), Strong(stages=3, steps=2)
    state, last = road.begin(of), np.inf
    for stage in range(3):
        state, cost, _ = road.advance(of, state, stage)
        assert float(cost) <= last
        last = float(cost)
    assert last < float(of.at(jnp.inf).cost(of.start()))


@pytest.mark.parametrize("noise", [None, 0.05], ids=["exact inputs", "noisy inputs"])
def test_a_batch_of_all_pairs_is_a_step_on_all_pairs(noise):
    """All alike, for a step's random signs belong to places and not to pairs."""
    alike = learnable().take(np.full(30, 4))
    pairs = Pairs(alike.inputs, alike.targets, noise=0.1, input_noise=noise)
    of = NetworkAction(perceptron([2, 6, 2], key=KEYS[0]), pairs, decay=0.1)
    batched, whole = Strong(stages=1, steps=1, batch=30, passes=1), Strong(stages=1, steps=1)
    (one, cost, steps), (other, same, _) = (road.advance(of, road.begin(of), 0) for road in (batched, whole))
    assert steps == 1
    assert np.isclose(cost, same, rtol=1e-9)
    for a, b in zip(leaves(one.z), leaves(other.z), strict=True):
        assert np.allclose(a, b, rtol=1e-6, atol=1e-9)


class StoppedError(Exception):
    pass


def stop_after(stage):
    def progress(row):
        if row["stage"] == stage:
            raise StoppedError

    return progress


RESUMED = {
    "descent": Descent(optax.adam(2e-2), stages=4, batch=10),
    "strong": Strong(stages=2, steps=2, batch=10, passes=2),
}


@pytest.mark.parametrize("road", [pytest.param(r, marks=pytest.mark.slow if r == "strong" else ()) for r in RESUMED])
def test_a_training_goes_on_from_its_file_bit_for_bit(road, tmp_path):
    of, road, path = task(), RESUMED[road], tmp_path / "training.nc"
    held = learnable(20, seed=1)
    whole = fit(of, road, held_out=held)
    with pytest.raises(StoppedError):
        fit(of, road, held_out=held, checkpoint=path, progress=stop_after(1))
    resumed = fit(of, road, held_out=held, checkpoint=path, resume=True)
    for a, b in zip(leaves((whole.network, whole.best)), leaves((resumed.network, resumed.best)), strict=True):
        assert (a == b).all()
    for field in dataclasses.fields(whole.history):
        if field.name != "seconds":
            assert (getattr(whole.history, field.name) == getattr(resumed.history, field.name)).all()
    again = fit(of, road, held_out=held, checkpoint=path, resume=True)
    assert again.history.ratio.size == whole.history.ratio.size
    with pytest.raises(FileExistsError, match="exists already; go on with resume=True"):
        fit(of, road, checkpoint=path)
    with pytest.raises(ValueError, match="is of another training"):
        fit(task(centred=True), road, held_out=held, checkpoint=path, resume=True)


def test_another_learning_rate_or_judge_is_another_training(tmp_path):
    """Optax keeps its numbers in closures; the same ones in a new optimiser are the same training."""
    road = lambda rate: Descent(optax.adam(optax.constant_schedule(rate)), stages=4, batch=10)
    path, held = tmp_path / "training.nc", learnable(20, seed=1)
    done = fit(task(), road(2e-2), held_out=held, checkpoint=path)
    again = fit(task(), road(2e-2), held_out=held, checkpoint=path, resume=True)
    assert (again.history.action == done.history.action).all()
    for other, judge in ((road(3e-2), held), (road(2e-2), learnable(20, seed=2)), (road(2e-2), None)):
        with pytest.raises(ValueError, match="is of another training"):
            fit(task(), other, held_out=judge, checkpoint=path, resume=True)


def test_a_road_has_a_stage():
    with pytest.raises(ValueError, match="Strong has no stages"):
        fit(task(), Strong(stages=0))


def test_force_keeps_the_old_file_until_there_is_a_new_one(tmp_path):
    path, road = tmp_path / "training.nc", RESUMED["descent"]
    path.write_text("precious", "utf-8")
    with pytest.raises(ValueError, match="The first stage gave weights that are not finite"):
        fit(task(), Descent(optax.sgd(1e300), stages=2), checkpoint=path, force=True)
    assert path.read_text("utf-8") == "precious"
    fit(task(), road, checkpoint=path, force=True)
    assert fit(task(), road, checkpoint=path, resume=True).history.ratio.size == 4


def test_a_file_that_another_training_began_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path, advance = tmp_path / "training.nc", Descent.advance

    def meanwhile(self, action, state, stage):
        path.write_text("precious", "utf-8")
        return advance(self, action, state, stage)

    monkeypatch.setattr(Descent, "advance", meanwhile)
    with pytest.raises(FileExistsError, match="exists already"):
        fit(task(), RESUMED["descent"], checkpoint=path)
    assert path.read_text("utf-8") == "precious"
    with pytest.raises(FileNotFoundError, match="the folder"):
        fit(task(), RESUMED["descent"], checkpoint=tmp_path / "nowhere" / "training.nc")


def test_a_settled_training_stays_as_it_is_when_gone_on_with(tmp_path):
    road, path = Descent(optax.sgd(0.0), stages=6), tmp_path / "training.nc"
    with pytest.warns(UserWarning, match="hardly better than a constant"):
        found = fit(task(), road, checkpoint=path)
    with pytest.warns(UserWarning, match="hardly better than a constant"):
        again = fit(task(), road, checkpoint=path, resume=True)
    for each in (found, again):
        assert each.ending is Ending.settled and each.history.ratio.size == 3


@pytest.mark.parametrize("content", [b"", b"no file of ours", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_foreign_or_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "training.nc"
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=r"training\.nc"):
        fit(task(), RESUMED["descent"], checkpoint=path, resume=True)
    assert path.read_bytes() == content


def test_a_diverging_training_keeps_its_last_good_state(tmp_path):
    """The rate is sane for the steps of two stages, and then beyond all bounds."""
    rate = lambda count: jnp.where(count < 6, 1e-4, 1e300)
    road = Descent(optax.sgd(rate), stages=5, batch=10)
    with pytest.warns(UserWarning, match="start from smaller or larger weights"):
        found = fit(task(), road, checkpoint=tmp_path / "training.nc")
    with pytest.warns(UserWarning, match="hardly better than a constant"):
        short = fit(task(), Descent(optax.sgd(rate), stages=2, batch=10))
    assert found.ending is Ending.diverged and "not finite" in found.report.splitlines()[-1]
    assert found.history.ratio.size == 2 and short.ending is Ending.finished
    assert all((a == b).all() for a, b in zip(leaves(found.network), leaves(short.network), strict=True))
    with pytest.raises(ValueError, match="The first stage gave weights that are not finite"):
        fit(task(), Descent(optax.sgd(1e300), stages=2))


@pytest.mark.slow
def test_a_ladder_begun_too_low_on_a_plain_chain_collapses_and_says_so():
    rng = np.random.default_rng(0)
    x = y = rng.normal(size=(40, 6))
    for _ in range(10):
        y = np.tanh(1.3 * y @ np.linalg.qr(rng.normal(size=(6, 6)))[0])
    network = perceptron([6] * 11, last=jnp.tanh, key=KEYS[0])
    of = NetworkAction(network, Pairs(x, y + 0.02 * rng.normal(size=y.shape)), decay=0.3)
    with pytest.warns(UserWarning, match="hardly better than a constant output: .*begin the ladder higher"):
        found = fit(of, Annealed(Ladder(1e-3, 10.0, 4), steps=6, strong=False))
    assert found.collapsed and found.history.level[0] < 0.1


def test_held_out_pairs_have_outputs_like_the_training_pairs():
    network = LayerMap([Recurrent(Elman(2, 2, key=KEYS[0]), 2)])
    of = NetworkAction(network, Pairs(np.ones((4, 3, 2)), np.ones((4, 3, 2))))
    with pytest.raises(ValueError, match="must make outputs as of the training pairs"):
        fit(of, RESUMED["strong"], held_out=Pairs(np.ones((4, 5, 2)), np.ones((4, 5, 2))))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["convolution", "recurrent", "entry"])
def test_training_goes_through_images_and_recurrent_layers(kind):
    """From noisy inputs to their sum and its negative, up to R_f = ∞."""
    make, shape = KINDS[kind]
    x = np.random.default_rng(0).normal(size=(24, *shape))
    total = x.reshape(24, -1).sum(axis=1) / np.sqrt(x[0].size)
    given = Pairs(x, np.stack([total, -total], axis=1), noise=0.1, input_noise=0.05)
    of = NetworkAction(make(), given, decay=0.1)
    found = fit(of, Annealed(Ladder(10.0, 10.0, 3), steps=6), held_out=given)
    assert found.history.error[-1] < 0.5 * found.baseline[0]
    assert np.isclose(found.history.held_out_error, found.history.error).all()


def test_of_a_single_pair_no_collapse_is_told():
    single = NetworkAction(perceptron([2, 2], key=KEYS[0]), Pairs(np.ones((1, 2)), np.full((1, 2), 0.5)), decay=1e-6)
    found = fit(single, Descent(optax.sgd(0.1), stages=2, epochs=50))
    assert np.isnan(found.baseline[0]) and not found.collapsed
