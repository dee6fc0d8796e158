"""Runs that last: kept in one file, gone on with after whatever ended the process, and arriving at the same bits."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from test_cli import deepest, refused, settled

import deepest as dp
from deepest.io import writing
from deepest.minimise import DampedNewton

__all__ = ["settled"]  # a fixture

ROOT = Path(__file__).parents[1]
FIELDS = ("levels", "steps", "estimates", "status", "paths", "parameters")
# A few of the 8 members reach the top, in several waves, with some shed on the way.
CONFIG = """
[model]
name = "Lorenz63"
rho = { unknown = [15, 45] }
[data]
file = "data.csv"
components = [0]
noise = 0.5
[state]
spread = [[-20, -25, 0], [20, 25, 50]]
[ladder]
start = 1e-4
factor = 1.15
largest = 1
rungs = 60
[ensemble]
members = 8
[output]
plots = false
"""


def experiment():
    model = dp.models.Lorenz63()
    times = 0.02 * np.arange(101)
    path = dp.models.integrate(model, jax.numpy.array([-8.0, -7.0, 27.0]), times)
    values = np.asarray(path)[:, :1] + 0.5 * np.random.default_rng(0).normal(size=(101, 1))
    return times, values


def action():
    times, values = experiment()
    model = dp.models.Lorenz63(rho=dp.Unknown(15.0, 45.0))
    return dp.Action(model, dp.Observations(times, values, components=[0], noise=0.5), dp.HermiteSimpson())


OPTIONS = {
    "pruned": {},
    "not pruned": {"prune": None, "stop": False},
    "a minimiser": {"minimiser": DampedNewton(), "prune": dp.Prune(width=1, batch=2)},
}
LADDER = dp.Ladder(1e-4, 2.0, 12, largest=1.0)
STARTS = {"members": 8, "key": jax.random.key(3), "spread": (np.array([-20.0, -25, 0]), np.array([20.0, 25, 50]))}


def same(one, other):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)
    assert (one.pending, other.pending) == (None, None)


class StopError(Exception):
    pass


def stopping(after):
    """A progress function that ends the run at a rung."""
    seen = []

    def progress(report):
        seen.append(report)
        if len(seen) > after:
            raise StopError

    return progress


@pytest.fixture
def eager(monkeypatch):
    """Every rung is kept, however short."""
    monkeypatch.setattr(sys.modules["deepest.anneal._anneal"], "_SHARE", np.inf)


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_run_that_ends_at_any_rung_is_gone_on_with_to_the_same_bits(kind, tmp_path, eager):
    """Interrupted every third rung, until it is finished."""
    run, target = tmp_path / "run.nc", action()
    whole = dp.anneal(target, LADDER, **STARTS, **OPTIONS[kind])
    ends, count = [lambda p: dp.anneal(target, LADDER, **STARTS, **OPTIONS[kind], checkpoint=run, progress=p)], 0
    while True:
        try:
            result = ends[-1](stopping(3))
            break
        except StopError:
            count += 1
            assert {path.name for path in tmp_path.iterdir()} == {"run.nc"}
            assert dp.load(run).pending is not None
            ends.append(lambda p: dp.resume(run, progress=p))
    assert count >= 3
    same(result, whole)
    same(dp.load(run), whole)
    same(dp.resume(run), whole)


def test_an_unfinished_run_says_so_and_keeps_what_is_finished(tmp_path, eager):
    run, target = tmp_path / "run.nc", action()
    with pytest.raises(StopError):
        dp.anneal(target, LADDER, **STARTS, checkpoint=run, progress=stopping(2))
    held = dp.load(run)
    assert np.isfinite(held.levels[:2]).any() and np.isnan(held.levels[2:]).all()
    with pytest.raises(ValueError, match=r"interrupted before a member reached the top.*resume"):
        held.best  # noqa: B018
    with pytest.raises(FileExistsError, match="exists already"):
        dp.anneal(target, LADDER, **STARTS, checkpoint=run)
    assert dp.load(run).pending is not None


def test_two_processes_cannot_write_one_file(tmp_path):
    """The second is refused while the first is at it, and the file is the first one's."""
    run = tmp_path / "run.nc"
    inner = []

    def progress(report):
        with pytest.raises(BlockingIOError, match=r"run\.nc is being written by another process"):
            dp.anneal(action(), LADDER, **STARTS, checkpoint=run, force=True)
        inner.append(report)

    dp.anneal(action(), dp.Ladder(1e-4, 5.0, 2), **STARTS, checkpoint=run, progress=progress)
    assert inner and dp.load(run).levels.shape[0] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"run.nc"}


