"""Reading a run back."""

import os
import sys
from pathlib import Path

import deepest
from deepest.anneal import Result
from deepest.cli._refuse import Failure, asking
from deepest.cli._session import prepare
from deepest.io import read_tree
from deepest.twin import Truth, load_truth


def load(run: Path, *, trust: bool, cache: bool) -> tuple[Result, Truth | None]:
    """The result in a file, in the precision in which it was computed, and the truth where it holds one."""
    if trust:
        sys.path[:0] = [str(run.parent.resolve()), os.getcwd()]
    with asking():
        _, attributes = read_tree(run)
        prepare(float32=attributes.get("dtype") == "float32", cache=cache)
        result, truth = deepest.load(run, trust=trust), load_truth(run)
    if not result.order.size:
        raise Failure(f"In {run} no member reached the top of the ladder, so that there is no estimate.")
    return result, truth
