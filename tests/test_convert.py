"""Projects of minAone: read as its program reads them, run with its action, and refused in one sentence."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from test_cli import deepest, refused, settled
from test_cli import names as files

import deepest as dp

__all__ = ["settled"]  # a fixture

STEP, SKIPPED, HALF = 0.05, 3, 6  # of a grid of 2 · HALF + 1 points
POINTS = 2 * HALF + 1

LORENZ = """# a ring of five
ring
# how many of what
5,1,0,0,0,2
a4*(a1 - a3) - a0 + force
a0*(a2 - a4) - a1 + force
a1*(a3 - a0) - a2 + force
a2*(a4 - a1) - a3 + force
a3*(a0 - a2) - a4 + force
(seen0 - a0)*(seen0 - a0) + (a2 - seen2)**2
a0
a1
a2
a3
a4
force
seen0
seen2
"""
LORENZ_SPECS = """# half the points
6
3
# twice the step
0.1
1
guess.txt
seen0.txt
./seen2.txt
-15, 15, 0.5
-15, 15, 0.5
-15, 15, 0.5
-15, 15, 0.5
-15, 15, 0.5
2, 14, 8.1, true
3, 1, 3
"""
GATE = "(0.5*(1 + tanh(({v} - {x}v)*{x}s)) - {x})/({x}t + {x}u*(1 - tanh(({v} - {x}v)*{x}s)^2))"
NEURON = "\n".join(
    [
        "cell",
        "4,18,0,1,0,1",
        "gNa*m*m*m*h*(ENa - V) + gK*pow(n, 4)*(EK - V) + gL*(EL - V) + drive",
        *(GATE.format(v="V", x=x) for x in "mhn"),
        "0.5*(seen - V)*(seen - V)",
        *"Vmhn",
        *("gNa", "ENa", "gK", "EK", "gL", "EL", *(f"{x}{k}" for x in "mhn" for k in "vstu")),
        "seen",
        "drive",
    ]
)
NEURON_VALUES = {"gNa": 120, "ENa": 50, "gK": 20, "EK": -77, "gL": 0.3, "EL": -54}
NEURON_VALUES |= {"mv": -40, "ms": 1 / 15, "mt": 0.1, "mu": 0.4, "hv": -60, "hs": -1 / 15, "ht": 1, "hu": 7}
NEURON_VALUES |= {"nv": -55, "ns": 1 / 30, "nt": 1, "nu": 5}
NEURON_SPECS = "\n".join(
    [
        "6\n0\n0.1\n0\nseen0.txt\ndrive.txt",
        "-100, 60, 1e-3\n0, 1, 10\n0, 1, 10\n0, 1, 10",
        *(f"{value}, {value}" for value in NEURON_VALUES.values()),
        "2, 2, 31",
        "-1",
    ]
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with the measured values, a drive and a guess of a project in `old`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("ring_model", "cell_model", "myfunctions"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("old").mkdir()
    rng = np.random.default_rng(3)
    for name in ("seen0", "seen2", "drive"):
        np.savetxt(f"old/{name}.txt", rng.normal(size=SKIPPED + POINTS + 2), fmt="%.17g")
    guess = [*rng.uniform(-5, 5, (SKIPPED + POINTS) * 5), 7.5]
    Path("old/guess.txt").write_text("\n".join(map(repr, map(float, guess))), "utf-8")
    return tmp_path


def project(equations=LORENZ, specs=LORENZ_SPECS):
    Path("old/equations.txt").write_text(equations, "utf-8")
    Path("old/specs.txt").write_text(specs, "utf-8")


def converted(*options):
    said = deepest("convert", "old", "-o", "new", *options)
    assert said.exit_code == 0, said.stderr
    return said


def generated():
    (file,) = Path("new").glob("*_model.py")
    specification = importlib.util.spec_from_file_location("generated", file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.field


def column(name):
    return np.loadtxt(f"old/{name}.txt")[SKIPPED : SKIPPED + POINTS]


def test_lorenz96_is_the_same_model(here):
    project()
    converted()
    ours, field = dp.models.Lorenz96(5, 7.9), generated()
    for x in np.random.default_rng(0).normal(0, 5, (4, 5)):
        got = field(jnp.zeros(()), jnp.asarray(x), {"force": jnp.asarray(7.9)})
        np.testing.assert_allclose(got, ours(jnp.zeros(()), jnp.asarray(x), None), rtol=1e-13, atol=1e-13)


def test_a_neuron_with_a_stimulus_is_the_same_model(here):
    project(NEURON, NEURON_SPECS)
    said = converted("--noise", 0.7)
    drive = dp.models.Stimulus(0.05 * np.arange(POINTS), np.loadtxt("old/drive.txt")[:POINTS])
    ours, field = dp.models.nakl(drive), generated()
    args = {**{name: float(value) for name, value in NEURON_VALUES.items()}, "drive": drive}
    rng = np.random.default_rng(0)
    for t, v, gates in zip(rng.uniform(0, 0.6, 4), rng.uniform(-90, 40, 4), rng.uniform(0, 1, (4, 3)), strict=True):
        x = jnp.asarray([v, *gates])
        np.testing.assert_allclose(field(jnp.asarray(t), x, args), ours(jnp.asarray(t), x, None), rtol=1e-11)
    held = tomllib.loads(Path("new/config.toml").read_text("utf-8"))
    # A weight of one half in the cost doubles R_f/R_m; the error is what was said, whatever the weight.
    np.testing.assert_allclose(held["ladder"]["start"], 2e-3, rtol=1e-15)
    assert held["ladder"]["factor"] == 4.0 and held["ladder"]["rungs"] == 16  # β = 0, 2, …, 30
    np.testing.assert_allclose(held["state"]["precision"], [1, 1e4, 1e4, 1e4], rtol=1e-12)
    np.testing.assert_allclose(held["data"]["noise"], 0.7, rtol=1e-12)
    assert held["model"]["gNa"] == 120.0  # equal bounds make it known
    assert "Equal bounds make gNa, ENa" in said.stderr and "output format -1 in line" in said.stderr
    read = dp.io.read_table("new/stimulus.csv")
    np.testing.assert_array_equal(read.values[:, 0], np.loadtxt("old/drive.txt")[:POINTS])


def test_the_converted_project_runs_with_minaones_action(here):
    """From the guess in its file, along its ladder, to its action, evaluated on its own as its program writes it."""
    project()
    said = converted("--noise", 0.5)
    assert "8.1" not in said.stderr and "specs.txt, line 15" in said.stderr
    run = deepest("anneal", "new/config.toml", "--no-plots", "--no-cache")
    assert run.exit_code == 0, run.stderr
    result = dp.load("new/run.nc", trust=True)
    ratios, levels = dp.action.minaone(result.action).convert(result.ratios, result.levels[:, 0])
    np.testing.assert_allclose(ratios, 0.5 * 3.0 ** np.arange(3), rtol=1e-12)
    np.testing.assert_allclose(result.action.observations.times, STEP * (SKIPPED + np.arange(POINTS)), rtol=1e-12)
    path, force = np.asarray(result.best.path), result.best.parameters["force"]
    f = np.roll(path, 1, 1) * (np.roll(path, -1, 1) - np.roll(path, 2, 1)) - path + force
    x, mid, after, fx, fm, fa = path[:-1:2], path[1::2], path[2::2], f[:-1:2], f[1::2], f[2::2]
    simpson, hermite = (fx + fa + 4 * fm) * 0.1 / 6 + x - after, (fx - fa) * 0.1 / 8 + 0.5 * x + 0.5 * after - mid
    misfit = (path[:, 0] - column("seen0")) ** 2 + (path[:, 2] - column("seen2")) ** 2
    written = (misfit.sum() + ratios[-1] * (simpson**2 + hermite**2).sum()) / POINTS
    np.testing.assert_allclose(levels[-1], written, rtol=1e-9)  # levels are summed in another order

    _check_varanneal(result)


def _check_varanneal(result):
    """The same path in varanneal's files, and from there to the same level in one rung; compiled already."""
    path, force = np.asarray(result.best.path), result.best.parameters["force"]
    axes, top = dp.action.varanneal(result.action), float(result.ratios[-1])
    precision, level = (float(x) for x in axes.convert(top, result.best.level))
    paths = np.zeros((3, POINTS, 6))
    paths[:, :, 0], paths[:2, :, 1:] = result.action.grid.times, path
    Path("saved").mkdir()
    np.save("saved/paths.npy", paths)
    np.save("saved/params.npy", np.full((3, 1), force))
    part = 0.25 * level
    np.save("saved/action_errors.npy", [[k, level, level - part, part, part / precision] for k in range(3)])
    said = deepest("convert", "saved", "-o", "from")
    assert said.exit_code == 0, said.stderr
    assert files("from") == {"levels.csv", "path.csv", "starts.nc"}
    rungs = dp.io.read_table("from/levels.csv", time="beta")
    assert rungs.values.shape[0] == 2 and rungs.names[-1] == "p0"  # the third was not reached
    ratios, levels = axes.back(rungs.values[:, rungs.names.index("R_f")], rungs.values[:, 0])
    np.testing.assert_allclose([ratios[-1], levels[-1]], [top, result.best.level], rtol=1e-12)
    np.testing.assert_array_equal(dp.io.read_table("from/path.csv").values, path)
    text = Path("new/config.toml").read_text("utf-8").replace('"starts.nc"', '"../from/starts.nc"')
    text = text.replace("start = 0.5", f"start = {top!r}").replace("rungs = 3", "rungs = 1")
    Path("new/again.toml").write_text(text, "utf-8")
    run = deepest("anneal", "new/again.toml", "-o", "again.nc", "--no-plots", "--no-cache")
    assert run.exit_code == 0, run.stderr
    np.testing.assert_allclose(dp.load("again.nc", trust=True).best.level, result.best.level, rtol=1e-7)
    for line, sentence in {
        'starts = "../from/starts.nc"\nseed = 1': "leave seed in [ensemble] out",
        'starts = "run.nc"': "does not hold starts",
        'starts = "none.nc"': "none.nc does not exist",
    }.items():
        Path("new/wrong.toml").write_text(text.replace('starts = "../from/starts.nc"', line), "utf-8")
        refused(deepest("anneal", "new/wrong.toml", "-o", "wrong.nc", "--no-cache"), sentence)


