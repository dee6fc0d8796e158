"""What the benchmarks share: the machine's description, timing on one core, intervals, and one JSON file each."""

import json
import math
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"


def one_core() -> None:
    """Stay on one core, so that a peer's threads and ours do not decide the comparison."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def machine() -> dict[str, str]:
    """Where and with what the figures were made."""
    names = ("jax", "jaxlib", "numpy", "scipy", "equinox", "diffrax")
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), processor)
    return {"processor": processor, "python": platform.python_version(), **{n: version(n) for n in names}}


def interleaved(functions: dict[str, Callable], repeats: int, inner: int = 3) -> dict[str, dict[str, float]]:
    """Milliseconds a call of each function, called in turn so that a drifting machine is fair to all.

    Processor time of this process, median and minimum over `repeats` rounds of `inner` calls, after one warm-up.
    """
    for function in functions.values():
        jax.block_until_ready(function())
    samples = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            for _ in range(inner):
                jax.block_until_ready(function())
            samples[name].append(1e3 * (time.process_time() - start) / inner)
    return {name: {"median": float(np.median(s)), "minimum": min(s)} for name, s in samples.items()}


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a success rate."""
    rate, scale = successes / trials, 1 + z**2 / trials
    centre = (rate + z**2 / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def time_to_certainty(seconds: float, rate: float, certainty: float = 0.99) -> float:
    """Expected time until at least one try has succeeded with that certainty; never less than one try."""
    if rate <= 0:
        return math.inf
    return seconds if rate >= certainty else seconds * math.log(1 - certainty) / math.log(1 - rate)


def saved(name: str) -> dict:
    """What `results/NAME.json` holds but for the machine; nothing where there is none."""
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    content.pop("machine", None)
    return content


def save(name: str, content: dict) -> Path:
    """Write `results/NAME.json`, with the machine."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **content}, indent=1) + "\n")
    return path
