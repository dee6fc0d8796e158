"""The example of the README, executed as it stands."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp

ROOT = Path(__file__).parent.parent


@pytest.fixture
def data(tmp_path, monkeypatch):
    """What the example reads: Lorenz96 with forcing 8.17, eight of twenty components, noise 0.5, one value missing."""
    rng = np.random.default_rng(7)
    model, times = dp.models.Lorenz96(20, 8.17), 0.025 * np.arange(161)
    start = dp.models.integrate(model, jnp.asarray(rng.normal(size=20)), np.array([0.0, 25.0]))[-1]
    truth = np.asarray(dp.models.integrate(model, start, times))
    values = truth[:, [0, 2, 4, 6, 8, 10, 14, 16]] + 0.5 * rng.normal(size=(161, 8))
    values[40, 3] = np.nan
    monkeypatch.chdir(tmp_path)
    header = "time,x0,x2,x4,x6,x8,x10,x14,x16"
    np.savetxt("data.csv", np.column_stack([times, values]), delimiter=",", header=header, comments="")
    return truth


def test_the_example_finds_the_path(data):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    result = names["result"]
    assert result.report.consistent
    assert abs(float(result.best.model.forcing) - 8.17) < 0.01 * 8.17
    assert np.sqrt(np.mean((result.best.path - data) ** 2)) < 0.25
    np.testing.assert_allclose(names["forecast"].path[0], result.best.path[-1], rtol=1e-12)
    assert Path("levels.png").stat().st_size > 0
    assert dp.load("run.nc").best.level == result.best.level
    assert jax.config.jax_enable_x64