def test_several_data_sets_and_a_function_in_python(here):
    """Format 2: one file a data set with a column for every state, of which the first are the data."""
    ring = LORENZ.replace("5,1,0,0,0,2", "5,1,0,0,1,2").replace(
        "a4*(a1 - a3) - a0 + force", "site(a0, a1, a4, a3, force)"
    )
    specs = LORENZ_SPECS.replace("1\nguess.txt\nseen0.txt\n./seen2.txt\n", "2\n10\ndat\nset_\n")
    project(f"{ring}site, 5\n", specs)
    refused(deepest("convert", "old", "-o", "new"), "the function site is C++")
    Path("old/myfunctions.py").write_text("def site(x, a, b, c, f):\n    return b * (a - c) - x + f\n", "utf-8")
    refused(deepest("convert", "old", "-o", "new"), "set_K.dat; say with --dataset K which")
    values = np.random.default_rng(0).normal(size=(SKIPPED + POINTS, 5))
    np.savetxt("old/set_4.dat", values)
    refused(deepest("convert", "old", "-o", "new", "--dataset", 3), "specs.txt, line 9: there is no file old")
    assert not Path("new").exists()
    converted("--dataset", 4)
    assert files("new") == {"ring_model.py", "myfunctions.py", "data.csv", "config.toml"}
    np.testing.assert_allclose(dp.io.read_table("new/data.csv").values, values[SKIPPED:, :2], rtol=1e-15)
    sys.path.insert(0, "new")
    x = jnp.arange(5.0) ** 2
    ours = dp.models.Lorenz96(5, 8.0)(jnp.zeros(()), x, None)
    np.testing.assert_allclose(generated()(jnp.zeros(()), x, {"force": 8.0}), ours, rtol=1e-14)


