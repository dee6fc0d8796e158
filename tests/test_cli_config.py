"""Configurations that cannot be: each is refused in one sentence, with exit status 2, before anything is computed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_archive import made
from test_cli import deepest, here, names, refused, settled, table, written

import deepest as dp
from deepest.cli._tables import found

__all__ = ["here", "settled"]  # fixtures


def lorenz96(arguments):
    return written(model=f'name = "Lorenz96"\n{arguments}')


def own(attribute, arguments="dimension = 3"):
    return written(model=f'name = "mymodel:{attribute}"\n{arguments}')


def data(file, rest="noise = 0.5"):
    return written(data=f'file = "{file}"\n{rest}')


CONFIGURATIONS = {
    "not TOML": ("x = = 3", "c.toml is not valid TOML"),
    "key above the tables": ("seed = 3\n", "seed belongs in a table; write it below [ensemble]"),
    "unknown key above the tables": ("sed = 3\n", 'no key called "sed"; did you mean "seed"?'),
    "table that is a key": ("model = 3\n", "model is a table; write [model]"),
    "unknown table": (written(modell="a = 1"), 'no table called "modell"; did you mean "model"?'),
    "unknown key": (written(data='fil = "d"\nnoise = 1'), 'no key in [data] called "fil"; did you mean "file"?'),
    "wrong kind": (written(ensemble='members = "4"'), "members in [ensemble] is a whole number; received '4'"),
    "missing key": (written(data='file = "data.csv"'), "needs noise = … in its table [data]"),
    "missing table": (written(model=None), "needs name = … in its table [model]"),
    "starts of two kinds": (
        written(state="spread = [0, 1]", ensemble="draws = 9"),
        "give draws in [ensemble], for starts that follow the data, or spread in [state]",
    ),
    "no members": (written(ensemble="members = 0"), "members of at least 1"),
    "too large a seed": (written(ensemble="seed = 18446744073709551616"), "a seed between 0 and 9223372036854775807"),
    "a number beyond all numbers": (data("data.csv", f"noise = 1{'0' * 400}"), "noise in [data] is a number or a list"),
    "noise that vanishes": (data("data.csv", "noise = 1e-200"), "The noise must lie between 7.5e-155 and 1.3e+154"),
    "an argument that is no number": (
        lorenz96("dimension = 5\nforcing = nan"),
        "forcing in [model] is a number; received nan",
    ),
    "a list in place of a number": (
        written(model='name = "LotkaVolterra"\ngrowth = [1, 2]', data='file = "data.csv"\nnoise = 1'),
        "The model LotkaVolterra fails with what stands in [model]: ValueError",
    ),
    "unknown model": (written(model='name = "Lorenz69"'), 'no model "Lorenz69"; did you mean "Lorenz96"?'),
    "unknown argument": (lorenz96("dimensions = 5"), '"dimensions"; did you mean "dimension"?'),
    "argument of another kind": (lorenz96('dimension = "5"'), "dimension in [model] is a whole number; received '5'"),
    "argument that is text": (lorenz96('dimension = 5\nforcing = "a"'), "forcing in [model] is a number, or {"),
    "bad argument": (lorenz96("dimension = 3"), "at least 4; received 3"),
    "lower above upper": (lorenz96("forcing = { unknown = [10, 6] }"), "lower ≤ upper"),
    "misspelt unknown": (lorenz96("forcing = { unkown = [6, 10] }"), 'did you mean "unknown"?'),
    "no range": (lorenz96("forcing = { unknown = 6 }"), "needs a range"),
    "range of texts": (lorenz96('forcing = { unknown = ["a", "b"] }'), "forcing in [model] holds numbers"),
    "bad prior": (lorenz96("forcing = { unknown = [6, 10], prior = 3 }"), "mean = …, deviation = …"),
    "bad volatility": (lorenz96('forcing = { unknown = [6, 10], varies = "a" }'), "varies of forcing in [model]"),
    "no stimulus": (own("field", 'dimension = 3\nk = { stimulus = "none.csv" }'), "none.csv does not exist"),
    "misspelt stimulus": (own("field", 'k = { stimulus = "data.csv", column = "x" }'), 'did you mean "columns"?'),
    "stimulus of another kind": (own("field", "k = { stimulus = 3 }"), "stimulus of k in [model] is a text in quotes"),
    "columns of a stimulus by number": (
        own("field", 'k = { stimulus = "data.csv", columns = [1] }'),
        "columns of k in [model] is a list of texts; received [1]",
    ),
    "stimulus with times that do not increase": (
        own("field", 'k = { stimulus = "twice.csv" }'),
        "twice.csv: A stimulus has times that increase; received 0.2 followed by 0.2.",
    ),
    "stimulus with holes": (own("field", 'k = { stimulus = "missing.csv" }'), "missing.csv: A stimulus has finite val"),
    "stimulus of another time": (
        own("field", 'dimension = 3\nk = { stimulus = "later.csv" }'),
        "given from 10 to 11, and the data from 0 to 1: they have no time in common",
    ),
    "discontinuous in what way": (
        own("field", 'k = { stimulus = "data.csv", continuity = "stairs" }'),
        "steps, linear, cubic; received",
    ),
    "a number that is true": (written(model='name = "Lorenz63"\nrho = true'), "rho in [model] is a number"),
    "range without bounds": (written(state='precision = "range"'), "needs finite bounds="),
    "precision in words": (
        written(state='precision = "high"'),
        'precision in [state] is a number, a list of numbers, or "',
    ),
    "break outside the data": (data("data.csv", "breaks = 9\nnoise = 1"), "received a break at 9"),
    "two ways of a grid": (written(transcription="steps = 2\nstep = 0.1"), "one of steps=, step= and grid="),
    "no module": (written(model='name = "nomodule:f"'), "There is no module nomodule"),
    "broken module": (written(model='name = "broken:f"'), "cannot be imported: SyntaxError"),
    "no attribute": (own("feld"), 'no attribute in mymodel called "feld"; did you mean "field"?'),
    "not a function": (own("constant"), "is a float; a model is called as field(t, x, args)"),
    "two arguments": (own("two"), "must take three arguments"),
    "no dimension": (own("field", "k = 1"), "write dimension = … in [model]"),
    "a negative dimension": (own("field", "dimension = -2"), "dimension in [model] is a whole number"),
    "no name of a module": (written(model='name = ":f"'), 'is "module:attribute"; received ":f"'),
    "a model that returns text": (
        own("said"),
        "dx/dt of shape (3,) for a state of that shape; it returned str",
    ),
    "a model that branches": (
        own("branching"),
        "mymodel:branching fails in line 21 of mymodel.py: The model must be traceable: written with jax.numpy",
    ),
    "wrong shape": (own("narrow"), "must return dx/dt of shape (3,)"),
    "wrong dtype": (own("whole"), "must keep the dtype float64; it returned int64"),
    "crashing model": (own("crash"), "mymodel:crash fails in line 14 of mymodel.py: TypeError"),
    "missing argument": (own("unnamed"), "fails in line 17 of mymodel.py: KeyError: 'nothing'"),
    "no start": (own("field", "dimension = 3\nk = { unknown = [0, inf] }"), "neither a finite range nor a prior"),
    "no file": (data("none.csv"), "none.csv does not exist"),
    "times not increasing": (data("twice.csv"), "increasing times"),
    "NaN in times": (data("hole.csv"), 'the time "time" is missing in row 6'),
    "all missing": (data("missing.csv"), "Every observed value is missing"),
    "component out of range": (data("data.csv", "components = [0, 9]\nnoise = 1"), "between 0 and 4"),
    "shapes that disagree": (data("data.csv", "components = [0]\nnoise = 1"), "values have 2 columns"),
    "unknown column": (data("data.csv", 'columns = ["x1"]\nnoise = 1'), 'no column "x1"'),
    "negative noise": (data("data.csv", "noise = -1"), "noise must be positive"),
    "noise of another size": (data("data.csv", "noise = [1, 1, 1]"), "received shape (3,)"),
    "unknown transcription": (written(transcription='name = "HermitSimpson"'), 'did you mean "HermiteSimpson"?'),
    "no steps": (written(transcription="steps = 0"), "at least 1 step"),
    "odd number of steps": (data("odd.csv"), "multiple of 2"),
    "unknown convention": (written(transcription='convention = "continum"'), 'did you mean "continuum"?'),
    "bad ladder": (written(ladder="start = -1"), "starts at a positive R_f/R_m"),
    "ladder without an end": (written(ladder="rungs = 100000000"), "between one rung and 100000; received rungs"),
    "bad spread": (written(state="spread = [3, 1]"), "lower ≤ upper"),
    "spread of another size": (
        written(state="spread = [[1, 2], [3, 4]]"),
        "one number, or 5, one a component; received 2",
    ),
    "bad bounds": (written(state="bounds = [3, 1]"), "lower ≤ upper"),
    "data outside of their bounds": (
        written(state="bounds = [50, 60]"),
        "Component 0 was measured as 0.12573 at 0, far outside of its bounds, 50 and 60.",
    ),
    "bounds of another size": (written(state="bounds = [[1], [3]]"), "State bounds must be scalars or have shape (5,)"),
    "no folder": (written(output='file = "no/run.nc"'), "folder no does not exist"),
    "output that is no NetCDF": (written(output='file = "data.csv"'), "ends in .nc"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_that_cannot_be_is_refused(name, here):
    text, sentence = CONFIGURATIONS[name]
    Path("c.toml").write_text(text, "utf-8")
    before = names(here)
    said = deepest("anneal", "c.toml", "--no-cache")
    refused(said, sentence)
    assert names(here) - {"__pycache__"} == before


def test_a_ladder_that_single_precision_does_not_hold_is_refused(here):
    Path("c.toml").write_text(written(ladder="start = 1e-40"), "utf-8")
    before = names(here)
    refused(deepest("anneal", "c.toml", "--no-cache", "--float32"), "and float32 from 1.2e-38")
    assert names(here) == before


def test_an_open_range_and_an_open_ladder_are_no_slips(here):
    """Everything is read but the data, whose file is not there."""
    state = {"state": "bounds = [[0, 0, 0, 0, -inf], inf]", "ladder": "largest = inf"}
    Path("c.toml").write_text(written(**state, data='file = "none.csv"\nnoise = 1'), "utf-8")
    refused(deepest("anneal", "c.toml", "--no-cache"), "none.csv does not exist")


def test_a_configuration_from_an_editor_that_marks_utf_8_is_read(here):
    Path("c.toml").write_text(written(data='file = "none.csv"\nnoise = 1'), "utf-8-sig")
    refused(deepest("anneal", "c.toml", "--no-cache"), "none.csv does not exist")


def test_the_advice_names_what_is_in_sight():
    """Gaps over which the grid takes one long step, and a ladder that ends too early."""
    times, values = np.append(0.02 * np.arange(60), 4.0), np.random.default_rng(0).normal(size=(61, 1))
    observations = dp.Observations(times, values, components=[0], noise=1.0)
    result = made(dp.models.Lorenz63(), observations, steps=2)
    high, low = (dataclasses.replace(result, levels=np.cumsum(np.full((3, 4), x), axis=0)) for x in (9.0, 0.01))
    assert "a shorter step across gaps (step=; the longest is 2.82)" in dict(found(high))["advice"]
    assert "has the ladder more rungs to climb?" in dict(found(low))["advice"]


NEURON = """
[model]
name = "nakl"
unknown = true
current = { stimulus = "current.csv", columns = ["I"], continuity = "steps" }
[data]
file = "voltage.csv"
columns = ["x0"]
components = [0]
breaks = 100.0
noise = 1.0
[state]
bounds = [[-100, 0, 0, 0], [60, 1, 1, 1]]
precision = "range"
[transcription]
step = 0.5
[ladder]
start = 1e-2
rungs = 2
[ensemble]
members = 1
[output]
plots = false
"""


def test_a_neuron_with_its_stimulus_in_a_file_and_two_experiments_is_annealed(here):
    """Named like any of our models; the archive holds the stimulus and where the second experiment begins."""
    times = np.concatenate([np.arange(0.0, 10.0, 0.5), np.arange(100.0, 108.0, 0.5)])
    table("voltage.csv", times, np.stack([-65.0 + 5.0 * np.sin(times), times], axis=1))
    Path("current.csv").write_text("t,I\n0,0\n4.25,10\n8,0\n100,0\n102,5\n", "utf-8")
    Path("c.toml").write_text(NEURON, "utf-8")
    said = deepest("anneal", "c.toml", "--no-cache")
    assert said.exit_code == 0, said.stderr
    assert "Note: a stimulus is given from 0 to 102, and the data from 0 to 107.5; outside of its times" in said.stderr
    action = dp.load("run.nc").action
    assert len(action.estimable.names) == 18
    assert {4.25, 8.0, 100.0, 102.0} <= set(action.grid.times[::2].tolist())
    assert [action.grid.times[piece][[0, -1]].tolist() for piece in action.pieces] == [[0.0, 9.5], [100.0, 107.5]]
    np.testing.assert_allclose(action.shape.value[0], (160.0 / np.array([160.0, 1.0, 1.0, 1.0])) ** 2)
