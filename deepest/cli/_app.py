"""The command `deepest`, put together."""

import importlib.metadata
import io
import platform
import sys
from typing import Annotated

import jax
import typer

from deepest.cli._anneal import anneal
from deepest.cli._convert import convert
from deepest.cli._forecast import forecast
from deepest.cli._measurements import measurements
from deepest.cli._plot import plot
from deepest.cli._refuse import command
from deepest.cli._resume import resume
from deepest.cli._session import leave
from deepest.cli._train import train
from deepest.cli._twin import twin

app = typer.Typer(
    name="deepest",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> bool:
    if wanted:
        try:
            own = importlib.metadata.version("deepest-learning")
        except importlib.metadata.PackageNotFoundError:
            own = "(not installed)"
        typer.echo(f"deepest {own}, jax {jax.__version__}, Python {platform.python_version()}")
        raise typer.Exit()
    return wanted


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find the path a system took, and the parameters that made it take that path, from noisy and partial measurements.

    Start with **deepest twin lorenz96**, an experiment whose truth is known. For your own data, write down a model and
    a file with **deepest anneal --example > config.toml**, change it, and run **deepest anneal config.toml**.
    **deepest measurements lorenz96** asks how many variables have to be measured.
    **deepest train digits** trains a network, in which layers take the place of time.
    """


for _command in (twin, measurements, anneal, resume, plot, forecast, convert, train):
    app.command(_command.__name__)(command(_command))


def main() -> None:
    """Run the command line with the arguments of this process, and end it with an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without χ or − shows a question mark instead of failing.
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="deepest")
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