RATES = {
    "-a0^2 + 2*(a1 - a2)^-1": lambda a: -(a[0] ** 2) + 2 / (a[1] - a[2]),
    "exp(-a0)*Max(a1, a2)/pow(a3, 3)": lambda a: np.exp(-a[0]) * max(a[1], a[2]) / a[3] ** 3,
    "atan2(a1, a0) + abs(-a2) - ln(a3) + asin(0.1*a0)": lambda a: (
        np.arctan2(a[1], a[0]) + a[2] - np.log(a[3]) + np.arcsin(0.1 * a[0])
    ),
    "1/2*a0 + E - pi": lambda a: 0.5 * a[0] + np.e - np.pi,
    "3/2": lambda a: 1.5,
    "force*10000000000": lambda a: 8e10,
}


def test_equations_mean_what_they_say(here):
    body = LORENZ.splitlines()
    for k, rate in enumerate(list(RATES)[:5]):
        body[4 + k] = rate
    body[5] = f"{body[5]} + 0*({list(RATES)[5]})"
    project("\n".join(body))
    converted()
    a = np.array([1.3, 0.4, 2.1, 1.7, 0.9])
    got = generated()(jnp.zeros(()), jnp.asarray(a), {"force": jnp.asarray(8.0)})
    np.testing.assert_allclose(got, [rate(a) for rate in list(RATES.values())[:5]], rtol=1e-14)


