"""The examples with measured data: every configuration is one, and those that take a minute find what they promise."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from test_cli import deepest, settled

import deepest as dp
from deepest.io import read_table

__all__ = ["settled"]  # a fixture

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


@pytest.fixture
def copied(tmp_path):
    """The examples in a folder of their own."""
    return Path(shutil.copytree(FOLDER, tmp_path / "examples"))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_configuration(name, copied):
    """It is read and its model traced: what is refused then is that a run of it exists already."""
    text = (copied / f"{name}.toml").read_text("utf-8")
    assert f"deepest anneal examples/{name}.toml" in text
    (copied / f"{name}.nc").write_bytes(b"a run of before")
    said = deepest("anneal", copied / f"{name}.toml", "--no-cache")
    assert said.exit_code == 2 and f"{name}.nc exists already" in said.stderr


def test_hares_and_lynxes_are_forecast_better_than_by_their_last_cycle(copied):
    """Root mean square errors of 1915 to 1920, estimated from 1900 to 1914; a cycle takes ten years."""
    said = deepest("anneal", copied / "hare_lynx.toml", "--no-cache", "--no-plots")
    assert said.exit_code == 0, said.stderr
    forecast = dp.load(copied / "hare_lynx.nc").forecast(1920.0, step=1.0)
    before, later = (read_table(copied / name) for name in ("hare_lynx.csv", "hare_lynx_later.csv"))
    np.testing.assert_array_equal(later.times, forecast.times[1:])
    error = np.sqrt(np.mean((forecast.path[1:] - later.values) ** 2, axis=0))
    cycle = np.sqrt(np.mean((before.values[-10:-4] - later.values) ** 2, axis=0))
    assert np.all(error < 0.7 * cycle)
