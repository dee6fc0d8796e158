"""`deepest twin perceptron`: what it prints and writes, and what it refuses."""

import jax
import pytest
from typer.testing import CliRunner

from deepest.cli import app
from deepest.io import read_tree


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Nothing of one command's set-up reaches the next test."""
    monkeypatch.setattr("deepest.cli._session._cache", lambda folder: None)
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def deepest(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_network_is_learned_beside_what_needs_none(tmp_path):
    """As released there is nothing to learn: the last rung has the error of the mean training output."""
    run = tmp_path / "net.nc"
    said = deepest("twin", "perceptron", "--layers", 5, "--pairs", 3, "--members", 2, "-o", run, "--no-cache")
    assert said.exit_code == 0, said.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"net.nc", "net_levels.png"}
    assert (tmp_path / "net_levels.png").read_bytes().startswith(b"\x89PNG")
    for part in ("100 logistic layers", "mean training output", "ridge regression", "true network", "2 starts"):
        assert part in said.stdout
    (last,) = (line.split() for line in said.stdout.splitlines() if "1e+10" in line)
    assert float(last[-2]) == pytest.approx(float(last[-1]), rel=1e-3)
    groups, attributes = read_tree(run)
    assert groups["climbed"]["held_out"][1][-1, 0] == pytest.approx(float(last[-2]), rel=1e-3)
    assert attributes["layers"] == 5 and attributes["pairs"] == 3


REFUSALS = {
    "one layer": (("perceptron", "--layers", "1"), "layers must be 2 or more; received layers=1"),
    "no pairs": (("perceptron", "--pairs", "0"), "pairs must be 1 or more; received pairs=0"),
    "measured twice": (("perceptron", "--measured", "11"), "1 to 10 are measured; received measured=11"),
    "no noise": (("perceptron", "--noise", "0"), "positive and finite; received noise=0"),
    "layers of a path": (("lorenz63", "--layers", "3"), "--layers does not belong to the experiment lorenz63"),
    "repeated": (("perceptron", "--realisations", "2"), "--realisations does not belong to the experiment perceptron"),
    "misspelt": (("perceptrom",), 'no experiment "perceptrom"; did you mean "perceptron"?'),
    "another suffix": (("perceptron", "-o", "run.csv"), "ends in .nc; received run.csv"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused_in_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, sentence = REFUSALS[name]
    said = deepest("twin", *arguments)
    assert said.exit_code == 2, (said.stderr, said.exception)
    assert sentence in said.stderr
    assert said.stderr.startswith("deepest: ") and said.stderr.count("\n") == 1
    assert said.stdout == "" and not list(tmp_path.iterdir())