def test_names_that_mean_something_in_the_generated_file_keep_to_their_own(here):
    names = {"a0": "t", "a1": "x", "a2": "args", "force": "jnp"}
    text = LORENZ.replace("ring\n", 'ring """ + exit() #\n')
    for old, new in names.items():
        text = text.replace(old, new)
    project(text)
    converted()
    assert files("new") == {"ring_exit_model.py", "data.csv", "config.toml", "starts.nc"}
    x = jnp.asarray([1.3, 0.4, 2.1, 1.7, 0.9])
    got = generated()(jnp.zeros(()), x, {"jnp": jnp.asarray(8.0)})
    np.testing.assert_allclose(got, dp.models.Lorenz96(5, 8.0)(jnp.zeros(()), x, None), rtol=1e-14)


COSTS = {
    "0.5*((seen0 - a0)^2 + (a2 - seen2)*(seen2 - a2)*-3)": [0.5, 1.5],
    "pow(seen0 - a0, 2)/4 - -(seen2 - a2)**2": [0.25, 1.0],
}


@pytest.mark.parametrize("cost", COSTS)
def test_weights_of_the_measurement_term_are_precisions(cost, here):
    project(LORENZ.replace(LORENZ.splitlines()[9], cost))
    converted()
    held = tomllib.loads(Path("new/config.toml").read_text("utf-8"))
    weights = np.array(COSTS[cost])
    np.testing.assert_allclose(np.array(held["data"]["noise"]) ** -2.0, weights, rtol=1e-12)
    np.testing.assert_allclose(held["ladder"]["start"] * weights.mean(), 0.5, rtol=1e-12)


def lorenz(old, new):
    assert old in LORENZ
    return LORENZ.replace(old, new, 1), LORENZ_SPECS


def specs(old, new):
    assert old in LORENZ_SPECS
    return LORENZ, LORENZ_SPECS.replace(old, new, 1)


