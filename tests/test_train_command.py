"""`deepest train`: what it writes and says, how it goes on, and what it refuses."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from deepest import networks, plot
from deepest.cli import app
from deepest.io import read_digits, read_tree


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Nothing of one command's set-up reaches the next test."""
    monkeypatch.setattr("deepest.cli._session._cache", lambda folder: None)
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def deepest(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--no-cache"])


def said(table, method):
    """The numbers of one row, per cent as shares."""
    (row,) = [line for line in table.splitlines() if line.strip().startswith(method)]
    words = row.replace(method, "").split()
    return [float(word.rstrip("%")) / (100 if "%" in word else 1) for word in words if word != "–"]


def history(path):
    groups, _ = read_tree(path)
    return {name: array for name, (_, array, _) in groups["history"].items()}


def refused(result, sentence):
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert result.stderr.startswith("deepest: ") and result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert result.stdout == ""


# ---- What it does ----


def test_bars_anywhere_are_learned_where_a_linear_classifier_fails(here):
    """Gauss–Newton; and the file goes on, from where it was, to the same place."""
    whole = deepest("bars-anywhere", "-o", "whole.nc")
    assert whole.exit_code == 0, whole.stderr
    assert said(whole.stdout, "softmax regression")[0] > 0.2
    training, held_out, loss = said(whole.stdout, "this network")
    assert training == 0.0 and held_out < 0.01
    rows = history("whole.nc")
    assert held_out == pytest.approx(rows["held_out_error"][-1], abs=1e-4)
    assert loss == pytest.approx(rows["held_out_loss"][-1], abs=1e-4)
    assert {path.name for path in here.iterdir()} == {"whole.nc", "whole_curve.png"}
    assert Path("whole_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_training_is_gone_on_with(here, monkeypatch):
    """To the same weights bit for bit, from a file that another process may have written."""
    run = lambda name, *more: deepest("bars", "--road", "descent", "-o", name, "--no-plots", *more)
    assert run("whole.nc").exit_code == 0
    stages, advance = iter(range(100)), networks.Descent.advance

    def interrupted(self, action, state, stage):
        if next(stages) == 5:
            raise KeyboardInterrupt
        return advance(self, action, state, stage)

    monkeypatch.setattr(networks.Descent, "advance", interrupted)
    assert run("part.nc").exit_code == 130
    assert history("part.nc")["action"].size == 5
    monkeypatch.setattr(networks.Descent, "advance", advance)
    assert run("part.nc", "--resume").exit_code == 0
    for group in ("state", "best"):
        one, other = (read_tree(name)[0][group] for name in ("whole.nc", "part.nc"))
        for key in one:
            np.testing.assert_array_equal(one[key][1], other[key][1])
    other = deepest("bars", "--road", "descent", "-o", "part.nc", "--no-plots", "--resume", "--seed", 1)
    refused(other, "part.nc is of another training")


@pytest.mark.slow
def test_few_digits_are_trained_and_tabled(here):
    result = deepest("digits", "--road", "descent", "--pairs", 100, "--layers", 3)
    assert result.exit_code == 0, result.stderr
    # Chance is 90 %; a hundred pairs give plain classifiers about 12 %.
    assert said(result.stdout, "most frequent label")[0] > 0.85
    assert said(result.stdout, "softmax regression")[0] < 0.2
    assert said(result.stdout, "this network")[1] < 0.25
    assert "trained on 100 pairs, 360 held out" in result.stdout
    assert {path.name for path in here.iterdir()} == {"training.nc", "training_curve.png"}


@pytest.mark.slow
@pytest.mark.parametrize(("road", "most"), [((), 0.03), (("--road", "strong"), 0.035), (("--road", "annealed"), 0.045)])
def test_all_digits_are_learned(road, most, here):
    """Without options within 3 %; the split is fixed, and the weights of the last stage are judged."""
    result = deepest("digits", *road)
    assert result.exit_code == 0, result.stderr
    training, held_out, _ = said(result.stdout, "this network")
    assert training < 0.01 and held_out <= most


def test_help_says_the_roads():
    result = CliRunner().invoke(app, ["train", "--help"])
    assert result.exit_code == 0
    for word in ("strong", "annealed", "descent", "bars-anywhere"):
        assert word in result.stdout


# ---- What it refuses ----

COMMANDS = {
    "unknown example": (("digit",), 'no example "digit"; did you mean "digits"?'),
    "unknown road": (("bars", "--road", "strung"), 'no road "strung"; did you mean "strong"?'),
    "too many pairs": (("bars", "--pairs", 201), "1 to 200 training pairs; received pairs=201"),
    "no pairs": (("digits", "--pairs", 0), "1 to 1437 training pairs; received pairs=0"),
    "no layers": (("digits", "--layers", 0), "at least one layer; received layers=0"),
    "no layers of bars": (("bars", "--layers", 0), "at least one layer of neurons; received layers=0"),
    "another suffix": (("bars", "-o", "training.png"), "ends in .nc; received training.png"),
    "nothing to resume": (("bars", "--resume"), "training.nc does not exist, so that there is nothing to resume"),
    "foreign file": (("bars", "-o", "foreign.nc", "--resume"), "foreign.nc is not a NetCDF-4 file"),
    "existing file": (("bars", "-o", "foreign.nc"), "foreign.nc exists already"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_training_that_cannot_be_is_refused(name, here):
    arguments, sentence = COMMANDS[name]
    Path("foreign.nc").write_text("precious", "utf-8")
    refused(deepest(*arguments), sentence)
    assert Path("foreign.nc").read_text("utf-8") == "precious"


def test_force_deletes_nothing_where_there_is_nothing_to_train(here):
    Path("training.nc").write_text("precious", "utf-8")
    refused(deepest("bars", "--pairs", 201, "--force"), "1 to 200 training pairs; received pairs=201")
    assert Path("training.nc").read_text("utf-8") == "precious"


def test_scikit_learn_is_asked_for_where_it_is_missing(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "deepest.io._scikit", raising=False)
    refused(deepest("digits"), "deepest.io needs sklearn: pip install 'deepest-learning[data]'")


def test_a_mistake_of_ours_is_not_swallowed(here, monkeypatch):
    def mistaken(*arguments, **options):
        raise ValueError("shapes (3,) and (4,) do not match")

    monkeypatch.setattr("deepest.networks.fit", mistaken)
    result = deepest("bars")
    assert (result.exit_code, type(result.exception)) == (1, ValueError)


# ---- What it stands on ----


def test_digits_are_images_with_labels():
    images, labels = read_digits()
    assert images.shape == (1797, 64) and images.min() == 0.0 and images.max() == 1.0
    assert set(labels) == set(range(10))


def test_held_out_images_are_not_among_the_training_pairs():
    example = networks.digits()
    together = np.concatenate([example.action.pairs.inputs, example.held_out.inputs])
    assert len(together) == 1797
    own = {image.tobytes() for image in example.action.pairs.inputs}
    assert not any(image.tobytes() in own for image in example.held_out.inputs)


def separated(count, width, generator):
    """Three well separated clouds."""
    labels = np.arange(count) % 3
    return networks.Pairs(5.0 * np.eye(3, width)[labels] + generator.normal(size=(count, width)), labels)


def test_plain_classifiers_know_what_is_plain():
    generator = np.random.default_rng(1)
    most, *others = networks.plain_classifiers(separated(90, 4, generator), separated(300, 4, generator))
    # Three labels, equally often: two thirds are wrong, and the loss is log 3.
    assert most.error == pytest.approx(2 / 3) and most.loss == pytest.approx(np.log(3), abs=1e-9)
    assert all(score.error < 0.03 for score in others)
    assert others[-1].loss < 0.1


def test_plain_classifiers_take_labels_and_complete_inputs():
    pairs = separated(9, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="need integer labels"):
        networks.plain_classifiers(networks.Pairs(pairs.inputs, pairs.inputs), pairs)
    holes = np.where(pairs.inputs > 5, np.nan, pairs.inputs)
    with pytest.raises(ValueError, match="complete inputs"):
        networks.plain_classifiers(pairs, networks.Pairs(holes, pairs.targets, input_prior=(0.0, 1.0)))


def test_a_picture_shows_both_curves_and_every_score():
    example = networks.bars(pairs=40)
    trained = networks.fit(example.action, example.roads["descent"], held_out=example.held_out)
    scores = networks.plain_classifiers(example.action.pairs, example.held_out)
    error, loss = plot.training(trained, scores)
    held_out = [line for line in error.lines if line.get_label() == "held-out pairs"]
    np.testing.assert_array_equal(held_out[0].get_ydata(), trained.history.held_out_error)
    assert {score.name for score in scores} <= {line.get_label() for line in error.lines}
    # Of these only two give probabilities.
    assert len(loss.lines) == 4
