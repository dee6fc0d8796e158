"""The command line: experiments, annealing of one's own data, pictures and forecasts of a run, training of networks,
projects of other codes taken over.

    deepest twin NAME · deepest anneal CONFIG.toml · deepest plot RUN.nc · deepest forecast RUN.nc · deepest train NAME
    deepest convert OLD... --output NEW

Exit status 0: done; 1: no estimate came out; 2: something that was asked for cannot be, said in one sentence before
anything was computed or destroyed; 130: interrupted. Anything else that goes wrong is a mistake of ours and shows its
traceback.

Uses `twin`, `networks`, `anneal`, `action`, `transcription`, `minimise`, `models`, `paths`, `io`, and plot when there
is something to draw.
"""

from deepest.cli._app import app as app
from deepest.cli._app import main as main
