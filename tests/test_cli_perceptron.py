"""`deepest twin perceptron`: what it writes and says, and what it refuses."""

import jax
import pytest
from typer.testing import CliRunner

from deepest.cli import app


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Nothing of one command's set-up reaches the next test."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def perceptron(*options):
    return CliRunner().invoke(app, ["twin", "perceptron", *map(str, options), "--no-cache"])


def test_a_network_is_learned_beside_what_needs_none(tmp_path):
    """As released there is nothing to learn: the last rung has the error of the mean training output."""
    said = perceptron("--layers", 5, "--pairs", 3, "--members", 2, "-o", tmp_path / "net.nc")
    assert said.exit_code == 0, said.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"net.nc", "net_levels.png"}
    assert (tmp_path / "net_levels.png").read_bytes().startswith(b"\x89PNG")
    for part in ("100 logistic layers", "mean training output", "ridge regression", "true network", "2 starts"):
        assert part in said.stdout
    (last,) = (line.split() for line in said.stdout.splitlines() if "1e+10" in line)
    assert float(last[-2]) == pytest.approx(float(last[-1]), rel=1e-3)


REFUSED = {
    "one layer": (("--layers", 1), "layers must be 2 or more; received layers=1"),
    "no pairs": (("--pairs", 0), "pairs must be 1 or more; received pairs=0"),
    "measured twice": (("--measured", 11), "1 to 10 are measured; received measured=11"),
    "noise of none": (("--noise", 0), "positive and finite; received noise=0"),
    "repeated": (("--realisations", 2), "--realisations does not belong to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cannot_be_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, sentence = REFUSED[name]
    said = perceptron(*options)
    assert said.exit_code == 2 and said.stdout == ""
    assert said.stderr.startswith("deepest: ") and said.stderr.count("\n") == 1 and sentence in said.stderr
    assert not any(tmp_path.iterdir())
