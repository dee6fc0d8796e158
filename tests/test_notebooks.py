"""Every notebook runs from top to bottom, its own assertions hold, and its two files say the same."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
FIGURES = {
    "quickstart": 3,
    "own_model_and_data": 2,
    "action_as_mechanics": 1,
    "symplectic_integrators": 1,
    "boundary_value_problems": 2,
    "backpropagation_is_a_costate": 2,
    "how_many_layers_how_many_pairs": 3,
    "deepest_learning_on_digits": 2,
    "network_inside_a_model": 2,
    "how_many_measurements": 2,
    "coming_from_varanneal_or_minaone": 2,
    "a_neuron_from_its_voltage": 4,
    "gaps_and_irregular_times": 3,
}
NAMES = list(FIGURES)
# These run for longer than they compile.
LONG = {
    "own_model_and_data",
    "how_many_layers_how_many_pairs",
    "deepest_learning_on_digits",
    "network_inside_a_model",
    "how_many_measurements",
    "a_neuron_from_its_voltage",
}
SECONDS = 600  # a stuck notebook fails on its own, rather than with the whole job

# The notebook as a script, with warnings as errors and without a window; figures are drawn, not only made.
RUN = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
import matplotlib.pyplot as plt
figures = [plt.figure(number) for number in plt.get_fignums()]
for figure in figures:
    figure.canvas.draw()
print("figures:", len(figures))
"""


def read(name):
    script = jupytext.read(FOLDER / f"{name}.py")
    return script, nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_every_notebook_is_listed():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)
    assert {path.stem for path in FOLDER.glob("*.py")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_script_and_notebook_say_the_same(name):
    script, notebook = read(name)
    cells = [[(cell.cell_type, cell.source) for cell in each.cells] for each in (script, notebook)]
    assert cells[0] == cells[1], f"run: jupytext --sync notebooks/{name}.py"
    assert script.metadata.kernelspec == notebook.metadata.kernelspec
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name):
    _, notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert set(notebook.metadata) == {"jupytext", "kernelspec"}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asserts_what_it_says(name):
    script, _ = read(name)
    story = "\n".join(cell.source for cell in script.cells if cell.cell_type == "code")
    assert ("report.consistent" in story) == ("dp.anneal(" in story)
    assert story.count("assert ") >= 4


@pytest.mark.parametrize(("name", "figures"), FIGURES.items(), ids=NAMES)
def test_a_notebook_runs(name, figures, tmp_path):
    command = [sys.executable, "-W", "error", "-c", RUN, str(FOLDER / f"{name}.py")]
    packages = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": packages, "PYTHONIOENCODING": "utf-8"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(name not in LONG))
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"figures: {figures}"
    assert list(tmp_path.iterdir()) == []  # a notebook leaves nothing behind
