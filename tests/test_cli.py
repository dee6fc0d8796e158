"""The command line: what it writes, and what it refuses, in one sentence on stderr and with which exit status."""

import csv
import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import namedtuple
from pathlib import Path

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import deepest as dp
from deepest.anneal import Result
from deepest.cli import app
from deepest.cli._files import beside
from deepest.cli._session import cache_folder
from deepest.twin import load_truth

ROOT = Path(__file__).parents[1]

# Lorenz63 on the twin's own data: the same shapes as `deepest twin lorenz63 --members 8`, so that it compiles once.
CONFIG = """
[model]
name = "Lorenz63"
sigma = { unknown = [5, 20] }
rho = { unknown = [15, 45] }
beta = { unknown = [1, 5] }
[data]
file = "data.csv"
components = [0]
noise = 0.5
[state]
spread = [[-20, -25, 0], [20, 25, 50]]
[ensemble]
members = 8
"""
MODULE = """
import jax.numpy as jnp

def field(t, x, args):
    return -args["k"] * x

def narrow(t, x, args):
    return x[:2]

def whole(t, x, args):
    return x.astype(int)

def crash(t, x, args):
    return x + jnp.zeros(7)

def unnamed(t, x, args):
    return args["nothing"] * x

two = lambda x, args: x
said = lambda t, x, args: "no"
branching = lambda t, x, args: x if x[0] > 0 else -x
constant = 3.0
"""


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Nothing of one command's set-up reaches the next test; compiled programs are cached in a test of its own."""
    monkeypatch.setattr("deepest.cli._session._cache", lambda folder: None)
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A twin's run and its data."""
    folder = tmp_path_factory.mktemp("run")
    said = deepest(
        "twin", "lorenz63", "--members", 8, "-o", folder / "run.nc", "--data", folder / "data.csv", "--no-cache"
    )
    assert said.exit_code == 0, said.stderr
    (folder / "said.txt").write_text(said.stdout, "utf-8")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a module of models and some data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mymodel", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("mymodel.py").write_text(MODULE, "utf-8")
    Path("broken.py").write_text("def (:\n", "utf-8")
    times, values = 0.05 * np.arange(21), np.random.default_rng(0).normal(size=(21, 2))
    table("data.csv", times, values)
    table("twice.csv", np.where(times == times[5], times[4], times), values)
    table("hole.csv", np.where(times == times[5], np.nan, times), values)
    table("missing.csv", times, np.nan * values)
    table("odd.csv", times[:-1], values[:-1])
    table("later.csv", times + 10.0, values)
    return tmp_path


def table(name, times, values):
    rows = [",".join(map(str, row)) for row in np.column_stack([times, values]).tolist()]
    Path(name).write_text("\n".join(["time,x0,x2", *rows]), "utf-8")