def test_a_disk_that_fills_up_leaves_the_previous_state(tmp_path, eager, monkeypatch):
    run, target, real, count = tmp_path / "run.nc", action(), os.fsync, []

    def full(handle):
        count.append(handle)
        if len(count) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"^The disk is full: .*run\.nc was not written.*unharmed\.$"):
        dp.anneal(target, LADDER, **STARTS, checkpoint=run)
    assert {path.name for path in tmp_path.iterdir()} == {"run.nc"}
    same(dp.resume(run), dp.anneal(target, LADDER, **STARTS))


def test_progress_tells_of_levels_members_and_the_time_left():
    reports = []
    result = dp.anneal(action(), LADDER, **STARTS, prune=None, stop=False, progress=reports.append)
    assert [report.rung for report in reports] == list(range(12))
    for report in reports:
        here = np.sort(result.levels[report.rung])
        assert report.lowest == here[0]
        assert np.isin(report.levels, here).all() and np.all(np.diff(report.levels) > 1e-3 * report.levels[:-1])
        assert (report.members, report.alive, report.active) == (8, 8, 8)
    assert reports[0].left is None and reports[-1].left == 0.0
    assert all(report.left > 0 for report in reports[1:-1])


# ---- The command ----


def project(folder):
    times, values = experiment()
    rows = "\n".join(f"{t!r},{y!r}" for t, y in zip(times.tolist(), values[:, 0].tolist(), strict=True))
    (folder / "data.csv").write_text(f"t,x\n{rows}\n", "utf-8")
    (folder / "config.toml").write_text(CONFIG, "utf-8")


def test_the_command_refuses_to_begin_anew_what_it_can_go_on_with(tmp_path, monkeypatch, eager):
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("deepest.cli._progress.Climb.__call__", lambda self, report: stopping(0)(report))
        assert deepest("anneal", "config.toml", "--no-cache").exit_code != 0
    refused(deepest("anneal", "config.toml", "--no-cache"), "go on with it by deepest resume run.nc")
    refused(deepest("plot", "run.nc"), "not finished: deepest resume run.nc goes on")
    with writing("run.nc"):
        refused(deepest("resume", "run.nc", "--no-cache"), "run.nc is being written by another process")
    said = deepest("resume", "run.nc", "--no-cache", "--no-plots")
    assert said.exit_code == 0, said.stderr
    assert "rho" in said.stdout
    again = deepest("resume", "run.nc", "--no-cache", "--no-plots")
    table = lambda out: out.stdout.partition("Wrote")[0]
    assert again.exit_code == 0 and table(again) == table(said)


def test_the_next_writer_clears_what_a_killed_one_left_of_this_file_alone(tmp_path):
    """Names hold what patterns mean something else by."""
    mine, other = tmp_path / ".run[1].12-ab.nc", tmp_path / ".run1.12-ab.nc"
    mine.touch()
    other.touch()
    with writing(tmp_path / "run[1].nc"):
        assert not mine.exists()
    assert list(tmp_path.iterdir()) == [other]


def process(folder, *arguments):
    code = "from deepest.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )


def said(folder):
    return (folder / "said.txt").read_text("utf-8")


def killed(tmp_path, kills, seed=0):
    """Kill runs of the command at random moments, go on with each, and compare the ends."""
    rng, done = np.random.default_rng(seed), 0
    project(tmp_path)
    for name in ("whole.nc", "again.nc"):  # the second finds compiled what the first compiled
        began = time.perf_counter()
        assert process(tmp_path, "anneal", "config.toml", "-o", name).wait(300) == 0, said(tmp_path)
    duration = time.perf_counter() - began
    reference = dp.load(tmp_path / "whole.nc")
    same(reference, dp.load(tmp_path / "again.nc"))
    while done < kills:
        (tmp_path / "run.nc").unlink(missing_ok=True)
        arguments = ("anneal", "config.toml")
        while True:
            running = process(tmp_path, *arguments)
            try:
                running.wait(rng.uniform(0.5, 1.0) * duration)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)
                running.wait()
                done += 1
            if running.returncode == 0:
                break
            assert running.returncode == -signal.SIGKILL, said(tmp_path)
            if (tmp_path / "run.nc").exists():
                arguments = ("resume", "run.nc", "--no-plots")
                if dp.load(tmp_path / "run.nc").pending is None:
                    break
        same(dp.load(tmp_path / "run.nc"), reference)
    assert not list(tmp_path.glob(".run*nc"))


def test_a_killed_run_is_gone_on_with_to_the_same_bits(tmp_path):
    killed(tmp_path, 1)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path):
    killed(tmp_path, 20, seed=1)
