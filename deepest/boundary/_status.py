"""How a search for a solution ended."""

import enum


class Status(enum.IntEnum):
    """How a boundary value problem's solution ended; `sentence` says what happened and what to try."""

    converged = 0
    step_limit = 1
    stalled = 2
    singular = 3
    not_finite = 4
    growth = 5
    mesh_limit = 6
    outside = 7

    @property
    def sentence(self) -> str:
        """What happened, why it usually happens, and what to try."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.converged: "The correction that is left is smaller than the tolerance.",
    Status.step_limit: "The limit of Newton steps was reached; raise limit=, or begin with a better guess.",
    Status.stalled: (
        "No step brought the solution closer, however short. Begin with a better guess, use `Annealed`, or a larger "
        "tolerance= if rounding is what limits it. Conditions that hardly determine a solution end so too."
    ),
    Status.singular: (
        "The linearised problem is singular: the conditions do not determine a solution near this one. A periodic "
        "problem without explicit time needs a condition for its phase."
    ),
    Status.not_finite: (
        "The equations or their slopes are not finite at the guess or on the way from it (√y and |y| have infinite "
        "slopes at zero); check the guess and the problem."
    ),
    Status.growth: (
        "The flow magnifies what it starts from so much over an interval that rounding and the integrator's error "
        "decide where it ends (`growth` says how much): every decaying direction of a model has a growing partner in "
        "its momenta. Use MultipleShooting with more nodes, or collocation."
    ),
    Status.mesh_limit: (
        "The defect is above the tolerance on the finest mesh allowed; raise Refine(intervals=), or its tolerance if "
        "rounding is what limits it."
    ),
    Status.outside: "An unknown parameter ended outside of its bounds; a boundary value problem cannot hold it there.",
}
