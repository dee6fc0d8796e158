"""`deepest resume RUN.nc`."""

import time

import deepest
from deepest.anneal import load
from deepest.cli._anneal import lasting, pictures, show
from deepest.cli._files import Outputs, check
from deepest.cli._load import settle
from deepest.cli._options import Cache, Force, Plots, Run, Trust
from deepest.cli._refuse import asking


def resume(run: Run, plots: Plots = True, force: Force = False, trust: Trust = False, cache: Cache = True) -> None:
    """Go on with a run of deepest anneal that was interrupted, or whose process was killed.

    It ends where it would have ended, to the bit. Writes the pictures that deepest anneal writes, beside the run. Of a
    run that is finished it tells again what was found.
    """
    began = time.perf_counter()
    settle(run, trust=trust, cache=cache)
    with asking():
        unfinished = load(run, trust=trust)
    files = Outputs.of(run, pictures(unfinished.action) if plots else ())
    check(files.pictures, force=force)
    finished = unfinished.pending is None
    result = unfinished if finished else lasting(run, lambda climb: deepest.resume(run, progress=climb, trust=trust))
    show(f"{run}", result, files, force=force, began=began)
