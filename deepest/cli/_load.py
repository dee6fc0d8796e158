"""Reading a run back."""

import os
import sys
from pathlib import Path

import deepest
from deepest.anneal import Result
from deepest.cli._refuse import Failure, Refusal, asking
from deepest.cli._session import prepare
from deepest.io import read_tree
from deepest.twin import Truth, load_truth


def settle(run: Path, *, trust: bool, cache: bool) -> None:
    """Set the process up for what a file holds: its precision, and where its code may be."""
    if trust:
        sys.path[:0] = [str(run.parent.resolve()), os.getcwd()]
    with asking():
        _, attributes = read_tree(run)
    prepare(float32=attributes.get("dtype") == "float32", cache=cache)


def load(run: Path, *, trust: bool, cache: bool) -> tuple[Result, Truth | None]:
    """The result in a file, in the precision in which it was computed, and the truth where it holds one."""
    settle(run, trust=trust, cache=cache)
    with asking():
        result, truth = deepest.load(run, trust=trust), load_truth(run)
    if result.pending is not None:
        raise Refusal(f"{run} holds a run that is not finished: deepest resume {run} goes on with it.")
    if not result.order.size:
        raise Failure(f"In {run} no member reached the top of the ladder, so that there is no estimate.")
    return result, truth