FIRST = "a4*(a1 - a3) - a0 + force"
COST = "(seen0 - a0)*(seen0 - a0)"
MALFORMED = {
    "code": (lorenz(FIRST, "__import__('os').system('touch bad')"), "equations.txt, line 5: da0/dt"),
    "an attribute": (lorenz(FIRST, "a0.__class__"), '"a0.__class__" is none of the numbers'),
    "a call of a call": (lorenz(FIRST, "(lambda: a0)()"), "is none of the numbers"),
    "an argument by name": (lorenz(FIRST, "exp(x=a0)"), "is none of the numbers"),
    "a comprehension": (lorenz(FIRST, "[a0 for a0 in a1]"), "is none of the numbers"),
    "a text": (lorenz(FIRST, "'a0'"), "is none of the numbers"),
    "an assignment": (lorenz(FIRST, "a0 = 3"), '"a0 = 3" is not an equation'),
    "an endless power": (lorenz(FIRST, "9**9**9*a0"), '"9 ** 9 ** 9" is none'),
    "many parentheses": (lorenz(FIRST, "(" * 2000 + "a0" + ")" * 2000), "is not an equation"),
    "too long": (lorenz(FIRST, "a0+" * 9000 + "a0"), "at most 20000 characters"),
    "code in the cost": (lorenz(COST, "eval('1')"), "line 10: the measurement term is a sum of"),
    "unknown name": (lorenz(FIRST, "a9*a0"), 'line 5: da0/dt: "a9" is not among the names'),
    "unknown function": (lorenz(FIRST, "sinc(a0)"), '"sinc" is not among the functions'),
    "two arguments": (lorenz(FIRST, "exp(a0, a1)"), "exp takes 1 argument; received 2"),
    "data that drive": (lorenz(FIRST, "seen0 - a0"), "line 5: the measured seen0 drives the model"),
    "controls": (lorenz("5,1,0,0,0,2", "5,1,2,0,0,2"), "line 4: there are 2 control variables"),
    "no counts": (lorenz("5,1,0,0,0,2", "5,1"), "line 4: expected whole numbers nY, nP"),
    "half a count": (lorenz("5,1,0,0,0,2", "5,1.5,0,0,0,2"), "line 4: expected whole numbers nY, nP"),
    "nothing measured": (lorenz("5,1,0,0,0,2", "5,1,0,0"), "received nY = 5 and nM = 0"),
    "a name too few": (lorenz("seen2\n", ""), "equations.txt ends where name of data, 2 of 2 should follow"),
    "a name too many": (lorenz("seen2\n", "seen2\nseen3\n"), "line 19: expected the end of the file"),
    "a name twice": (lorenz("\nforce\n", "\na4\n"), 'equations.txt gives the name "a4" twice'),
    "a name with a meaning": (lorenz("\nforce\n", "\nexp\n"), 'that has no meaning yet; received "exp"'),
    "a key as a name": (lorenz("\nforce\n", "\nname\n"), '"name" means something else in a configuration'),
    "no name": (lorenz("\nforce\n", "\nf orce\n"), 'received "f orce"'),
    "a blank line": (lorenz("\na3\n", "\n\na3\n"), "line 14: expected name of states, 4 of 5; received a blank line"),
    "a linear cost": (lorenz(COST, "(seen0 - a0)"), '"seen0" is not of the form'),
    "a negative cost": (lorenz(COST, f"-{COST}"), "(seen0 - a0)**2 must have a positive weight; received -1"),
    "compared twice": (lorenz(COST, f"{COST} + (seen0 - a1)**2"), "seen0 is compared with two states"),
    "a cost of a state": (lorenz(COST, "a0*a0"), '"a0 * a0" is not of the form'),
    "no number": (
        specs("-15, 15, 0.5", "-15, 15, 10^8"),
        'specs.txt, line 10: expected lower, upper, R_f0 of a0; "10^8"',
    ),
    "a bound too few": (
        specs("-15, 15, 0.5", "-15, 15"),
        'line 10: expected lower, upper, R_f0 of a0; received "-15, 15"',
    ),
    "lower above upper": (specs("-15, 15, 0.5", "15, -15, 0.5"), "expected lower ≤ upper for a0"),
    "no R_f": (specs("-15, 15, 0.5", "-15, 15, 0"), "expected a positive R_f0 of a0; received 0"),
    "half a step": (specs("\n6\n", "\n6.5\n"), "line 2: expected half the number of time steps, a whole number"),
    "no step": (specs("\n0.1\n", "\n0\n"), "line 5: expected a positive time step"),
    "no format": (
        specs("1\nguess.txt", "5\nguess.txt"),
        "line 6: expected the format of the files, 0 to 3; received 5",
    ),
    "no file": (specs("./seen2.txt", "./seen3.txt"), "specs.txt, line 9: there is no file old/seen3.txt"),
    "too few points": (specs("\n6\n", "\n60\n"), "seen0.txt holds 18 numbers; 124 are needed"),
    "a ladder that falls": (specs("3, 1, 3", "0.5, 1, 3"), "line 16: expected alpha above 1"),
    "no ladder": (
        specs("3, 1, 3\n", ""),
        "specs.txt ends where alpha, the step of beta, the largest beta should follow",
    ),
    "two formats": (specs("3, 1, 3\n", "3, 1, 3\n0\n0\n"), 'line 18: expected the end of the file; received "0"'),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_project_is_refused(name, here):
    texts, sentence = MALFORMED[name]
    project(*texts)
    refused(deepest("convert", "old", "-o", "new"), sentence)
    assert files(here) == {"old"}


def test_nothing_is_written_over_and_text_among_numbers_is_found(here):
    project()
    converted()
    before = {path.name: path.read_bytes() for path in Path("new").iterdir()}
    refused(deepest("convert", "old", "-o", "new"), "exists already")
    Path("old/seen2.txt").write_text("1.0 2.0\n3.0 x4\n", "utf-8")
    refused(deepest("convert", "old", "-o", "new", "--force"), 'seen2.txt, line 2: expected numbers; received "x4"')
    assert {path.name: path.read_bytes() for path in Path("new").iterdir()} == before
    refused(deepest("convert", "old", "-o", "new", "--noise", -1), "a positive number; received -1")
    refused(deepest("convert", "old", "-o", "new", "--dataset", 1), "this one has one")
    refused(deepest("convert", "new", "-o", "newer"), "neither minAone's equations.txt nor varanneal's paths.npy")
