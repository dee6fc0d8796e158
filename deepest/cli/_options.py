"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

_COMPUTING = "Computing"
# What a key can be made of.
SEEDS = 2**63 - 1

Force = Annotated[bool, typer.Option("--force", help="Overwrite output files that exist.")]
Plots = Annotated[bool, typer.Option("--plots/--no-plots", help="Whether to draw PNG pictures beside the run.")]
Float32 = Annotated[
    bool,
    typer.Option(
        "--float32",
        help="Compute in single precision; the higher part of the ladder takes longer then.",
        rich_help_panel=_COMPUTING,
    ),
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        help="Whether to keep compiled programs in your cache folder, so that the next run starts at once.",
        rich_help_panel=_COMPUTING,
    ),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN.nc", help="A file written by deepest twin, deepest anneal or Result.save.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Import the model that the file names, although it is not deepest's own: runs its code."
    ),
]
