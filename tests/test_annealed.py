"""What varanneal and minAone leave behind comes back as they wrote it."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from test_cli import deepest, refused, settled

import deepest as dp

__all__ = ["settled"]  # a fixture


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)


def test_varanneals_arrays_come_back(here):
    rng = np.random.default_rng(0)
    times, states, values = 0.1 * np.arange(7), rng.normal(size=(4, 7, 3)), rng.normal(size=(4, 2))
    measurement, model, r_f = *rng.uniform(1, 2, (2, 4)), 1e-3 * 1.5 ** np.arange(4)
    np.save("p.npy", np.concatenate([np.broadcast_to(times[None, :, None], (4, 7, 1)), states], axis=2))
    np.save("theta.npy", values)
    np.save("a.npy", np.stack([np.arange(4.0), measurement + model, measurement, model, model / r_f], axis=1))
    old = dp.io.read_varanneal("p.npy", "theta.npy", "a.npy")
    for got, sent in ((old.paths, states), (old.parameters, values), (old.times, times), (old.beta, np.arange(4.0))):
        np.testing.assert_array_equal(got, sent)
    np.testing.assert_array_equal(old.action, measurement + model)
    np.testing.assert_allclose(old.precision, r_f, rtol=1e-14)
    bare = dp.io.read_varanneal("p.npy")
    assert bare.parameters.shape == (4, 0) and np.all(np.isnan(bare.action))
    np.save("varying.npy", rng.normal(size=(4, 6, 2)))
    assert dp.io.read_varanneal("p.npy", "varying.npy").parameters.shape == (4, 6, 2)
    refused(deepest("convert", "p.npy", "varying.npy", "-o", "new"), "parameters that vary in time")
    # The command tells them apart, in whichever order they come.
    for k, order in enumerate(itertools.permutations(["theta.npy", "a.npy"])):
        assert deepest("convert", "p.npy", *order, "-o", f"new{k}").exit_code == 0
    assert Path("new0/levels.csv").read_bytes() == Path("new1/levels.csv").read_bytes()
    read = dp.io.read_table("new0/levels.csv", time="beta", columns=["action", "R_f", "p0", "p1"])
    np.testing.assert_array_equal(read.values, np.column_stack([old.action, old.precision, values]))


def test_minaones_results_come_back(here):
    rng = np.random.default_rng(0)
    states, values = rng.normal(size=(3, 5, 2)), rng.normal(size=(3, 1))
    rows = np.column_stack([np.arange(3.0), np.ones(3), [1.0, 2.0, 2.5], states.reshape(3, -1), values])
    np.savetxt("D2_M1_IC0.dat", rows, fmt="%.17e")
    old = dp.io.read_minaone("D2_M1_IC0.dat", 2, step=0.1, parameters=1)
    for got, sent in ((old.paths, states), (old.parameters, values), (old.action, np.array([1.0, 2.0, 2.5]))):
        np.testing.assert_array_equal(got, sent)
    np.testing.assert_allclose(old.times, 0.1 * np.arange(5), rtol=1e-15)
    with pytest.raises(ValueError, match="rows of 14 numbers, which is not 3 \\+ N · 4 \\+ 1"):
        dp.io.read_minaone("D2_M1_IC0.dat", 4, step=0.1, parameters=1)


ARRAYS = {
    "no file": (["none.npy"], "none.npy does not exist"),
    "text": (["text.npy"], "text.npy is not a NumPy array file"),
    "no paths": (["theta.npy"], "expected varanneal's paths of shape (R, N, 1 + D); received float64 of shape (2, 1)"),
    "no time": (["untimed.npy"], "the first column of varanneal's paths is the time"),
    "another run": (["p.npy", "more.npy"], "more.npy has 3 rungs, and p.npy has 2"),
    "two of a kind": (["p.npy", "theta.npy", "theta.npy"], "at most one of parameters and one of action errors"),
    "an archive": (["p.npy", "z.npz"], "z.npz cannot be read, or is not a NumPy array"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_another_kind_are_refused(name, here):
    files, sentence = ARRAYS[name]
    paths = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.save("untimed.npy", paths)
    paths[:, :, 0] = np.arange(4.0)
    np.save("p.npy", paths)
    np.save("theta.npy", np.ones((2, 1)))
    np.save("more.npy", np.ones((3, 1)))
    np.savez("z.npz", a=np.ones(3))
    Path("text.npy").write_text("1 2 3", "utf-8")
    refused(deepest("convert", *files, "-o", "new"), sentence)
    assert not Path("new").exists()
    refused(deepest("convert", *files, "-o", "new", "--noise", 1), "--noise is for projects of minAone")
