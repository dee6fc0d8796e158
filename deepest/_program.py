"""How the programs that deepest itself runs, from outside any transformation, are compiled."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax

Function = TypeVar("Function", bound=Callable[..., Any])

# On a CPU most of a short run is compilation, and much of that goes into emitting every fused loop by way of MLIR. With
# the older emitters and one level of LLVM's optimisation a Gauss–Newton step of a network compiled in 3.8 s instead of
# 12.6 s, the first run of a twin took 0.6 of its time, and what they made was as fast to within 11 % (jaxlib 0.10.2).
_QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


def program(function: Function) -> Function:
    """`equinox.filter_jit`, compiled quickly where that costs nothing.

    For functions that are never called while another is traced: JAX takes compiler options at the top level only.
    """
    jitted: Any = eqx.filter_jit  # what its annotations leave out it hands on to jax.jit

    @functools.cache
    def compiled(quick: bool) -> Callable[..., Any]:
        return jitted(function, compiler_options=_QUICK if quick else {})

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        # Whoever asks JAX for fewer optimisations still gets them.
        asked = jax.config.values["jax_disable_most_optimizations"]
        return compiled(not asked and _knows(jax.default_backend()))(*args)

    return call  # type: ignore[return-value]


@functools.cache
def _knows(backend: str) -> bool:
    """Whether this is a CPU's compiler that has these options; they are not promised to stay."""
    if backend != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=_QUICK)()
    except jax.errors.JaxRuntimeError:
        return False
    return True