def deepest(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


def written(**changes):
    """A configuration that works, but for the changes; None leaves a table out."""
    tables = {
        "model": 'name = "Lorenz96"\ndimension = 5\nforcing = { unknown = [6, 10] }',
        "data": 'file = "data.csv"\ncomponents = [0, 2]\nnoise = 0.5',
        "ensemble": "members = 2",
        **changes,
    }
    return "\n".join(f"[{name}]\n{body}" for name, body in tables.items() if body is not None)


# ---- What it does ----


def test_a_twin_is_run_compared_and_written(folder):
    assert names(folder) == {"run.nc", "run_levels.png", "run_path.png", "data.csv", "said.txt"}
    said = (folder / "said.txt").read_text("utf-8")
    for part in (
        "the global minimum was found",
        "consistent with χ²",
        "sigma",
        "true 28, error",
        "forecast",
        "run_path.png",
    ):
        assert part in said
    result = dp.load(folder / "run.nc")
    assert f"{result.best.level:.4f}" in said
    assert load_truth(folder / "run.nc").parameters["rho"] == 28.0
    for name in ("run_levels.png", "run_path.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_its_data_can_be_annealed_from_a_configuration(folder):
    """The same data, members and ladder lead to the same minimum, whatever the starts."""
    (folder / "config.toml").write_text(CONFIG, "utf-8")
    said = deepest("anneal", folder / "config.toml", "-o", folder / "own.nc", "--no-cache")
    assert said.exit_code == 0, said.stderr
    own, twin = dp.load(folder / "own.nc"), dp.load(folder / "run.nc")
    assert own.best.level == pytest.approx(twin.best.level, rel=1e-6)
    assert own.best.parameters == pytest.approx(twin.best.parameters, rel=1e-4)
    assert {"own_levels.png", "own_path.png", "own_parameters.png"} <= names(folder)
    assert "sought between 15 and 45" in said.stdout
    assert load_truth(folder / "own.nc") is None


def test_realisations_are_tabled_with_their_yardsticks(folder, tmp_path):
    run = tmp_path / "many.nc"
    said = deepest("twin", "lorenz63", "--members", 8, "--realisations", 2, "-o", run, "--no-plots", "--no-cache")
    assert said.exit_code == 0, said.stderr
    assert "global minimum found in 2 of 2" in said.stdout
    assert "Wilson interval 34% to 100%" in said.stdout
    # The first realisation is what one alone would have been.
    np.testing.assert_array_equal(dp.load(run).levels, dp.load(folder / "run.nc").levels)
    assert names(tmp_path) == {"many.nc"}


def test_a_run_is_drawn_again(folder, tmp_path):
    said = deepest("plot", folder / "run.nc", "-o", tmp_path, "--components", "0,2", "--format", "svg")
    assert said.exit_code == 0, said.stderr
    assert names(tmp_path) == {"run_levels.svg", "run_path.svg", "run_parameters.svg"}


def test_a_forecast_is_the_results_own(folder, tmp_path):
    out = tmp_path / "ahead.csv"
    said = deepest("forecast", folder / "run.nc", "--until", 5, "-o", out, "--no-cache")
    assert said.exit_code == 0, said.stderr
    assert names(tmp_path) == {"ahead.csv", "ahead.png"}
    with open(out, encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    expected = dp.load(folder / "run.nc").forecast(5.0)
    assert head == ["time", "x0", "x1", "x2"]
    np.testing.assert_array_equal(np.array(rows, float), np.column_stack([expected.times, expected.path]))


def test_a_model_of_ones_own_is_annealed_and_drawn_with_trust(here):
    model = 'name = "mymodel:field"\ndimension = 3\nk = { unknown = [0, 1], prior = { mean = 0.5, deviation = 1 } }'
    data = 'file = "data.csv"\ncomponents = [0, 2]\nnoise = [1, 1.5]'
    Path("c.toml").write_text(written(model=model, data=data, ladder="rungs = 3", state="bounds = [-9, 9]"), "utf-8")
    said = deepest("anneal", "c.toml", "--no-plots", "--no-cache")
    assert said.exit_code == 0, said.stderr
    assert deepest("plot", "run.nc").exit_code == 2
    refused = deepest("plot", "run.nc").stderr
    assert "needs the code mymodel:field" in refused and "--trust" in refused
    assert deepest("plot", "run.nc", "--trust").exit_code == 0
    assert "run_path.png" in names(here)


def test_the_example_is_a_configuration(here):
    example = deepest("anneal", "--example").stdout
    assert tomllib.loads(example)["model"]["name"] == "Lorenz96"
    columns = tomllib.loads(example)["data"]["columns"]
    rows = np.random.default_rng(0).normal(size=(5, 1 + len(columns)))
    rows[:, 0] = np.arange(5)
    text = "\n".join([",".join(["time", *columns]), *(",".join(map(str, row)) for row in rows.tolist())])
    Path("data.csv").write_text(text, "utf-8")
    # Everything in it is understood: the first complaint is of the last check.
    Path("config.toml").write_text(example.replace('"run.nc"', '"no/run.nc"'), "utf-8")
    said = deepest("anneal", "config.toml")
    assert (said.exit_code, "folder no does not exist" in said.stderr) == (2, True)


@pytest.mark.parametrize("command", [(), ("twin",), ("anneal",), ("plot",), ("forecast",), ("convert",)])
def test_help_is_there(command):
    said = deepest(*command, "--help")
    assert said.exit_code == 0
    assert "Usage" in said.stdout


def test_version_is_said():
    assert deepest("--version").stdout.startswith("deepest ")


# ---- What it refuses ----


def refused(said, sentence):
    """One line on stderr, nothing on stdout, exit status 2."""
    assert said.exit_code == 2, (said.stderr, said.exception)
    assert sentence in said.stderr
    assert said.stderr.startswith("deepest: ") and said.stderr.count("\n") == 1
    assert said.stdout == ""


COMMANDS = {
    "unknown experiment": (("twin", "lorenz69"), 'no experiment "lorenz69"; did you mean "lorenz96"?'),
    "negative noise": (("twin", "lorenz63", "--noise", "-1"), "positive standard deviation; received -1"),
    "no folder": (("twin", "lorenz63", "-o", "no/run.nc"), "folder no does not exist"),
    "another suffix": (("twin", "lorenz63", "-o", "run.csv"), "ends in .nc; received run.csv"),
    "no configuration": (("anneal",), "--example prints one"),
    "missing configuration": (("anneal", "no.toml"), "no.toml cannot be read: No such file or directory"),
    "missing run": (("plot", "no.nc"), "no.nc does not exist"),
    "foreign run": (("plot", "data.csv"), "data.csv is not a NetCDF-4 file"),
    "another format": (("plot", "no.nc", "--format", "bmp"), "png, pdf, svg"),
    "components in words": (("plot", "no.nc", "--components", "x"), "whole numbers with commas"),
    "foreign run to forecast": (("forecast", "data.csv", "--until", "3"), "data.csv is not a NetCDF-4 file"),
    "negative step": (("forecast", "no.nc", "--until", "3", "--step", "-1"), "The step is a positive time"),
    "picture for a table": (("forecast", "no.nc", "--until", "3", "-o", "a.png"), "The output is a CSV file"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_cannot_be_is_refused(name, here):
    arguments, sentence = COMMANDS[name]
    before = names(here)
    refused(deepest(*arguments), sentence)
    assert names(here) == before


def test_a_run_refuses_what_it_has_not(folder):
    refused(deepest("plot", folder / "run.nc", "--components", "7", "--force"), "between 0 and 2; received 7")
    refused(
        deepest("forecast", folder / "run.nc", "--until", "3", "-o", folder / "f.csv"), "end at 4; received --until 3"
    )
    assert "f.csv" not in names(folder)


@pytest.mark.parametrize("existing", ["run.nc", "run_levels.png", "run_path.png", "data.csv"])
def test_an_output_that_exists_is_left_alone(existing, here):
    Path(existing).write_text("precious", "utf-8")
    refused(deepest("twin", "lorenz63", "--data", "data.csv"), "exists already")
    assert Path(existing).read_text("utf-8") == "precious"


def test_a_full_disk_is_seen_before_anything_is_computed(here, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 1000, 1000))
    refused(deepest("twin", "lorenz63"), "The disk is full: . has 0.0 MB left")


def test_a_closed_folder_is_seen_before_anything_is_computed(here, monkeypatch):
    def closed(**options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", closed)
    refused(deepest("twin", "lorenz63"), "Nothing can be written in the folder .: Permission denied")


def test_a_disk_that_fills_up_meanwhile_destroys_nothing(folder, here, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("run.nc").write_text("precious", "utf-8")
    monkeypatch.setattr("deepest.twin._archive.write_tree", full)
    before = names(here)
    said = deepest("twin", "lorenz63", "--members", 8, "--force", "--no-plots", "--no-cache")
    refused(said, "The disk is full: run.nc was not written, and what was there is unharmed")
    assert Path("run.nc").read_text("utf-8") == "precious"
    assert names(here) == before


def test_a_run_without_an_estimate_says_why(folder, here):
    """Data so far off that the square of a misfit is no number."""
    head, *rows = (folder / "data.csv").read_text("utf-8").splitlines()
    Path("data.csv").write_text("\n".join([head, *(f"{row.partition(',')[0]},1e200" for row in rows)]), "utf-8")
    Path("config.toml").write_text(CONFIG, "utf-8")
    said = deepest("anneal", "config.toml", "--no-cache")
    assert said.exit_code == 1, said.stderr
    assert "No member reached the top of the ladder. The cost at the starting point is not finite" in said.stderr
    again = deepest("plot", "run.nc")
    assert (again.exit_code, "no member reached the top" in again.stderr) == (1, True)


def test_a_forecast_that_breaks_down_is_not_written(folder, here, monkeypatch):
    whole = dp.load(folder / "run.nc").forecast(5.0)
    up_to = np.where(np.arange(len(whole.times))[:, None] < 10, whole.path, np.inf)
    broken = dataclasses.replace(whole, path=up_to)
    monkeypatch.setattr(Result, "forecast", lambda self, until, step=None: broken)
    said = deepest("forecast", folder / "run.nc", "--until", 5, "-o", "f.csv", "--no-cache")
    assert said.exit_code == 1
    assert "breaks down before time 4.2; nothing was written" in said.stderr
    assert "f.csv" not in names(here)


def test_a_mistake_of_ours_is_not_swallowed(here, monkeypatch):
    """Not even one that looks like what a user might do wrong."""

    def mistaken(*arguments, **options):
        raise ValueError("shapes (3,) and (4,) do not match")

    monkeypatch.setattr("deepest.twin.repeat", mistaken)
    said = deepest("twin", "lorenz63", "--no-cache")
    assert said.exit_code == 1
    assert isinstance(said.exception, ValueError)


# ---- As a process ----


def process(*arguments, folder, **options):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deepest.cli", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes, **options)


def test_the_cache_lies_where_caches_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "deepest" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().is_relative_to(Path.home())
    assert beside(Path("a/run.nc"), "levels") == Path("a/run_levels.png")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupted_while_compiling_it_leaves_at_once_and_leaves_nothing(tmp_path):
    # A shell starts what runs in the background deaf to Ctrl-C, and its children with it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = process("twin", "lorenz96", folder=tmp_path)
    signal.signal(signal.SIGINT, before)
    compiled = tmp_path / "cache" / "deepest" / "compiled"
    while not (compiled.is_dir() and any(compiled.iterdir())):
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (130, "")
    assert stderr == "deepest: interrupted; nothing half-done was left behind.\n"
    assert names(tmp_path) == {"cache"}


@pytest.mark.slow
def test_lorenz96_under_a_minute_and_twice_as_fast_again(tmp_path):
    """As a newcomer runs it, and again with what was compiled, in processor time: other processes do not stretch it."""
    wall, used = [], []
    for _ in range(2):
        began, before = time.perf_counter(), os.times()
        running = process("twin", "lorenz96", "--force", folder=tmp_path)
        stdout, stderr = running.communicate(timeout=300)
        wall.append(time.perf_counter() - began)
        used.append(sum(os.times()[2:4]) - sum(before[2:4]))
        assert (running.returncode, stderr) == (0, "")
        assert "the global minimum was found" in stdout
    assert names(tmp_path) == {"cache", "run.nc", "run_levels.png", "run_path.png"}
    assert dp.load(tmp_path / "run.nc").best.parameters["forcing"] == pytest.approx(8.17, rel=0.01)
    assert wall[0] < 60.0 and used[1] < 0.5 * used[0]
